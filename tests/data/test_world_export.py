"""What is exported is read back equal by the ordinary readers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from alignscope.data.coco import read_captions
from alignscope.data.images import ImageFolder
from alignscope.data.pairs import PairFile
from alignscope.data.regionfiles import open_regions
from alignscope.data.world.export import export, file_name
from alignscope.data.world.grammar import RICH, WEB
from alignscope.data.world.regions import regions_of
from alignscope.data.world.world import World
from alignscope.errors import OutputExists, UnwritableOutput
from alignscope.files import read_jsonl
from alignscope.records import Box


@pytest.fixture(scope="module")
def world() -> World:
    return World("val", size=25, seed=3)


@pytest.fixture(scope="module")
def exported(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("world") / "new" / "folder"
    export(world, directory)
    return directory


def test_images_are_equal(world, exported):
    folder = ImageFolder(exported / "images")
    assert len(list(folder.directory.iterdir())) == 25
    for scene, pixels in zip(world.scenes, world.pixels(), strict=True):
        assert np.array_equal(np.asarray(folder.image(file_name(scene.id))), pixels)
    assert set(folder.notes.values()) == {()}


def test_pairs_are_equal(world, exported):
    source = PairFile(exported / "pairs.jsonl", exported / "images")
    assert not source.problems
    assert len(source.items) == 25
    for read, item in zip(source.items, world.items, strict=True):
        assert (read.id, read.image) == (item.id, file_name(item.image))
        assert read.caption.text == item.caption.text
        assert [(f.kind, f.text) for f in read.foils] == [(f.kind, f.text) for f in item.foils]
        assert np.array_equal(np.asarray(source.image(read.image)), np.asarray(world.image(item.image)))
    assert sum(len(item.foils) for item in source.items) > 100


def test_captions_are_equal(world, exported):
    read = read_captions(exported / "annotations" / "captions.json")
    assert not read.problems
    expected = [
        (file_name(scene.id), tuple(caption.text for caption in five))
        for scene, five in zip(world.scenes, world.captions(RICH), strict=True)
    ]
    assert [(one.image, one.captions) for one in read.images] == expected


def test_instances_are_the_objects_with_cocos_boxes(world, exported):
    content = json.loads((exported / "annotations" / "instances.json").read_text())
    images = {row["id"]: row["file_name"] for row in content["images"]}
    nouns = {row["id"]: row["name"] for row in content["categories"]}
    assert list(images.values()) == [file_name(scene.id) for scene in world.scenes]
    things = [(scene, o) for scene in world.scenes for o in scene.objects]
    for row, (scene, thing) in zip(content["annotations"], things, strict=True):
        assert (images[row["image_id"]], nouns[row["category_id"]]) == (file_name(scene.id), thing.noun)
        left, top, width, height = row["bbox"]
        assert Box(left, top, left + width, top + height) == thing.box
        assert row["attributes"] == [thing.size, thing.finish]


def test_regions_are_equal_bit_for_bit(world, exported):
    table = exported / "regions" / "regions.tsv"
    read, expected = list(open_regions(table).values()), list(regions_of(world))
    assert len(read) == 25
    assert read == expected
    assert read[0].features.shape == (8, 2048)


def test_scene_graphs_are_equal(world, exported):
    rows = list(read_jsonl(exported / "scenes.jsonl"))
    assert len(rows) == 25
    for row, scene in zip(rows, world.scenes, strict=True):
        assert (row["image"], row["scene"]) == (file_name(scene.id), scene.scene)
        assert row["has_background"] == scene.has_background
        assert [o["noun"] for o in row["graph"]["objects"]] == [o.noun for o in scene.objects]
        facts = {(r["subject"], r["name"], r["target"]) for r in row["graph"]["relations"]}
        assert facts == scene.facts


def test_an_export_says_what_it_is(world, exported):
    mark = json.loads((exported / "world.json").read_text())
    assert (mark["name"], mark["size"], mark["seed"], mark["sha"]) == ("world-val", 25, 3, world.sha)


def test_options_reach_the_files(world, tmp_path):
    export(
        World("val", size=3),
        tmp_path,
        register=WEB,
        captions_per_image=2,
        regions_per_image=36,
        region_width=7,
    )
    small = World("val", size=3)
    read = read_captions(tmp_path / "annotations" / "captions.json")
    assert [one.captions for one in read.images] == [
        tuple(caption.text for caption in two) for two in small.captions(WEB, n=2)
    ]
    assert {one.features.shape for one in open_regions(tmp_path / "regions" / "regions.tsv").values()} == {
        (36, 7)
    }


def test_a_directory_in_use_is_refused(tmp_path):
    precious = tmp_path / "thesis.txt"
    precious.write_text("years of work")
    world = World("val", size=2)
    with pytest.raises(OutputExists, match="is not empty: give another directory, or --overwrite"):
        export(world, tmp_path)
    with pytest.raises(OutputExists, match="holds no exported world"):
        export(world, tmp_path, overwrite=True)
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.txt"]


def test_overwriting_replaces_the_old_export_and_nothing_else(tmp_path):
    export(World("val", size=4), tmp_path, region_width=4)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputExists, match="--overwrite"):
        export(World("test", size=2), tmp_path)
    assert len(list((tmp_path / "images").iterdir())) == 4
    export(World("test", size=2), tmp_path, overwrite=True, region_width=4)
    names = sorted(entry.name for entry in (tmp_path / "images").iterdir())
    assert names == ["test-0-000000.png", "test-0-000001.png"]
    read = open_regions(tmp_path / "regions" / "regions.tsv").values()
    assert list(read) == list(regions_of(World("test", size=2), width=4))
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_an_export_that_broke_off_can_be_replaced(tmp_path, monkeypatch):
    world = World("val", size=2)

    def full(*_, **__):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr("alignscope.data.world.export.write_pairs", full)
        with pytest.raises(OSError, match="disk full"):
            export(world, tmp_path)
    assert json.loads((tmp_path / "world.json").read_text()) == {"is_finished": False}
    export(world, tmp_path, overwrite=True, region_width=4)
    assert json.loads((tmp_path / "world.json").read_text())["is_finished"]


def test_a_file_in_the_way_is_an_unwritable_output(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UnwritableOutput, match="cannot write to"):
        export(World("val", size=1), tmp_path / "file" / "below")
