"""Regions assigned to labels, on boxes drawn by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from alignscope.errors import BadData
from alignscope.probing.tagging import box_overlaps, coverage, mean_coverage, region_tags
from alignscope.records import Box, Label, Labelled, Regions, Signature

Corners = tuple[float, float, float, float]


def _labelled(regions: Sequence[Corners], labels: dict[str, Corners | None], image: str = "1") -> Labelled:
    boxes = np.array(regions, np.float32).reshape(-1, 4)
    seen = Regions(image, 200, 200, boxes, np.zeros((len(boxes), 2), np.float32))
    return Labelled(
        seen, tuple(Label(name, None if box is None else Box(*box)) for name, box in labels.items())
    )


@pytest.mark.parametrize(
    ("region", "label", "iou", "containment"),
    [
        ((0, 0, 10, 10), (0, 0, 10, 10), 1.0, 1.0),
        ((0, 0, 10, 10), (10, 0, 20, 10), 0.0, 0.0),  # touching edges
        ((0, 0, 10, 10), (10, 10, 20, 20), 0.0, 0.0),  # touching corners
        ((0, 0, 10, 10), (50, 50, 60, 60), 0.0, 0.0),
        ((0, 0, 10, 10), (0, 0, 6, 10), 0.6, 0.6),
        ((0, 0, 10, 10), (0, 0, 8, 100), 80 / 820, 0.8),
        ((2, 2, 4, 4), (0, 0, 100, 100), 4 / 10_000, 1.0),
        ((5, 5, 5, 9), (0, 0, 10, 10), 0.0, 0.0),  # no area
        ((0, 0, 10, 10), (3, 3, 3, 3), 0.0, 0.0),  # no area
        ((0, 0, 10, 10), (5, 5, 15, 15), 25 / 175, 0.25),
    ],
)
def test_overlaps_by_hand(region: Corners, label: Corners, iou: float, containment: float) -> None:
    found = box_overlaps(np.array([region], np.float64), np.array([label], np.float64))
    assert [float(grid[0, 0]) for grid in found] == pytest.approx([iou, containment])


def test_either_threshold_assigns_and_is_met_when_reached() -> None:
    labels: dict[str, Corners | None] = {
        "exactly": (0, 0, 6, 10),
        "inside": (0, 0, 8, 100),
        "less": (0, 0, 5.9, 10),
    }
    found = region_tags(_labelled([(0, 0, 10, 10)], labels))
    assert [(tag.name, tag.is_best) for tag in found] == [("exactly", True), ("inside", False)]
    assert region_tags(_labelled([(0, 0, 10, 10)], labels), iou=0.7, containment=0.9) == []


def test_several_labels_qualify_and_the_highest_iou_is_shown() -> None:
    image = _labelled(
        [(10, 10, 20, 20), (100, 100, 120, 120)], {"street": (0, 0, 90, 90), "man": (10, 10, 20, 21)}
    )
    found = region_tags(image)
    assert [(tag.region, tag.label, tag.name, tag.is_best) for tag in found] == [
        (0, 0, "street", False),
        (0, 1, "man", True),
    ]
    assert (found[1].iou, found[1].containment) == (pytest.approx(10 / 11), 1.0)
    share = coverage(image, found)
    assert (share.regions, share.tagged, share.share) == (2, 1, 0.5)


def test_many_boxes_agree_with_plain_loops() -> None:
    random = np.random.default_rng(0)
    corners = random.integers(0, 12, (2, 30, 2, 2))
    boxes = np.concatenate([corners.min(axis=2), corners.max(axis=2)], axis=-1)
    image = _labelled(
        boxes[0].tolist(), {f"{place}": tuple(box) for place, box in enumerate(boxes[1].tolist())}
    )
    wanted = set()
    for row, (a, b, c, d) in enumerate(boxes[0].tolist()):
        for column, (e, f, g, h) in enumerate(boxes[1].tolist()):
            first = {(x, y) for x in range(a, c) for y in range(b, d)}
            other = {(x, y) for x in range(e, g) for y in range(f, h)}
            shared = len(first & other)
            if shared and (shared / len(first | other) >= 0.6 or shared / len(first) >= 0.8):
                wanted.add((row, column))
    assert len(wanted) > 20
    assert {(tag.region, tag.label) for tag in region_tags(image)} == wanted


def test_mean_coverage_is_over_regions_and_counts_images_without_any(signature: Signature) -> None:
    one = _labelled([(0, 0, 10, 10)] * 3, {"a": (0, 0, 10, 10)}, "1")
    other = _labelled([(0, 0, 10, 10)], {"a": (50, 50, 60, 60)}, "2")
    empty = _labelled([], {"a": (50, 50, 60, 60)}, "3")
    rows = [coverage(image, region_tags(image)) for image in (one, other, empty)]
    assert rows[2].share is None
    number = mean_coverage(rows, signature=signature)
    assert (number.value, number.items, number.images, number.missing) == (0.75, 4, 2, 1)


def test_labels_without_boxes_say_so_and_offer_tags_only() -> None:
    with pytest.raises(BadData, match=r"1 of 2 labels have no box \(the first: 'man'\).*or ablate tags only"):
        region_tags(_labelled([(0, 0, 1, 1)], {"tree": (0, 0, 1, 1), "man": None}))


def test_images_without_labels_have_no_tags() -> None:
    assert region_tags(_labelled([(0, 0, 1, 1)], {})) == []


def test_thresholds_out_of_range_are_errors() -> None:
    with pytest.raises(BadData, match="IoU 0"):
        region_tags(_labelled([(0, 0, 1, 1)], {}), iou=0.0)
