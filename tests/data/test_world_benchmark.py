"""The world's foils, and any file of pairs, as a benchmark."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from alignscope.data.benchmarks.table import BENCHMARKS, SUITES
from alignscope.data.world.export import export
from alignscope.data.world.world import World
from alignscope.errors import BadData
from alignscope.records import Problem, Question, Shown


@pytest.fixture(scope="module")
def world() -> World:
    return World("test", size=12, seed=3)


def test_an_exported_world_is_asked_foil_by_foil(world: World, tmp_path: Path):
    export(world, tmp_path)
    benchmark = BENCHMARKS["world"]
    found = list(benchmark.read(tmp_path))
    asked = [line for line in found if isinstance(line, Question)]
    wanted = [
        (f"{foil.kind}/{item.id}", foil.kind, f"{item.image}.png", (item.caption.text, foil.text))
        for item in world.items
        for foil in item.foils
    ]
    assert len(wanted) >= 12, "found too few: nothing was checked"
    assert sorted((q.id.partition("@")[0], q.subset, q.images[0].key, q.texts) for q in asked) == sorted(
        wanted
    )
    assert len({q.id for q in asked}) == len(asked)
    assert all(q.group == q.subset and len(q.images) == 1 for q in asked)
    assert all((tmp_path / "images" / q.images[0].key).is_file() for q in asked)
    assert benchmark.asks == "caption"
    assert list(BENCHMARKS["pairs"].read(tmp_path / "pairs.jsonl")) == found


def test_a_file_of_pairs_worked_by_hand(tmp_path: Path):
    foils = [{"caption": "a cat", "kind": "animal"}, {"caption": "a cow", "kind": "animal"}]
    rows = [
        {"id": "7", "image": "x/1.jpg", "caption": "a dog", "foils": foils},
        {"id": "8", "image": "2.jpg", "caption": "a bird"},
        {"id": "9", "image": "3.jpg"},
    ]
    path = tmp_path / "mine.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    first, second, lonely, broken = BENCHMARKS["pairs"].read(path)
    assert first == Question("animal/7", "animal", "animal", (Shown("x/1.jpg"),), ("a dog", "a cat"))
    assert second == Question("animal/7@foil-2", "animal", "animal", (Shown("x/1.jpg"),), ("a dog", "a cow"))
    assert isinstance(lonely, Problem)
    assert (lonely.item, lonely.action) == ("8", "unscored")
    assert isinstance(broken, Problem)
    assert "`caption` is missing" in broken.what


def test_a_world_half_exported_is_refused(tmp_path: Path):
    (tmp_path / "world.json").write_text('{"is_finished": false}')
    (tmp_path / "pairs.jsonl").write_text("")
    with pytest.raises(BadData, match="half exported"):
        list(BENCHMARKS["world"].read(tmp_path))


def test_a_folder_without_pairs_is_said(tmp_path: Path):
    with pytest.raises(BadData, match=r"pairs\.jsonl"):
        list(BENCHMARKS["world"].read(tmp_path))


def test_the_suite_of_paper_b_leaves_them_out():
    assert {"world", "pairs"} & set(SUITES["composition"]) == set()
    assert "sugarcrepe" in SUITES["composition"]
