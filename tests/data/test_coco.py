"""COCO's files: what they say is read, what contradicts itself is named."""

import json
from pathlib import Path

import pytest
from PIL import Image

from alignscope.data.coco import (
    CaptionedImage,
    CaptionedImages,
    Instance,
    read_captions,
    read_instances,
)
from alignscope.errors import BadData
from alignscope.records import Box, Caption, Item

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
IMAGES = [{"id": 5, "file_name": "b.png"}, {"id": 3, "file_name": "a.png"}]


def file(tmp_path: Path, content: object) -> Path:
    path = tmp_path / "captions.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def captions(*rows: object) -> dict[str, object]:
    return {"images": IMAGES, "annotations": [{"image_id": i, "caption": text} for i, text in rows]}


def test_captions_are_gathered_by_image(tmp_path):
    read = read_captions(file(tmp_path, captions((3, "one"), (5, "two"), (3, "three"))))
    assert read.images == (CaptionedImage("a.png", ("one", "three")), CaptionedImage("b.png", ("two",)))
    assert read.problems == ()


def test_the_list_form_takes_one_caption_or_many(tmp_path):
    read = read_captions(
        file(
            tmp_path,
            [{"image": "v/a.png", "caption": ["one", "two"]}, {"image": "b.png", "caption": "three"}],
        )
    )
    assert read.images == (CaptionedImage("v/a.png", ("one", "two")), CaptionedImage("b.png", ("three",)))


def test_unusable_captions_are_problems(tmp_path):
    read = read_captions(file(tmp_path, captions((3, "one"), (4, "two"), (3, " "), (5, None), ("3", "x"))))
    assert read.images == (CaptionedImage("a.png", ("one",)),)
    assert [(p.subject, p.action) for p in read.problems] == [
        (f"captions.json: annotations[{n}]", "unscored") for n in (1, 2, 3, 4)
    ]
    assert "`image_id` is a number (4)" in read.problems[0].what
    listed = read_captions(
        file(
            tmp_path,
            [
                {"image": "a.png", "caption": ["one", 2]},
                {"image": "", "caption": "x"},
                {"image": "b", "caption": []},
            ],
        )
    )
    assert [p.what for p in listed.problems] == [
        "caption is a number (2), not a text",
        "`image` is empty",
        "no caption",
    ]


WRONG = [
    ("{", "no valid JSON"),
    ("7", "got a number"),
    ({"images": []}, "images but no `annotations`"),
    ({"annotations": []}, "annotations but no `images`"),
    ({"images": {}, "annotations": []}, "an object .* as `images`"),
    ({"images": IMAGES, "annotations": ["x"]}, r"annotations\[0\]: got a text"),
    ({"images": [{"id": 1}], "annotations": []}, r"images\[0\]: `file_name` is null"),
    ({"images": [{"id": "1", "file_name": "a"}], "annotations": []}, r"images\[0\]: `id` is no whole number"),
    ({"images": [*IMAGES, {"id": 3, "file_name": "c"}], "annotations": []}, "got 2 images with the id 3"),
    (
        {"images": [*IMAGES, {"id": 9, "file_name": "a.png"}], "annotations": []},
        "2 images with the file_name",
    ),
    ({"images": IMAGES, "annotations": [{"image_id": 3, "bbox": []}]}, "is this the instances file"),
    ({"images": IMAGES, "annotations": []}, "no usable caption"),
    ([], "no usable caption"),
    ([{"image": "a"}], r"\[0\]: got image, wanted"),
    (["a"], r"\[0\]: got a text"),
]


@pytest.mark.parametrize(("content", "match"), WRONG, ids=[match for _, match in WRONG])
def test_a_wrong_structure_is_refused(tmp_path, content, match):
    with pytest.raises(BadData, match=rf"captions\.json: .*{match}") as refused:
        read_captions(file(tmp_path, content))
    assert "wanted" in str(refused.value)


def test_instances_are_read_with_boxes_as_corners(tmp_path):
    read = read_instances(
        file(
            tmp_path,
            {
                "images": IMAGES,
                "categories": [{"id": 18, "name": "dog"}, {"id": 2, "name": "bicycle"}],
                "annotations": [
                    {"id": 70, "image_id": 5, "category_id": 2, "bbox": [1, 2.5, 10, 20], "iscrowd": 1},
                    {"id": 71, "image_id": 5, "category_id": 3, "bbox": [1, 2, 10, 20]},
                    {"id": 72, "image_id": 5, "category_id": 2, "bbox": [1, 2, 0, 20]},
                    {"id": 73, "image_id": 5, "category_id": 2, "bbox": [1, 2, 3]},
                    {"id": 74, "image_id": 5, "category_id": 2},
                ],
            },
        )
    )
    assert read.instances == (Instance("70", "b.png", "bicycle", Box(1, 2.5, 11, 22.5), True),)
    assert read.images == ("b.png", "a.png")
    assert read.categories == ("dog", "bicycle")
    assert [p.what for p in read.problems] == [
        "`category_id` is a number (3), which the file does not list",
        "`bbox` [1, 2, 0, 20] has no area",
        "`bbox` is a list ([1, 2, 3]), not four numbers (x, y, width, height)",
        "`bbox` is null, not four numbers (x, y, width, height)",
    ]


def test_captioned_images_are_items_without_foils(tmp_path):
    Image.new("RGB", (3, 2), "red").save(tmp_path / "a.png")
    source = CaptionedImages(file(tmp_path, captions((3, "one"), (5, "two"), (3, "three"))), tmp_path)
    assert source.items == (
        Item("a.png#0", "a.png", Caption("one")),
        Item("a.png#1", "a.png", Caption("three")),
    )
    assert [(p.item, p.action) for p in source.problems] == [("b.png#0", "unscored")]
    assert "missing image" in source.problems[0].what
    assert source.image("a.png").size == (3, 2)
    assert source.name == "captions"


def test_the_karpathy_test_split_has_its_known_size():
    """5,000 images and 25,010 captions: SOURCE.txt beside the file."""
    path = SHARED / "coco_karpathy" / "coco_test_1.json"
    if not path.exists():
        pytest.skip("../shared/data is not here")
    read = read_captions(path)
    assert len(read.images) == 5_000
    assert sum(len(one.captions) for one in read.images) == 25_010
    assert read.problems == ()
    assert read.images[0].image == "val2014/COCO_val2014_000000391895.jpg"
