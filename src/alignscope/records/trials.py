"""Numbers of models trained several times with different seeds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Trial:
    """One number of one trained model; `value` is None where it could not be measured."""

    variant: str
    seed: int
    measure: str
    group: str
    value: float | None
    unit: str
    method: str = ""  # of attribution, where there is one


@dataclass(frozen=True)
class Effect:
    """A variant's mean over seeds, and how far it lies from the baseline's with the same seeds.

    Intervals are Student's over seeds; None where there is one seed only. `above` counts the seeds in
    which the variant's number is higher than the baseline's.
    """

    variant: str
    measure: str
    group: str
    unit: str
    value: float | None
    low: float | None
    high: float | None
    seeds: int
    missing: int
    baseline: str
    difference: float | None
    difference_low: float | None
    difference_high: float | None
    above: int
    level: float
    signature: str
    method: str = ""
