"""Files of weights: what is in them, what is run of them (nothing), and how they fit a model."""

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from alignscope.errors import CheckpointError, CheckpointMismatch
from alignscope.models.weights import canonical, fit, read_state


class Model(nn.Module):
    """A table, a layer that is the table's twin, and a head for something else."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(3, 2)
        self.norm = nn.LayerNorm(2)
        self.decoder = nn.Linear(2, 3, bias=False)
        self.head = nn.Linear(2, 4)


TIED = {"decoder.weight": "table.weight"}


def state() -> dict[str, Tensor]:
    """Numbers that count up, tied as they should be."""
    found = {
        key: torch.arange(1.0, 1 + t.numel()).reshape(t.shape) for key, t in Model().state_dict().items()
    }
    return {**found, "decoder.weight": found["table.weight"].clone()}


def fitted(given: dict[str, Tensor], **rules: Any) -> Any:
    return fit(
        Model(), given, source="m.pt", rules="rules.py", **{"optional": ("head.",), "tied": TIED, **rules}
    )


class Evil:
    """A pickle that would make a file."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return (Path.touch, (self.trace,))


@pytest.mark.parametrize("ending", ["pt", "bin", "pth", "pkl"])
@pytest.mark.parametrize("protocol", ["zip", "old", "pickle"])
def test_code_in_a_pickle_does_not_run(tmp_path: Path, ending: str, protocol: str) -> None:
    file, trace = tmp_path / f"weights.{ending}", tmp_path / "ran"
    thing = {"state_dict": {"a": torch.ones(1), "b": Evil(trace)}}
    if protocol == "pickle":
        file.write_bytes(pickle.dumps(Evil(trace), protocol=2))
    else:
        torch.save(thing, file, _use_new_zipfile_serialization=protocol == "zip")
    with pytest.raises(
        CheckpointError, match=r"weights\.\w+: its weights cannot be read .*none of its code"
    ) as told:
        read_state(file)
    assert "weights_only" not in str(told.value)
    assert not trace.exists()
    with file.open("rb") as opened:  # the trap works: a plain unpickler would have made the file
        (torch.load(file, weights_only=False) if protocol != "pickle" else pickle.load(opened))
    assert trace.exists()


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
def test_every_form_of_file_gives_the_same_names_and_numbers(tmp_path: Path, wrapper: str | None) -> None:
    wanted = state()
    old = {f"module.{k}": t for k, t in wanted.items()}
    old["module.norm.gamma"] = old.pop("module.norm.weight")
    old["module.norm.beta"] = old.pop("module.norm.bias")
    torch.save({"epoch": 3, wrapper: old} if wrapper else old, tmp_path / "a.pt")
    torch.save(old, tmp_path / "b.pkl", _use_new_zipfile_serialization=False)
    save_file(old, tmp_path / "c.safetensors")
    for name in ("a.pt", "b.pkl", "c.safetensors"):
        found = read_state(tmp_path / name)
        assert {*found} == {*wanted}
        assert all(torch.equal(found[key], wanted[key]) for key in wanted)


@pytest.mark.parametrize(
    ("thing", "what"), [([1], "holds a list"), ({}, "holds a dict"), ({"a": 1, "b": torch.ones(1)}, "a: int")]
)
def test_what_is_no_state_is_named(tmp_path: Path, thing: Any, what: str) -> None:
    torch.save(thing, tmp_path / "weights.pt")
    with pytest.raises(CheckpointError, match=what):
        read_state(tmp_path / "weights.pt")


@pytest.mark.parametrize("ending", ["pt", "safetensors"])
@pytest.mark.parametrize("content", [b"", b"not a file of weights"])
def test_a_broken_file_is_named(tmp_path: Path, ending: str, content: bytes) -> None:
    (tmp_path / f"weights.{ending}").write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"weights\.{ending}: its weights cannot be read"):
        read_state(tmp_path / f"weights.{ending}")


def test_a_file_that_is_cut_off_or_of_another_kind_is_told_so(tmp_path: Path) -> None:
    whole = tmp_path / "whole.pt"
    torch.save({"a": torch.ones(4000)}, whole)
    (tmp_path / "cut.pt").write_bytes(whole.read_bytes()[:5000])
    (tmp_path / "text.pt").write_text("a letter")
    for name, why in ("cut.pt", "it is cut off before its end"), ("text.pt", "begins as no file of torch"):
        with pytest.raises(CheckpointError, match=why):
            read_state(tmp_path / name)


def test_an_old_and_a_new_name_of_one_parameter_are_refused() -> None:
    with pytest.raises(CheckpointMismatch, match=r"'norm\.weight' twice"):
        canonical({"norm.weight": torch.ones(1), "norm.gamma": torch.ones(1)})


def test_a_whole_state_fits_as_copies() -> None:
    given = state()
    found = fitted(given)
    assert found.absent == found.unused == ()
    assert {*found.weights} == {*given} - {*TIED}
    assert all(torch.equal(found.weights[key], given[key]) for key in found.weights)
    found.weights["norm.bias"].zero_()
    assert given["norm.bias"].all()


def test_half_precision_becomes_single() -> None:
    found = fitted({key: tensor.half() for key, tensor in state().items()})
    assert {tensor.dtype for tensor in found.weights.values()} == {torch.float32}


def test_all_that_does_not_fit_is_listed() -> None:
    given = {**state(), "stray": torch.ones(1), "norm.bias": torch.ones(5)}
    del given["norm.weight"]
    with pytest.raises(
        CheckpointMismatch,
        match=r"m.pt does not fit the rules of rules.py: 1 missing \(norm.weight\); 1 left over \(stray\); "
        r"1 of a wrong shape \(norm.bias: got \(5,\), wanted \(2,\)\)",
    ):
        fitted(given)


def test_a_head_that_no_score_needs_may_lack_and_is_zero_then() -> None:
    given = {key: tensor for key, tensor in state().items() if not key.startswith("head.")}
    found = fitted(given)
    assert found.absent == ("head.weight", "head.bias")
    assert not found.weights["head.weight"].any()
    assert not found.weights["head.bias"].any()
    with pytest.raises(CheckpointMismatch, match=r"2 missing \(head.bias, head.weight\)"):
        fitted(given, optional=())


def test_a_known_head_of_the_file_alone_is_told() -> None:
    found = fitted({**state(), "head.more": torch.ones(1)})
    assert found.unused == ("head.more",)
    assert "head.more" not in found.weights


@pytest.mark.parametrize("lacking", ["table.weight", "decoder.weight"])
def test_either_of_two_tied_tensors_will_do(lacking: str) -> None:
    given = state()
    wanted = given["table.weight"]
    del given[lacking]
    found = fitted(given)
    assert found.absent == ()
    assert torch.equal(found.weights["table.weight"], wanted)


def test_tied_tensors_that_differ_are_refused() -> None:
    with pytest.raises(CheckpointMismatch, match=r"decoder.weight and table.weight differ"):
        fitted({**state(), "decoder.weight": torch.zeros(3, 2)})


def test_a_tie_of_which_both_are_missing_is_a_missing_key() -> None:
    given = state()
    del given["table.weight"], given["decoder.weight"]
    with pytest.raises(CheckpointMismatch, match=r"1 missing \(table.weight\)"):
        fitted(given)


def test_beginnings_of_keys_are_exchanged_once() -> None:
    theirs = {f"net.{key}": tensor for key, tensor in state().items()}
    assert {*fitted(theirs, rename={"net.": ""}).weights} == {*fitted(state()).weights}
    with pytest.raises(CheckpointMismatch, match=r"'norm.bias' twice"):
        fitted({**theirs, "norm.bias": torch.ones(2)}, rename={"net.": ""})


def test_the_model_is_left_as_it_was() -> None:
    model = Model()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    fit(model, state(), source="m.pt", rules="rules.py", tied=TIED)
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
