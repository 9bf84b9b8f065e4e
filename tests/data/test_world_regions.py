"""Regions: objects first, distractors apart, features that depend on the crop alone."""

from __future__ import annotations

import numpy as np
import pytest

from alignscope.data.world.regions import (
    BACKGROUND_TAG,
    features,
    intersection_over_union,
    regions,
    regions_of,
)
from alignscope.data.world.render import render
from alignscope.data.world.scene import FINISHES, sample_scenes
from alignscope.data.world.shapes import NOUNS
from alignscope.data.world.world import World
from alignscope.errors import BadInput
from alignscope.records import Box
from alignscope.records.regions import fault_of_regions


@pytest.fixture(scope="module")
def scenes():
    return sample_scenes(80, seed=8, split="val")


def test_objects_come_first_with_their_tags_and_boxes(scenes):
    distractors = []
    for scene in scenes:
        found, many = regions(scene, width=16), len(scene.objects)
        assert fault_of_regions(found) is None
        assert (found.image, found.width, found.height, len(found)) == (scene.id, 64, 64, 8)
        assert found.tags[:many] == tuple(o.noun for o in scene.objects)
        assert found.attributes == tuple(o.finish for o in scene.objects) + ("",) * (8 - many)
        assert [tuple(box) for box in found.boxes[:many]] == [
            (o.box.x1, o.box.y1, o.box.x2, o.box.y2) for o in scene.objects
        ]
        assert found.confidences[:many].min() > 0.65 > 0.45 > found.confidences[many:].max()
        assert not set(found.tags[:many]) & set(found.tags[many:])
        for corners in found.boxes[many:]:
            box = Box(*map(float, corners))
            distractors.append(max(intersection_over_union(box, o.box) for o in scene.objects))
        assert found == regions(scene, width=16)
    assert len(distractors) > 300
    assert np.mean(np.array(distractors) <= 0.25) > 0.99
    tags = [tag for scene in scenes for tag in regions(scene, width=1).tags[len(scene.objects) :]]
    assert 0.4 < tags.count(BACKGROUND_TAG) / len(tags) < 0.6
    assert set(tags) == {BACKGROUND_TAG, *NOUNS}


def test_features_follow_their_description():
    """The map of the module's head in plain code: crop, 16x16 by area, Gaussian matrix, cut at zero."""
    scene = sample_scenes(1, seed=9, split="val")[0]
    picture = render(scene)
    box = np.array([[8, 16, 40, 48]], np.float32)  # 32x32 pixels: 16x16 cells of 2x2
    crop = picture[16:48, 8:40].astype(float)
    cells = np.zeros((16, 16, 3))
    for row in range(16):
        for column in range(16):
            cells[row, column] = crop[2 * row : 2 * row + 2, 2 * column : 2 * column + 2].mean((0, 1))
    matrix = np.random.default_rng([20, 10]).standard_normal((768, 10)) / np.sqrt(768)
    expected = np.maximum((cells.ravel() / 255 * 4 - 2) @ matrix, 0)
    got = features(picture, box, width=10)
    assert got.shape == (1, 10)
    assert got.dtype == np.float32
    assert np.allclose(got[0], expected, atol=0.02)  # pixels of the small crop are rounded
    assert expected.max() > 0.5


def test_a_feature_does_not_depend_on_its_company(scenes):
    whole = regions(scenes[0], width=2048)
    assert whole.features.shape == (8, 2048)
    for place in range(8):
        lonely = features(render(scenes[0]), whole.boxes[place : place + 1], width=2048)
        assert np.array_equal(lonely[0], whole.features[place])
    assert features(render(scenes[0]), np.zeros((0, 4), np.float32), width=5).shape == (0, 5)


def test_features_hold_noun_and_finish():
    """A ridge regression on 800 objects reads both off features of 600 others, far above chance."""
    rows, nouns, finishes = [], [], []
    for scene in sample_scenes(560, seed=10, split="train"):
        found = regions(scene, count=4, width=512)
        for place, thing in enumerate(scene.objects):
            rows.append(found.features[place])
            nouns.append(NOUNS.index(thing.noun))
            finishes.append(FINISHES.index(thing.finish))
    inputs = np.stack(rows).astype(float)
    learn = 800
    assert len(inputs) > learn + 400
    centred = inputs - inputs[:learn].mean(0)
    gram = centred[:learn].T @ centred[:learn] + 60 * np.eye(512)
    for labels, least in ((nouns, 0.75), (finishes, 0.6)):
        targets = np.eye(max(labels) + 1)[labels]
        weights = np.linalg.solve(gram, centred[:learn].T @ (targets[:learn] - targets[:learn].mean(0)))
        guesses = (centred[learn:] @ weights + targets[:learn].mean(0)).argmax(1)
        assert np.mean(guesses == np.array(labels[learn:])) > least


def test_regions_of_a_world_go_by_scene():
    world = World("val", size=5)
    found = list(regions_of(world, count=6, width=8))
    assert [one.image for one in found] == [scene.id for scene in world.scenes]
    assert {len(one) for one in found} == {6}


def test_impossible_requests_are_refused(scenes):
    crowded = next(scene for scene in scenes if len(scene.objects) == 4)
    with pytest.raises(BadInput, match="count=3 for a scene of 4 objects"):
        regions(crowded, count=3)
    with pytest.raises(BadInput, match="width=0"):
        regions(crowded, width=0)
