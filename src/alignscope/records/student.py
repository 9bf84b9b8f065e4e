"""Means over seeds with Student's intervals, in plain arithmetic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev


@dataclass(frozen=True)
class Mean:
    """A mean with Student's interval, which one value alone does not have."""

    value: float
    low: float | None
    high: float | None


def student_mean(values: Sequence[float], *, level: float = 0.95) -> Mean:
    """The mean and Student's interval for it.

    >>> student_mean([4.0])
    Mean(value=4.0, low=None, high=None)
    """
    mean = fmean(values)
    if len(values) < 2:
        return Mean(mean, None, None)
    half = student_quantile((1 + level) / 2, len(values) - 1) * stdev(values) / math.sqrt(len(values))
    return Mean(mean, mean - half, mean + half)


def student_quantile(share: float, freedom: int) -> float:
    """The value below which `share` (above one half) of Student's t with `freedom` degrees lies.

    >>> round(student_quantile(0.975, 4), 4)
    2.7764
    """
    low, high = 0.0, 1.0
    while student_share(high, freedom) < share:
        high *= 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if student_share(middle, freedom) < share else (low, middle)
    return (low + high) / 2


def student_share(value: float, freedom: int) -> float:
    """P(t <= value) for whole degrees of freedom (Abramowitz and Stegun 1964, 26.7.3 and 26.7.4)."""
    angle = math.atan(value / math.sqrt(freedom))
    cosine, sine = math.cos(angle), math.sin(angle)
    is_odd = freedom % 2 == 1
    term, total = (cosine if is_odd else 1.0), 0.0
    for step in range(2 + is_odd, freedom + 1, 2):
        total += term
        term *= cosine**2 * (step - 1) / step
    inner = 2 / math.pi * (angle + sine * total) if is_odd else sine * total
    return (1 + inner) / 2
