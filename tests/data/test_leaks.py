"""Training lists in every form, and which items of a benchmark they hold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from alignscope.data.leaks import Overlap, image_id, normalised, overlaps, read_training, sides
from alignscope.errors import BadData
from alignscope.records import Question, Shown

DATA = Path(__file__).parents[2].parent / "shared" / "data"
IMAGE, CAPTION = "COCO_val2014_000000000042.jpg", "A red dog."

FORMS = {
    "pairs.jsonl": json.dumps({"id": "x", "image": IMAGE, "caption": CAPTION, "foils": []}) + "\n\n",
    "blip.json": json.dumps([{"image": f"val2014/{IMAGE}", "caption": [CAPTION], "image_id": "coco_42"}]),
    "captions_val2014.json": json.dumps(
        {
            "images": [{"id": 42, "file_name": IMAGE, "license": 3}],
            "annotations": [{"id": 7, "image_id": 42, "caption": CAPTION}],
        }
    ),
    "annotations_alone.json": json.dumps(
        {"images": [], "annotations": [{"image_id": 42, "caption": CAPTION}]}
    ),
    "dataset_coco.json": json.dumps(
        {
            "images": [
                {
                    "filename": IMAGE,
                    "cocoid": 42,
                    "sentences": [{"raw": CAPTION, "tokens": ["a", "red", "dog"], "sentid": 1}],
                }
            ]
        }
    ),
    "by_key.json": json.dumps({"9": {"filename": "000000000042.jpg", "caption": CAPTION}}),
    "hl.jsonl": json.dumps({"file_name": IMAGE, "captions": {"object": [CAPTION]}}),
    "negclip.tsv": f"\ttitle\tfilepath\tneg_caption\n0\t{CAPTION}\tcoco/val2014/{IMAGE}\t['A dog red.']\n",
    "open_clip.csv": f"title\tfilepath\n{CAPTION}\t{IMAGE}\n",  # tabs in a .csv, as open_clip wants them
    "comma.csv": f'filepath,caption\n{IMAGE},"A red\ndog."\n',
    "flickr.token": f"{IMAGE}#0\t{CAPTION}\n",
    "clip_benchmark.txt": f"{IMAGE},{CAPTION}\r\n",
    "capitals.JSONL": json.dumps({"image": IMAGE, "caption": CAPTION}),
    "capitals.JSON": json.dumps([{"image": IMAGE, "caption": CAPTION}]),
    "bom.tsv": f"\ufefftitle\tfilepath\n{CAPTION}\t{IMAGE}\n",
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_gives_the_same_image_and_caption(name: str, tmp_path: Path):
    (tmp_path / name).write_text(FORMS[name], encoding="utf-8", newline="")
    (tmp_path / "image.txt").write_text("000000000042.jpg 42\n")
    (tmp_path / "caption.txt").write_text("a red dog\n")
    found = read_training([tmp_path / name])
    assert found.images == read_training([tmp_path / "image.txt"]).images
    assert found.captions == read_training([tmp_path / "caption.txt"]).captions
    assert len(found.images) == len(found.captions) == 1


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.tsv", "url\twords\nx\ty\n", "columns .'url', 'words'"),
        ("a.jsonl", '{"image": "1.jpg"}\n{broken\n', "a.jsonl:2: got no JSON"),
        ("a.jsonl", "[1]\n", "a.jsonl:1: got a list"),
        ("a.json", '{"images": 3}', "no lists"),
        ("a.json", "3", "got a number"),
        ("a.json", "[]", "no image and no caption"),
        ("a.txt", "", "no image and no caption"),
        ("a.jsonl", '{"picture": "1.jpg"}', "no image and no caption"),
    ],
)
def test_what_is_no_training_list_is_said(name: str, text: str, message: str, tmp_path: Path):
    (tmp_path / name).write_text(text)
    (tmp_path / "good.txt").write_text("a caption")
    with pytest.raises(BadData, match=message):
        read_training([tmp_path / "good.txt", tmp_path / name])


def test_a_missing_file_and_bytes_of_another_encoding_are_said(tmp_path: Path):
    with pytest.raises(BadData, match="No such file"):
        read_training([tmp_path / "none.tsv"])
    (tmp_path / "a.txt").write_bytes("café".encode("latin-1"))
    with pytest.raises(BadData, match="not UTF-8"):
        read_training([tmp_path / "a.txt"])


def test_rows_without_image_and_caption_are_counted(tmp_path: Path):
    (tmp_path / "a.jsonl").write_text('{"image": "1.jpg"}\n{"size": 3}\n{"caption": "?!"}\n')
    found = read_training([tmp_path / "a.jsonl"])
    assert (len(found.images), len(found.captions), found.rows, found.empty) == (1, 0, 1, 2)


def test_names_that_are_not_one_image_stay_apart():
    names = [
        "000000000042.jpg",
        "42.jpg",
        "COCO_val2014_000000000420.jpg",
        "VisualDialog_val2018_000000000042.jpg",
    ]
    assert len({image_id(name) for name in names}) == 4
    assert normalised("A red-dog") == normalised("a red dog!") != normalised("a reddog")


def _question(texts: tuple[str, ...], images: tuple[str, ...] = ("1.jpg",)) -> Question:
    return Question("s/1", "s", "s", tuple(map(Shown, images)), texts)


@pytest.mark.parametrize(
    ("asks", "right"),
    [("caption", 1), ("two captions", 2), ("image", 3), ("pairing", 3), ("retrieval", 3), ("similarity", 3)],
)
def test_sides_of_what_is_asked(asks, right: int):
    texts = ("a", "b", "c")
    assert sides(_question(texts), asks) == (texts[:right], texts[right:])


def test_each_way_of_overlap_alone(tmp_path: Path):
    (tmp_path / "a.jsonl").write_text(
        '{"image": "x/2.jpg"}\n{"caption": "the right one"}\n{"caption": "the wrong one"}\n'
    )
    training = read_training([tmp_path / "a.jsonl"])
    asked = [
        _question(("new", "other")),
        _question(("new", "other"), ("1.jpg", "2.jpg")),
        _question(("The right one.", "other")),
        _question(("new", "other", "the WRONG one")),
    ]
    found = [
        (o.saw_image, o.saw_right_caption, o.saw_wrong_caption) for o in overlaps(asked, "caption", training)
    ]
    assert found == [(False,) * 3, (True, False, False), (False, True, False), (False, False, True)]
    clean = next(overlaps(asked, "caption", training))
    assert clean == Overlap("s/1", "s", "1.jpg", False, False, False)
    assert clean.is_clean


@pytest.mark.skipif(not DATA.exists(), reason="the shared data are not here")
def test_negclips_validation_list_holds_images_of_sugarcrepe():
    """val2017 is a part of val2014: the numbers are the same. Counted anew with regular expressions."""
    import csv
    import re

    from alignscope.data.benchmarks.table import BENCHMARKS

    path = DATA / "negclip" / "valid_neg_clip.tsv"
    training = read_training([path])
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    numbers = {int(row["filepath"][-16:-4]) for row in rows}
    texts = {" ".join(re.findall("[a-z0-9]+", row["title"].lower())) for row in rows}
    assert len(rows) == training.rows == 4839
    assert len(training.images) == len(numbers) == 4839
    assert len(training.captions) == len(texts) == 4813
    asked = [q for q in BENCHMARKS["sugarcrepe"].read(DATA / "sugar_crepe") if isinstance(q, Question)]
    found = list(overlaps(asked, "caption", training))
    assert [o.saw_image for o in found] == [int(q.images[0].key[:12]) in numbers for q in asked]
    assert sum(o.saw_image for o in found) == 775
    assert sum(o.saw_right_caption for o in found) == 182
    assert sum(o.saw_wrong_caption for o in found) == 7
    assert sum(not o.is_clean for o in found) == 805


def test_captions_of_a_benchmarks_own_images_and_texts_are_left_out(tmp_path: Path):
    from alignscope.data.leaks import captions_unlike

    rows = [
        {"image": f"train/{IMAGE}", "caption": ["of its image", "of its image too"]},
        {"image": "7.jpg", "caption": ["The wrong one!"]},
        {"image": "8.jpg", "caption": ["kept", "kept too"]},
        {"caption": "no image"},
    ]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked = [_question(("the right one", "the wrong one"), ("000000000042.jpg",))]
    assert list(captions_unlike([tmp_path / "a.jsonl"], asked)) == ["kept", "kept too", "no image"]
