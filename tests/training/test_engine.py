"""The engine alone: what it refuses, formats, and a step of the optimizer. Of two: test_two_processes.py."""

import math

import pytest
import torch
from torch import nn

from alignscope.errors import BadInput
from alignscope.training import engine as engines
from alignscope.training.engine import Engine


def test_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(cpu=True)
    assert (engine.rank, engine.world, engine.device.type, engine.loss_scale) == (0, 1, "cpu", 1.0)
    values = torch.tensor([1.0, 2.0], requires_grad=True)
    assert engine.total(values).tolist() == [1.0, 2.0]
    assert not engine.total(values).requires_grad
    assert engine.first(lambda: "made") == "made"


def test_float16_needs_a_gpu() -> None:
    with pytest.raises(BadInput, match="fp16, which needs a GPU and none is used: take bf16 or no"):
        Engine(precision="fp16", cpu=True)


def test_formats_follow_each_engine() -> None:
    """Also where an earlier one of the same process had another."""
    ones, kinds = torch.ones(2, 2), []
    for precision in ("bf16", "no", "bf16"):
        with Engine(precision=precision, cpu=True).autocast():
            kinds.append((ones @ ones).dtype)
    assert kinds == [torch.bfloat16, torch.float32, torch.bfloat16]


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"MASTER_ADDR": "127.0.0.1", "ACCELERATE_MIXED_PRECISION": "no"}, "`accelerate launch` was asked for several"),
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE is 2"),
    ],
)  # fmt: skip
def test_one_process_where_several_were_meant(
    variables: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`accelerate launch --cpu --num_processes 2` leaves these variables (accelerate 1.15) and starts one."""
    Engine(cpu=True)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(BadInput, match=f"{said} and accelerate found 1 process.*torchrun --nproc_per_node N"):
        Engine(cpu=True)


def quadratic() -> tuple[nn.Parameter, torch.optim.Optimizer]:
    weight = nn.Parameter(torch.tensor([3.0, 4.0]))
    return weight, torch.optim.SGD([weight], lr=0.5)


@pytest.mark.parametrize(("max_norm", "moved"), [(0.0, [0.0, 0.0]), (5.0, [1.5, 2.0]), (50.0, [0.0, 0.0])])
def test_an_update_clips_moves_and_forgets(max_norm: float, moved: list[float]) -> None:
    weight, optimizer = quadratic()
    weight.square().sum().backward()  # gradient (6, 8)
    assert Engine(cpu=True).update(optimizer, max_norm=max_norm) == pytest.approx(10.0)
    assert weight.tolist() == pytest.approx(moved, abs=1e-5)
    assert weight.grad is None


def test_a_gradient_that_is_no_number_moves_nothing() -> None:
    weight, optimizer = quadratic()
    (weight.square().sum() * math.nan).backward()
    assert math.isnan(Engine(cpu=True).update(optimizer, max_norm=1.0))
    assert weight.tolist() == [3.0, 4.0]


def test_losses_are_scaled_and_gradients_scaled_back() -> None:
    """The scaler that accelerate makes on a GPU, here on the CPU; a step that overflows is left out."""
    engine = Engine(cpu=True)
    engine._accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    weight, optimizer = quadratic()
    engine.scaled(weight.square().sum()).backward()
    assert weight.grad is not None
    assert weight.grad.tolist() == [6144.0, 8192.0]
    assert engine.loss_scale == 1024.0
    assert engine.update(optimizer, max_norm=5.0) == pytest.approx(10.0)
    assert weight.tolist() == pytest.approx([1.5, 2.0])
    engine.scaled(weight.square().sum() * math.inf).backward()
    assert not math.isfinite(engine.update(optimizer))
    assert weight.tolist() == pytest.approx([1.5, 2.0])
    assert engine.loss_scale == 512.0


def test_buckets_hold_everything_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "_BUCKET", 10)
    kinds = [torch.float32, torch.float32, torch.float64, torch.float64]
    parameters = [
        nn.Parameter(torch.zeros(n, dtype=kind)) for n, kind in zip((4, 25, 3, 6), kinds, strict=True)
    ]
    found = list(engines._buckets(parameters))
    assert [[p.numel() for p in bucket] for bucket in found] == [[4], [25], [3, 6]]
