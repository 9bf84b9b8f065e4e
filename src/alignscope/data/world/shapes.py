"""The twelve nouns as shapes: cached pixel masks, where a hole fits, and how two of them touch."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from einops import reduce
from jaxtyping import Bool

NOUNS: tuple[str, ...] = (
    "ball",
    "box",
    "tent",
    "star",
    "cross",
    "heart",
    "moon",
    "ring",
    "tree",
    "house",
    "boat",
    "fish",
)
HUES: dict[str, float] = {  # degrees; each noun owns one
    "star": 52.0,
    "heart": 345.0,
    "tree": 120.0,
    "moon": 78.0,
    "ring": 300.0,
    "ball": 5.0,
    "box": 28.0,
    "tent": 270.0,
    "cross": 165.0,
    "house": 322.0,
    "boat": 230.0,
    "fish": 195.0,
}
HOLE_CENTRES: dict[str, tuple[float, float]] = {  # in the square [-1, 1], where a thing inside is drawn
    "tent": (0.0, 0.35),
    "heart": (0.0, -0.15),
    "moon": (-0.42, 0.0),
    "tree": (0.0, -0.3),
    "house": (0.0, 0.35),
    "boat": (0.0, 0.5),
    "fish": (-0.28, 0.0),
    "star": (0.0, 0.08),
}
HOLE_RADIUS = 8.6  # pixels

Plane = Any  # a float array over the square, x to the right and y down
_OVERSAMPLE = 5


def _star(x: Plane, y: Plane) -> Plane:
    angle = np.arctan2(x, -y)
    sector = np.abs((angle + np.pi / 5) % (2 * np.pi / 5) - np.pi / 5)
    tip, valley = 1.05, 0.55
    edge = tip * valley * np.sin(np.pi / 5) / (valley * np.sin(np.pi / 5 - sector) + tip * np.sin(sector))
    return np.hypot(x, y) <= edge


def _heart(x: Plane, y: Plane) -> Plane:
    lobes = (np.abs(x) - 0.5) ** 2 + (y + 0.42) ** 2 <= 0.5**2
    return lobes | ((y >= -0.42) & (np.abs(x) <= 0.69 * (0.96 - y)) & (np.abs(x) <= 1))


def _boat(x: Plane, y: Plane) -> Plane:
    hull = (y >= 0.1) & (np.abs(x) <= 1.0 - 0.5 * (y - 0.1))
    sail = (y < 0.02) & (x > -0.1) & (x < 0.75 * (y + 1.0))
    mast = (np.abs(x + 0.12) <= 0.1) & (y <= 0.2)
    return hull | sail | mast


_SHAPES: dict[str, Callable[[Plane, Plane], Plane]] = {
    "ball": lambda x, y: x**2 + y**2 <= 1,
    "box": lambda x, y: np.maximum(np.abs(x), np.abs(y)) <= 0.92,
    "tent": lambda x, y: np.abs(x) <= (y + 1) / 2,
    "star": _star,
    "cross": lambda x, y: np.minimum(np.abs(x), np.abs(y)) <= 0.36,
    "heart": _heart,
    "moon": lambda x, y: (x**2 + y**2 <= 1) & ((x - 0.72) ** 2 + y**2 >= 0.56),
    "ring": lambda x, y: (x**2 + y**2 <= 1) & (x**2 + y**2 >= 0.15),
    "tree": lambda x, y: (x**2 / 0.72 + (y + 0.3) ** 2 / 0.49 <= 1) | ((np.abs(x) <= 0.2) & (y >= 0.2)),
    "house": lambda x, y: (
        ((np.abs(x) <= 0.78) & (y >= -0.15)) | ((np.abs(x) <= (y + 1) * 1.2) & (y < -0.15) & (np.abs(x) <= 1))
    ),
    "boat": _boat,
    "fish": lambda x, y: (
        ((x + 0.28) ** 2 / 0.52 + y**2 / 0.4 <= 1) | ((x >= 0.3) & (np.abs(y) <= 0.95 * (x - 0.25)))
    ),
}


@cache
def _drawn(noun: str, size_px: int) -> tuple[Bool[np.ndarray, "height width"], int, int]:
    """The mask cropped to its box, and how much was cropped at the left and the top."""
    steps = (np.arange(size_px * _OVERSAMPLE) + 0.5) / (size_px * _OVERSAMPLE) * 2 - 1
    inside = _SHAPES[noun](steps[None, :], steps[:, None])
    cells = "(row down) (column across) -> row column"
    full = reduce(inside.astype(float), cells, "mean", down=_OVERSAMPLE, across=_OVERSAMPLE) >= 0.5
    rows, columns = np.flatnonzero(full.any(1)), np.flatnonzero(full.any(0))
    mask = full[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return mask, int(columns[0]), int(rows[0])


def shape_mask(noun: str, size_px: int) -> Bool[np.ndarray, "height width"]:
    """The pixels of a noun drawn in a square of `size_px`, cropped to its bounding box."""
    return _drawn(noun, size_px)[0]


@cache
def extent(noun: str, size_px: int) -> tuple[int, int]:
    """Width and height of the bounding box in pixels."""
    height, width = shape_mask(noun, size_px).shape
    return width, height


@cache
def hole_centre(noun: str, size_px: int) -> tuple[float, float]:
    """Where the hole of a hollow noun lies, in pixels from the corner of its box."""
    x, y = HOLE_CENTRES.get(noun, (0.0, 0.0))
    _, left, top = _drawn(noun, size_px)
    return (x + 1) / 2 * size_px - left, (y + 1) / 2 * size_px - top


@cache
def contact_shift(first: str, first_px: int, second: str, second_px: int, is_vertical: bool) -> int:
    """How far the second box must start after the first for the shapes to meet, centres aligned.

    The shapes then share one column (or row) of pixels, so the contact can be seen.
    """
    a, b = shape_mask(first, first_px), shape_mask(second, second_px)
    if is_vertical:
        a, b = a.T, b.T
    offset = round((a.shape[0] - b.shape[0]) / 2)
    gaps = []
    for row in range(max(0, offset), min(a.shape[0], b.shape[0] + offset)):
        ends, starts = np.flatnonzero(a[row]), np.flatnonzero(b[row - offset])
        if len(ends) and len(starts):
            gaps.append(int(ends[-1]) - int(starts[0]))
    return max(gaps)
