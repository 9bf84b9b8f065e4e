"""COCO's files: what they say is read, what contradicts itself is named."""

import json
from pathlib import Path

import pytest

from alignscope.data.coco import CaptionedImage, read_captions
from alignscope.errors import BadData

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
