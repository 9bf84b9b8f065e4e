"""What is said on stderr while something runs."""

from __future__ import annotations

import re
import sys
from io import StringIO

import pytest

from alignscope.cli import progress
from alignscope.training.metrics import Seen


def test_a_training_that_nobody_sees_live_says_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 1.0, 2.0, 4.9, 5.0, 6.0, 7.0, 8.0, 9.0])
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with progress.training_bars() as watch:
        for step in range(1, 9):
            now[0] = next(clock)
            watch(Seen("training", step, 8, {"loss": 4.0 / step, "L[attr]": 0.5} if step % 2 else {}))
        watch(Seen("training", 8, 8, {"loss": 0.5}))
        for recall in (0.25, 0.5):  # a stage that comes twice
            watch(Seen("validation", 1, 2))
            watch(Seen("validation", 2, 2))
            watch(Seen("validation", 2, 2, {"recall@1": recall}))
        now[0] += 5.0
        watch(Seen("validation", 1, 2))
    assert capsys.readouterr().err.splitlines() == [
        "training 1/8  loss 4  L[attr] 0.5",
        "training 5/8  left 0:00:04  loss 0.8  L[attr] 0.5",
        "training 8/8  loss 0.5  L[attr] 0.5",
        "validation 2/2  recall@1 0.25",
        "validation 2/2  recall@1 0.5",
        "validation 1/2",
    ]


def test_other_processes_say_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.training_bars(shown=False) as watch:
        watch(Seen("training", 1, 1, {"loss": 4.0}))
    assert capsys.readouterr().err == ""


def test_on_a_terminal_the_numbers_stand_below_the_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    heard = StringIO()
    monkeypatch.setattr(heard, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", heard)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    many = {f"number {letter}": 0.125 for letter in "abcdef"}
    with progress.training_bars() as watch:
        watch(Seen("training", 1, 4, {"loss": 3.25, "L[attr]": 0.5} | many))
        watch(Seen("training", 2, 4))
        watch(Seen("validation", 1, 1, {"recall@1": 0.5}))
    last = " ".join(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", heard.getvalue().rsplit("2/4", 1)[1]).split())
    told = "training: loss 3.25 L[attr] 0.5 " + " ".join(f"{name} 0.125" for name in many)
    assert "1/1" in last
    assert f"{told} validation: recall@1 0.5" in last


def test_bars_are_drawn_on_a_terminal_alone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def seen() -> None:
        with progress.bars() as show:
            for done in range(4):
                show("scoring [x]", done, 3)

    seen()
    assert capsys.readouterr() == ("", "")
    heard = StringIO()
    monkeypatch.setattr(heard, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", heard)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    seen()
    assert "3/3" in heard.getvalue()
    assert "\x1b[" in heard.getvalue()
    assert capsys.readouterr().out == ""


def test_what_takes_long_says_a_line_every_half_minute(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with progress.bars() as show:
        for second in range(0, 101, 10):  # a hundred seconds, an item in each
            now[0] = 100.0 + second
            show("scoring [x]", second, 100)
        now[0] = 225.0
        show("scoring [x]", 0, 100)  # anew, so that nothing is known of its speed
        now[0] = 255.0
        show("scoring [x]", 60, 100)
    assert capsys.readouterr().err.splitlines() == [
        "scoring [x] 30/100  left 0:01:10",
        "scoring [x] 60/100  left 0:00:40",
        "scoring [x] 90/100  left 0:00:10",
        "scoring [x] 0/100",
        "scoring [x] 60/100  left 0:00:20",
    ]
