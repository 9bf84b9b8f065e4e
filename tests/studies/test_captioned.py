"""Names of images as several files write them, and captions in every form."""

import json

import pytest
from PIL import Image

from alignscope.data.world.grammar import WEB
from alignscope.data.world.world import World
from alignscope.errors import BadData, BadInput
from alignscope.probing.captions import read_caption_file
from alignscope.studies.captions.captioned import (
    Names,
    Worlds,
    are_scenes,
    caption_files,
    check_names,
    read_many,
    references_of,
    tagging,
)

COCO = "val2014/COCO_val2014_000000391895.jpg"


@pytest.mark.parametrize(
    ("known", "asked", "found"),
    [
        ([COCO, "b.png"], "391895", COCO),
        ([COCO, "b.png"], "COCO_val2014_000000391895.jpg", COCO),
        ([COCO, "b.png"], "b", "b.png"),
        (["391895"], COCO, "391895"),
        (["a/1.png", "b/1.png"], "1.png", None),  # which?
        (["a/1.png", "b/1.png"], "b/1.png", "b/1.png"),
        (["test-0-000001"], "train-0-000001", None),  # numbers that belong to other names
        (["test-0-000001"], "test-0-000001.png", "test-0-000001"),
        ([], "x", None),
    ],
)
def test_an_image_is_found_by_another_of_its_names(known, asked, found):
    assert Names(known).find(asked) == found


def test_references_come_in_every_form_and_under_the_names_of_the_captions(tmp_path):
    coco = {
        "images": [{"id": 391895, "file_name": COCO}, {"id": 7, "file_name": "other.jpg"}],
        "annotations": [
            {"image_id": 391895, "caption": "a man"},
            {"image_id": 391895, "caption": "a bike"},
            {"image_id": 7, "caption": "of no interest"},
        ],
    }
    listed = [{"image": COCO, "caption": ["a man", "a bike"]}]
    results = [{"image_id": 391895, "caption": "a man"}, {"image_id": 391895, "caption": "a bike"}]
    lines = "".join(json.dumps({"image": COCO, "caption": c}) + "\n" for c in ("a man", "a bike"))
    for number, text in enumerate([json.dumps(coco), json.dumps(listed), json.dumps(results), lines]):
        path = tmp_path / f"{number}.json"
        path.write_text(text)
        read = references_of(["391895"], path)
        assert read is not None
        assert [(one.image, one.text) for one in read.captions] == [("391895", "a man"), ("391895", "a bike")]
    assert len(read_many(tmp_path / "0.json").captions) == 3


def test_of_karpathys_file_a_split_is_taken_and_references_are_of_all(tmp_path):
    rows = [("391895", "test", ["a", "man"]), ("7", "restval", ["a", "bus"]), ("8", "train", ["a", "cat"])]
    images = [
        {"filename": f"{n}.jpg", "filepath": "val2014", "split": split, "sentences": [{"tokens": tokens}]}
        for n, split, tokens in rows
    ]
    path = tmp_path / "dataset_coco.json"
    path.write_text(json.dumps({"images": images}))
    read = references_of(["391895", "8"], path)
    assert read is not None
    assert sorted((one.image, one.text) for one in read.captions) == [("391895", "a man"), ("8", "a cat")]
    assert [one.text for one in read_many(path, split="train").captions] == ["a bus", "a cat"]
    assert [one.text for one in read_many(path, split="test").captions] == ["a man"]
    with pytest.raises(BadData, match="no image of the split 'val'"):
        read_many(path, split="val")


def test_the_world_knows_what_is_said_of_its_scenes():
    ids = ["test-0-000003", "val-5-000000", "test-0-999999", "nothing"]
    read = references_of(ids, None)
    assert read is not None
    assert are_scenes(ids)
    assert references_of(["a.png", *ids[:1]], None) is None
    said = {image: [one.text for one in read.captions if one.image == image] for image in ids}
    assert said[ids[0]] == [one.text for one in World("test", size=4).captions(WEB, 5)[3]]
    assert said[ids[1]] == [one.text for one in World("val", size=1, seed=5).captions(WEB, 5)[0]]
    assert said[ids[2]] == said["nothing"] == []
    picture = Worlds(ids).world(ids[1]).image(ids[1])
    assert isinstance(picture, Image.Image)
    assert picture.tobytes() == World("val", size=1, seed=5).image(ids[1]).tobytes()


def test_words_of_the_world_are_looked_up_and_others_tagged():
    tag, name = tagging(["test-0-000003"])
    assert name == "world-lexicon"
    [words] = tag(["a moon and a zebra"])
    assert [word.tag for word in words] == ["DET", "NOUN", "CCONJ", "DET", "X"]
    assert tagging(["1.png"])[1].startswith("spacy")
    assert tagging(["test-0-000003"], "spacy")[1].startswith("spacy")


@pytest.mark.parametrize("name", ["", "..", " ", "a/b", "a|b"])
def test_a_name_that_makes_no_folder_is_refused(name):
    with pytest.raises(BadInput, match="NAME=FILE"):
        check_names([name])
    check_names(["LXMERT, guided"])


def test_files_that_name_the_same_images_otherwise_go_together(tmp_path):
    long = "val2014/COCO_val2014_000000000042.jpg"
    (tmp_path / "a.jsonl").write_text(f'{{"image": "{long}", "caption": "a cat"}}\n')
    (tmp_path / "b.json").write_text(
        '[{"image_id": 42, "caption": "a dog"}, {"image_id": 7, "caption": "a cow"}]'
    )
    (tmp_path / "c.jsonl").write_text(
        '{"image": "042", "caption": "a pig"}\n{"image": "42", "caption": "a hen"}\n'
    )
    files = caption_files({name: tmp_path / f"{name}.json{'l' * (name != 'b')}" for name in "abc"})
    images = {name: [one.image for one in file.captions] for name, file in files.items()}
    assert images == {"a": [long], "b": [long, "7"], "c": ["042", "42"]}  # two of c would be one
    assert files["b"].sha != read_caption_file(tmp_path / "b.json").sha
