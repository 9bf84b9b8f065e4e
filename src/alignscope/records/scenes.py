"""What studies of scene captioning take and find (paper C): labels beside regions, scene captions, scene labels."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, final

from alignscope.records.captions import Box
from alignscope.records.regions import Regions

Axis = Literal["scene", "action", "rationale", "object"]


@dataclass(frozen=True)
class Label:
    """What a detector of labels named in an image; `box` is in pixels and None where its file has none."""

    name: str
    box: Box | None = None
    confidence: float | None = None


@final
@dataclass(frozen=True, eq=False)
class Labelled:
    """What Oscar and VinVL read of an image: regions, and labels of what may be another detector, in its order.

    `without_labels` and `without_regions` are places that are ablated: they keep their position and become
    padding that nothing attends to.
    """

    regions: Regions
    labels: tuple[Label, ...]
    without_labels: frozenset[int] = field(default_factory=frozenset)
    without_regions: frozenset[int] = field(default_factory=frozenset)


@dataclass(frozen=True)
class HighLevelImage:
    """An image of HL (Cafagna et al. 2023): captions on three axes and COCO's own, with the scores of each.

    Confidences (1 to 5, by annotators) and purities are one per caption, diversity one per axis; COCO's captions
    ("object") have none.
    """

    image: str
    captions: dict[Axis, tuple[str, ...]]
    confidence: dict[Axis, tuple[float, ...]]
    purity: dict[Axis, tuple[float, ...]]
    diversity: dict[Axis, float]


@dataclass(frozen=True)
class SceneLabel:
    """The scene of an image: named in `votes` of its `captions` scene captions; "" with a reason where none is told."""

    image: str
    scene: str
    votes: int
    captions: int
    reason: str = ""
