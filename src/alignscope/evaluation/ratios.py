"""Whether a model errs more where it heeds relation words less than objects (paper B, figure 4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from alignscope.evaluation.choices import margin_of
from alignscope.evaluation.heats import HeatColumns, caption_means
from alignscope.evaluation.intervals import (
    Sample,
    clustered_bootstrap,
    clustered_difference,
    clustered_means,
    measured,
)
from alignscope.records import DRAWS, Choice, Measurement, Point, Signature

RELATION_FOILS: tuple[str, ...] = ("replace_relation", "swap_relation")
MEASURE = "accuracy by ratio"
QUANTILES = 50


@dataclass(frozen=True)
class Ratios:
    """Choices between a caption and a relation foil, in the order of the caption's heat ratio.

    `ratios` are mean relation heat over mean object heat of the caption; `missing` counts choices
    without one, or without a finite score.
    """

    ratios: Float[np.ndarray, " choice"]
    is_right: Bool[np.ndarray, " choice"]
    is_tie: Bool[np.ndarray, " choice"]
    images: Sequence[str]
    missing: int

    def sample(self, start: int, stop: int) -> Sample:
        """Whether the model was right on the choices at some ranks, with their images."""
        return Sample(self.is_right[start:stop].astype(np.float64), self.images[start:stop])


def heat_ratios(choices: Sequence[Choice], columns: HeatColumns) -> Ratios:
    """The choices with relation foils, joined by image and item with the heats of one method.

    The paper does not say which method its ratios are of. A caption without relation or object words,
    with a heat among them that is not finite, or with a mean object heat that is not positive has none.
    """
    asked = [choice for choice in choices if choice.kind in RELATION_FOILS]
    relations, objects = caption_means(columns, "relation"), caption_means(columns, "object")
    ratios = np.full(len(columns.captions) + 1, np.nan)  # the last is for captions without heats
    np.divide(relations, objects, out=ratios[:-1], where=objects > 0)
    places = {caption: place for place, caption in enumerate(columns.captions)}
    own = ratios[[places.get((choice.image, choice.item), -1) for choice in asked]]
    margins = np.array([margin_of(choice) for choice in asked], np.float64)  # None becomes NaN
    known = np.flatnonzero(np.isfinite(own) & np.isfinite(margins))
    order = known[np.argsort(own[known], kind="stable")]
    images = [asked[place].image for place in order]
    return Ratios(own[order], margins[order] > 0, margins[order] == 0, images, len(asked) - len(order))


def accuracy_below(
    choices: Sequence[Choice],
    methods: Mapping[str, HeatColumns],
    *,
    draws: int = DRAWS,
    seed: int = 0,
    level: float = 0.95,
) -> list[Point]:
    """Accuracy over the choices whose ratio is at most x, at about 50 quantiles x of the ratios.

    Figure "accuracy by ratio"; `items` is how many choices lie at or below x. Intervals are pointwise.
    """
    points = []
    for method, columns in methods.items():
        found = heat_ratios(choices, columns)
        if not len(found.ratios):
            continue
        ranks = np.ceil(np.linspace(0, len(found.ratios), QUANTILES + 1)[1:]).astype(int) - 1
        edges = np.unique(found.ratios[ranks])
        below = np.searchsorted(found.ratios, edges, side="right")
        intervals = clustered_means(
            [found.sample(0, int(stop)) for stop in below], draws=draws, seed=seed, level=level
        )
        points += [
            Point(MEASURE, method, float(x), interval.value, interval.low, interval.high, int(stop))
            for x, stop, interval in zip(edges, below, intervals, strict=True)
            if interval.value is not None
        ]
    return points


def accuracy_by_ratio(
    choices: Sequence[Choice],
    methods: Mapping[str, HeatColumns],
    *,
    signature: Signature,
    draws: int = DRAWS,
    seed: int = 0,
    level: float = 0.95,
) -> list[Measurement]:
    """Per method: accuracy where the ratio is at most its median ("low half"), above it, and the difference.

    A tie counts as wrong. Where half of the choices share the median the halves differ in size.
    """
    how: dict[str, Any] = {"draws": draws, "seed": seed, "level": level}
    numbers = []
    for method, columns in methods.items():
        found = heat_ratios(choices, columns)
        signed = replace(signature, ties="wrong", seed=seed, method=f"{method} {signature.method}".strip())
        count = len(found.ratios)
        middle = int(np.searchsorted(found.ratios, np.median(found.ratios), side="right")) if count else 0
        low, high = found.sample(0, middle), found.sample(middle, count)
        ties = int(found.is_tie[:middle].sum()), int(found.is_tie[middle:].sum())
        rows = {
            "low half": (clustered_bootstrap(low.values, low.clusters, **how), [low], ties[0]),
            "high half": (clustered_bootstrap(high.values, high.clusters, **how), [high], ties[1]),
            "high minus low": (clustered_difference(high, low, **how), [high, low], sum(ties)),
        }
        numbers += [
            measured(
                interval,
                samples,
                measure=MEASURE,
                group=group,
                signature=signed,
                ties=tied,
                missing=found.missing,
                level=level,
                method=method,
            )
            for group, (interval, samples, tied) in rows.items()
        ]
    return numbers
