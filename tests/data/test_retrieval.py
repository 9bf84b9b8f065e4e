"""Retrieval sets in their three forms."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from benchmark_lines import parted

from alignscope.data.benchmarks.retrieval import COCO, FLICKR
from alignscope.errors import BadData

DATA = Path(__file__).parents[2].parent / "shared" / "data"


@pytest.mark.skipif(not (DATA / "coco_karpathy").exists(), reason="no shared data")
def test_coco_has_5000_images_and_25010_captions():
    questions, problems = parted(COCO.read(DATA / "coco_karpathy"))
    assert Counter(len(one.texts) for one in questions) == {5: 4990, 6: 10}
    assert len({one.id for one in questions}) == 5000 == sum(COCO.sizes.values())
    assert not problems
    listed = (DATA / "coco_karpathy" / "karpathy_test_images.txt").read_text().split("\n")
    assert {one.images[0].key for one in questions} == {line.split()[0] for line in listed if line}


def test_the_three_forms_give_the_same_questions(tmp_path):
    (tmp_path / "flickr30k_test_karpathy.txt").write_text(
        "image,caption\n10.jpg,A man, in a hat.jpg, sits.\n\n7.jpg,A dog\n10.jpg,He sits\n"
    )
    texts = {"10.jpg": ["A man, in a hat.jpg, sits.", "He sits"], "7.jpg": ["A dog"]}
    listed = [{"image": f"flickr30k-images/{name}", "caption": each} for name, each in texts.items()]
    (tmp_path / "list.json").write_text(json.dumps(listed))
    whole = {
        "images": [{"id": int(name[:-4]), "file_name": name} for name in texts],
        "annotations": [
            {"id": number, "image_id": int(name[:-4]), "caption": caption}
            for number, (name, caption) in enumerate((n, c) for n, each in texts.items() for c in each)
        ],
    }
    (tmp_path / "coco.json").write_text(json.dumps(whole))
    lines, problems = parted(FLICKR.read(tmp_path))
    assert [(one.id, one.subset, list(one.texts)) for one in lines] == [
        ("test/10", "test", texts["10.jpg"]),
        ("test/7", "test", texts["7.jpg"]),
    ]
    assert [(one.what, one.action) for one in problems] == [
        ("3 captions, the authors' split has 5000", "handled")
    ]
    for form in ("list.json", "coco.json"):
        others = parted(FLICKR.read(tmp_path / form))[0]
        assert [(one.id, one.texts) for one in others] == [(one.id, one.texts) for one in lines]


def test_what_is_wrong_is_said_by_image_and_nothing_counts_twice(tmp_path):
    records = [
        {"image": "a/1.jpg", "caption": ["x", "y"]},
        {"image": "a/1.jpg", "caption": ["x", "y"]},
        {"image": "b/1.jpg", "caption": ["z"]},
        {"image": "a/2.jpg", "caption": ["  ", "w"]},
        {"image": "a/3.jpg", "caption": []},
    ]
    (tmp_path / "t.json").write_text(json.dumps(records))
    questions, problems = parted(COCO.read(tmp_path / "t.json"))
    assert [(one.id, one.texts) for one in questions] == [("test/1", ("x", "y")), ("test/2", ("w",))]
    assert [(one.item, one.what, one.action) for one in problems if one.item] == [
        ("test/2", "caption is empty", "unscored"),
        ("test/3", "no caption", "unscored"),
        ("test/1", "the same 2 captions listed twice, read once", "handled"),
        ("test/1", "a second image of this name", "unscored"),
    ]


def test_lines_that_do_not_read_are_named(tmp_path):
    path = tmp_path / "f.txt"
    path.write_bytes(b"image,caption\n1.jpg,good\nno comma here\n2.jpg, \n3.jpg,\xff\n")
    questions, problems = parted(FLICKR.read(path))
    assert [one.id for one in questions] == ["test/1"]
    assert [(one.item, one.subject) for one in problems if one.action == "unscored"] == [
        ("test/line 3", "f.txt:3"),
        ("test/2", "f.txt:4"),
        ("test/line 5", "f.txt:5"),
    ]


def test_a_wrong_path_says_what_was_wanted(tmp_path):
    with pytest.raises(BadData, match=r"coco_karpathy_test\.json"):
        list(COCO.read(tmp_path))
    with pytest.raises(BadData, match="No such file"):
        list(FLICKR.read(tmp_path / "absent.txt"))
    (tmp_path / "empty.txt").write_text("image,caption\n")
    with pytest.raises(BadData, match="no usable caption"):
        list(FLICKR.read(tmp_path / "empty.txt"))
