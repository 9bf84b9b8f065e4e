"""The exit codes that docs/cli.md promises, of commands in processes of their own; and completion in a shell."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from alignscope.cli import app

PROGRAM = [sys.executable, "-c", "from alignscope.cli import main; main()"]


def typed(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*PROGRAM, *words], capture_output=True, text=True, cwd=cwd, check=False)


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["list", "models"], 0, ""),
        (["compare", "one", "other"], 1, "alignscope: "),
        (["adit"], 2, "No such command 'adit'"),
        (["compare", "one", "other", "--drows", "3"], 2, "No such option: --drows"),
        (["compare", "one", "other", "--draws", "none"], 2, "Invalid value for '--draws'"),
        (["compare", "one"], 2, "Missing argument 'second'"),
    ],
)
def test_a_command_ends_with_the_promised_code(
    words: list[str], code: int, told: str, tmp_path: Path
) -> None:
    done = typed(*words, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert told in done.stderr
    assert bool(done.stdout) == (code == 0)
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(os.name == "nt", reason="Windows sends Ctrl-C to whole consoles")
def test_what_ctrl_c_says_goes_on_where_it_stopped(
    tiny_clip_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["audit", str(tiny_clip_dir), "--size", "12", "--checked", "0", "--out", "a run", "--overwrite"]
    running = subprocess.Popen([*PROGRAM, *words], stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    until = time.monotonic() + 60
    while not (tmp_path / "a run" / "run.json").exists():
        assert running.poll() is None, running.stderr
        assert time.monotonic() < until
        time.sleep(0.01)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130, said
    line = said.splitlines()[-1]
    assert line.startswith("alignscope: interrupted; what is done is kept; go on with: alignscope audit ")
    assert "Traceback" not in said
    again = shlex.split(line.split("go on with: ")[1])
    assert again == ["alignscope", *words[:-1], "--resume"]
    assert (tmp_path / "a run" / "work").is_dir()
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, again[1:])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "a run" / "report.html").is_file()
    assert not (tmp_path / "a run" / "work").exists()


def test_a_command_that_keeps_nothing_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from alignscope import cli
    from alignscope.studies.benchmarking import verification

    def stopped(run: Path, model: str) -> dict[str, list[object]]:
        raise KeyboardInterrupt

    monkeypatch.setattr(verification, "verified", stopped)
    monkeypatch.setattr(sys, "argv", ["alignscope", "verify", "runs/x", "--as", "y"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 130
    assert capsys.readouterr().err == "alignscope: interrupted; run it again\n"


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("alignscope aud", {"audit"}),
        ("alignscope probe t", {"texts", "templates"}),
        ("alignscope calibrate tiny-clip --js", {"--json"}),
        ("alignscope audit tiny-clip --dtype zz", set()),
    ],
)
def test_a_shell_completes_commands_and_options(words: str, wanted: set[str]) -> None:
    asked = {
        "COMP_WORDS": words,
        "COMP_CWORD": str(words.count(" ")),
        "_ALIGNSCOPE_COMPLETE": "complete_bash",
    }
    program = Path(sys.executable).with_name("alignscope")
    done = subprocess.run([program], env=os.environ | asked, capture_output=True, text=True, check=False)
    assert {*done.stdout.split()} == wanted, done.stderr


def test_the_script_of_completion_is_told() -> None:
    named = os.environ | {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    program = [Path(sys.executable).with_name("alignscope"), "--show-completion", "zsh"]
    done = subprocess.run(program, env=named, capture_output=True, text=True, check=True)
    assert "#compdef alignscope" in done.stdout
