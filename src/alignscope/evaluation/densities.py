"""Smooth curves of how values are distributed: kernel density with Scott's rule (paper B, figures 1 and 6)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from alignscope.evaluation.heats import HeatColumns
from alignscope.records import WORD_CLASSES, Point

PLACES = 128
"""Points of a curve."""
MANY = 10_000
"""Above so many values, those within a 32nd of a bandwidth are taken for equal."""


def heat_densities(methods: Mapping[str, HeatColumns], *, places: int = PLACES) -> list[Point]:
    """Per method one curve for each class of word, all on the same places: figure "heat density"."""
    points = []
    for method, columns in methods.items():
        is_known = np.isfinite(columns.heats)
        groups = {f"{method}/{group}": columns.heats[columns.of(group) & is_known] for group in WORD_CLASSES}
        points += curves("heat density", groups, places=places)
    return points


def curves(
    figure: str, groups: Mapping[str, Float[np.ndarray, " value"]], *, places: int = PLACES
) -> list[Point]:
    """The densities of some groups of finite values on shared places, one series each.

    The places reach three bandwidths beyond the 0.1 and 99.9 percentiles of all groups, so that one
    far-off value does not take the resolution from the rest. A group that is empty, or whose values are
    all equal, has no density and so no points; its mean is in the table.
    """
    widths = {name: bandwidth(values) for name, values in groups.items()}
    smooth = {name: width for name, width in widths.items() if width is not None}
    if not smooth:
        return []
    edges = np.array([np.quantile(groups[name], [0.001, 0.999]) for name in smooth])
    reach = 3 * max(smooth.values())
    grid = np.linspace(edges[:, 0].min() - reach, edges[:, 1].max() + reach, places)
    return [
        Point(figure, name, float(x), float(y), None, None, len(groups[name]))
        for name, width in smooth.items()
        for x, y in zip(grid, density(groups[name], grid, width), strict=True)
    ]


def bandwidth(values: Float[np.ndarray, " value"]) -> float | None:
    """Scott's rule: the standard deviation over the fifth root of how many; None where all are equal.

    >>> bandwidth(np.array([0.0, 2.0])) == 2**0.5 * 2**-0.2
    True
    """
    if len(values) == 0 or np.ptp(values) <= 1e-9 * np.abs(values).max():  # rounding is no difference
        return None
    return float(values.std(ddof=1) * len(values) ** -0.2)


def density(
    values: Float[np.ndarray, " value"], grid: Float[np.ndarray, " place"], width: float
) -> Float[np.ndarray, " place"]:
    """The mean of normal densities of standard deviation `width` around the values, at each place."""
    middles, counts = values, np.ones(len(values))
    if len(values) > MANY:
        step = width / 32
        bins, filled = np.unique(np.round(values / step), return_counts=True)
        middles, counts = bins * step, filled.astype(np.float64)
    total = np.zeros(len(grid))
    for start in range(0, len(middles), MANY):
        part = slice(start, start + MANY)
        distances = (grid[:, None] - middles[None, part]) / width
        total += np.exp(-(distances**2) / 2) @ counts[part]
    return total / (len(values) * width * np.sqrt(2 * np.pi))
