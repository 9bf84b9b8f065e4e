"""Whether the hottest words are those that carry the score: words leave or come, hottest first.

Deletion and insertion curves (Petsiuk et al. 2018, RISE) over the words of a caption, comprehensiveness
and sufficiency (DeYoung et al. 2020, ERASER), for every method and for one random order per caption.

Differs: only words that every method attributes are ranked, so that methods are compared on the same
words; the others stay in the text throughout. Curves run from the score without the ranked words (0) to
that of the caption (1). ERASER's bins of 1, 5 and 10 % would all be one word of a caption: `BINS` keeps
20 and 50 %, rounded up to whole words.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from alignscope.attribution.scores import ImageSide, check_images, possible_scores, rows_of
from alignscope.errors import BadInput
from alignscope.language.replacements import without
from alignscope.models.protocols import PairScorer, Progress, Traits
from alignscope.records import Attribution, Faithfulness, Item, Problem, ScoreCurve

BINS = (20, 50)
"""Percent of the ranked words over which comprehensiveness and sufficiency are averaged."""
LEAST_GAIN = {"cosine": 0.01, "match": 1.0, "yes": 1.0, "likelihood": 0.1, "information": 0.1}
"""What the ranked words together must add, or there is nothing to divide a curve by. Log-odds must grow
by 1, which is what 0.01 of cosine makes at CLIP's scale of 100; means over tokens by a tenth of that, as a
caption has about ten tokens."""
RANDOM = "random"


@dataclass(frozen=True)
class Judged:
    """Some items' faithfulness and curves, one of each kind per method and random order, and what was left out."""

    records: tuple[Faithfulness, ...]
    curves: tuple[ScoreCurve, ...]
    problems: tuple[Problem, ...]


@dataclass(frozen=True)
class Order:
    """The caption's texts while its ranked words leave and while they come, hottest first."""

    method: str
    leaving: tuple[str, ...]  # after 0, 1, ... words left
    coming: tuple[str, ...]  # after 0, 1, ... words came


def faithfulness(
    model: PairScorer,
    items: Sequence[Item],
    images: ImageSide,
    attributions: Sequence[Attribution],
    *,
    methods: Sequence[str] | None = None,
    seed: int = 0,
    batch_size: int = 64,
    progress: Progress | None = None,
) -> Iterator[Judged]:
    """Faithfulness of every item's attributions, batch by batch, in the order of the items.

    `images` has one per item: pictures, or a dual encoder's embeddings. `methods` defaults to those of
    `attributions`; name them where the items come in parts. Words of equal heat stand in the item's
    random order.
    """
    check_images(images, len(items), of="items")
    if batch_size < 1:
        raise BadInput(f"got a batch size of {batch_size}, wanted 1 or more")
    names = list(dict.fromkeys(a.method for a in attributions)) if methods is None else list(methods)
    if not names or RANDOM in names:
        raise BadInput(f"methods {names}: wanted one or more, none of them called '{RANDOM}'")
    of_item: dict[tuple[str, str], dict[str, Attribution]] = {}
    for one in attributions:
        of_item.setdefault((one.item, one.image), {})[one.method] = one
    for start in range(0, len(items), batch_size):
        batch = items[start : start + batch_size]
        found = [of_item.get((item.id, item.image), {}) for item in batch]
        yield _judged(model, batch, images[start : start + batch_size], found, names, seed)
        if progress is not None:
            progress(start + len(batch), len(items))


def _judged(
    model: PairScorer,
    items: Sequence[Item],
    images: ImageSide,
    attributions: Sequence[Mapping[str, Attribution]],
    methods: Sequence[str],
    seed: int,
) -> Judged:
    """One batch: orders, one score per distinct text of each item, and what follows from the scores."""
    traits = model.traits
    cut = model.tokens([item.caption.text for item in items]).truncated(traits.context_length)
    problems: list[Problem] = []
    planned: list[tuple[int, list[Order]]] = []
    for row, (item, found) in enumerate(zip(items, attributions, strict=True)):
        orders = _orders(item, found, methods, seed)
        why = "words beyond the context would enter it while others leave" if cut[row] else ""
        if not orders:
            why = f"fewer than 2 words that every method attributes ({', '.join(methods)})"
        if why:
            problems.append(_problem(item, why))
        else:
            planned.append((row, orders))
    scores = _scores(model, images, planned)
    records: list[Faithfulness] = []
    curves: list[ScoreCurve] = []
    for row, orders in planned:
        item, score = items[row], scores[row]
        empty, full = score[orders[0].coming[0]], score[item.caption.text]
        if not all(map(math.isfinite, score.values())):
            problems.append(_problem(item, "a text is too long, or a score is not finite"))
        elif full - empty < least_gain(traits):
            problems.append(
                _problem(
                    item,
                    f"the ranked words add {full - empty:.3g} to the score of {empty:.4g}: no curve to it",
                )
            )
        else:
            for order in orders:
                leaving = [score[text] for text in order.leaving]
                coming = [score[text] for text in order.coming]
                records.append(_record(item, order.method, leaving, coming))
                curves += [
                    ScoreCurve(item.id, item.image, order.method, "deletion", _shares(leaving, empty, full)),
                    ScoreCurve(item.id, item.image, order.method, "insertion", _shares(coming, empty, full)),
                ]
    return Judged(tuple(records), tuple(curves), tuple(problems))


def _orders(
    item: Item, attributions: Mapping[str, Attribution], methods: Sequence[str], seed: int
) -> list[Order]:
    """The order of each method and the random one over the words all methods attribute; empty for less than 2."""
    for one in attributions.values():
        if one.text != item.caption.text:
            raise BadInput(
                f"item {item.id}: the attribution is of {one.text!r:.60}, the caption is "
                f"{item.caption.text!r:.60}: wanted attributions of these items"
            )
    if not all(method in attributions for method in methods):
        return []
    heats = {method: {word.position: word.heat for word in attributions[method].words} for method in methods}
    ranked = sorted(set.intersection(*(set(heat) for heat in heats.values())))
    if len(ranked) < 2:
        return []
    random.Random(f"{seed}/{item.id}/{item.caption.text}").shuffle(ranked)
    by_method = {method: sorted(ranked, key=lambda place: -heats[method][place]) for method in methods}
    orders = []
    for method, order in {**by_method, RANDOM: ranked}.items():
        leaving = tuple(without(item.caption, order[:count]) for count in range(len(order) + 1))
        coming = tuple(without(item.caption, order[count:]) for count in range(len(order) + 1))
        orders.append(Order(method, leaving, coming))
    return orders


def _scores(
    model: PairScorer,
    images: ImageSide,
    planned: Sequence[tuple[int, Sequence[Order]]],
) -> dict[int, dict[str, float]]:
    """Per item the score of each of its texts with its image; an item's texts stand side by side, each once."""
    pairs = list(
        dict.fromkeys(
            (row, text)
            for row, orders in planned
            for order in orders
            for text in order.leaving + order.coming
        )
    )
    if not pairs:
        return {}
    scores, _ = possible_scores(
        model, rows_of(images, [row for row, _ in pairs]), [text for _, text in pairs]
    )
    found: dict[int, dict[str, float]] = {}
    for (row, text), score in zip(pairs, scores.tolist(), strict=True):
        found.setdefault(row, {})[text] = score
    return found


def least_gain(traits: Traits) -> float:
    """The least that ranked words must add, in the unit of the model's score."""
    return LEAST_GAIN[traits.score] * (traits.scale if traits.score == "cosine" else 1.0)


def _record(item: Item, method: str, leaving: Sequence[float], coming: Sequence[float]) -> Faithfulness:
    words, full, empty = len(leaving) - 1, leaving[0], coming[0]
    counts = [math.ceil(words * percent / 100) for percent in BINS]
    return Faithfulness(
        item=item.id,
        image=item.image,
        method=method,
        words=words,
        full=full,
        empty=empty,
        deletion=area(_shares(leaving, empty, full)),
        insertion=area(_shares(coming, empty, full)),
        comprehensiveness=fmean(full - leaving[count] for count in counts),
        sufficiency=fmean(full - coming[count] for count in counts),
    )


def _shares(scores: Sequence[float], empty: float, full: float) -> tuple[float, ...]:
    return tuple((score - empty) / (full - empty) for score in scores)


def area(values: Sequence[float]) -> float:
    """Area under values at equal steps from 0 to 1, by the trapezoid rule.

    >>> area([1.0, 0.5, 0.0]), area([0.0, 1.0, 1.0])
    (0.5, 0.75)
    """
    return (sum(values) - (values[0] + values[-1]) / 2) / (len(values) - 1)


def _problem(item: Item, why: str) -> Problem:
    return Problem(item.id, item.caption.text, f"faithfulness: {why}", "unscored")
