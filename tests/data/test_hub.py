"""Copies on the hub, with a stand-in for the library `datasets`: the real hub cannot be reached here."""

from __future__ import annotations

import io
import sys
from types import ModuleType

import pytest
from PIL import Image

from alignscope.data.benchmarks.hub import LAYOUTS, HubCopy
from alignscope.data.benchmarks.table import BENCHMARKS
from alignscope.errors import BadData, BadImage, MissingExtra, Unsupported
from alignscope.records import Problem, Question


class Rows:
    """What of `datasets.Dataset` is used; an image column gives bytes only after its cast."""

    def __init__(self, rows: list[dict], cast: tuple[str, ...] = ()) -> None:
        self.rows, self.cast = rows, cast
        self.column_names = list(rows[0])

    def cast_column(self, column: str, feature: object) -> Rows:
        assert feature == ("Image", False)
        return Rows(self.rows, (*self.cast, column))

    def remove_columns(self, names: list[str]) -> Rows:
        return Rows([{k: v for k, v in row.items() if k not in names} for row in self.rows])

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self):
        assert not any(isinstance(value, bytes) for row in self.rows for value in row.values())
        yield from self.rows

    def __getitem__(self, row: int) -> dict:
        return {k: {"bytes": v, "path": None} if k in self.cast else v for k, v in self.rows[row].items()}


@pytest.fixture
def hub(monkeypatch):
    """The stand-in; a test fills `copies` by (id, split)."""
    module = ModuleType("datasets")
    copies: dict[tuple[str, str], list[dict]] = {}
    module.load_dataset = lambda name, *, split: Rows(copies[name, split])
    module.Image = lambda *, decode: ("Image", decode)
    monkeypatch.setitem(sys.modules, "datasets", module)
    return copies


def png(colour: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGBA", (3, 2), colour).save(file, "PNG")
    return file.getvalue()


def test_winoground_by_its_own_columns(hub):
    hub["facebook/winoground", "test"] = [
        {
            "id": 7,
            "image_0": png("red"),
            "image_1": png("blue"),
            "caption_0": "a b",
            "caption_1": "b a",
            "tag": "t",
            "secondary_tag": "Symbolic",
            "num_main_preds": 1,
            "collapsed_tag": "Object",
        }
    ]
    copy = HubCopy(BENCHMARKS["winoground"])
    (only,) = copy.lines()
    assert isinstance(only, Question)
    assert (only.id, only.subset, only.tags, only.texts) == (
        "Object/7",
        "Object",
        ("Symbolic",),
        ("a b", "b a"),
    )
    images = [copy.image(shown.key) for shown in only.images]
    assert [(image.mode, image.getpixel((0, 0))) for image in images] == [
        ("RGB", (255, 0, 0)),
        ("RGB", (0, 0, 255)),
    ]
    assert copy.digest(only.images[0].key) != copy.digest(only.images[1].key)
    assert list(copy.notes) == ["0/image_0", "0/image_1"]


def test_a_copy_without_groups_is_not_averaged_over_groups(hub):
    row = {"image": png("red"), "true_caption": "a on b", "false_caption": "b on a"}
    hub["mteb/ARO-Visual-Relation", "test"] = [row, {**row, "false_caption": " "}]
    copy = HubCopy(BENCHMARKS["aro-relation"])
    told, first, second = copy.benchmark.read(None)
    assert (told.item, told.action) == ("", "handled")
    assert (first.id, first.texts, first.images[0].key) == ("vg-relation/0", ("a on b", "b on a"), "0/image")
    assert second == Problem(
        "vg-relation/1", "mteb/ARO-Visual-Relation: row 1", "`false_caption` is empty", "unscored"
    )
    assert (BENCHMARKS["aro-relation"].official.average, copy.benchmark.official.average) == (
        "groups",
        "items",
    )
    hub["mine", "test"] = [{**row, "relation_name": "on"}]
    named = HubCopy(BENCHMARKS["aro-relation"], id="mine")
    assert [one.group for one in named.lines()] == ["on"]
    assert named.benchmark.official.average == "groups"


def test_sentences_need_no_images(hub):
    hub["mteb/stsbenchmark-sts", "test"] = [
        {"sentence1": "a", "sentence2": "b", "score": 2.5},
        {"sentence1": "a", "sentence2": "b", "score": None},
    ]
    first, second = HubCopy(BENCHMARKS["sts-b"]).lines()
    assert (first.id, first.gold, first.images) == ("test/0", 2.5, ())
    assert (second.item, second.action) == ("test/1", "unscored")


def test_other_columns_and_other_images_are_refused(hub):
    hub["mteb/SUGARCREPE_fmt", "train"] = [{"image": b"", "caption": "a", "negative_caption": "b"}]
    with pytest.raises(BadData, match="no column images"):
        HubCopy(BENCHMARKS["sugarcrepe"])
    hub["mteb/SUGARCREPE_fmt", "train"] = [{"images": b"", "caption": "a", "negative_caption": "b"}]
    copy = HubCopy(BENCHMARKS["sugarcrepe"])
    for key in ("0/images", "1/images", "0/caption", "x"):
        with pytest.raises(BadImage):
            copy.digest(key)


def test_without_the_library_the_pip_line_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtra, match=r"pip install 'alignscope\[hub\]'"):
        HubCopy(BENCHMARKS["winoground"])
    with pytest.raises(Unsupported, match="no copy on the hub"):
        HubCopy(BENCHMARKS["comvg"])


def test_every_layout_has_an_id():
    assert all(BENCHMARKS[name].hub for name in LAYOUTS)
