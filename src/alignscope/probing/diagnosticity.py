"""Does a captioner attend to the objects that a scene is usually made of? (paper C, section 5, Table 2).

An object is a label's name; its pieces and all labels of that name count together. Objects are ranked by their value,
the highest first, equal ones by name, and how many share a value is told.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from alignscope.errors import BadData, LengthMismatch
from alignscope.evaluation.paired_tests import pearson
from alignscope.evaluation.rankings import (
    average_overlap,
    extrapolated_overlap,
    intersection_over_union,
    rank_biased_overlap,
)
from alignscope.models.captioners.inside import Inside
from alignscope.probing.blocks import Heads, over_heads, positions
from alignscope.records import GroupTest, Labelled, RankedObject, RankOverlap, RegionTag

DEPTHS = (3, 5, 7)
"""Where the paper compares two lists of objects."""
PERSISTENCE = 0.9
Order = Literal["attended", "attended first", "frequent"]


@dataclass(frozen=True)
class SceneObjects:
    """The objects of an image with a value each (attention, or 1 for being there), and the image's scene."""

    image: str
    scene: str
    values: Mapping[str, float]


def attended(
    inside: Inside,
    scene: str,
    labelled: Labelled,
    *,
    layer: int = 0,
    heads: Heads = "max",
    tags: Collection[RegionTag] = (),
) -> SceneObjects:
    """The attention that each object of an image gets from its regions, summed over its columns.

    These are the label's pieces and, with `tags`, the regions assigned to the object, each of them once. Where
    regions carry the labels themselves (one detector for both), `own_tags` makes such tags.
    """
    vision = positions(inside, "vision")
    columns = over_heads(inside, layer, heads)[vision].astype(np.float64).sum(axis=0)
    values: defaultdict[str, float] = defaultdict(float)
    for place in positions(inside, "label"):
        values[_name(labelled, inside.units[place])] += float(columns[place])
    place_of = {inside.units[place]: int(place) for place in vision}
    for name, region in sorted({(tag.name, tag.region) for tag in tags}):
        if region in place_of:
            values[name] += float(columns[place_of[region]])
    broken = [name for name, value in values.items() if not np.isfinite(value)]
    if broken:
        raise BadData(
            f"{labelled.regions.image}: the captioner joins no region with '{broken[0]}': its attention tells nothing "
            "of objects, choose a layer in which regions attend to labels"
        )
    return SceneObjects(labelled.regions.image, scene, dict(values))


def own_tags(labelled: Labelled) -> list[RegionTag]:
    """Tags of regions that their own detector named."""
    names = labelled.regions.tags
    return [
        RegionTag(labelled.regions.image, region, -1, name, 1.0, 1.0, True)
        for region, name in enumerate(names)
        if name and region not in labelled.without_regions
    ]


def present(labelled: Labelled, scene: str) -> SceneObjects:
    """The objects of an image, 1 each however many of it there are."""
    names = [
        label.name for place, label in enumerate(labelled.labels) if place not in labelled.without_labels
    ]
    return SceneObjects(labelled.regions.image, scene, dict.fromkeys(names, 1.0))


def ranked(images: Iterable[SceneObjects], order: Order) -> list[RankedObject]:
    """Every scene's objects in order of their value: summed over the scene's images, divided by their number.

    "attended first" counts the images in which an object has the highest value (the first by name where several
    have it), "frequent" those that show it; neither is divided.
    """
    totals: defaultdict[str, Counter[str]] = defaultdict(Counter)
    counts: Counter[str] = Counter()
    for one in images:
        counts[one.scene] += 1
        for name, value in counted(one.values, order).items():
            totals[one.scene][name] += value  # type: ignore[assignment]  # a Counter adds floats as well
    rows = []
    for scene in sorted(counts):
        divisor = counts[scene] if order == "attended" else 1
        values = {name: float(value) / divisor for name, value in totals[scene].items()}
        shared = Counter(values.values())
        for rank, name in enumerate(sorted(values, key=lambda name: (-values[name], name)), 1):
            value = values[name]
            rows.append(RankedObject(scene, order, rank, name, value, counts[scene], shared[value] - 1))
    return rows


def compared(
    first: Sequence[RankedObject],
    second: Sequence[RankedObject],
    *,
    depths: Sequence[int] = DEPTHS,
    persistence: float = PERSISTENCE,
) -> list[RankOverlap]:
    """Two orders of objects of the same scenes at each depth (Table 2); a scene that either lacks is unscored."""
    scenes = sorted({row.scene for row in (*first, *second)})
    return [
        _compared(
            [row for row in first if row.scene == scene][:depth],
            [row for row in second if row.scene == scene][:depth],
            (scene, first[0].order if first else "", second[0].order if second else "", depth),
            persistence,
        )
        for scene in scenes
        for depth in depths
    ]


def correlated(rows: Iterable[RankOverlap]) -> GroupTest:
    """Pearson's correlation of IoU and average overlap over scenes and depths (the paper's r(19) = .81)."""
    known = [
        (row.iou, row.average_overlap)
        for row in rows
        if row.iou is not None and row.average_overlap is not None
    ]
    pairs = np.array(known, dtype=np.float64).reshape(-1, 2)
    return pearson(pairs[:, 0], pairs[:, 1], measure="IoU and average overlap", group="scenes and depths")


def _name(labelled: Labelled, unit: int) -> str:
    if not 0 <= unit < len(labelled.labels):
        raise LengthMismatch(
            f"{labelled.regions.image}: attention to label {unit} of an image of {len(labelled.labels)} labels: "
            "give the image that the captioner saw"
        )
    return labelled.labels[unit].name


def counted(values: Mapping[str, float], order: Order) -> Mapping[str, float]:
    """What one image adds to the values of its objects in an order."""
    if order == "attended":
        return values
    if order == "frequent":
        return dict.fromkeys(values, 1.0)
    return dict.fromkeys(sorted(values, key=lambda name: (-values[name], name))[:1], 1.0)


def _compared(
    first: list[RankedObject],
    second: list[RankedObject],
    name: tuple[str, str, str, int],
    persistence: float,
) -> RankOverlap:
    ties = sum(row.ties > 0 for row in (*first, *second))
    lengths = len(first), len(second)
    if not first or not second:
        nothing = "no objects in the first list" if not first else "no objects in the second list"
        return RankOverlap(*name, *lengths, None, None, None, None, None, persistence, ties, nothing)
    one, other, depth = [row.name for row in first], [row.name for row in second], name[-1]
    return RankOverlap(
        *name,
        *lengths,
        intersection_over_union(one, other, depth=depth),
        average_overlap(one, other, depth=depth),
        rank_biased_overlap(one, other, depth=depth, persistence=persistence),
        rank_biased_overlap(one, other, depth=depth, persistence=persistence, is_extended=True),
        extrapolated_overlap(one, other, persistence=persistence),
        persistence,
        ties,
        f"a list ends before {depth}" if min(lengths) < depth else "",
    )
