"""The pointing game by hand, and played by tiny-clip in the world."""

from __future__ import annotations

from dataclasses import replace

import pytest

from alignscope.attribution.patches import patch_maps
from alignscope.data.world.world import World
from alignscope.errors import BadData
from alignscope.evaluation.pointing import patch_middles, pointing, pointing_game
from alignscope.models.protocols import DualEncoder
from alignscope.models.zoo import open_model
from alignscope.records import Box, Measurement, PatchMap, Pointing, Signature

SIGNATURE = Signature("", "hand", "0", 0, 0, "m", "w", version="0")
SIX = PatchMap("a", "a.png", "a cat", "gradcam", 2, 3, (0.0, 0.2, 0.9, 0.3, 0.9, 0.1), Box(20, -5, 80, 35))
"""Patches of 20 x 20 pixels; middles at x = 30, 50, 70 and y = 5, 25."""


def test_middles_are_in_the_pixels_of_the_image():
    assert patch_middles(SIX) == [(30, 5), (50, 5), (70, 5), (30, 25), (50, 25), (70, 25)]


@pytest.mark.parametrize(
    ("boxes", "is_hit", "chance"),
    [
        ([Box(60, 0, 80, 15)], True, 1 / 6),
        ([Box(40, 20, 60, 30)], False, 1 / 6),  # the other hottest patch: the first of equals counts
        ([Box(0, 0, 40, 40), Box(60, 0, 80, 40)], True, 4 / 6),
        ([Box(0, 0, 60, 40), Box(40, 0, 60, 40)], False, 4 / 6),  # overlapping boxes are counted once
        ([Box(70, 5, 71, 6)], True, 1 / 6),  # the left and upper edge belong to a box
        ([Box(50, 0, 70, 5)], False, 0.0),  # the right and lower edge do not
        ([], False, 0.0),
    ],
)
def test_hit_and_chance(boxes, is_hit, chance):
    found = pointing(SIX, boxes, "a cat")
    assert found == Pointing("a", "a.png", "gradcam", "a cat", 70, 5, is_hit, chance)


def test_heats_that_are_no_numbers_point_nowhere():
    with pytest.raises(BadData, match="item a: its gradcam map"):
        pointing(replace(SIX, heats=(0.0, float("nan"), 0.5, 0, 0, 0)), [], "a cat")


def hand(method: str, image: str, is_hit: bool, chance: float) -> Pointing:
    return Pointing("i", image, method, "a cat", 0, 0, is_hit, chance)


def by_group(numbers: list[Measurement], method: str) -> dict[str, Measurement]:
    return {number.group: number for number in numbers if number.method == method}


def test_the_game_by_hand():
    found = [
        hand("gradcam", "1", True, 0.25),
        hand("gradcam", "1", True, 0.5),
        hand("gradcam", "2", False, 0.25),
        hand("gradcam", "3", True, 0.5),
        hand("gradcam", "3", False, 0.0),  # no patch could hit: missing
        hand("attention", "1", False, 0.125),
    ]
    numbers = pointing_game(found, signature=replace(SIGNATURE, method="layers:all"), draws=200, seed=3)
    assert [(n.method, n.group) for n in numbers] == [
        (method, group) for method in ("attention", "gradcam") for group in ("all", "chance", "above chance")
    ]
    assert {n.measure for n in numbers} == {"pointing game"}
    gradcam = by_group(numbers, "gradcam")
    assert {g: n.value for g, n in gradcam.items()} == {"all": 0.75, "chance": 0.375, "above chance": 0.375}
    for number in gradcam.values():
        assert (number.items, number.images, number.missing) == (4, 3, 1)
        assert number.low is not None
        assert number.high is not None
        assert number.low <= number.value <= number.high
        assert number.signature.startswith("pointing game|method:gradcam layers:all|data:hand")
        assert "|ties:first|seed:3|" in number.signature
    # images are drawn, not phrases: image 1 alone gives two hits, so that draws of it alone give 1.0
    assert gradcam["all"].high == 1.0
    attention = by_group(numbers, "attention")
    assert attention["above chance"].value == -0.125
    assert attention["all"].reason == "one image: no interval"


def test_a_game_nobody_can_win_is_missing():
    numbers = pointing_game([hand("gradcam", "1", False, 0.0)], signature=SIGNATURE)
    assert [(n.value, n.items, n.missing, n.reason) for n in numbers] == [(None, 0, 1, "nothing scored")] * 3


def played(model: DualEncoder, world: World, method: str) -> dict[str, Measurement]:
    """Phrases "a NOUN" for every noun of every scene, hits in any box of that noun."""
    named = [(item, noun) for item in world.items for noun in dict.fromkeys(o.noun for o in item.objects)]
    phrases = [f"a {noun}" for _, noun in named]
    maps = patch_maps(model, [item for item, _ in named], world.image, phrases, method=method)
    found = []
    for one, (item, noun), phrase in zip(maps, named, phrases, strict=True):
        boxes = [thing.box for thing in item.objects if thing.noun == noun and thing.box is not None]
        assert boxes
        found.append(pointing(one, boxes, phrase))
    signature = replace(SIGNATURE, data=world.name, sha=world.sha, model=model.name)
    return by_group(pointing_game(found, signature=signature, draws=500), method)


def test_tiny_clip_points_at_what_is_named_and_a_scrambled_one_does_not():
    model, world = open_model("tiny-clip"), World("test", size=40)
    right = played(model, world, "gradcam")
    assert right["all"].value > 0.85
    assert right["chance"].value < 0.15
    assert right["above chance"].low > 0.6
    scrambled = played(model.scrambled(seed=0), world, "gradcam")
    assert scrambled["chance"].value == right["chance"].value
    assert scrambled["above chance"].value < 0.2
