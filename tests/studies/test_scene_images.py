"""Images with scenes: the world's in both kinds of sight, and HL's beside regions, labels and pixels."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from looked_into import Drawn, Pixels, labelled, scenes
from PIL import Image

from alignscope.data.world.world import World
from alignscope.errors import BadData, BadInput
from alignscope.records import Labelled
from alignscope.studies.scenes.images import (
    HighLevelImages,
    WorldImages,
    fitting,
    named_objects,
    objects_of,
    scene_images,
)

SHARED = Path(__file__).parents[2].parent / "shared" / "data" / "hl_dataset" / "test.jsonl"


def test_the_world_gives_labels_and_pictures_of_the_same_scenes():
    images = scene_images(WorldImages(size=5, feature_width=7))
    world = World("test", size=5)
    assert list(images.sights) == list(images.pictures) == [scene.id for scene in world.scenes]
    assert len(images) == 5
    assert images.held_out == frozenset(images.sights)
    for scene in world.scenes:
        seen = images.labelled(scene.id)
        assert sorted(label.name for label in seen.labels) == sorted(o.noun for o in scene.objects)
        assert seen.regions.features.shape[1] == 7
        assert images.scenes[scene.id].scene == scene.scene
        assert np.array_equal(images.pictures[scene.id], world.image(scene.id))
    assert images.of_scenes() == {scene.id: scene.scene for scene in world.scenes}
    assert scene_images(WorldImages("train", 3)).held_out == frozenset()


def test_the_cue_of_the_scene_is_in_every_picture_or_in_none():
    plans = [WorldImages(size=30, feature_width=2, has_background=cue) for cue in (True, False, None)]
    every, none, drawn = (scene_images(plan) for plan in plans)
    assert len({images.sha for images in (every, none, drawn)}) == 3
    differs = {name: not np.array_equal(every.pictures[name], none.pictures[name]) for name in every.sights}
    assert sum(differs.values()) > 25
    for scene in World("test", size=30).scenes:
        same = every if scene.has_background else none
        assert np.array_equal(drawn.pictures[scene.id], same.pictures[scene.id])
        assert np.array_equal(
            drawn.labelled(scene.id).regions.features, same.labelled(scene.id).regions.features
        )


def test_images_are_opened_as_they_are_asked_for_and_named_without():
    images = scene_images(WorldImages(size=3, feature_width=2))
    assert "test-0-000001" in images.sights
    assert "test-0-000009" not in images.sights
    with pytest.raises(KeyError):
        images.sights["test-0-000009"]


@pytest.mark.parametrize("plan", [WorldImages(size=6), WorldImages("train", 4, 3, has_background=False)])
def test_objects_of_the_world_are_its_labels_and_nothing_is_drawn_for_them(plan, monkeypatch):
    seen = objects_of(scene_images(plan))
    monkeypatch.setattr("alignscope.data.world.labelled.regions", None)
    assert named_objects(plan) == seen


def row(name: str, places: Sequence[str]) -> dict[str, Any]:
    others = {axis: ["x"] * 3 for axis in ("action", "rationale")}
    scores = {axis: [5, 5, 5] for axis in ("scene", "action", "rationale")}
    return {
        "file_name": name,
        "captions": {"scene": list(places), **others, "object": ["a thing"]},
        "confidence": scores,
        "purity": scores,
        "diversity": dict.fromkeys(scores, 1.0),
    }


REGION = [1, 1, 0.1, 0.1, 0.5, 0.5, 0.4, 0.4]  # a feature of two numbers, and the place
ROWS = [
    row("COCO_train2014_000000000007.jpg", ["on a road", "the road", "at sea"]),
    row("COCO_train2014_000000000008.jpg", ["in a house", "a house", "a house"]),
    row("COCO_train2014_000000000009.jpg", ["in the park", "a park", "park"]),
    row("COCO_train2014_000000000010.jpg", ["on a road", "at sea", "in a garden"]),
    row("COCO_train2014_000000000011.jpg", ["on a road", "a road", "road"]),
]


@pytest.fixture
def files(tmp_path):
    """Captions of five images; regions of four, labels of four, pictures of three."""
    (tmp_path / "hl.jsonl").write_text("".join(json.dumps(each) + "\n" for each in ROWS))
    features = base64.b64encode(np.array([REGION, REGION], np.float32).tobytes()).decode()
    boxes = [{"class": "car", "rect": [0, 0, 5, 5]}, {"class": "man", "rect": [1, 1, 4, 4]}]
    told = json.dumps({"num_boxes": 2, "features": features})
    (tmp_path / "features.tsv").write_text("".join(f"{n}\t{told}\n" for n in (7, 8, 9, 10)))
    (tmp_path / "labels.tsv").write_text("".join(f"{n}\t{json.dumps(boxes)}\n" for n in (7, 8, 10, 11)))
    (tmp_path / "images").mkdir()
    for number in (7, 8, 9):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(
            tmp_path / "images" / f"COCO_train2014_{number:012}.jpg"
        )
    return tmp_path


def test_hl_without_anything_to_see_is_refused(files):
    with pytest.raises(BadInput, match="captions of HL alone: give --regions"):
        scene_images(HighLevelImages(files / "hl.jsonl"))
    (files / "none").mkdir()
    with pytest.raises(
        BadInput, match=r"none of 5 images is there to be seen \(first: COCO_train2014_000000000007"
    ):
        scene_images(HighLevelImages(files / "hl.jsonl", images=files / "none"))


def test_hl_with_pictures(files):
    images = scene_images(HighLevelImages(files / "hl.jsonl", images=files / "images"))
    assert len(images) == 3
    assert [one.scene for one in images.scenes.values()] == ["road", "house", ""]
    assert (
        images.scenes["COCO_train2014_000000000009.jpg"].reason
        == "none of 3 captions names a scene of the 7 asked for"
    )
    lost = [one.subject for one in images.problems if one.action == "unscored"]
    assert lost == ["COCO_train2014_000000000010.jpg", "COCO_train2014_000000000011.jpg"]
    with pytest.raises(
        BadInput, match=r"got pixels of COCO.*7.jpg, wanted labels and regions: give --regions"
    ):
        images.labelled("COCO_train2014_000000000007.jpg")


def test_hl_with_regions_and_labels_and_pictures(files):
    unit = Path("unit")
    plan = HighLevelImages(
        files / "hl.jsonl", files / "features.tsv", files / "labels.tsv", agreement=2, sizes=unit
    )
    images = scene_images(plan)
    names = [f"COCO_train2014_{number:012}.jpg" for number in (7, 8, 10)]
    assert list(images.sights) == names
    assert [images.scenes[name].scene for name in names] == ["road", "house", ""]
    assert "tie of road and sea" in images.scenes[names[2]].reason
    seen = images.labelled(names[0])
    assert isinstance(seen, Labelled)
    assert [label.name for label in seen.labels] == ["car", "man"]
    assert {one.subject for one in images.problems} >= {f"COCO_train2014_{n:012}.jpg" for n in (9, 11)}
    assert images.notes()  # no file tells the size of the images
    both = scene_images(
        HighLevelImages(plan.captions, plan.regions, plan.labels, files / "images", sizes=unit)
    )
    assert list(both.sights) == list(both.pictures) == names[:2]
    assert objects_of(images).objects == {name: ("car", "man") for name in names[:2]}
    assert scene_images(plan).sha == images.sha != both.sha


@pytest.mark.parametrize("changed", ["features.tsv", "labels.tsv", "a picture"])
def test_other_content_of_the_same_names_is_another_set(files, changed):
    """A stopped run goes on only where everything that captioners see is what it was."""
    plan = HighLevelImages(
        files / "hl.jsonl", files / "features.tsv", files / "labels.tsv", files / "images", sizes=Path("unit")
    )
    before = scene_images(plan)
    if changed == "a picture":
        Image.new("RGB", (8, 8), (9, 9, 9)).save(files / "images" / "COCO_train2014_000000000007.jpg")
    else:
        path = files / changed
        first, *others = path.read_text().splitlines()
        name, content = first.split("\t")
        row = json.loads(content)
        if changed == "features.tsv":
            row["features"] = base64.b64encode(
                np.array([[2, *REGION[1:]], REGION], np.float32).tobytes()
            ).decode()
        else:
            row[0]["rect"] = [0, 0, 4, 5]
        path.write_text("\n".join([f"{name}\t{json.dumps(row)}", *others]) + "\n")
    after = scene_images(plan)
    assert [*after.sights] == [*before.sights]
    assert after.sha != before.sha


def test_an_unreadable_line_is_told_where_its_image_is_opened(files):
    path = files / "features.tsv"
    first, second, *others = path.read_text().splitlines(keepends=True)
    path.write_text("".join([first, second.replace('"num_boxes": 2', '"num_boxes": 3'), *others]))
    images = scene_images(HighLevelImages(files / "hl.jsonl", files / "features.tsv", sizes=Path("unit")))
    whole, broken, *_ = images.sights
    assert len(images.labelled(whole).regions) == 2
    with pytest.raises(BadData, match=r"features.tsv:2"):
        images.labelled(broken)


def test_objects_of_labels_alone(files):
    named = named_objects(HighLevelImages(files / "hl.jsonl", labels=files / "labels.tsv", scenes="top_1"))
    assert set(named.scenes.values()) == {"road"}
    assert named.objects == dict.fromkeys(named.scenes, ("car", "man"))
    assert [one.subject for one in named.problems] == ["COCO_train2014_000000000009.jpg"]


def test_an_image_of_another_width_is_its_own_problem():
    """Whether it comes first or later; where no image is taken, nobody is blamed for another's width."""
    sights = {name: labelled(name, ["man"], width=5 if name in "ad" else 2) for name in "abcd"}
    sights["b"] = labelled("b", ["man"], regions=0)
    images = fitting(scenes(sights, dict.fromkeys(sights, "road")), [Drawn(), Pixels()])
    assert [*images.sights] == [*sights]
    assert images.sights["c"] is sights["c"]
    assert images.sights["b"] is sights["b"], "nothing was found in it, which has no width"
    for name in "ad":
        with pytest.raises(BadData, match=f"'{name}': got features of width 5, wanted 2 as of other images"):
            images.sights[name]
    alone = scenes({"a": sights["a"]}, {"a": "road"})
    assert fitting(alone, [Drawn()]) is alone
    pictures = scenes({"a": Image.new("RGB", (2, 2))}, {"a": "road"})
    assert fitting(pictures, [Pixels()]) is pictures


def test_what_a_captioner_takes_is_found_out():
    sights = {"a": labelled("a", ["man"]), "b": labelled("b", ["car"])}
    pictures = {"a": Image.new("RGB", (2, 2))}
    images = scenes(sights, {"a": "road", "b": "road"}, pictures=pictures)
    assert images.seen_by(Drawn()) is sights
    assert images.seen_by(Pixels()) is pictures
    with pytest.raises(BadInput, match=r"drawn cannot be looked into .*made \(it takes labels\)"):
        scenes(pictures, {"a": "road"}).seen_by(Drawn())


@pytest.mark.skipif(not SHARED.exists(), reason="no HL annotations beside the checkout")
def test_scenes_of_the_real_annotations(tmp_path):
    (tmp_path / "labels.tsv").write_text('138878\t[{"class": "car"}]\n')
    plan = HighLevelImages(SHARED, labels=tmp_path / "labels.tsv", scenes="top_20")
    named = named_objects(plan)
    assert len(named.problems) >= 1498
    assert len(named.scenes) <= 1


def test_an_image_that_cannot_be_opened_tells_nothing_of_scenes(files):
    path = files / "features.tsv"
    first, second, *others = path.read_text().splitlines(keepends=True)
    path.write_text("".join([first, second.replace('"num_boxes": 2', '"num_boxes": 3'), *others]))
    plan = HighLevelImages(
        files / "hl.jsonl", files / "features.tsv", files / "labels.tsv", sizes=Path("unit")
    )
    images = scene_images(plan)
    named = objects_of(images)
    lost = "COCO_train2014_000000000008.jpg"
    assert lost in images.of_scenes()
    assert list(named.scenes) == list(named.objects) == [name for name in images.of_scenes() if name != lost]
    [problem] = [one for one in named.problems if one not in images.problems]
    assert (problem.item, problem.action) == (lost, "unscored")
    assert "features.tsv:2" in problem.what
