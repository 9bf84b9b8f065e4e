"""How much of a caption's attribution each class of word gets, and the gap between objects and the rest."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

from alignscope.evaluation.intervals import (
    clustered_bootstrap,
    clustered_difference,
    measured,
    sample_of,
)
from alignscope.records import WORD_CLASSES, Measurement, Signature, WordHeat

REST: tuple[str, ...] = ("attribute", "relation")  # what paper B calls composition
GAPS: dict[str, tuple[str, ...]] = {
    "object-attribute": ("attribute",),
    "object-relation": ("relation",),
    "object-rest": REST,
}


def heat_by_class(
    heats: Sequence[WordHeat],
    *,
    signature: Signature,
    draws: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> list[Measurement]:
    """Mean heat per word by class, the gaps, and how often objects are above the rest (paper B, fig. 1).

    Items are words ("heat", "heat gap") or captions ("object above rest"). A heat that is not finite
    counts as missing.
    """
    signature = replace(signature, ties="wrong", seed=seed)
    found: dict[str, list[tuple[float, str]]] = defaultdict(list)
    lost: dict[str, int] = defaultdict(int)
    for word in heats:
        if math.isfinite(word.heat):
            found[word.word_class].append((word.heat, word.image))
        else:
            lost[word.word_class] += 1
    numbers = []
    for word_class in [*WORD_CLASSES, *sorted({*found, *lost} - set(WORD_CLASSES))]:
        sample = sample_of(found[word_class])
        interval = clustered_bootstrap(sample.values, sample.clusters, draws=draws, seed=seed, level=level)
        numbers.append(
            measured(
                interval,
                [sample],
                measure="heat",
                group=word_class,
                signature=signature,
                unit="heat",
                missing=lost[word_class],
                level=level,
            )
        )
    objects = sample_of(found["object"])
    for gap, classes in GAPS.items():
        others = sample_of([pair for word_class in classes for pair in found[word_class]])
        numbers.append(
            measured(
                clustered_difference(objects, others, draws=draws, seed=seed, level=level),
                [objects, others],
                measure="heat gap",
                group=gap,
                signature=signature,
                unit="heat",
                missing=sum(lost[word_class] for word_class in ("object", *classes)),
                level=level,
            )
        )
    return [*numbers, object_above_rest(heats, signature=signature, draws=draws, seed=seed, level=level)]


def object_above_rest(
    heats: Sequence[WordHeat],
    *,
    signature: Signature,
    draws: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Measurement:
    """Share of captions whose mean object heat exceeds their mean attribute and relation heat.

    Paper B averages the same way within a caption (section 3). Equal means are ties and count as
    not above; a caption without both sides, or with a heat that is not finite, is missing.
    """
    captions: dict[tuple[str, str], list[WordHeat]] = defaultdict(list)
    for word in heats:
        captions[word.image, word.item].append(word)
    above: list[tuple[float, str]] = []
    ties = missing = 0
    for (image, _), words in captions.items():
        objects = [word.heat for word in words if word.word_class == "object"]
        rest = [word.heat for word in words if word.word_class in REST]
        if not objects or not rest or not all(map(math.isfinite, objects + rest)):
            missing += 1
            continue
        gap = fmean(objects) - fmean(rest)
        ties += gap == 0
        above.append((float(gap > 0), image))
    sample = sample_of(above)
    interval = clustered_bootstrap(sample.values, sample.clusters, draws=draws, seed=seed, level=level)
    return measured(
        interval,
        [sample],
        measure="object above rest",
        group="all",
        signature=replace(signature, ties="wrong", seed=seed),
        ties=ties,
        missing=missing,
        level=level,
    )
