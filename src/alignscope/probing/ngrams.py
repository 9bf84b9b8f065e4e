"""Runs of words and of parts of speech: top words, n-grams, openings, and how many are distinct.

Paper A counts them for n from 1 to 5 (section 4.1), shows the ten most frequent words (Fig. 4) and takes
prefixes from runs at the start of captions (Fig. 1). Words are taken without case and punctuation.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Literal

from alignscope.errors import BadInput
from alignscope.evaluation.intervals import Interval, clustered_bootstrap, measured, sample_of
from alignscope.records import DRAWS, GramCount, Measurement, Signature, TaggedCaption, TaggedWord

Gram = tuple[str, ...]


def gram_counts(
    captions: Sequence[TaggedCaption],
    length: int,
    *,
    of: Literal["words", "tags"] = "words",
    place: Literal["anywhere", "start"] = "anywhere",
    top: int | None = None,
) -> list[GramCount]:
    """Runs of `length` words or tags, the most frequent first, equals in alphabetical order.

    `place="start"` counts only the run each caption begins with; shorter captions have none.
    """
    if length < 1 or (top is not None and top < 1):
        raise BadInput(f"got runs of {length} and the first {top}, wanted at least 1 of each")
    counts: Counter[Gram] = Counter()
    holding: Counter[Gram] = Counter()
    tags: defaultdict[Gram, Counter[str]] = defaultdict(Counter)
    for caption in captions:
        own: set[Gram] = set()
        for run in _runs(caption.words, length):
            gram = _gram(run, of)
            counts[gram] += 1
            own.add(gram)
            if of == "words":
                tags[gram][" ".join(word.tag for word in run)] += 1
            if place == "start":
                break
        holding.update(own)
    total = counts.total()
    return [
        GramCount(
            of, place, length, " ".join(gram), _commonest(tags[gram]), count, holding[gram], count / total
        )
        for gram, count in sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))[:top]
    ]


def distinct(
    captions: Sequence[TaggedCaption], length: int, *, signature: Signature, draws: int = DRAWS
) -> tuple[Measurement, Measurement]:
    """Distinct runs of words over all runs: within a caption on average, and over all captions together.

    The second is distinct-n (Li et al. 2016), which falls with the number of captions and has no interval:
    resampled captions repeat their runs. Captions shorter than `length` words are missing.
    """
    shares, all_runs = [], Counter[Gram]()
    for caption in captions:
        runs = [_gram(run, "words") for run in _runs(caption.words, length)]
        all_runs.update(runs)
        if runs:
            shares.append((len(set(runs)) / len(runs), caption.image))
    sample = sample_of(shares)
    within = clustered_bootstrap(sample.values, sample.clusters, draws=draws, seed=signature.seed)
    among = Interval(
        len(all_runs) / all_runs.total() if all_runs else None,
        None,
        None,
        "a share of all captions together: no interval" if all_runs else "nothing scored",
    )
    first, second = (
        measured(
            interval,
            [sample],
            measure=f"distinct-{length} {where}",
            group="all",
            signature=signature,
            missing=len(captions) - len(shares),
        )
        for interval, where in ((within, "within a caption"), (among, "over all captions"))
    )
    return first, second


def _runs(words: Sequence[TaggedWord], length: int) -> Iterator[Sequence[TaggedWord]]:
    return (words[start : start + length] for start in range(len(words) - length + 1))


def _gram(run: Sequence[TaggedWord], of: str) -> Gram:
    return tuple(word.text.casefold() if of == "words" else word.tag for word in run)


def _commonest(tags: Counter[str]) -> str:
    return min(tags, key=lambda tag: (-tags[tag], tag), default="")
