"""Audits side by side: each number stands under its own model, and what differs or lacks is said."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from alignscope import files
from alignscope.cli import app
from alignscope.errors import BadData
from alignscope.records import Measurement
from alignscope.reporting.compared import compared_page
from alignscope.reporting.run import read_rows


def audited(source: Path, target: Path, name: str, shift: float, **settings: Any) -> Path:
    """A finished audit with every value moved by `shift`."""
    target.mkdir()
    told = json.loads((source / "run.json").read_text())
    told |= {"model": {**told["model"], "name": name}, "finished": True, **settings}
    files.write_json(target / "run.json", told)
    numbers = read_rows(source / "measurements.parquet", Measurement)
    moved = [replace(m, value=None if m.value is None else m.value - shift) for m in numbers]
    files.write_parquet(target / "measurements.parquet", moved, Measurement)
    return target


def test_each_number_stands_under_its_model(run_directory: Path, tmp_path: Path, reader: type[Any]) -> None:
    runs = [audited(run_directory, tmp_path / n, n, 0.1 * i) for i, n in enumerate(("one", "two", "three"))]
    page = reader(compared_page(runs, tmp_path / "page.html").read_text(encoding="utf-8"))
    words = page.words.replace("\N{NARROW NO-BREAK SPACE}", " ")
    assert "3 audits side by side" in words
    assert "measure one two three" in words
    cells = "95.1 to 98.6 % n 400, 1 tie"
    assert f"wrong objects 97.1 % {cells} 87.1 % {cells} 77.1 % {cells}" in words
    lost = "unscored: no caption names two attributes"
    assert f"swapped attributes {lost} {lost} {lost}" in words
    assert "All on the same data: world-test, 9f31c2aa01bd." in words
    assert "symmetry, left half 77.0 % 70.0 to 83.0 % n 400 67.0 %" in words
    assert not {"script", "link", "img"} & {tag for tag, _ in page.tags}
    assert words.index("wrong objects 97.1") < words.index("mean over kinds 67.6")


def test_other_data_and_what_a_run_lacks_are_said(
    run_directory: Path, tmp_path: Path, reader: type[Any]
) -> None:
    one = audited(run_directory, tmp_path / "one", "same", 0.0)
    two = audited(run_directory, tmp_path / "two", "same", 0.0, data={"name": "<b>mine</b>", "sha": "77"})
    kept = [m for m in read_rows(two / "measurements.parquet", Measurement) if m.measure != "recall@1"]
    files.write_parquet(two / "measurements.parquet", kept, Measurement)
    words = reader(compared_page([one, two], tmp_path / "page.html").read_text(encoding="utf-8")).words
    assert "measure same (one) same (two)" in words
    assert "these audits were not measured on the same data: same (one): world-test, 9f31c2aa01bd" in words
    assert "same (two): <b>mine</b>, 77" in words
    assert words.count("not measured ") >= 2


def test_one_audit_named_twice_is_refused(run_directory: Path, tmp_path: Path) -> None:
    one = audited(run_directory, tmp_path / "one", "a", 0.0)
    with pytest.raises(BadData, match="got a directory twice"):
        compared_page([one, tmp_path / "." / "one"], tmp_path / "page.html")


def test_the_command_writes_one_page_of_several(run_directory: Path, tmp_path: Path) -> None:
    runs = [str(audited(run_directory, tmp_path / n, n, 0.0)) for n in ("one", "two")]
    done = CliRunner().invoke(app, ["report", *runs, "--out", str(tmp_path / "both.html")])
    assert done.exit_code == 0
    assert "2 audits side by side" in (tmp_path / "both.html").read_text(encoding="utf-8")
    assert not list(tmp_path.glob("*/report.html"))


@pytest.mark.parametrize("count", [1, 6])
def test_fewer_or_more_are_refused(run_directory: Path, tmp_path: Path, count: int) -> None:
    with pytest.raises(BadData, match=f"got {count} audits, wanted 2 to 5"):
        compared_page([run_directory] * count, tmp_path / "page.html")


def test_what_is_no_finished_audit_is_refused(run_directory: Path, tmp_path: Path) -> None:
    one = audited(run_directory, tmp_path / "one", "a", 0.0)
    other = audited(run_directory, tmp_path / "other", "b", 0.0, kind="evaluate")
    with pytest.raises(BadData, match="got 'evaluate', wanted a finished audit"):
        compared_page([one, other], tmp_path / "page.html")
    half = audited(run_directory, tmp_path / "half", "b", 0.0, finished=False)
    with pytest.raises(BadData, match="got an unfinished 'audit'"):
        compared_page([one, half], tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()
