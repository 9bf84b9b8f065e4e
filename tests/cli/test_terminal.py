"""Texts of files are printed, and never obeyed by the terminal; what reaches it as an error is one message."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from alignscope.cli import app, main
from alignscope.cli.terminal import printable

OWNED = "\x1b]0;owned\x07\x1b[2J\u202e"


def test_ordinary_text_stays_as_it_is() -> None:
    text = "Straße, 数据, عربى\n\t│ ├ 12 % …"
    assert printable(text) == text
    assert printable(OWNED) == r"\x1b]0;owned\x07\x1b[2J\u202e"
    assert all(
        mark.isprintable()
        for mark in printable("".join(map(chr, range(32))).replace("\n", "").replace("\t", ""))
    )


def test_names_in_annotations_give_the_terminal_no_orders(tmp_path: Path) -> None:
    row = {
        "id": OWNED,
        "image": "gone.png",
        "caption": "a dog",
        "foils": [{"caption": "a cat", "kind": OWNED}],
    }
    (tmp_path / "pairs.jsonl").write_text(json.dumps(row) + "\n")
    words = ["data", "check", "pairs", "--annotations", str(tmp_path), "--images", str(tmp_path)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 1, done.output
    assert r"\x1b]0;owned\x07" in done.output
    assert not {"\x1b", "\x07", "\u202e"} & {*done.output}


def test_errors_give_the_terminal_no_orders(tmp_path: Path) -> None:
    code = "from alignscope.cli import main; main()"
    words = ["data", "check", "pairs", "--annotations", str(tmp_path / OWNED)]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("alignscope: ")
    assert "\x1b" not in done.stderr


def test_a_file_that_nobody_spoke_of_is_one_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from alignscope.studies.benchmarking import verification

    def vanished(run: Path, model: str) -> None:
        (run / "gone").read_bytes()

    monkeypatch.setattr(verification, "verified", vanished)
    monkeypatch.setattr(sys, "argv", ["alignscope", "verify", "nowhere", "--as", "x"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    told = "alignscope: nowhere/gone: No such file or directory; check the path and its rights\n"
    assert capsys.readouterr().err == told


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["pairs", "world", "--annotations", "w", "--images", "w/images", "--out", "", "--overwrite"],
            "cannot be written",
        ),
        (
            [
                "leaks",
                "world",
                "--annotations",
                "w",
                "--training",
                "w/pairs.jsonl",
                "--out",
                "",
                "--overwrite",
            ],
            "cannot be",
        ),
        (["regions", "convert", "w/regions/regions.tsv", "", "--overwrite"], "cannot be written"),
        (["regions", "convert", "w/regions/regions.tsv", "w/pairs.jsonl/x"], "cannot be written"),
        (["regions", "check", "w/regions/regions.tsv", "--sizes", "gone"], "gone: got nothing there"),
        (["data", "check", "pairs", "--annotations", "empty"], "got no usable record"),
        (["report", "w/pairs.jsonl"], "no run.json"),
        (["verify", "run", "--as", "x"], "names no benchmark"),
        (["probe", "ablation", "tiny-vinvl", "--scene-set", "top_8"], "scenes without --hl"),
    ],
)
def test_a_clumsy_command_is_one_message(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(app, ["world", "export", "w", "--size", "2", "--width", "4"]).exit_code == 0
    Path("empty").touch()
    Path("run").mkdir()
    Path("run/run.json").write_text('{"kind": "evaluate"}')
    before = {*tmp_path.rglob("*")}
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 1
    assert type(done.exception).__module__ == "alignscope.errors", done.exception
    assert message in str(done.exception)
    assert {*tmp_path.rglob("*")} == before, "something was left"
