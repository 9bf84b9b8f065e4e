"""Every benchmark is in the speed book; the runner goes on where it stopped and tells what failed."""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
GOOD = """
import json, os, sys
from pathlib import Path
counter = Path(__file__).with_suffix(".ran")
counter.write_text(str(int(counter.read_text()) + 1 if counter.is_file() else 1))
figure = {"name": "theirs / ours", "ratio": 3.5, "low": 3.0, "high": 4.0, "wanted": "at least 3", "is_met": True, "note": " ".join(sys.argv[1:-2])}
Path(sys.argv[-1]).write_text(json.dumps({"figures": [figure]}))
print("threads", os.environ["OMP_NUM_THREADS"])
"""
BAD = """
import sys
sys.exit("ModuleNotFoundError: no peer here") if "--mended" not in sys.argv else None
"""


@pytest.fixture(scope="module")
def book() -> Iterator[Any]:
    """The modules of the folder, which import each other by their plain names."""
    before = {*sys.modules}
    sys.path.insert(0, str(FOLDER))
    try:
        yield SimpleNamespace(
            **{name: importlib.import_module(name) for name in ("bench", "figures", "page")}
        )
    finally:
        sys.path.remove(str(FOLDER))
        for name in {*sys.modules} - before:
            if str(FOLDER) in str(getattr(sys.modules[name], "__file__", None)):
                del sys.modules[name]


class Fakes:
    """Two scripts in a folder of their own, one of which fails, and one for a GPU."""

    def __init__(self, book: Any, place: Path) -> None:
        self.book, self.place, self.out, self.said = book, place, place / "out", list[str]()
        (place / "good.py").write_text(GOOD)
        (place / "bad.py").write_text(BAD)
        self.benchmarks = (
            book.bench.Benchmark("good", "A good one", "good.py", "--wide", quick="--small"),
            book.bench.Benchmark("bad", "A bad one", "bad.py"),
            book.bench.Benchmark("gpu", "One on a GPU", "good.py", is_on_gpu=True),
        )

    def run(self, **options: Any) -> dict[str, Any]:
        given = {"folder": self.place, "has_gpu": lambda: False, "say": self.said.append, **options}
        return self.book.bench.run_book(self.benchmarks, self.out, **given)

    @property
    def times_run(self) -> int:
        return int((self.place / "good.ran").read_text())

    def page(self, entries: dict[str, Any]) -> str:
        sections = [
            self.book.page.Section(each.title, each.script, each.is_on_gpu, entries.get(each.name))
            for each in self.benchmarks
        ]
        return "\n".join(self.book.page.page(sections))


@pytest.fixture
def fakes(book: Any, tmp_path: Path) -> Fakes:
    return Fakes(book, tmp_path)


def test_every_benchmark_is_in_the_book(book: Any):
    there = {path.name for path in FOLDER.glob("*.py")}
    named = {given.script for given in book.bench.BENCHMARKS}
    assert len(named) >= 12, "found too few: nothing was checked"
    assert named <= there
    assert there <= named | {*book.bench.BESIDE}, "add these to bench.BENCHMARKS, or to BESIDE with why"
    names = [given.name for given in book.bench.BENCHMARKS]
    assert len(names) == len(set(names))


def test_every_benchmark_gives_its_figures(book: Any):
    for given in book.bench.BENCHMARKS:
        text = (FOLDER / given.script).read_text(encoding="utf-8")
        assert "add_option(parser)" in text, given.script
        assert "tell(" in text, given.script


def test_the_json_has_every_figure_and_what_was_around(fakes: Fakes):
    fakes.run()
    rows = {row["name"]: row for row in json.loads((fakes.out / "bench.json").read_text())["entries"]}
    assert {*rows} == {"good", "bad"}
    good = rows["good"]
    assert good["command"] == "good.py --wide"
    assert not good["is_quick"]
    assert not good["not_run"]
    assert {*good["around"]} == {"machine", "versions", "commit"}
    assert good["figures"] == [
        {
            "name": "theirs / ours",
            "ratio": 3.5,
            "low": 3.0,
            "high": 4.0,
            "wanted": "at least 3",
            "is_met": True,
            "note": "--wide",
        }
    ]
    assert (fakes.out / "good.log").read_text() == "threads 1\n"


def test_a_benchmark_that_fails_is_told_and_run_again(fakes: Fakes):
    found = fakes.run()["bad"]
    assert found.not_run == "exit status 1: ModuleNotFoundError: no peer here"
    assert any("not run: exit status 1: ModuleNotFoundError" in each for each in fakes.said)
    assert "not run: exit status 1: ModuleNotFoundError: no peer here" in fakes.page({"bad": found})
    (fakes.place / "bad.py").write_text(GOOD)
    assert not fakes.run()["bad"].not_run


def test_a_benchmark_without_figures_or_without_end_is_told(fakes: Fakes):
    (fakes.place / "bad.py").write_text("print('all is well')")
    assert fakes.run(only=["bad"])["bad"].not_run == "it gave no figures: all is well"
    (fakes.place / "bad.py").write_text("import time; time.sleep(60)")
    assert fakes.run(only=["bad"], at_most_seconds=0.2)["bad"].not_run == "ran past 0.2 s"


def test_what_has_finished_is_not_run_again_unless_asked(fakes: Fakes):
    fakes.run()
    assert fakes.run()["good"].figures[0].ratio == 3.5
    assert fakes.times_run == 1
    fakes.run(is_again=True)
    assert fakes.times_run == 2


def test_a_whole_run_replaces_a_quick_one_and_not_the_other_way(fakes: Fakes):
    found = fakes.run(is_quick=True)
    assert found["good"].command == "good.py --wide --small"
    assert found["good"].is_quick
    assert not found["bad"].is_quick, "it has nothing that could be smaller"
    assert not fakes.run()["good"].is_quick
    assert not fakes.run(is_quick=True)["good"].is_quick
    assert fakes.times_run == 2


def test_only_one_is_run_and_others_are_kept(fakes: Fakes):
    fakes.run(only=["bad"])
    assert {*fakes.run(only=["good"])} == {"good", "bad"}
    assert fakes.times_run == 1


def test_what_is_skipped_is_not_run_and_keeps_what_it_had(fakes: Fakes):
    fakes.run(only=["good"])
    found = fakes.run(skip=["good"], is_again=True)
    assert {*found} == {"good", "bad"}
    assert fakes.times_run == 1


def test_the_page_follows_every_benchmark_that_was_run(fakes: Fakes):
    seen: list[set[str]] = []
    fakes.run(after=lambda entries: seen.append({*entries}))
    assert seen == [{"good"}, {"good", "bad"}]
    fakes.run(after=lambda entries: seen.append({*entries}))
    assert len(seen) == 3, "only the one that had failed was run again"


def test_times_are_compared_by_the_processor_and_the_wall_is_told(book: Any):
    spent = book.figures.Spent
    over, under = [spent(10.0, 4.0), spent(30.0, 6.0)], [spent(1.0, 2.0), spent(1.0, 2.0)]
    found = book.figures.figure_of_times("a / b", over, under, scale=2.0, at_most=5, note="two")
    assert (found.ratio, found.is_met) == (5.0, True)
    assert found.note == "two; by processor time; 40.0 by the wall clock"
    busy = book.figures.spent(lambda: sum(range(10**6)))
    assert 0 < busy.processor < 60
    idle = book.figures.spent(lambda: time.sleep(0.05))
    assert idle.wall >= 0.05 > idle.processor


def test_a_gpu_is_used_where_there_is_one(fakes: Fakes):
    absent = fakes.run(only=["gpu"])
    assert "gpu" not in absent
    assert fakes.said[-1] == "\nOne on a GPU\n  not run: torch finds no GPU here\n"
    before, after = fakes.page(absent).split("## On a GPU")
    assert "One on a GPU" in before, "among what was not run"
    assert "not run: torch found no GPU" in after
    assert fakes.run(only=["gpu"], has_gpu=lambda: True)["gpu"].figures


def test_the_page_counts_bounds_and_names_those_not_met(book: Any, fakes: Fakes):
    entry = fakes.run(only=["good"])["good"]
    missed = book.figures.figure("a | b", [1.0, 2.0, 4.0], at_most=1.5)
    entry.figures.append(missed)
    text = fakes.page({"good": entry})
    assert "Bounds met: 1 of 2 measured." in text
    assert "- not met: a | b, 2.000 (1.500 to 3.000), wanted at most 1.5" in text
    assert "| a \\| b | 2.000 | 1.500 to 3.000 | at most 1.5 | NOT MET |  |" in text
    assert "- not run: A bad one" in text


def test_a_figure_is_the_median_of_rounds_with_quartiles(book: Any):
    found = book.figures.figure("speed", [5.0, 1.0, 2.0, 3.0, 4.0], at_least=3)
    assert (found.low, found.ratio, found.high, found.is_met) == (2.0, 3.0, 4.0, True)
    assert book.figures.figure("speed", [2.9], at_least=3).is_met is False
    assert book.figures.figure("speed", [2.9], at_most=3).is_met is True
    alone = book.figures.figure("speed", [2.9])
    assert (alone.low, alone.high, alone.wanted, alone.is_met) == (None, None, "", None)
    with pytest.raises(ValueError, match="not both"):
        book.figures.figure("speed", [1.0], at_least=1, at_most=2)
