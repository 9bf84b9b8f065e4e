"""The world as a data set: deterministic, whole, and what an audit asks for."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from alignscope.data.world.grammar import RICH, SCENE, WEB
from alignscope.data.world.world import World
from alignscope.errors import BadInput, UnknownName
from alignscope.records import FOIL_KINDS, ItemSource


@pytest.fixture(scope="module")
def world() -> World:
    return World("test", size=150)


def test_most_items_have_every_kind_of_foil(world):
    kinds = Counter(foil.kind for item in world.items for foil in item.foils)
    assert set(kinds) == set(FOIL_KINDS)
    assert min(kinds.values()) > 0.7 * len(world.items), kinds
    assert sum(len(item.foils) == len(FOIL_KINDS) for item in world.items) > 0.6 * len(world.items)
    for item in world.items:
        texts = [foil.text for foil in item.foils]
        assert item.caption.text not in texts
        assert [f.kind for f in item.foils] == [k for k in FOIL_KINDS if k in {f.kind for f in item.foils}]


def test_it_is_an_item_source(world):
    source: ItemSource = world
    assert source.name == "world-test"
    assert source.problems == ()
    assert len({item.id for item in source.items}) == len(source.items) == 150
    picture = source.image(source.items[7].image)
    assert picture.mode == "RGB"
    assert np.array_equal(np.asarray(picture), world.pixels()[7])


def test_items_do_not_depend_on_the_size(world):
    small = World("test", size=10)
    assert small.items == world.items[:10]
    assert np.array_equal(small.pixels(), world.pixels()[:10])
    assert small.captions(WEB) == world.captions(WEB)[:10]
    assert small.sha != world.sha


def test_the_hash_names_the_data():
    base = World("val", size=12)
    assert base.sha == World("val", size=12).sha
    others = [
        World("test", size=12),
        World("val", size=13),
        World("val", size=12, seed=1),
        World("val", size=12, register=WEB),
        World("val", size=12, register=replace(RICH, attribute_rate=0.8)),
    ]
    assert len({base.sha, *(other.sha for other in others)}) == 6


def test_another_process_makes_the_same_world():
    code = "from alignscope.data.world.world import World; import sys; sys.stdout.write(World('test', size=20).sha)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONHASHSEED": "77", "OMP_NUM_THREADS": "1"},
    )
    assert done.stdout == World("test", size=20).sha


def test_captions_come_five_per_scene_in_any_register(world):
    for register in (WEB, RICH, SCENE):
        texts = world.captions(register)
        assert len(texts) == 150
        assert {len(five) for five in texts} == {5}
        assert texts == world.captions(register)
    assert world.captions(WEB, n=2)[0] == world.captions(WEB)[0][:2]


def test_scene_graphs_say_what_the_scenes_hold(world):
    relations = 0
    for scene in world.scenes:
        graph = world.scene_graph(scene.id)
        assert [(o.noun, o.attributes, o.box) for o in graph.objects] == [
            (o.noun, (o.size, o.finish), o.box) for o in scene.objects
        ]
        assert {(r.subject, r.name, r.target) for r in graph.relations} == scene.facts
        relations += len(graph.relations)
    assert relations > 300


def test_items_know_what_is_where(world):
    things = 0
    for item in world.items:
        assert item.objects == world.scene_graph(item.image).objects
        assert tuple(thing.noun for thing in item.objects) == item.present_nouns
        assert all(thing.box is not None for thing in item.objects)
        things += len(item.objects)
    assert things > 300


def test_unusable_requests_say_what_to_do(world):
    with pytest.raises(UnknownName, match="did you mean 'train'"):
        World("trian")
    with pytest.raises(BadInput, match="at least one scene"):
        World("test", size=0)
    with pytest.raises(UnknownName, match="no scene 'test-0-999999'"):
        world.image("test-0-999999")
