"""Claims of a paper beside a study's numbers: what an interval over seeds says of a direction, and in which words."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean

from alignscope.reporting.entries import gap, plain
from alignscope.reporting.scenes_numbers import OverSeeds, Values

SUPPORTED, CONTRARY, UNTOLD, BEYOND = "supported", "not supported", "cannot tell", "beyond the paper"


@dataclass(frozen=True)
class Finding:
    """What the paper claims, whether it holds here, and the numbers."""

    key: str
    about: str
    verdict: str
    says: str
    claim: str = ""


def verdict_of(mean: OverSeeds | None, wanted: int) -> str:
    """What an interval over seeds says of a claimed direction."""
    if mean is None or mean.side == 0:
        return UNTOLD
    return SUPPORTED if mean.side == wanted else CONTRARY


def told(mean: OverSeeds | None, *, times: float = 1.0, unit: str = "") -> str:
    """A mean difference with half its interval and how many seeds agree with its sign.

    >>> told(OverSeeds(-0.5, -0.75, -0.25, 5, 0), times=100), told(OverSeeds(0.5, None, None, 1, 1))
    ('−50.0 ± 25.0, below zero in 5 of 5 seeds', '+0.50, one seed: no interval')
    """
    if mean is None:
        return "not measured"
    if mean.seeds == 1:
        ends = "no interval"
        if mean.low is not None and mean.high is not None:
            ends = f"{plain(times * mean.low)} to {plain(times * mean.high)} over images"
        return f"{gap(times * mean.value, None, None)}{unit}, one seed: {ends}"
    scaled = [None if one is None else times * one for one in (mean.low, mean.high)]
    text = f"{gap(times * mean.value, *scaled)}{unit}"
    below = mean.value < 0
    agree = mean.seeds - mean.above if below else mean.above
    return f"{text}, {'below' if below else 'above'} zero in {agree} of {mean.seeds} seeds"


def mean_text(values: Values, times: float = 1.0) -> str:
    """A mean over seeds as a plain number.

    >>> mean_text({0: 0.25, 1: 0.75}, 100), mean_text({})
    ('50.0', 'unknown')
    """
    return plain(times * fmean(values.values())) if values else "unknown"
