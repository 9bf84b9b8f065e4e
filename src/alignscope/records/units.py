"""What figures of the inside of captioners write at their axes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class UnitName:
    """What a label or a region of an image is called; `name` is "" for a region that its detector did not name."""

    image: str
    of: str  # "label" or "vision", as the sides of blocks
    unit: int
    name: str
