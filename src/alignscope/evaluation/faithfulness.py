"""Faithfulness of attributions over captions, each method beside random orders of the same words."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from alignscope.evaluation.intervals import clustered_bootstrap, measured, sample_of
from alignscope.records import DRAWS, Faithfulness, Measurement, Point, ScoreCurve, Signature

RANDOM = "random"
BETTER = {"deletion": -1, "insertion": 1, "comprehensiveness": 1, "sufficiency": -1}
"""The measures, and whether more (1) or less (-1) of each is better."""
UNITS = {"deletion": "area", "insertion": "area", "comprehensiveness": "score", "sufficiency": "score"}
FRACTIONS = 11
"""Points of a mean curve, from 0 to 1."""


def faithfulness_summary(
    records: Sequence[Faithfulness],
    *,
    signature: Signature,
    missing: int = 0,
    draws: int = DRAWS,
    seed: int = 0,
    level: float = 0.95,
) -> list[Measurement]:
    """Mean of each measure by method, and its gain over the random order of the same caption.

    A gain above 0 is better than random, whichever way the measure points. `missing` says how many items
    have no record; a record with a value that is not finite, or a caption without the random order, adds to it.
    A signature that names options of attribution in `method` keeps them after the method.
    """
    by_method: dict[str, dict[tuple[str, str], Faithfulness]] = defaultdict(dict)
    for record in records:
        by_method[record.method][record.item, record.image] = record
    at_random = by_method.get(RANDOM, {})

    def number(measure: str, method: str, pairs: Sequence[tuple[float, str]], unit: str) -> Measurement:
        sample = sample_of([(value, image) for value, image in pairs if math.isfinite(value)])
        found = measured(
            clustered_bootstrap(sample.values, sample.clusters, draws=draws, seed=seed, level=level),
            [sample],
            measure=measure,
            group="all",
            signature=replace(signature, seed=seed, method=f"{method} {signature.method}".strip()),
            unit=unit,
            missing=missing + len(by_method[method]) - len(sample.values),
            level=level,
        )
        return replace(found, method=method)

    numbers = []
    for measure, sign in BETTER.items():
        for method, own in by_method.items():
            values = [(getattr(record, measure), record.image) for record in own.values()]
            numbers.append(number(measure, method, values, UNITS[measure]))
        for method, own in by_method.items():
            if method == RANDOM:
                continue
            gains = [
                (sign * (getattr(record, measure) - getattr(at_random[key], measure)), record.image)
                for key, record in own.items()
                if key in at_random
            ]
            numbers.append(number(f"{measure} gain", method, gains, UNITS[measure]))
    return numbers


def curves(
    measured_curves: Sequence[ScoreCurve], *, draws: int = DRAWS, seed: int = 0, level: float = 0.95
) -> list[Point]:
    """Mean deletion and insertion curves by method over the share of words that left or came.

    Captions differ in length: each one's curve is read at the same fractions, straight between its steps.
    Curves with a value that is not finite are left out.
    """
    grid = np.linspace(0, 1, FRACTIONS)
    found: dict[tuple[str, str], list[tuple[np.ndarray, str]]] = defaultdict(list)
    for curve in measured_curves:
        if all(map(math.isfinite, curve.values)):
            steps = np.linspace(0, 1, len(curve.values))
            found[f"{curve.kind} curve", curve.method].append(
                (np.interp(grid, steps, curve.values), curve.image)
            )
    points = []
    for (figure, method), rows in found.items():
        for at, fraction in enumerate(grid):
            sample = sample_of([(float(values[at]), image) for values, image in rows])
            mean = clustered_bootstrap(sample.values, sample.clusters, draws=draws, seed=seed, level=level)
            assert mean.value is not None  # there is at least one curve
            points.append(Point(figure, method, float(fraction), mean.value, mean.low, mean.high, len(rows)))
    return points
