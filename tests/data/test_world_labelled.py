"""The world as Oscar reads it: labels of objects alone, a background that can be taken away, true captions."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from alignscope.data.world.labelled import WORDS, labelled, scene_captions
from alignscope.data.world.regions import regions
from alignscope.data.world.scene import SCENES, sample_scenes
from alignscope.data.world.shapes import NOUNS


@pytest.fixture(scope="module")
def scenes():
    return sample_scenes(200, seed=4, split="val")


def test_labels_are_the_objects_with_their_boxes_in_an_order_of_their_own(scenes):
    reordered = 0
    for scene in scenes[:60]:
        seen = labelled(scene)
        wanted = [(thing.noun, thing.box) for thing in scene.objects]
        found = [(label.name, label.box) for label in seen.labels]
        assert Counter(found) == Counter(wanted)
        assert all(0.5 <= label.confidence <= 1 for label in seen.labels)
        assert len(seen.regions) == 8 > len(seen.labels), "distractors are regions and no labels"
        assert not seen.without_labels | seen.without_regions
        reordered += found != wanted
        assert labelled(scene).labels == seen.labels
        assert labelled(scene).regions == seen.regions == regions(scene, width=256)
    assert reordered > 20


def test_without_its_background_a_scene_is_the_same_but_for_its_pixels(scenes):
    changed = 0
    for scene in scenes[:40]:
        with_cue, without = (
            labelled(scene, 64, has_background=True),
            labelled(scene, 64, has_background=False),
        )
        own = labelled(scene, 64)
        assert own.regions == (with_cue if scene.has_background else without).regions
        assert with_cue.labels == without.labels
        assert replace(with_cue.regions, features=without.regions.features) == without.regions
        hidden = replace(scene, scene=next(name for name in SCENES if name != scene.scene))
        assert labelled(hidden, 64, has_background=False).regions == without.regions, "no trace of the scene"
        changed += not np.array_equal(with_cue.regions.features, without.regions.features)
    assert changed > 35


def test_scene_captions_name_the_scene_and_nothing_in_it(scenes):
    openings = set()
    for scene in scenes:
        for text in scene_captions(scene, random.Random(scene.id), n=3):
            words = text.split()
            assert [word for word in words if word in SCENES] == [scene.scene]
            assert not set(words) & set(NOUNS)
            openings.add(text.replace(scene.scene, "X"))
            assert set(words) <= set(WORDS)
    assert {
        "in the X",
        "the picture is taken in a X",
        "this is a X",
        "at X",
        "in snow".replace("snow", "X"),
    } <= openings
    first = scenes[0]
    assert scene_captions(first, random.Random(1), 9) == scene_captions(first, random.Random(1), 9)
    assert len(set(scene_captions(first, random.Random(1), 30))) == 7
