"""What is measured inside captioners (paper C): attention, objects it goes to, ablated images, and tests; all flat."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BlockSpread:
    """How the attention of one block is spread over an image; `rows` attend to `columns`.

    `std` (population) and `mass` (sum) are of all its entries, `entropy` (bits) and `gini` means over rows, each
    made to sum to one. None where `reason` says why.
    """

    image: str
    layer: int
    heads: str  # "max", "mean", "rollout"
    block: str  # "label-vision", ..., "pooled"
    rows: int
    columns: int
    std: float | None
    mass: float | None
    entropy: float | None
    gini: float | None
    reason: str = ""


@dataclass(frozen=True)
class BlockCell:
    """One entry of a block's matrix, for figures; units are places of labels, regions or patches in the image."""

    image: str
    layer: int
    heads: str
    block: str
    row: int
    column: int
    row_unit: int
    column_unit: int
    value: float


@dataclass(frozen=True)
class UnitName:
    """What a label or a region of an image is called; `name` is "" for a region that its detector did not name."""

    image: str
    of: str  # "label" or "vision", as the sides of blocks
    unit: int
    name: str


@dataclass(frozen=True)
class Inbound:
    """The attention that a special token gets, on average over the rows of one kind that can attend to it; None
    where there are none.
    """

    image: str
    layer: int
    heads: str
    special: int  # 0 for the first special token of the sequence
    position: int
    of: str  # "vision", "label", "special", "caption"
    rows: int
    value: float | None


@dataclass(frozen=True)
class DensityCell:
    """One place of a density over two numbers, for contours."""

    figure: str
    series: str
    x: float
    y: float
    density: float
    items: int


@dataclass(frozen=True)
class RankedObject:
    """An object's place among those of a scene; `ties` counts the other objects of the same value."""

    scene: str
    order: str  # "attended", "attended first", "frequent"
    rank: int
    name: str
    value: float
    images: int  # of the scene
    ties: int


@dataclass(frozen=True)
class RankOverlap:
    """How like each other two orders of a scene's objects are down to a depth; None where `reason` says why.

    A list may end before the depth: `first_length` and `second_length` say how many objects each gave. Ties are
    objects among these that share their value with another one.
    """

    scene: str
    first: str
    second: str
    depth: int
    first_length: int
    second_length: int
    iou: float | None
    average_overlap: float | None
    rbo: float | None
    rbo_extended: float | None
    rbo_extrapolated: float | None
    persistence: float
    ties: int
    reason: str = ""


@dataclass(frozen=True)
class Association:
    """How much an object tells of a scene, in bits; counts are of images. None where `reason` says why."""

    scene: str
    name: str
    together: int
    scene_images: int
    object_images: int
    images: int
    pmi: float | None
    npmi: float | None
    reason: str = ""


@dataclass(frozen=True)
class RegionTag:
    """A label that a region is assigned to; `is_best` marks that of the highest IoU, the first among equals."""

    image: str
    region: int
    label: int
    name: str
    iou: float
    containment: float  # share of the region's area inside the label's box
    is_best: bool


@dataclass(frozen=True)
class TagCoverage:
    """How many regions of an image have a label; `share` is None where it has no region."""

    image: str
    regions: int
    tagged: int
    share: float | None


@dataclass(frozen=True)
class Ablated:
    """A caption before and after objects of its image were taken away; `objects` are separated by "|"."""

    image: str
    scene: str
    count: int
    reading: str  # "image", "scene", "random", "least"
    objects: str
    labels_removed: int
    regions_removed: int
    before: str
    after: str
    confidence_before: float
    confidence_after: float
    is_changed: bool


@dataclass(frozen=True)
class GroupTest:
    """A test of two groups of numbers; positive effects say that the first is higher (or that both rise together).

    `ties` are pairs that do not differ (Wilcoxon, McNemar), or values that another one equals (Mann-Whitney). None where
    `reason` says why.
    """

    test: str
    measure: str
    group: str
    first: float | None  # median, or mean where the test is of means
    second: float | None
    first_items: int
    second_items: int
    ties: int
    statistic: float | None
    z: float | None
    p: float | None
    effect: float | None
    effect_name: str
    reason: str = ""
