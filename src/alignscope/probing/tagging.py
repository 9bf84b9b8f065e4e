"""Which regions a label is about, where regions and labels come from two detectors (paper C, section 6).

A region is assigned to a label if their IoU is at least .6, or if at least .8 of the region lies in the label's box.
Several labels may qualify; all count where an object is taken away, the highest IoU is shown.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float

from alignscope.errors import BadData
from alignscope.evaluation.intervals import clustered_bootstrap, measured, sample_of
from alignscope.records import DRAWS, Labelled, Measurement, RegionTag, Signature, TagCoverage

IOU = 0.6
CONTAINMENT = 0.8

Boxes = Float[np.ndarray, "box 4"]
Grid = Float[np.ndarray, "region label"]


def region_tags(labelled: Labelled, *, iou: float = IOU, containment: float = CONTAINMENT) -> list[RegionTag]:
    """Every region with every label it is assigned to, region by region; a label without a box is an error."""
    if not (0 < iou <= 1 and 0 < containment <= 1):
        raise BadData(f"thresholds of IoU {iou} and containment {containment}: wanted above 0 and at most 1")
    overlap, inside = box_overlaps(_regions(labelled), _labels(labelled))
    chosen = (overlap >= iou) | (inside >= containment)
    best = np.where(chosen, overlap, -1).argmax(axis=1) if chosen.size else np.zeros(0, np.int64)
    return [
        RegionTag(
            labelled.regions.image,
            region,
            label,
            labelled.labels[label].name,
            float(overlap[region, label]),
            float(inside[region, label]),
            bool(best[region] == label),
        )
        for region, label in np.argwhere(chosen).tolist()
    ]


def box_overlaps(
    regions: Float[np.ndarray, "region 4"], labels: Float[np.ndarray, "label 4"]
) -> tuple[Grid, Grid]:
    """IoU of all regions with all labels' boxes, and the share of each region that lies in the box.

    Boxes that only touch share nothing, and a box without area overlaps nothing.
    """
    left = np.maximum(regions[:, None, :2], labels[None, :, :2])
    right = np.minimum(regions[:, None, 2:], labels[None, :, 2:])
    shared = np.clip(right - left, 0, None).prod(axis=-1)
    of_region = np.clip(regions[:, 2:] - regions[:, :2], 0, None).prod(axis=-1)[:, None]
    of_label = np.clip(labels[:, 2:] - labels[:, :2], 0, None).prod(axis=-1)[None]
    is_region = np.broadcast_to(of_region > 0, shared.shape)
    union = of_region + of_label - shared
    none = np.zeros_like(shared)
    iou = np.divide(shared, union, out=none.copy(), where=union > 0)
    return iou, np.divide(shared, of_region, out=none, where=is_region)


def coverage(labelled: Labelled, tags: Iterable[RegionTag]) -> TagCoverage:
    """How many of an image's regions have a label."""
    tagged, regions = len({tag.region for tag in tags}), len(labelled.regions)
    return TagCoverage(labelled.regions.image, regions, tagged, tagged / regions if regions else None)


def mean_coverage(rows: Iterable[TagCoverage], *, signature: Signature, draws: int = DRAWS) -> Measurement:
    """The share of all regions that have a label (the paper's 74 %), images resampled; images without regions are missing."""
    rows = list(rows)
    known = [(float(place < row.tagged), row.image) for row in rows for place in range(row.regions)]
    sample = sample_of(known)
    return measured(
        clustered_bootstrap(sample.values, sample.clusters, draws=draws),
        [sample],
        measure="regions with a label",
        group="all",
        signature=signature,
        missing=sum(row.share is None for row in rows),
    )


def _regions(labelled: Labelled) -> Boxes:
    return np.asarray(labelled.regions.boxes, dtype=np.float64).reshape(-1, 4)


def _labels(labelled: Labelled) -> Boxes:
    missing = [label.name for label in labelled.labels if label.box is None]
    if missing:
        raise BadData(
            f"{labelled.regions.image}: {len(missing)} of {len(labelled.labels)} labels have no box (the first: "
            f"'{missing[0]}'), so no region can be assigned to them: give label files with a `rect` per label, "
            "or ablate tags only"
        )
    boxes = [
        (label.box.x1, label.box.y1, label.box.x2, label.box.y2) for label in labelled.labels if label.box
    ]
    return np.array(boxes, dtype=np.float64).reshape(-1, 4)
