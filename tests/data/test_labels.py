"""Oscar's label files, yaml and captions: made by hand, read by line, and what they lack is told."""

import base64
import json
import struct
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alignscope.data.labels import LabelFile, OscarFiles, labelled, read_oscar_captions, read_oscar_yaml
from alignscope.data.regionfiles import open_regions
from alignscope.errors import BadData, UnknownName
from alignscope.records import Box, Label, Regions

CAT = {"class": "cat", "rect": [10, 20, 30, 40], "conf": 0.75}
DOG = {"class": "dog", "rect": [0, 0, 80, 60.5], "conf": 1}


def tsv(folder: Path, *rows: tuple[str, Any], name: str = "train.label.tsv", indexed: bool = False) -> Path:
    path, offsets, text = folder / name, [], ""
    for key, value in rows:
        offsets.append(len(text.encode()))
        text += f"{key}\t{value if isinstance(value, str) else json.dumps(value)}\n"
    path.write_text(text, encoding="utf-8")
    if indexed:
        path.with_suffix(".lineidx").write_text("".join(f"{offset}\n" for offset in offsets))
    return path


def regions(image: str = "7", *, size: tuple[int, int] = (80, 60), tags: tuple[str, ...] = ()) -> Regions:
    return Regions(
        image=image,
        width=size[0],
        height=size[1],
        boxes=np.array([[0, 0, 8, 6], [1, 1, 4, 4]], np.float32) * np.float32(size[0] / 80),
        features=np.zeros((2, 3), np.float32),
        tags=tags,
        confidences=np.array([0.5, 0.25][: len(tags)], np.float32),
    )


@pytest.mark.parametrize("indexed", [False, True])
def test_labels_are_read_by_line(tmp_path: Path, indexed: bool) -> None:
    file = LabelFile(tsv(tmp_path, ("é", [DOG]), ("7", [CAT, DOG]), ("8", []), indexed=indexed))
    assert list(file) == ["é", "7", "8"]
    assert file["7"] == (
        Label("cat", Box(10, 20, 30, 40), 0.75),
        Label("dog", Box(0, 0, 80, 60.5), 1.0),
    )
    assert file["COCO_train2014_000000000007.jpg"] == file["7"]
    assert (file["8"], len(file), "9" in file, file.size("7")) == ((), 3, False, None)
    with pytest.raises(UnknownName, match="no labels of '9'"):
        file["9"]


def test_an_index_of_another_file_is_refused(tmp_path: Path) -> None:
    path = tsv(tmp_path, ("7", [CAT]), ("8", [DOG]), indexed=True)
    path.with_suffix(".lineidx").write_text("0\n5\n")
    with pytest.raises(BadData, match=r"lineidx:2: got the offset 5"):
        LabelFile(path)


def test_predictions_have_the_size_of_the_image_or_none(tmp_path: Path) -> None:
    path = tsv(
        tmp_path,
        ("7", {"image_h": 60, "image_w": 80, "objects": [CAT]}),
        ("8", {"objects": [CAT]}),
        ("9", [CAT]),
        name="predictions.tsv",
    )
    file = LabelFile(path)
    assert file["7"] == file["8"] == file["9"] == (Label("cat", Box(10, 20, 30, 40), 0.75),)
    assert [file.size(image) for image in file] == [(80, 60), None, None]


def test_labels_may_have_no_boxes(tmp_path: Path) -> None:
    bare = LabelFile(tsv(tmp_path, ("7", [{"class": "cat"}, {"class": "traffic light"}]), ("8", [])))
    assert bare["7"] == (Label("cat"), Label("traffic light"))


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ("[{", "got no JSON"),
        ('[{"class": "cat"}]\tmore', "got 3 columns"),
        ("3", "got a number"),
        ({"objects": 3}, "wanted a list of"),
        (["cat"], "label 1: got a text"),
        ([CAT, {"rect": [0, 0, 1, 1]}], "label 2: got an object"),
        ([{"class": ""}], "label 1"),
        ([{**CAT, "conf": "high"}], "`conf` is a text"),
        ([{**CAT, "rect": [0, 0, 1]}], "`rect` is a list"),
        ([{**CAT, "rect": [0, 0, float("nan"), 1]}], "`rect` is a list"),
        ([{**CAT, "rect": [0, 0, 10**400, 1]}], "`rect` is a list"),
        ([{**CAT, "rect": [5, 0, 1, 1]}], "wanted corners as x1 <= x2"),
        ({"image_h": 0, "image_w": 5, "objects": []}, "image_w 5 and image_h 0"),
        ({"image_h": 5, "objects": []}, "image_w None"),
    ],
)
def test_a_broken_line_is_told_with_its_number_and_the_others_are_read(
    tmp_path: Path, row: Any, what: str
) -> None:
    file = LabelFile(tsv(tmp_path, ("7", [CAT]), ("8", row)))
    assert len(file["7"]) == 1
    with pytest.raises(BadData) as caught:
        file["8"]
    assert str(caught.value).startswith(f"{file.path}:2: ")
    assert what in str(caught.value)


def test_an_image_on_two_lines_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"label\.tsv:1: got the image '7' again in line 2"):
        LabelFile(tsv(tmp_path, ("7", [CAT]), ("7", [DOG])))["7"]


def test_without_a_label_file_tags_of_regions_are_labels() -> None:
    both = labelled({"7": regions(tags=("cat", "")), "8": regions("8")})
    assert isinstance(both, Mapping)
    assert list(both) == ["7", "8"]
    assert both["7"].labels == (Label("cat", Box(0, 0, 8, 6), 0.5),)
    assert both["7"].regions == regions(tags=("cat", ""))
    assert both["8"].labels == ()
    assert (both.problems, both.notes) == ((), ())


def test_images_that_lack_one_half_are_counted(tmp_path: Path) -> None:
    labels = LabelFile(tsv(tmp_path, ("7", [CAT]), ("3", [DOG])))
    both = labelled({"000000000007": regions(), "8": regions("8")}, labels)
    assert (list(both), len(both), "8" in both) == (["000000000007"], 1, False)
    assert [(problem.item, problem.what, problem.action) for problem in both.problems] == [
        ("8", "regions without a line of labels", "unscored"),
        ("3", "labels without regions", "unscored"),
    ]
    assert both["7"].labels == both["000000000007"].labels == (Label("cat", Box(10, 20, 30, 40), 0.75),)
    for absent, what in (("3", "no regions of '3'"), ("8", "no labels of '8'")):
        with pytest.raises(UnknownName, match=what):
            both[absent]


def test_labels_held_in_hand_are_in_the_pixels_of_the_regions() -> None:
    held = {"7.jpg": (Label("cat", Box(1, 2, 3, 4)),)}
    both = labelled({"7": regions(size=(1, 1))}, held)
    assert both["7"].labels == held["7.jpg"]
    assert (both.notes, both.problems) == ((), ())


def test_boxes_of_labels_come_into_the_pixels_of_the_regions(tmp_path: Path) -> None:
    """A detector that saw the image at twice the width and the same height."""
    labels = LabelFile(tsv(tmp_path, ("7", {"image_w": 160, "image_h": 60, "objects": [CAT]})))
    both = labelled({"7": regions()}, labels)
    assert both["7"].labels == (Label("cat", Box(5, 20, 15, 40), 0.75),)
    assert both.notes == ()


def test_an_assumed_size_is_told(tmp_path: Path) -> None:
    """Regions as shares of a 1x1 image, and boxes in pixels of an image whose size nobody keeps."""
    shares = {name: regions(name, size=(1, 1)) for name in "789"}
    told = {"image_w": 40, "image_h": 80, "objects": [CAT]}
    both = labelled(shares, LabelFile(tsv(tmp_path, ("7", [CAT]), ("8", told), ("9", [{"class": "cat"}]))))
    assert both.notes == ()
    (label,) = both["7"].labels
    assert label.box == Box(10 / 800, 20 / 600, 30 / 800, 40 / 600)
    assert both["8"].labels[0].box == Box(0.25, 0.25, 0.75, 0.5)
    assert both["9"].labels == (Label("cat"),)
    assert both["7"].labels[0] == label
    assert both.notes == (
        "1 image of a size that no file tells: boxes of labels are taken to be of 800x600 pixels, "
        "as the official code does",
    )


def test_a_whole_folder_as_oscar_keeps_it(tmp_path: Path) -> None:
    """Features with shares of positions and labels of another detector, found through the yaml."""
    numbers = [1, 2, 3, 0.25, 0.5, 0.75, 1, 0.5, 0.5]
    packed = base64.b64encode(struct.pack("<9f", *numbers)).decode()
    tsv(tmp_path, ("7", {"num_boxes": 1, "features": packed}), name="train.feature.tsv", indexed=True)
    tsv(tmp_path, ("7", [{"height": 60, "width": 80}]), name="train.hw.tsv")
    tsv(tmp_path, ("7", [CAT, DOG]), indexed=True)
    (tmp_path / "train_caption.json").write_text('[{"image_id": "7", "caption": "a cat"}]')
    path = tmp_path / "train.yaml"
    path.write_text(
        'feature: "train.feature.tsv"\nlabel: train.label.tsv\nhw: train.hw.tsv\n'
        "caption: train_caption.json\nlinelist: train.linelist.tsv\n"
    )
    files = read_oscar_yaml(path)
    assert files.feature is not None
    assert files.label is not None
    assert files.caption == tmp_path / "train_caption.json"
    assert [problem.what for problem in files.problems] == ["the entry 'linelist' passed over"]
    seen = labelled(open_regions(files.feature), LabelFile(files.label))["7"]
    assert seen.regions.boxes.tolist() == [[20, 30, 60, 60]]
    assert seen.labels == (Label("cat", Box(10, 20, 30, 40), 0.75), Label("dog", Box(0, 0, 80, 60.5), 1.0))


BOMB = "a: &a [x, x]\nb: &b [*a, *a]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n"
    for old, new in zip("bcdefghij", "cdefghijk", strict=True)
)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("feature: [", "got no yaml"),
        ("feature: !!python/object/apply:os.system ['touch ran']", "got no yaml"),
        ("[" * 5_000, "got no yaml"),
        ("when: 2001-99-99\nfeature: a", "got no yaml"),
        ("", "got a NoneType"),
        ("- feature", "got a list"),
        ("images: a.tsv", "got images, wanted Oscar's yaml"),
        ("feature: [a.tsv, b.tsv]", "`feature`: got a list, wanted the name of one file"),
        ("label: ' '", "`label`: got a str"),
        ("feature: absent.tsv", "`feature`: got no file"),
        (BOMB + "feature: *k", "`feature`: got a list"),
    ],
)
def test_a_yaml_that_names_no_files_is_refused_and_never_run(
    tmp_path: Path, text: str, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "train.yaml"
    path.write_text(text)
    with warnings.catch_warnings(), pytest.raises(BadData) as caught:
        read_oscar_yaml(path)
    assert str(path) in str(caught.value)
    assert what in str(caught.value)
    assert len(str(caught.value)) < 1_000
    assert not (tmp_path / "ran").exists()


def test_a_yaml_may_name_a_part(tmp_path: Path) -> None:
    (tmp_path / "f.tsv").write_text("")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "test.yaml").write_text("feature: ../f.tsv\nlabel:\n")
    assert read_oscar_yaml(tmp_path / "sub" / "test.yaml") == OscarFiles(
        feature=tmp_path / "sub" / ".." / "f.tsv"
    )


def test_captions_by_image(tmp_path: Path) -> None:
    rows = [
        {"image_id": "7", "caption": "a cat", "id": 0},
        {"image_id": 8, "caption": "a dog"},
        {"image_id": "7", "caption": "a small cat"},
        {"image_id": "9", "caption": " "},
        {"image_id": None, "caption": "a cow"},
    ]
    path = tmp_path / "train_caption.json"
    path.write_text(json.dumps(rows))
    read = read_oscar_captions(path)
    assert [(one.image, one.captions) for one in read.images] == [
        ("7", ("a cat", "a small cat")),
        ("8", ("a dog",)),
    ]
    assert [(problem.subject, problem.what) for problem in read.problems] == [
        ("train_caption.json: [3]", "`caption` is empty"),
        ("train_caption.json: [4]", "`image_id` is null, not a text"),
    ]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ({"images": []}, "got an object"),
        ([{"image": "7", "caption": "a cat"}], r"\[0\]: got image, caption"),
        ([], "no usable caption"),
        ([{"image_id": "7", "caption": ""}], r"no usable caption \(.*is empty\)"),
    ],
)
def test_other_captions_are_refused(tmp_path: Path, content: Any, what: str) -> None:
    path = tmp_path / "captions.json"
    path.write_text(json.dumps(content))
    with pytest.raises(BadData, match=what):
        read_oscar_captions(path)
