"""Where a training run stands, on disk: a directory per checkpoint, whole or not there at all.

OUT/checkpoints/step-000200 holds model.safetensors, optimizer.pt and state.json. Every random draw of a
run (data order, captions, augmentation, foils, dropout) is a function of seed, step and process, so the
number of steps taken is the random state too and nothing else need be saved for the same weights.

The newest checkpoint and the best one are kept; others go once the newer is on the disk. Nothing in a
checkpoint is executed when it is read.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from alignscope.errors import BadData, CheckpointError, OutputExists, UnwritableOutput
from alignscope.files import differences, sha_of
from alignscope.training.metrics import diverged

FOLDER = "checkpoints"
WEIGHTS, OPTIMIZER, STATE = "model.safetensors", "optimizer.pt", "state.json"
NAME = re.compile(r"step-\d{6,}")


@dataclass(frozen=True)
class Best:
    """The validation that was best so far."""

    step: int
    value: float


@dataclass(frozen=True)
class Position:
    """Where a run stands: `step` steps are taken, of all stages together."""

    step: int
    recipe: Mapping[str, Any]  # all entries, so that a difference can be shown
    data: str = ""  # hash of what is trained on
    seconds: float = 0.0
    weight: float | None = None  # lambda, once it is fixed
    best: Best | None = None
    tried: int = 0  # images opened
    unreadable: int = 0  # of these


@dataclass(frozen=True)
class Checkpoint:
    """What is read back; `rest` is everything beside the model: the optimizer's state and the like."""

    position: Position
    weights: Mapping[str, Tensor]
    rest: Mapping[str, Any]


def save(out: Path, weights: Mapping[str, Tensor], rest: Mapping[str, Any], position: Position) -> Path:
    """Write a checkpoint under `out`, then delete those that are neither the newest nor the best.

    Written to a neighbour that takes its place when all of it is on the disk. What cannot be written is an
    error that names the checkpoint that is still there, and so are weights that are no numbers (`Diverged`).
    """
    place = at(out, position.step)
    half = place.with_name(place.name + ".part")
    # cloned: tensors that share memory, or are slices of others, cannot be written as they are
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in weights.items()}
    if broken := [name for name, tensor in plain.items() if tensor.isnan().any()]:
        what = f"{len(broken)} weights (first: {broken[0]}) are no numbers after {position.step} steps"
        raise diverged(what, newest(out))
    try:
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir(parents=True)
        save_file(plain, half / WEIGHTS)
        torch.save(dict(rest), half / OPTIMIZER)
        state = {**asdict(position), "recipe_sha": sha_of(position.recipe), "torch": torch.__version__}
        (half / STATE).write_text(json.dumps(state, indent=2) + "\n", encoding="utf-8")
        for name in (WEIGHTS, OPTIMIZER, STATE):
            _flushed(half / name)
        _flushed(half)
        if place.exists():
            shutil.rmtree(place)
        os.replace(half, place)
        _flushed(place.parent)
    except (
        OSError,
        RuntimeError,
        SafetensorError,
    ) as error:  # what torch and safetensors make of a full disk
        shutil.rmtree(half, ignore_errors=True)
        whole = newest(out)
        kept = f"the last whole checkpoint is {whole}" if whole else "no checkpoint was written before it"
        raise UnwritableOutput(
            f"{place} cannot be written ({_reason(error)}): {kept}; make room and give --resume"
        ) from None
    keep = {place.name} | ({at(out, position.best.step).name} if position.best else set())
    for name in _names(out):
        if name not in keep:
            shutil.rmtree(out / FOLDER / name, ignore_errors=True)
    return place


def begin(out: Path, *, resume: bool) -> Path | None:
    """The checkpoint a run goes on from, if any; checkpoints nobody asked to go on from are refused."""
    found = newest(out)
    if found and not resume:
        raise OutputExists(f"{found} is there from another run: give --resume, --overwrite or another --out")
    return found


def newest(out: Path) -> Path | None:
    """The checkpoint with the most steps under `out`."""
    names = _names(out)
    return at(out, max(int(name.removeprefix("step-")) for name in names)) if names else None


def at(out: Path, step: int) -> Path:
    """The checkpoint after so many steps."""
    return out / FOLDER / f"step-{step:06d}"


def load(path: Path, *, recipe: Mapping[str, Any], data: str = "") -> Checkpoint:
    """Read a checkpoint; one of another recipe or other data is refused, with the difference."""
    anew = "delete it to go on from the one before it or to start anew"
    try:
        state = json.loads((path / STATE).read_text(encoding="utf-8"))
        torn = state.pop("recipe_sha") != sha_of(state["recipe"])
        state.pop("torch")
        best = Best(**state.pop("best")) if state["best"] else state.pop("best")
        position = Position(**state, best=best)
        weights = load_file(path / WEIGHTS)
        rest = torch.load(path / OPTIMIZER, weights_only=True, map_location="cpu")
    except Exception as error:  # torch raises many kinds for a torn file
        raise CheckpointError(f"{path} cannot be read as a checkpoint ({_reason(error)}): {anew}") from None
    if torn or path.name != at(path, position.step).name:
        raise CheckpointError(f"{path}: its {STATE} was changed after it was written: {anew}")
    changes = list(differences(position.recipe, json.loads(json.dumps(recipe))))
    if changes:
        raise BadData(
            f"{path} was made by another recipe ({'; '.join(changes)}): resume with the recipe that began the "
            "run, or give --overwrite"
        )
    if position.data != data:
        raise BadData(
            f"{path} was made from data with the hash {position.data}, these have {data}: resume with the data "
            "that began the run, or give --overwrite"
        )
    return Checkpoint(position, weights, rest)


def _names(out: Path) -> list[str]:
    folder = out / FOLDER
    return [entry.name for entry in folder.iterdir() if NAME.fullmatch(entry.name)] if folder.is_dir() else []


def _flushed(path: Path) -> None:
    """What was written to a file or directory is on the disk."""
    held = os.open(path, os.O_RDONLY)
    try:
        with contextlib.suppress(PermissionError):  # a directory, on Windows
            os.fsync(held)
    finally:
        os.close(held)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"{type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}".strip(": ")
