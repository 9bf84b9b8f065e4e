"""Objects that are attended to, on attention made by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from alignscope.errors import BadData, LengthMismatch
from alignscope.evaluation.rankings import average_overlap, extrapolated_overlap
from alignscope.models.captioners.inside import Inside
from alignscope.probing.diagnosticity import (
    SceneObjects,
    attended,
    compared,
    correlated,
    own_tags,
    present,
    ranked,
)
from alignscope.probing.tagging import region_tags
from alignscope.records import Box, Label, Labelled, RankOverlap, Regions

KINDS = ("special", "label", "label", "label", "label", "special", "region", "region", "padding")
UNITS = (-1, 0, 1, 1, 2, -1, 0, 1, -1)


def _labelled(
    names: tuple[str, ...] = ("man", "traffic light", "man"), **options: frozenset[int]
) -> Labelled:
    boxes = np.array([(0, 0, 10, 10), (50, 50, 60, 60)], np.float32)
    at = (Box(0, 0, 10, 10), Box(50, 50, 60, 60), Box(0, 0, 10, 11))
    labels = tuple(Label(name, box) for name, box in zip(names, at, strict=False))
    return Labelled(
        Regions("7", 100, 100, boxes, np.zeros((2, 3), np.float32), ("person", "light")), labels, **options
    )


def _inside(regions: dict[int, list[float]] | None = None) -> Inside:
    """Two heads; region rows as given, for the first head, the second has half of it."""
    attention = torch.zeros(2, 2, 9, 9)
    rows = regions or {
        6: [0.0, 0.1, 0.2, 0.1, 0.1, 0.1, 0.3, 0.1, 0.0],
        7: [0.2, 0.0, 0.4, 0.0, 0.2, 0.0, 0.0, 0.2, 0.0],
    }
    for row, values in rows.items():
        attention[0, 0, row] = torch.tensor(values)
        attention[0, 1, row] = torch.tensor(values) / 2
    attention[0, :, 1] = 0.9  # labels' own attention does not count
    return Inside(KINDS, UNITS, attention, torch.zeros(9, 1))


def test_pieces_and_labels_of_one_name_are_summed_over_region_rows() -> None:
    found = attended(_inside(), "road", _labelled())
    assert (found.image, found.scene) == ("7", "road")
    assert found.values == pytest.approx({"man": 0.1 + 0.1 + 0.0 + 0.2, "traffic light": 0.2 + 0.1 + 0.4})
    halves = attended(_inside(), "road", _labelled(), heads="mean")
    assert halves.values["man"] == pytest.approx(0.75 * 0.4)


def test_tagged_regions_add_to_their_object_once() -> None:
    labelled = _labelled()
    tags = region_tags(labelled)
    assert [(tag.region, tag.label) for tag in tags] == [(0, 0), (0, 2), (1, 1)]
    found = attended(_inside(), "road", labelled, tags=tags)
    assert found.values == pytest.approx({"man": 0.4 + 0.3, "traffic light": 0.7 + 0.3})


def test_a_detectors_own_tags_serve_captioners_without_labels() -> None:
    kinds, units = ("special", "region", "region"), (-1, 0, 1)
    attention = torch.tensor([[[[1.0, 0, 0], [0.5, 0.25, 0.25], [0.0, 0.75, 0.25]]]])
    found = attended(
        Inside(kinds, units, attention, torch.zeros(3, 1)),
        "road",
        _labelled(()),
        tags=own_tags(_labelled(())),
    )
    assert found.values == pytest.approx({"person": 1.0, "light": 0.5})


def test_labels_that_were_taken_away_are_not_present() -> None:
    assert present(_labelled(), "road").values == {"man": 1.0, "traffic light": 1.0}
    gone = _labelled(without_labels=frozenset({1}), without_regions=frozenset({0}))
    assert present(gone, "road").values == {"man": 1.0}
    assert [tag.name for tag in own_tags(gone)] == ["light"]


IMAGES = [
    SceneObjects("1", "sea", {"boat": 3.0, "man": 1.0}),
    SceneObjects("2", "sea", {"boat": 1.0, "man": 2.0}),
    SceneObjects("3", "sea", {"man": 1.0, "dog": 1.0}),
    SceneObjects("4", "road", {"car": 1.0}),
]


@pytest.mark.parametrize(
    ("order", "wanted"),
    [
        ("attended", [("boat", 4 / 3, 1), ("man", 4 / 3, 1), ("dog", 1 / 3, 0)]),
        ("attended first", [("boat", 1.0, 2), ("dog", 1.0, 2), ("man", 1.0, 2)]),
        ("frequent", [("man", 3.0, 0), ("boat", 2.0, 0), ("dog", 1.0, 0)]),
    ],
)
def test_objects_are_ranked_by_value_then_name_and_ties_are_counted(
    order: str, wanted: list[tuple[str, float, int]]
) -> None:
    found = [row for row in ranked(IMAGES, order) if row.scene == "sea"]
    assert [(row.name, row.value, row.ties) for row in found] == wanted
    assert [row.rank for row in found] == [1, 2, 3]
    assert {row.images for row in found} == {3}


def test_two_orders_are_compared_at_each_depth() -> None:
    first, second = ranked(IMAGES, "attended"), ranked(IMAGES, "frequent")
    rows = compared(first, second, depths=(1, 2, 3, 5), persistence=0.8)
    assert [(row.scene, row.depth) for row in rows] == [("road", d) for d in (1, 2, 3, 5)] + [
        ("sea", d) for d in (1, 2, 3, 5)
    ]
    sea = rows[4:]
    assert [row.iou for row in sea] == [0.0, 1.0, 1.0, 1.0]
    one, other = ["boat", "man", "dog"], ["man", "boat", "dog"]
    assert sea[2].average_overlap == average_overlap(one, other, depth=3) == pytest.approx(2 / 3)
    assert sea[2].rbo_extrapolated == extrapolated_overlap(one, other, persistence=0.8)
    assert (sea[0].first, sea[0].second, sea[0].ties) == ("attended", "frequent", 1)
    assert (sea[3].first_length, sea[3].second_length, sea[3].reason) == (3, 3, "a list ends before 5")


def test_a_scene_that_one_list_lacks_is_unscored() -> None:
    rows = compared(ranked(IMAGES, "attended"), ranked(IMAGES[:3], "frequent"), depths=(3,))
    road = rows[0]
    assert (road.scene, road.iou, road.reason) == ("road", None, "no objects in the second list")
    assert rows[1].iou is not None


def test_correlation_leaves_unscored_rows_out() -> None:
    def row(iou: float | None, overlap: float | None) -> RankOverlap:
        return RankOverlap("a", "", "", 3, 3, 3, iou, overlap, None, None, None, 0.9, 0)

    found = correlated([row(0.2, 0.1), row(0.4, 0.3), row(0.5, 0.2), row(None, None)])
    assert found.first_items == 3
    assert found.effect == pytest.approx(float(np.corrcoef([0.2, 0.4, 0.5], [0.1, 0.3, 0.2])[0, 1]))


def test_attention_of_another_image_or_of_none_is_an_error() -> None:
    with pytest.raises(LengthMismatch, match="label 1 of an image of 1 labels"):
        attended(_inside(), "road", _labelled(("man",)))
    with pytest.raises(BadData, match="joins no region with 'man'"):
        attended(_inside({6: [torch.nan] * 9}), "road", _labelled())
