"""Scenes: what is said to hold does hold, splits never meet, nouns tell the scene."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from dataclasses import replace
from itertools import combinations
from math import log2

import numpy as np
import pytest
import world_oracle as oracle

from alignscope.data.world.render import render, render_all
from alignscope.data.world.scene import (
    RELATIONS,
    SCENES,
    SPLITS,
    holds,
    noun_order,
    sample_scenes,
    split_of,
)
from alignscope.data.world.shapes import NOUNS


@pytest.fixture(scope="module")
def scenes():
    return sample_scenes(400, seed=3, split="val")


def test_relations_are_those_that_pixels_and_boxes_show(scenes):
    kinds = Counter()
    for scene in scenes:
        assert scene.facts == oracle.seen_relations(scene), scene
        assert len(scene.facts) == len(scene.relations), "a relation twice"
        kinds.update(fact.name for fact in scene.relations)
    assert set(kinds) == set(RELATIONS)
    assert min(kinds.values()) >= 20, kinds


def test_the_main_relations_hold_one_per_pair_and_turn_round_where_they_can(scenes):
    kinds = Counter(fact.name for scene in scenes for fact in scene.main)
    assert set(kinds) == set(RELATIONS)
    assert min(kinds.values()) >= 20, kinds
    for scene in scenes:
        assert all(holds(scene, fact.subject, fact.name, fact.target) for fact in scene.main)
        pairs = [frozenset((fact.subject, fact.target)) for fact in scene.main]
        assert len(set(pairs)) == len(pairs)
    sides = [kinds["left of"] / (kinds["left of"] + kinds["right of"])]
    sides.append(kinds["above"] / (kinds["above"] + kinds["below"]))
    assert all(0.35 < side < 0.65 for side in sides), "direction must not follow from the order of objects"


def test_centres_are_plainly_aligned_or_plainly_apart(scenes):
    pairs = 0
    for scene in scenes:
        inside = {frozenset((f.subject, f.target)) for f in scene.relations if f.name == "inside"}
        for i, j in combinations(range(len(scene.objects)), 2):
            if {i, j} in inside:
                continue
            (x1, y1), (x2, y2) = scene.objects[i].centre, scene.objects[j].centre
            is_touching = holds(scene, i, "touching", j)
            for gap in (abs(x1 - x2), abs(y1 - y2)):
                assert gap <= 2 or gap >= 6, (scene, is_touching)
            pairs += 1
    assert pairs > 400


def test_objects_lie_in_the_picture_with_different_nouns(scenes):
    counts = Counter(len(scene.objects) for scene in scenes)
    assert set(counts) == {1, 2, 3, 4}
    assert min(counts.values()) >= 20
    for scene in scenes:
        assert len({thing.noun for thing in scene.objects}) == len(scene.objects)
        for thing in scene.objects:
            assert 0 <= thing.box.x1 < thing.box.x2 <= 64
            assert 0 <= thing.box.y1 < thing.box.y2 <= 64
            assert (thing.size_px <= 15) == (thing.size == "small")


def test_a_scene_does_not_depend_on_how_many_are_drawn():
    assert sample_scenes(20, seed=1, split="test")[:5] == sample_scenes(5, seed=1, split="test")
    assert sample_scenes(5, seed=1, split="test") != sample_scenes(5, seed=2, split="test")


def test_splits_never_share_a_picture():
    clean = {}
    for split in SPLITS:
        scenes = sample_scenes(200, seed=0, split=split) + sample_scenes(200, seed=1, split=split)
        assert {split_of(scene) for scene in scenes} == {split}
        pictures = render_all(replace(scene, grain=0) for scene in scenes)
        clean[split] = {hashlib.sha256(picture.tobytes()).digest() for picture in pictures}
        assert len(clean[split]) > 385
    assert not clean["train"] & clean["val"]
    assert not clean["train"] & clean["test"]
    assert not clean["val"] & clean["test"]


def test_what_leaves_the_pixels_alone_leaves_the_split_alone(scenes):
    """Chance alone keeps few pictures apart: so every spelling of one picture must fall into one split."""
    rng = random.Random(0)
    other_names = without_cue = 0
    for scene in scenes:
        twin = replace(scene, id="another", grain=(scene.grain + 1) % 16)
        if not scene.has_background:
            twin = replace(twin, scene=rng.choice(SCENES), variant=rng.randrange(4))
            assert np.array_equal(render(scene), render(replace(twin, grain=scene.grain)))
            without_cue += twin.scene != scene.scene
        order = rng.sample(range(len(scene.objects)), len(scene.objects))
        place = {old: new for new, old in enumerate(order)}
        relations = tuple(
            replace(f, subject=place[f.subject], target=place[f.target]) for f in scene.relations
        )
        twin = replace(twin, objects=tuple(scene.objects[old] for old in order), relations=relations)
        assert split_of(twin) == split_of(scene) == "val"
        other_names += order != sorted(order)
    assert without_cue > 40
    assert other_names > 200


def test_any_change_of_the_picture_can_change_the_split(scenes):
    moved = [
        replace(scene, objects=(replace(scene.objects[0], finish="pale"), *scene.objects[1:]))
        for scene in scenes
    ]
    splits = Counter(split_of(scene) for scene in moved if scene.objects[0].finish == "pale")
    assert set(splits) == set(SPLITS)


def test_frequent_nouns_tell_the_scene():
    scenes = sample_scenes(1200, seed=0, split="train")
    labels = Counter(scene.scene for scene in scenes)
    nouns = Counter(thing.noun for scene in scenes for thing in scene.objects)
    both = Counter((scene.scene, thing.noun) for scene in scenes for thing in scene.objects)
    assert set(labels) == set(SCENES)
    assert min(labels.values()) > 105
    assert set(nouns) == set(NOUNS)
    strongest = set()
    for label in SCENES:
        pmi = {n: log2(max(both[label, n], 0.5) * len(scenes) / labels[label] / nouns[n]) for n in NOUNS}
        order = noun_order(label)
        assert pmi[order[0]] > 0.7, (label, pmi)
        assert np.mean([pmi[n] for n in order[:3]]) > np.mean([pmi[n] for n in order[-3:]]) + 1
        assert both[label, order[0]] > 2 * both[label, order[-1]]
        strongest.add(order[0])
    assert len(strongest) == len(SCENES), "each scene has a most frequent noun of its own"


def test_the_cue_is_there_four_times_in_five(scenes):
    assert 0.75 < np.mean([scene.has_background for scene in scenes]) < 0.85
