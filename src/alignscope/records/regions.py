"""What a detector saw in an image, for models that take it in place of pixels."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

import numpy as np
from jaxtyping import Float32

_SLACK = 0.5  # pixels by which a rounded box may leave its image


def _none() -> np.ndarray:
    return np.zeros(0, np.float32)


@final
@dataclass(frozen=True, eq=False)
class Regions:
    """The regions of one image: boxes are pixel corners (x1, y1, x2, y2), x right and y down.

    `tags` and `attributes` hold one word (or phrase) per region, "" where it has none, and are empty where
    the detector named nothing; so are the confidences. `made_by` says whose features these are where that
    is known and not the detector of Visual Genome that region models were trained on.
    """

    image: str
    width: int
    height: int
    boxes: Float32[np.ndarray, "region 4"]
    features: Float32[np.ndarray, "region width"]
    tags: tuple[str, ...] = ()
    confidences: Float32[np.ndarray, " tagged"] = field(default_factory=_none)
    attributes: tuple[str, ...] = ()
    attribute_confidences: Float32[np.ndarray, " attributed"] = field(default_factory=_none)
    made_by: str = ""

    def __len__(self) -> int:
        return len(self.boxes)

    def __eq__(self, other: object) -> bool:
        """Equal when every field is, arrays bit for bit."""
        if not isinstance(other, Regions):
            return NotImplemented
        return all(
            np.array_equal(mine, theirs) if isinstance(mine, np.ndarray) else mine == theirs
            for mine, theirs in zip(vars(self).values(), vars(other).values(), strict=True)
        )

    __hash__ = None  # type: ignore[assignment]


def fault_of_regions(regions: Regions) -> str | None:
    """What contradicts itself in a record of regions; None when nothing does."""
    many = len(regions.boxes)
    for name, given, wanted in (
        ("features", len(regions.features), many),
        ("tags", len(regions.tags) or many, many),
        ("confidences", len(regions.confidences) or many, many),
        ("attributes", len(regions.attributes) or many, many),
        ("attribute confidences", len(regions.attribute_confidences) or many, many),
    ):
        if given != wanted:
            return f"got {given} {name} for {wanted} boxes, wanted one each"
    if regions.width < 1 or regions.height < 1:
        return f"got an image of {regions.width}x{regions.height} pixels, wanted at least 1x1"
    for name, numbers in (
        ("boxes", regions.boxes),
        ("features", regions.features),
        ("confidences", regions.confidences),
        ("attribute confidences", regions.attribute_confidences),
    ):
        if not np.isfinite(numbers).all():
            return f"got {name} that are not finite numbers"
    if any("\ud800" <= mark <= "\udfff" for word in (*regions.tags, *regions.attributes) for mark in word):
        return "got a tag or an attribute with half a surrogate pair, which is no character"
    left, top, right, bottom = regions.boxes.T
    outside = (left < -_SLACK) | (top < -_SLACK)
    outside |= (right > regions.width + _SLACK) | (bottom > regions.height + _SLACK)
    for wrong, what in (
        (outside, f"wanted it inside the image of {regions.width}x{regions.height} pixels"),
        ((right <= left) | (bottom <= top), "wanted corners as x1 < x2, y1 < y2"),
    ):
        if wrong.any():
            position = int(wrong.argmax())
            return f"got box {position + 1} as {regions.boxes[position].tolist()}, {what}"
    return None
