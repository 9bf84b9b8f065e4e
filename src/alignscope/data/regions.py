"""Regions of images, as detectors give them, in the TSV layout that LXMERT's loader made common.

One line per image: ids and confidences of objects and attributes, boxes and features as base64 of
float32. Ids point into plain-text vocabularies kept beside the file.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

import numpy as np
from jaxtyping import Float32


def _no_confidences() -> np.ndarray:
    return np.zeros(0, np.float32)


@final
@dataclass(frozen=True, eq=False)
class RegionSet:
    """The regions of one image: boxes are pixel corners (x1, y1, x2, y2), x right and y down.

    `tags` and `attributes` hold one word (or phrase) per region; an attribute is "" where there is none.
    `attribute_confidences` is empty where nobody measured them.
    """

    image: str
    width: int
    height: int
    boxes: Float32[np.ndarray, "region 4"]
    tags: tuple[str, ...]
    attributes: tuple[str, ...]
    confidences: Float32[np.ndarray, " region"]
    features: Float32[np.ndarray, "region width"]
    attribute_confidences: Float32[np.ndarray, " measured"] = field(default_factory=_no_confidences)

    def __len__(self) -> int:
        return len(self.tags)

    def __eq__(self, other: object) -> bool:
        """Equal when every field is, arrays bit for bit."""
        if not isinstance(other, RegionSet):
            return NotImplemented
        return all(
            np.array_equal(mine, theirs) if isinstance(mine, np.ndarray) else mine == theirs
            for mine, theirs in zip(vars(self).values(), vars(other).values(), strict=True)
        )

    __hash__ = None  # type: ignore[assignment]
