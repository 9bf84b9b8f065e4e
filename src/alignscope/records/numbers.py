"""Numbers as they are reported, with where they come from."""

from __future__ import annotations

from dataclasses import dataclass

DRAWS = 2000
"""Draws of a bootstrap where no other number is asked for."""


@dataclass(frozen=True)
class Signature:
    """Where a number comes from; `str()` is its one-line form.

    >>> print(Signature("accuracy", "pairs", "9f31c2", 5, 4, "tiny-clip", "ab12", version="0.1.0"))
    accuracy|data:pairs|sha:9f31c2|items:5|images:4|model:tiny-clip|weights:ab12|dtype:float32|ties:wrong|seed:0|v:0.1.0
    """

    measure: str
    data: str
    sha: str
    items: int
    images: int
    model: str
    weights: str
    dtype: str = "float32"
    ties: str = "wrong"
    seed: int = 0
    version: str = ""
    method: str = ""  # of attribution, with its options, where there is one

    def __str__(self) -> str:
        own = {
            name: value for name, value in vars(self).items() if name not in ("measure", "method", "version")
        }
        parts = {**({"method": self.method} if self.method else {}), **own, "v": self.version}
        return "|".join([self.measure, *(f"{name}:{value}" for name, value in parts.items())])


@dataclass(frozen=True)
class Measurement:
    """A number as it is reported: value, interval, how many, ties, missing, signature.

    `value` is None where nothing could be measured; `reason` then says why.
    """

    measure: str  # "accuracy", "heat gap", "recall@5", ...
    group: str  # foil kind, word class, direction, ... ; "all" for the whole
    value: float | None
    low: float | None
    high: float | None
    items: int
    images: int
    ties: int = 0
    missing: int = 0
    unit: str = "share"
    level: float = 0.95
    reason: str = ""
    signature: str = ""
    method: str = ""  # of attribution, where there is one


@dataclass(frozen=True)
class Point:
    """One point of a curve in a figure, with the interval of `y` where it has one."""

    figure: str
    series: str
    x: float
    y: float
    low: float | None
    high: float | None
    items: int


@dataclass(frozen=True)
class CaptionScore:
    """One caption's value under one metric; None where it could not be measured, and why."""

    image: str
    metric: str  # "CIDEr", "BLEU-4", ...
    value: float | None
    reason: str = ""
