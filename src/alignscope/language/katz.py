"""An n-gram language model with Katz's back-off and Good-Turing's discounts.

Katz (1987), with the choices of SRILM's ngram-count where nothing else is asked (its manual pages ngram-count
and ngram-discount): `gtmin` (1, 1, 2) leaves n-grams of three words and more out that were seen once, `gtmax`
(1, 7) discounts counts up to 7, those of single words in effect not at all; with r seen n_r times,
d_r = (r*/r - A) / (1 - A), r* = (r + 1) n_{r+1} / n_r, A = (gtmax + 1) n_{gtmax+1} / n_1; where that is not in
(0, 1] counts stay as they are; a context that is left with nothing to give gets one more in its denominator.

Differs from SRILM: an unknown word is always part of the model and gets what single words leave, so that one
model serves closed and open vocabularies (SRILM wants -unk for it), and words below `gtmin` are unknown words.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from alignscope.errors import BadData
from alignscope.language.ngrams import END, START, UNKNOWN, Gram, Model, count

_NOTHING = 3e-6  # less left than this counts as none (SRILM's Prob_Epsilon)


def train(
    captions: Iterable[str],
    order: int = 3,
    *,
    gtmin: Sequence[int] = (1, 1, 2),
    gtmax: Sequence[int] = (1, 7),
) -> Model:
    """Count captions and smooth by Katz; `gtmin` and `gtmax` by length, the last for all longer ones.

    >>> model = train(["a dog runs", "a cat sleeps", "the dog sleeps"])
    >>> model.logprob("a dog sleeps") > model.logprob("sleeps dog a")
    True
    """
    full, notes = count(captions, order)
    least = [gtmin[min(length, len(gtmin) - 1)] for length in range(order)]
    most = [gtmax[min(length, len(gtmax) - 1)] for length in range(order)]
    if least != sorted(least) or least[0] < 1 or min(most) < 0:
        raise BadData(
            f"got gtmin {least} and gtmax {most} for 1 to {order} words, wanted a gtmin from 1 that does not fall "
            "(else an n-gram were kept and its context not) and a gtmax from 0"
        )
    model = Model(order, {}, {})
    for level, kept_from, discounted_to in zip(_levels(full, order), least, most, strict=True):
        discounts, told = _discounts(level, discounted_to)
        notes += told
        model = _longer(model, level, discounts, kept_from)
    return Model(order, model.logprobs, model.backoffs, notes)


def _levels(full: Mapping[Gram, int], order: int) -> list[Counter[Gram]]:
    """Counts of n-grams of 1 to `order` words, with one start mark at most."""
    levels: list[Counter[Gram]] = []
    for length in range(1, order + 1):
        level: Counter[Gram] = Counter()
        for gram, times in full.items():
            if length == 1 or gram[order - length + 1] != START:
                level[gram[order - length :]] += times
        levels.append(level)
    return levels


def _discounts(level: Mapping[Gram, int], gtmax: int) -> tuple[dict[int, float], tuple[str, ...]]:
    """What is left of one count of those seen 1 to `gtmax` times, with notes of what cannot be estimated."""
    if not level or not gtmax:
        return {}, ()
    length, seen, most = len(next(iter(level))), Counter(level.values()), gtmax
    while most and not seen[most + 1]:
        most -= 1
    if not (most and seen[1]):
        return {}, (f"{length}-grams are not discounted: none was seen once, or none 2 to {gtmax + 1} times",)
    common = (most + 1) * seen[most + 1] / seen[1]
    found, notes = {}, []
    for times in range(1, most + 1):
        ratio = (times + 1) * seen[times + 1] / (times * seen[times]) if seen[times] else math.inf
        left = (ratio - common) / (1 - common) if common != 1 else math.inf
        if _NOTHING < left <= 1 and ratio <= 1:
            found[times] = left
        else:
            notes.append(
                f"{length}-grams seen {times} times are not discounted: Good-Turing gives {left:.3g}"
            )
    return found, tuple(notes)


def _longer(model: Model, level: Mapping[Gram, int], discounts: Mapping[int, float], gtmin: int) -> Model:
    """A model with n-grams of one word more, and the weights of their contexts."""
    logprobs, backoffs = dict(model.logprobs), dict(model.backoffs)
    totals: defaultdict[Gram, int] = defaultdict(int)
    masses: defaultdict[Gram, dict[Gram, float]] = defaultdict(dict)
    for gram, times in level.items():
        totals[gram[:-1]] += times
        if times >= gtmin:
            masses[gram[:-1]][gram] = times * discounts.get(times, 1.0)
    for before, kept in masses.items():
        given, total = sum(kept.values()), totals[before]
        if given > total * (1 - _NOTHING):
            total += 1
        for gram, mass in kept.items():
            logprobs[gram] = math.log10(mass / total)
        if before:
            lower = sum(10 ** model.logprob10(gram[1:]) for gram in kept)
            backoffs[before] = math.log10((1 - given / total) / (1 - lower))
        else:
            logprobs[(UNKNOWN,)] = math.log10(1 - given / total)
    if (END,) not in logprobs:
        raise BadData(f"got no word seen {gtmin} times or more, wanted some; lower gtmin")
    return Model(model.order, logprobs, backoffs)
