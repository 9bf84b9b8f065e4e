"""Karpathy's splits: restval is trained on, captions are their words, and faults are told with their place."""

import json
from pathlib import Path
from typing import Any

import pytest

from alignscope.data.karpathy import KarpathySplits
from alignscope.errors import BadData


def row(number: int, split: str, *captions: str, **others: Any) -> dict[str, Any]:
    sentences = [{"tokens": caption.split(), "raw": caption.upper(), "sentid": 1} for caption in captions]
    name = f"COCO_val2014_{number:012d}.jpg"
    return {"filepath": "val2014", "filename": name, "split": split, "sentences": sentences, **others}


def written(folder: Path, content: Any) -> Path:
    path = folder / "dataset_coco.json"
    path.write_text(json.dumps(content))
    return path


def test_restval_is_part_of_train(tmp_path: Path) -> None:
    rows = [
        row(1, "test", "a cat"),
        row(2, "restval", "a dog", "two dogs"),
        row(3, "val", "a cow"),
        row(4, "train", "a pig"),
        row(5, "train", ""),
    ]
    splits = KarpathySplits(written(tmp_path, {"images": rows, "dataset": "coco"}))
    train = splits.split("train")
    assert [(image.image, image.captions) for image in train.images] == [
        ("val2014/COCO_val2014_000000000002.jpg", ("a dog", "two dogs")),
        ("val2014/COCO_val2014_000000000004.jpg", ("a pig",)),
    ]
    assert [problem.what for problem in train.problems] == ["caption 1 is empty", "no caption with words"]
    assert [len(splits.split(name).images) for name in ("val", "test")] == [1, 1]


def test_a_sentence_without_a_word_is_told(tmp_path: Path) -> None:
    sentences = [{"tokens": ["a", "cat"]}, {"tokens": [" "]}, {"tokens": []}, {"tokens": ["half", "\ud800"]}]
    train = KarpathySplits(written(tmp_path, {"images": [row(1, "train", sentences=sentences)]})).split(
        "train"
    )
    assert [image.captions for image in train.images] == [("a cat",)]
    assert [(problem.what, problem.action) for problem in train.problems] == [
        ("caption 2 is empty", "unscored"),
        ("caption 3 is empty", "unscored"),
        ("caption 4 holds half a surrogate pair, which is no character", "unscored"),
    ]


def test_images_without_folder_are_their_names(tmp_path: Path) -> None:
    """As in Karpathy's file of Flickr30k."""
    plain = row(1, "train", "a cat", filename="36979.jpg")
    del plain["filepath"]
    (image,) = KarpathySplits(written(tmp_path, {"images": [plain]})).split("train").images
    assert image.image == "36979.jpg"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ([], "without a list `images`"),
        ({"images": {}}, "without a list `images`"),
        ({"images": [row(1, "train", "a"), row(2, "dev", "a")]}, r"images\[1\]: .*split 'dev'"),
        ({"images": [row(1, "train", sentences=None)]}, r"images\[0\]"),
        ({"images": [row(1, "train", sentences=[{"raw": "a cat"}])]}, "without a list `tokens`"),
        ({"images": [7]}, r"images\[0\]: got a number"),
        ({"images": [row(1, "train", "a")]}, "no image of the split 'test'"),
    ],
)
def test_what_cannot_be_used_is_told(tmp_path: Path, content: Any, told: str) -> None:
    with pytest.raises(BadData, match=told):
        KarpathySplits(written(tmp_path, content)).split("test")
