"""PMI of scenes and objects against counts worked out by hand."""

from __future__ import annotations

import math

import pytest

from alignscope.errors import BadData, LengthMismatch
from alignscope.evaluation.associations import associations, informative
from alignscope.records import Association

SCENES = ["sea"] * 4 + ["road"] * 4
OBJECTS = [
    ["surfboard", "man"],
    ["surfboard", "man", "man"],
    ["surfboard", "man"],
    ["boat", "man"],
    ["car", "man"],
    ["car", "man"],
    ["surfboard", "man"],
    ["man"],
]


def _of(rows: list[Association], scene: str, name: str) -> Association:
    [found] = [row for row in rows if (row.scene, row.name) == (scene, name)]
    return found


def test_pmi_by_hand() -> None:
    rows = associations(SCENES, OBJECTS, minimum=1)
    assert len(rows) == 2 * 4
    board = _of(rows, "sea", "surfboard")  # p(s,o) = 3/8, p(s) = 1/2, p(o) = 1/2
    assert (board.together, board.scene_images, board.object_images, board.images) == (3, 4, 4, 8)
    assert board.pmi == pytest.approx(math.log2(3 / 2))
    assert board.npmi == pytest.approx(math.log2(3 / 2) / math.log2(8 / 3))
    assert _of(rows, "road", "car").pmi == pytest.approx(1)  # 2/8 over 4/8 and 2/8
    assert _of(rows, "road", "surfboard").pmi == pytest.approx(-1)


def test_an_object_of_every_image_tells_nothing_and_counts_once_per_image() -> None:
    man = _of(associations(SCENES, OBJECTS, minimum=1), "sea", "man")
    assert man.together == 4
    assert man.pmi == 0
    assert man.npmi == 0


def test_an_object_that_is_there_exactly_with_its_scene_has_npmi_one() -> None:
    rows = associations(["sea", "sea", "road"], [["boat"], ["boat"], ["car"]], minimum=1)
    assert _of(rows, "sea", "boat").npmi == pytest.approx(1)


def test_zero_and_rare_counts_are_unscored_with_a_reason() -> None:
    never = _of(associations(SCENES, OBJECTS, minimum=0), "sea", "car")
    assert (never.pmi, never.npmi, never.reason) == (None, None, "never together: no PMI without smoothing")
    rare = _of(associations(SCENES, OBJECTS, minimum=2), "sea", "boat")
    assert (rare.pmi, rare.reason) == (None, "together in 1 images, wanted 2")


def test_one_scene_only_has_pmi_zero_and_no_npmi_where_the_object_is_always_there() -> None:
    [row] = associations(["sea", "sea"], [["man"], ["man"]], minimum=1)
    assert (row.pmi, row.npmi, row.reason) == (0.0, None, "always together: no NPMI")


def test_smoothing_adds_to_all_four_counts_of_a_pair() -> None:
    rows = associations(SCENES, OBJECTS, minimum=0, smoothing=1.0)
    assert _of(rows, "sea", "car").pmi == pytest.approx(math.log2((1 / 12) / ((6 / 12) * (4 / 12))))
    independent = _of(rows, "sea", "man")  # 4 and 4 with it, none without: smoothed 5, 5, 1, 1
    assert independent.pmi == pytest.approx(0)


def test_informative_objects_come_highest_first_then_by_name() -> None:
    rows = associations(["a", "a", "b", "b"], [["z", "y", "m"], ["z", "y", "m"], ["m"], ["k"]], minimum=1)
    assert [row.name for row in informative(rows, "a")] == ["y", "z", "m"]
    assert [row.name for row in informative(rows, "a", by="npmi")] == ["y", "z", "m"]
    assert informative(rows, "elsewhere") == []


def test_images_without_a_scene_and_uneven_input_are_errors() -> None:
    with pytest.raises(BadData, match="1 images without a scene"):
        associations(["", "a"], [["x"], ["x"]])
    with pytest.raises(LengthMismatch, match="1 scenes for 2"):
        associations(["a"], [["x"], ["x"]])
