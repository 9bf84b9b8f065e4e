"""Two run directories side by side: evaluate's scores, audit's choices and ranks, and the command."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from alignscope.cli import app
from alignscope.errors import BadData, OutputExists
from alignscope.evaluation.paired import Paired
from alignscope.files import read_parquet, write_json, write_parquet
from alignscope.records import Choice, Measurement, OptionScore, Rank
from alignscope.studies.benchmarking.comparison import compare

spec = importlib.util.spec_from_file_location(
    "option_scores", Path(__file__).parents[1] / "evaluation" / "option_scores.py"
)
assert spec is not None
assert spec.loader is not None
made = importlib.util.module_from_spec(spec)
spec.loader.exec_module(made)


def scored(seed: int, *, items: int = 40, better: float = 0.0) -> list[OptionScore]:
    """Random SugarCrepe and ComVG scores in one file; the right option is better by so much."""
    draw = np.random.default_rng(seed)
    rows = []
    for place in range(items):
        right, wrong = draw.normal(size=2)
        subset = ("swap_obj", "swap_att")[place % 2]
        scores = {(0, 0): float(right) + better, (0, 1): float(wrong)}
        rows += made.options(
            f"{subset}/{place}", scores, name="sugarcrepe", subset=subset, image=f"i{place // 2}"
        )
        scores = {(0, 0): float(wrong) + better, (1, 0): float(right)}
        rows += made.options(f"verb/{place}", scores, name="comvg", subset="verb")
    return rows


def run(directory: Path, rows: list[OptionScore]) -> Path:
    directory.mkdir(parents=True)
    write_parquet(directory / "scores.parquet", rows, OptionScore)
    return directory


def test_runs_of_evaluate_are_compared_benchmark_by_benchmark(tmp_path: Path):
    one = run(tmp_path / "one", scored(0))
    other = run(tmp_path / "other", scored(0, items=38, better=3.0))
    found = compare(one, other, out=tmp_path / "out", draws=100)
    names = [(line.benchmark, line.subset) for line in found.lines]
    assert names == [
        ("comvg", "all"),
        ("sugarcrepe", "all"),
        ("sugarcrepe", "swap_att"),
        ("sugarcrepe", "swap_obj"),
    ]
    comvg, sugarcrepe, *subsets = found.lines
    assert (comvg.items, comvg.alone_in_first, comvg.alone_in_second) == (38, 2, 0)
    assert sugarcrepe.images == 19
    assert sum(line.items for line in subsets) == sugarcrepe.items == 38
    smaller, larger = sorted([comvg.p, sugarcrepe.p])
    assert sorted([comvg.p_holm, sugarcrepe.p_holm]) == pytest.approx([2 * smaller, max(2 * smaller, larger)])
    assert read_parquet(tmp_path / "out" / "comparison.parquet", Paired) == list(found.lines)
    assert read_parquet(tmp_path / "out" / "measurements.parquet", Measurement) == list(found.measurements)
    whole = made.only(list(found.measurements), "accuracy difference", "sugarcrepe | all")
    assert (whole.value, whole.missing) == (sugarcrepe.difference, 2)
    assert "comvg: 2 items scored in A alone, 0 in B alone" in str(found)
    with pytest.raises(OutputExists, match="give --overwrite"):
        compare(one, other, out=tmp_path / "out", draws=10)
    compare(one, other, out=tmp_path / "out", draws=10, overwrite=True)


def test_the_difference_is_the_second_minus_the_first(tmp_path: Path):
    one, other = run(tmp_path / "one", scored(0)), run(tmp_path / "other", scored(0, better=9.0))
    (forth, *_), (back, *_) = compare(one, other, draws=50).lines, compare(other, one, draws=50).lines
    assert forth.second == back.first == 1.0
    assert forth.difference == pytest.approx(-back.difference)
    assert (forth.first_only_right, forth.second_only_right) == (0, back.first_only_right)


def test_benchmarks_in_folders_and_in_one_run_only(tmp_path: Path):
    one, other = scored(0), scored(1)
    first, second = tmp_path / "first", tmp_path / "second"
    run(first / "sugarcrepe", [row for row in one if row.benchmark == "sugarcrepe"])
    run(first / "comvg", [row for row in one if row.benchmark == "comvg"])
    run(second / "sugarcrepe", [row for row in other if row.benchmark == "sugarcrepe"])
    found = compare(first, second, draws=50)
    assert {line.benchmark for line in found.lines} == {"sugarcrepe"}
    assert str(found).endswith(f"only in {first}: comvg")


def test_runs_of_audit_are_compared_by_kind_and_direction(tmp_path: Path):
    choices = [
        Choice(str(k), f"i{k % 5}", ("swap_object", "add_object")[k % 2], "c", f"f{k}", 1.0, float(k % 3))
        for k in range(30)
    ]
    better = [replace(choice, foil_score=0.0) for choice in choices]
    ranks = [Rank(str(k), f"i{k}", "image to text", 1 + k % 2, 0, 30) for k in range(10)]
    for name, rows, ranked in (("one", choices, ranks), ("other", better, ranks[:9])):
        (tmp_path / name).mkdir()
        write_json(tmp_path / name / "run.json", {"identity": {"data": {"name": "world"}}})
        write_parquet(tmp_path / name / "choices.parquet", rows, Choice)
        write_parquet(tmp_path / name / "ranks.parquet", ranked, Rank)
    found = compare(tmp_path / "one", tmp_path / "other", draws=50)
    whole, retrieved = [line for line in found.lines if line.subset == "all"]
    assert (whole.benchmark, whole.items, whole.images) == ("world", 30, 5)
    assert (whole.first, whole.second) == (pytest.approx(1 / 3), 1.0)
    assert (whole.first_only_right, whole.second_only_right, whole.p) == (0, 20, 2 / 2**5)  # of images
    assert (retrieved.question, retrieved.items, retrieved.p) == ("recall@1, image to text", 9, 1.0)
    assert retrieved.alone_in_first == 1


def test_similarity_is_compared_by_correlation(tmp_path: Path):
    draw = np.random.default_rng(0)
    golds = draw.normal(size=30)

    def pairs(noise: float) -> list[OptionScore]:
        return [
            option
            for place, gold in enumerate(golds)
            for option in made.options(
                f"test/{place}",
                {(0, 1): float(gold + noise * draw.normal())},
                name="sts-b",
                texts=True,
                gold=float(gold),
            )
        ]

    one, other = run(tmp_path / "one", pairs(3.0)), run(tmp_path / "other", pairs(0.0))
    (line,) = compare(one, other, draws=50).lines
    assert (line.benchmark, line.question, line.second, line.p) == (
        "sts-b",
        "spearman",
        pytest.approx(1.0),
        None,
    )
    (number,) = compare(one, other, draws=50).measurements
    assert (number.measure, number.group, number.unit) == (
        "spearman difference",
        "sts-b | spearman | all",
        "correlation",
    )


def test_folders_that_hold_no_runs_or_others_are_refused(tmp_path: Path):
    one = run(tmp_path / "one", [row for row in scored(0) if row.benchmark == "comvg"])
    other = run(tmp_path / "other", [row for row in scored(0) if row.benchmark == "sugarcrepe"])
    with pytest.raises(BadData, match=r"one holds comvg, .*other sugarcrepe: give two runs on the same"):
        compare(one, other)
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadData, match=r"got no scores.parquet, choices.parquet or ranks.parquet"):
        compare(one, tmp_path / "empty")
    with pytest.raises(BadData, match="no such folder"):
        compare(one, tmp_path / "nowhere")
    (tmp_path / "empty" / "scores.parquet").write_bytes(b"PAR1 cut short")
    with pytest.raises(BadData, match="not a Parquet file of OptionScore"):
        compare(one, tmp_path / "empty")


def test_the_command_prints_the_table(tmp_path: Path):
    one, other = run(tmp_path / "one", scored(0)), run(tmp_path / "other", scored(0, better=3.0))
    told = CliRunner().invoke(
        app, ["compare", str(one), str(other), "--out", str(tmp_path / "out"), "--draws", "50"]
    )
    assert told.exit_code == 0, told.output
    assert f"A: {one}\nB: {other}\n" in told.output
    (line,) = [text for text in told.output.splitlines() if text.startswith("sugarcrepe")]
    found = compare(one, other, draws=50).lines[1]
    assert f"{100 * found.first:.2f}" in line
    assert f"{100 * found.difference:+.2f}" in line
    assert (tmp_path / "out" / "comparison.parquet").is_file()


def test_runs_without_an_item_in_common_are_refused(tmp_path: Path):
    rows = scored(0, items=4)
    one = run(tmp_path / "one", rows)
    other = run(tmp_path / "other", [replace(row, item=f"other-{row.item}") for row in rows])
    with pytest.raises(BadData, match="no item of comvg, sugarcrepe is scored in both"):
        compare(one, other, draws=10)
