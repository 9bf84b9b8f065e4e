"""What a check says of a benchmark's files."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from PIL import Image

from alignscope.data.benchmarks.facts import Benchmark, Official
from alignscope.data.benchmarks.table import BENCHMARKS
from alignscope.errors import OutputExists
from alignscope.files import read_jsonl
from alignscope.records import Problem, Question, Shown
from alignscope.studies.benchmarking.checking import SubsetCheck, check_benchmark

DATA = Path(__file__).parents[2].parent / "shared" / "data"
LINES = [
    Question("a/1", "a", "a", (Shown("1.png"),), ("x", "y")),
    Question("a/2", "a", "a", (Shown("1.png"), Shown("2.png")), ("x", "y")),
    Problem("a/3", "f:3", "`caption` is empty", "unscored"),
    Problem("", "f", "unknown field", "handled"),
    Problem("b/1", "f:4", "caption 2 is empty", "unscored"),
    Question("b/1", "b", "b", (Shown("3.png"),), ("x", "y")),
    Question("b/2", "b", "b", (Shown("../4.png"),), ("x", "y")),
    Question("b/3", "b", "b", (Shown("5.png"),), ("x", "y")),
]


def benchmark(lines=LINES, **sizes: int) -> Benchmark:
    def read(annotations: Path):
        yield from lines

    return Benchmark("t", "T", "caption", read, Official(), "", "", "", "", "a folder", sizes=sizes)


@pytest.fixture
def images(tmp_path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    Image.new("RGB", (4, 4)).save(folder / "1.png")
    (folder / "3.png").write_bytes(b"")
    (folder / "5.png").write_bytes((folder / "1.png").read_bytes()[:40])
    return folder


def test_counts_of_items_and_images(tmp_path, images):
    out = tmp_path / "p.jsonl"
    found = check_benchmark(benchmark(a=3, b=4, c=1), tmp_path, images, out=out)
    assert found.subsets == (
        SubsetCheck("a", 3, 1, 3, 2, 1, 1, 0),
        SubsetCheck("b", 3, 1, 4, 3, 1, 1, 1),
        SubsetCheck("c", 0, 0, 1, 0, 0, 0, 0),
        SubsetCheck("all", 6, 2, 8, 5, 2, 2, 1),
    )
    assert [one.subset for one in found.differences] == ["b", "c", "all"]
    assert not found.is_complete
    assert [row["item"] for row in read_jsonl(out)] == ["a/2", "a/3", "", "b/1", "b/1", "b/2"]
    assert (found.unscored, found.handled) == (5, 1)
    assert [one.item for one in found.first] == ["a/2", "a/3", "b/1", "b/1", "b/2"]
    whole = hashlib.sha256()
    for line in LINES:
        whole.update(json.dumps(asdict(line), sort_keys=True).encode())
    assert found.annotations == whole.hexdigest()


def test_only_decoding_finds_half_an_image(tmp_path, images):
    found = check_benchmark(benchmark(), tmp_path, images, decode=True)
    assert (found.subsets[-1].present, found.subsets[-1].broken, found.subsets[-1].usable) == (1, 2, 1)


def test_without_images_or_faults_it_is_complete(tmp_path, images):
    good = [LINES[0], replace(LINES[0], id="a/2")]
    for folder in (None, images):
        found = check_benchmark(benchmark(good, a=2), tmp_path, folder)
        assert found.is_complete
        assert found.are_images_checked is (folder is not None)
        assert found.subsets[-1] == SubsetCheck("all", 2, 2, 2, 1, int(folder is not None), 0, 0)
    assert not check_benchmark(benchmark(good, **{"": 3}), tmp_path, images).is_complete


def test_a_file_is_not_overwritten(tmp_path):
    (tmp_path / "p.jsonl").write_text("mine")
    with pytest.raises(OutputExists):
        check_benchmark(benchmark(), tmp_path, out=tmp_path / "p.jsonl")
    assert (tmp_path / "p.jsonl").read_text() == "mine"
    check_benchmark(benchmark(), tmp_path, out=tmp_path / "p.jsonl", overwrite=True)


@pytest.mark.skipif(not (DATA / "sugar_crepe").exists(), reason="no shared data")
def test_sugarcrepe_with_the_photographs_at_hand():
    found = check_benchmark(BENCHMARKS["sugarcrepe"], DATA / "sugar_crepe", DATA / "coco_images", decode=True)
    assert not found.differences
    listed = json.loads((DATA / "coco_images" / "image_records.json").read_text())
    told: Counter[str] = Counter()
    for records in listed.values():
        for name, keys in records.items():
            if name.startswith("sugar_crepe/"):
                told[name.partition("/")[2]] += len(keys)
    assert told.total() == 120
    assert {one.subset: one.usable for one in found.subsets} == {**told, "all": 120}
    assert (found.subsets[-1].images, found.subsets[-1].broken) == (1560, 0)


def test_subsets_whose_names_have_bars_keep_their_unread_items(tmp_path):
    folder = tmp_path / "data" / "Attribute" / "vg"
    folder.mkdir(parents=True)
    (folder / "color.json").write_text(json.dumps([["1.jpg", {"POS": ["a"], "NEG": ["b"]}], ["2.jpg", 3]]))
    found = check_benchmark(BENCHMARKS["vl-checklist"], tmp_path)
    rows = {row.subset: row for row in found.subsets}
    assert rows["Attribute/color/vg"].records == rows["all"].records == 2
    assert not {"Attribute", "Object", "Relation", "Object/Size/large"} & rows.keys()
