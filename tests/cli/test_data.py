"""`alignscope data` as a user types it."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from alignscope.cli import app
from alignscope.data.benchmarks.table import BENCHMARKS

HEADER = "pair_ID\tsentence_A\tsentence_B\trelatedness_score\tentailment_judgment\n"
SICK = {"SICK_train.txt": 4500, "SICK_trial.txt": 500, "SICK_test_annotated.txt": 4927}


def typed(*words: object):
    return CliRunner().invoke(app, ["data", *map(str, words)])


@pytest.fixture
def sick(tmp_path) -> Path:
    folder = tmp_path / "sick"
    folder.mkdir()
    for name, count in SICK.items():
        rows = (f"{number}\ta\tb\t3.5\tNEUTRAL\n" for number in range(count))
        (folder / name).write_text(HEADER + "".join(rows))
    return folder


def test_list_has_every_benchmark():
    done = typed("list")
    assert done.exit_code == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == [*BENCHMARKS, "composition"]


def test_a_whole_benchmark_is_complete(sick):
    done = typed("check", "sick-r", "--annotations", sick)
    assert done.exit_code == 0
    assert done.stdout.splitlines()[-1] == "complete"
    assert "licence: CC BY-NC-SA 3.0" in done.stdout
    assert [line.split() for line in done.stdout.splitlines() if line.startswith("all ")] == [
        ["all", "9927", "9927", "9927", "0"]
    ]


def test_what_is_missing_is_said_and_the_exit_code_is_1(sick, tmp_path):
    (sick / "SICK_trial.txt").unlink()
    with (sick / "SICK_train.txt").open("a") as file:
        file.write("0\ta\tb\t3.5\tNEUTRAL\n")
    out = tmp_path / "p.jsonl"
    done = typed("check", "sick-r", "--annotations", sick, "--out", out)
    assert done.exit_code == 1
    assert done.stdout.splitlines()[-1] == "not complete"
    assert "trial: 0 records, the authors count 500" in done.stderr
    assert "train: 4501 records, the authors count 4500" in done.stderr
    assert [line.split('"')[3] for line in out.read_text().splitlines()] == ["train/0", "trial"]


def test_orders_are_not_overwritten(tmp_path):
    (tmp_path / "o.jsonl").write_text("mine")
    done = typed("orders", tmp_path / "captions.json", "--out", tmp_path / "o.jsonl")
    assert "o.jsonl exists" in str(done.exception)
    assert (tmp_path / "o.jsonl").read_text() == "mine"
