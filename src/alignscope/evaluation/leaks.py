"""How much of a benchmark training saw, and how accurate a model is on what it did not see."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from alignscope.data.benchmarks.facts import Asks
from alignscope.data.leaks import Overlap
from alignscope.errors import BadData
from alignscope.evaluation.columns import Columns, signs
from alignscope.evaluation.intervals import (
    Interval,
    Sample,
    clustered_bootstrap,
    clustered_difference,
    measured,
    sample_of,
)
from alignscope.records import DRAWS, Measurement, Signature

MEASURE = "seen in training"
SEEN: Mapping[str, Callable[[Overlap], bool]] = {
    "image": lambda one: one.saw_image,
    "right caption": lambda one: one.saw_right_caption,
    "wrong caption": lambda one: one.saw_wrong_caption,
    "any": lambda one: not one.is_clean,
}
"""The ways in which training saw an item."""
RULES: Mapping[Asks, tuple[str, str]] = {
    "caption": ("", "the right text above all others"),
    "image": ("", "the right image above all others"),
    "pairing": ("group", "texts and images both right (group)"),
    "two captions": ("ITT", "both right texts above the wrong one (ITT)"),
}
"""When an item counts as right: the question of `signs`, and in words; other benchmarks have no right items."""


def items_seen(overlaps: Sequence[Overlap], *, signature: Signature) -> list[Measurement]:
    """How many items training saw, by way and by subset: counts of these lists, hence without intervals."""
    found = []
    for subset, items in _by_subset(overlaps):
        images = len({one.image for one in items if one.image})
        signed = replace(signature, measure=MEASURE, items=len(items), images=images, ties="none")
        for way, is_seen in SEEN.items():
            found.append(
                Measurement(
                    measure=MEASURE,
                    group=way + subset,
                    value=float(sum(map(is_seen, items))),
                    low=None,
                    high=None,
                    items=len(items),
                    images=images,
                    unit="items",
                    signature=str(signed),
                )
            )
    return found


def accuracy_by_overlap(
    overlaps: Sequence[Overlap],
    scores: Columns,
    *,
    asks: Asks,
    signature: Signature,
    draws: int = DRAWS,
    seed: int = 0,
    level: float = 0.95,
) -> list[Measurement]:
    """Accuracy on clean items, on those training saw in each way, and what the latter have more, per subset.

    Ties are wrong. An item that the model was not asked, or whose scores are missing, is counted as
    missing. The difference is that between "any" and clean; images of both are drawn together.
    """
    how: dict[str, Any] = {"draws": draws, "seed": seed, "level": level}
    answers = _answers(scores, asks)
    if not answers.keys() & {one.item for one in overlaps}:
        raise BadData(
            f"the run answers none of the benchmark's {len(overlaps)} items (its first: "
            f"{next(iter(scores.items), 'none')}), wanted scores of this benchmark; check the run"
        )
    signature = replace(signature, ties="wrong", seed=seed)

    def number(
        measure: str, group: str, interval: Interval, parts: Sequence[Sequence[Overlap]]
    ) -> Measurement:
        items = [one.item for part in parts for one in part]
        return measured(
            interval,
            [_sample(part, answers) for part in parts],
            measure=measure,
            group=group,
            signature=signature,
            ties=sum(answers[item].sign == 0 for item in items if item in answers),
            missing=sum(item not in answers for item in items),
            level=level,
            reason="; ".join(filter(None, [interval.reason, RULES[asks][1]])),
        )

    found = []
    for after, items in _by_subset(overlaps):
        parts = {"clean": [one for one in items if one.is_clean]}
        parts |= {f"seen ({way})": [one for one in items if is_seen(one)] for way, is_seen in SEEN.items()}
        for name, part in parts.items():
            sample = _sample(part, answers)
            interval = clustered_bootstrap(sample.values, sample.clusters, **how)
            found.append(number("accuracy", name + after, interval, [part]))
        both = [parts["seen (any)"], parts["clean"]]
        gap = clustered_difference(*(_sample(part, answers) for part in both), **how)
        found.append(number("accuracy difference", f"seen (any) - clean{after}", gap, both))
    return found


@dataclass(frozen=True)
class _Answer:
    """How an item was answered: 1 right, 0 tied, -1 wrong; `image` is the cluster it belongs to."""

    sign: float
    image: str


def _answers(scores: Columns, asks: Asks) -> dict[str, _Answer]:
    if asks not in RULES:
        raise BadData(
            f"items that ask for {asks} are not right or wrong one by one, wanted one of "
            f"{', '.join(RULES)}; leave the run out"
        )
    found = zip(scores.items, signs(scores, asks)[RULES[asks][0]].tolist(), scores.images, strict=True)
    return {item: _Answer(sign, image) for item, sign, image in found if not math.isnan(sign)}


def _by_subset(overlaps: Sequence[Overlap]) -> list[tuple[str, Sequence[Overlap]]]:
    """All items, and where there are several subsets each of them, with what tells their groups apart."""
    subsets: dict[str, list[Overlap]] = {}
    for one in overlaps:
        subsets.setdefault(f" | {one.subset}", []).append(one)
    return [("", overlaps), *(subsets.items() if len(subsets) > 1 else ())]


def _sample(items: Collection[Overlap], answers: Mapping[str, _Answer]) -> Sample:
    found = [answers[one.item] for one in items if one.item in answers]
    return sample_of([(float(answer.sign > 0), answer.image) for answer in found])
