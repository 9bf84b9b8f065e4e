import math
import sys

import pytest
import torch

from alignscope.errors import BadData, MissingExtra
from alignscope.files import read_jsonl
from alignscope.training.losses import sigmoid_loss
from alignscope.training.metrics import PATIENCE, Hope, Journal, rows


def test_rows_behind_the_resumed_step_are_gone(tmp_path):
    journal = Journal(tmp_path)
    for step in (1, 2, 3):
        journal.write(step, {"loss": step / 2, "gap": {"gradcam": None}})
    resumed = Journal(tmp_path, step=2)
    resumed.write(3, {"loss": 9.0})
    assert [(row["step"], row["loss"]) for row in read_jsonl(tmp_path / "metrics.jsonl")] == [
        (1, 0.5), (2, 1.0), (3, 9.0)]  # fmt: skip
    Journal(tmp_path)
    assert rows(tmp_path) == []


def test_a_kill_while_rows_are_put_back_costs_none(tmp_path, monkeypatch):
    journal = Journal(tmp_path)
    journal.write(1, {"loss": 0.5})

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("alignscope.files.os.replace", killed)
    with pytest.raises(KeyboardInterrupt):
        Journal(tmp_path, step=1)
    assert [row["step"] for row in rows(tmp_path)] == [1]


def test_a_line_cut_by_a_kill_is_left_out_and_a_broken_one_is_said(tmp_path):
    Journal(tmp_path).write(1, {"loss": 1.0})
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(path.read_bytes() + b'{"step": 2, "lo')
    assert [row["step"] for row in rows(tmp_path)] == [1]
    path.write_bytes(b"{]\n")
    with pytest.raises(BadData, match="not JSON"):
        Journal(tmp_path, step=5)


def test_numbers_that_are_not_finite_are_null(tmp_path):
    Journal(tmp_path).write(1, {"loss": math.nan, "gap": {"gradcam": math.inf}})
    assert rows(tmp_path) == [{"step": 1, "loss": None, "gap": {"gradcam": None}}]


def test_tensorboard_has_the_numbers(tmp_path):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    journal = Journal(tmp_path, tensorboard=True)
    journal.write(3, {"loss": 0.5, "gap": {"gradcam": 0.25}})
    journal.close()
    found = events.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(one.step, one.value) for one in found.Scalars("gap/gradcam")] == [(3, 0.25)]
    assert [(one.step, one.value) for one in found.Scalars("loss")] == [(3, 0.5)]


def test_tensorboard_that_is_not_installed_is_said(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingExtra, match=r"pip install 'alignscope\[tensorboard\]'"):
        Journal(tmp_path, tensorboard=True)


def test_hope_ends_after_twenty_bad_steps_in_a_row():
    hope = Hope()
    bad, good = 3 * math.log(8) + 0.01, 3 * math.log(8) - 0.01
    looks = [hope.look(loss, texts=8) for loss in [bad] * (PATIENCE - 1) + [good] + [bad] * PATIENCE]
    assert looks == [True] * (2 * PATIENCE - 1) + [False]
    assert not [Hope().look(math.inf, texts=8) for _ in range(3)].count(False)


def test_sigmoids_that_guess_cost_one_bit_for_every_text():
    hope, guess = (
        Hope("sigmoid"),
        sigmoid_loss(torch.eye(8), torch.eye(8), torch.tensor(0.0), torch.tensor(0.0)),
    )
    assert [hope.look(2.99 * guess.item(), texts=8) for _ in range(PATIENCE)] == [True] * PATIENCE
    assert [hope.look(3.01 * guess.item(), texts=8) for _ in range(PATIENCE)][-1] is False
