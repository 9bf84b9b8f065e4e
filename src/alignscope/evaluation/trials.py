"""What a way of training does, over seeds: means and differences to a baseline with the same seeds."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from alignscope.errors import BadInput
from alignscope.records import Effect, Trial

Key = tuple[str, str, str]  # measure, method, group


@dataclass(frozen=True)
class Mean:
    """A mean with Student's interval, which one value alone does not have."""

    value: float
    low: float | None
    high: float | None


def effects(
    trials: Sequence[Trial], *, baseline: str, level: float = 0.95, signature: str = ""
) -> list[Effect]:
    """One effect per variant and number, in the order of the trials; pairs of seeds where both have a value.

    The differences are paired: seed 3 of a variant began where seed 3 of the baseline began and saw the
    same batches.
    """
    values: dict[tuple[str, Key], dict[int, float | None]] = defaultdict(dict)
    units: dict[Key, str] = {}
    for trial in trials:
        key = (trial.measure, trial.method, trial.group)
        if trial.seed in values[trial.variant, key]:
            raise BadInput(
                f"two values of {' '.join(key)} for {trial.variant}, seed {trial.seed}: wanted one"
            )
        values[trial.variant, key][trial.seed] = trial.value
        units[key] = trial.unit
    if all(variant != baseline for variant, _ in values):
        raise BadInput(f"no trial of the baseline '{baseline}' among {', '.join({v for v, _ in values})}")
    return [
        _effect(variant, key, units[key], found, values.get((baseline, key), {}), baseline, level, signature)
        for (variant, key), found in values.items()
    ]


def _effect(
    variant: str,
    key: Key,
    unit: str,
    found: dict[int, float | None],
    base: dict[int, float | None],
    baseline: str,
    level: float,
    signature: str,
) -> Effect:
    known = [value for value in found.values() if value is not None]
    pairs = [
        value - other
        for seed, value in found.items()
        if value is not None and (other := base.get(seed)) is not None
    ]
    mean = student_mean(known, level=level) if known else None
    gap = student_mean(pairs, level=level) if pairs and variant != baseline else None
    measure, method, group = key
    return Effect(
        variant,
        measure,
        group,
        unit,
        mean.value if mean else None,
        mean.low if mean else None,
        mean.high if mean else None,
        len(known),
        len(found) - len(known),
        baseline,
        gap.value if gap else None,
        gap.low if gap else None,
        gap.high if gap else None,
        sum(pair > 0 for pair in pairs),
        level,
        f"{measure}|{signature}|variant:{variant}|seeds:{len(known)}|interval:student" if signature else "",
        method,
    )


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
