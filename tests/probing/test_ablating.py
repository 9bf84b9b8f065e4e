"""Images without their informative objects, and captions before and after, by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from alignscope.errors import BadData
from alignscope.models.captioners.inside import Written
from alignscope.probing.ablating import (
    Without,
    ablated,
    changes_compared,
    chosen_objects,
    shifts,
    shifts_compared,
    summarised,
    without_informative,
    without_objects,
)
from alignscope.records import Ablated, Association, Box, Label, Labelled, Problem, Regions, Signature

BITS = {"boat": 2.0, "surfboard": 1.5, "sail": 1.0, "man": 0.0, "car": -1.0, "bus": None}
PMI = [Association("sea", name, 9, 9, 9, 99, bits, bits) for name, bits in BITS.items()]


def _labelled(*names: str, image: str = "1") -> Labelled:
    """Label k has its box at (10 k, 0); so has region k. A last region covers nothing's box."""
    boxes = [(10 * k, 0, 10 * k + 8, 8) for k in range(len(names))]
    corners = np.array([*boxes, (0, 90, 99, 99)], np.float32)
    count = len(corners)
    seen = Regions(
        image,
        100,
        100,
        corners,
        np.arange(2 * count, dtype=np.float32).reshape(count, 2),
        tuple(f"tag {k}" for k in range(count)),
        np.linspace(0, 1, count, dtype=np.float32),
    )
    return Labelled(seen, tuple(Label(name, Box(*box)) for name, box in zip(names, boxes, strict=True)))


@pytest.mark.parametrize(
    ("count", "reading", "wanted"),
    [
        (1, "image", ("surfboard",)),
        (2, "image", ("surfboard", "sail")),
        (1, "scene", None),  # the scene's first is no object of the image
        (1, "least", ("car",)),
        (2, "least", ("car", "man")),
    ],
)
def test_which_objects_a_reading_takes(count: int, reading: str, wanted: tuple[str, ...] | None) -> None:
    image = _labelled("man", "sail", "surfboard", "car", "bus", "man")
    found = chosen_objects(image, "sea", PMI, count, reading=reading)
    if wanted is None:
        assert found == Problem("1", "sea", "lacks boat", "unscored")
    else:
        assert found == wanted


def test_the_scenes_reading_takes_its_own_first_objects() -> None:
    image = _labelled("sail", "surfboard", "boat")
    assert chosen_objects(image, "sea", PMI, 3, reading="scene") == ("boat", "surfboard", "sail")
    few = chosen_objects(image, "sea", PMI, 6, reading="scene")
    assert isinstance(few, Problem)
    assert "its scene has 3 informative objects; wanted 6" in few.what


def test_an_image_with_too_few_objects_of_positive_pmi_is_a_problem() -> None:
    found = chosen_objects(_labelled("sail", "man", "car"), "sea", PMI, 2)
    assert found == Problem("1", "sea", "has 1 objects to take away by 'image'; wanted 2", "unscored")
    assert isinstance(chosen_objects(_labelled("sail"), "mountain", PMI, 1), Problem)


def test_random_objects_depend_on_seed_and_image_and_spare_the_informative() -> None:
    names = [f"thing {k}" for k in range(8)]
    image = _labelled(*names, "boat")
    first = chosen_objects(image, "sea", PMI, 3, reading="random", seed=1, besides=("boat",))
    assert first == chosen_objects(image, "sea", PMI, 3, reading="random", seed=1, besides=("boat",))
    assert not isinstance(first, Problem)
    assert len(set(first) & set(names)) == 3
    seeds = {
        chosen_objects(image, "sea", PMI, 3, reading="random", seed=seed, besides=("boat",))
        for seed in range(9)
    }
    images = {
        chosen_objects(_labelled(*names, image=f"{k}"), "sea", PMI, 3, reading="random") for k in range(9)
    }
    assert len(seeds) > 4
    assert len(images) > 4
    drawn = [chosen_objects(image, "sea", PMI, 1, reading="random", seed=seed) for seed in range(300)]
    assert len(set(drawn)) == 9


def test_all_labels_of_a_name_go_with_their_regions_and_keep_their_place() -> None:
    image = _labelled("man", "boat", "boat", "car")
    found = without_objects(image, ("boat",))
    assert found.labels == image.labels
    assert found.regions is image.regions
    assert (found.without_labels, found.without_regions) == ({1, 2}, {1, 2})
    assert (image.without_labels, image.without_regions) == (frozenset(), frozenset())
    both = without_objects(found, ("car",))
    assert (both.without_labels, both.without_regions) == ({1, 2, 3}, {1, 2, 3})


def test_a_region_goes_with_every_label_it_is_assigned_to() -> None:
    image = _labelled("man")
    street = Label("street", Box(0, 0, 100, 100))
    found = without_objects(Labelled(image.regions, (*image.labels, street)), ("street",))
    assert (found.without_labels, found.without_regions) == ({1}, {0, 1})


def test_deleting_moves_the_rest_up() -> None:
    image = _labelled("man", "boat", "car")
    found = without_objects(image, ("boat",), is_repacked=True)
    assert [label.name for label in found.labels] == ["man", "car"]
    assert found.regions.tags == ("tag 0", "tag 2", "tag 3")
    assert np.array_equal(found.regions.features, image.regions.features[[0, 2, 3]])
    assert np.array_equal(found.regions.boxes, image.regions.boxes[[0, 2, 3]])
    assert np.array_equal(found.regions.confidences, image.regions.confidences[[0, 2, 3]])
    assert (found.without_labels, found.without_regions) == (frozenset(), frozenset())
    assert len(found.regions.attributes) == 0


def test_labels_without_boxes_can_be_ablated_by_tags_only() -> None:
    image = Labelled(_labelled("boat").regions, (Label("boat"), Label("man")))
    with pytest.raises(BadData, match="or ablate tags only"):
        without_objects(image, ("boat",))
    found = without_objects(image, ("boat",), is_tags_only=True)
    assert (found.without_labels, found.without_regions) == ({0}, frozenset())


IMAGES = {
    "a": _labelled("boat", "man", "car", image="a"),
    "b": _labelled("man", "car", image="b"),
    "c": _labelled("boat", image="c"),
    "d": _labelled("boat", image="d"),
}
SCENES = {"a": "sea", "b": "sea", "c": "sea"}


def test_images_that_stay_as_they_are_say_why() -> None:
    made, problems = without_informative(IMAGES, SCENES, PMI, 1)
    assert {key: each.objects for key, each in made.items()} == {"a": ("boat",), "c": ("boat",)}
    assert made["a"].seen.without_labels == {0}
    assert [(problem.item, problem.what) for problem in problems] == [
        ("b", "has 0 objects to take away by 'image'; wanted 1"),
        ("d", "has no scene: nothing is informative of it"),
    ]


@pytest.mark.parametrize("reading", ["random", "least"])
def test_controls_are_made_of_the_same_images_and_leave_the_informative_objects(reading: str) -> None:
    made, problems = without_informative(IMAGES, SCENES, PMI, 1, reading=reading)
    assert list(made) == ["a"]
    assert made["a"].objects in ({("car",)} if reading == "least" else {("car",), ("man",)})
    assert [problem.item for problem in problems] == ["b", "c", "d"]


@pytest.mark.parametrize("is_repacked", [False, True])
def test_a_row_says_what_was_removed_and_what_changed(is_repacked: bool) -> None:
    image = _labelled("boat", "man", "boat")
    seen = without_objects(image, ("boat",), is_repacked=is_repacked)
    after = Without("sea", "image", ("boat",), seen)
    found = ablated(image, after, Written("the sea", 0.6), Written("the sea", 0.7))
    assert (found.labels_removed, found.regions_removed, found.count, found.objects) == (2, 2, 1, "boat")
    assert not found.is_changed
    assert ablated(image, after, Written("the sea", 0.6), Written("The sea", 0.6)).is_changed
    assert shifts([found]) == pytest.approx([-0.1])


Row = Callable[..., Ablated]


def _row(
    image: str, count: int, before: str, after: str, shift: float = 0.0, reading: str = "image"
) -> Ablated:
    return Ablated(
        image, "sea", count, reading, "boat", 1, 1, before, after, 0.6, 0.6 - shift, before != after
    )


def test_numbers_per_reading_and_count_and_pooled(signature: Signature) -> None:
    rows = [
        _row("1", 1, "sea", "sea", 0.2),
        _row("2", 1, "sea", "beach", 0.5),
        _row("1", 2, "sea", "sea", -0.1),
        _row("2", 2, "sea", "sea", 0.2),
        _row("1", 1, "sea", "lake", reading="random"),
    ]
    missing = {("image", 1): 3, ("image", 2): 4, ("scene", 1): 5}
    numbers = {
        (one.group, one.measure): one
        for one in summarised(rows, signature=signature, missing=missing, draws=100)
    }
    assert len(numbers) == 3 * (3 + 2 + 2)

    def facts(group: str, measure: str) -> tuple[float | None, int, int, int]:
        one = numbers[group, measure]
        return one.value, one.items, one.images, one.missing

    assert facts("image | m=1", "captions changed") == (0.5, 2, 2, 3)
    assert facts("image | m=all", "captions changed") == (0.25, 4, 2, 7)
    assert facts("random | m=1", "captions changed") == (1.0, 1, 1, 0)
    assert facts("scene | m=1", "captions changed") == (None, 0, 0, 5)
    assert facts("image | m=all", "confidence shift, unchanged") == (pytest.approx(0.1), 3, 2, 7)
    assert facts("image | m=2", "confidence after, unchanged") == (pytest.approx(0.55), 2, 2, 4)
    assert facts("random | m=1", "confidence shift, unchanged")[0] is None


def test_shifts_of_two_sets_of_images_are_tested_by_ranks_and_means() -> None:
    first = [_row(f"{k}", 1, "a", "a", shift) for k, shift in enumerate([0.1, 0.2, 0.3] * 10)]
    second = [_row(f"{k}", 1, "a", "a", shift) for k, shift in enumerate([-0.1, -0.2, -0.3, -0.4] * 8)]
    ranks, means = shifts_compared(first, second, group="test, train")
    assert (ranks.test, ranks.effect, ranks.first_items, ranks.second_items) == ("Mann-Whitney", 1.0, 30, 32)
    assert means.test == "two-sample z"
    assert means.z is not None
    assert means.z > 0
    assert {ranks.group, means.group} == {"test, train"}
    assert [one.p is None for one in shifts_compared(first[:3], second)] == [False, True]


def test_changes_of_two_captioners_are_compared_on_the_images_of_both() -> None:
    first = [_row(f"{k}", 1, "a", "b" if k < 7 else "a") for k in range(10)]
    second = [_row(f"{k}", 1, "a", "b" if k < 1 else "a") for k in range(9)]
    found = changes_compared(first, second)
    assert (found.first, found.second, found.first_items) == (7 / 9, 1 / 9, 9)
    assert (found.statistic, found.ties, found.p) == (6.0, 3, 2 / 2**6)
    assert found.effect == pytest.approx(6 / 9)
    other = [_row("1", 2, "a", "a")]
    assert changes_compared(first, other).reason == "no image that both wrote of"
