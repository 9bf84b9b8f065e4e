"""Where a training run stands, on disk: written whole or not at all, read without executing anything."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from alignscope.errors import BadData, CheckpointError


@dataclass(frozen=True)
class Position:
    """The next step to take: `step` counts within the stage."""

    stage: int
    step: int
    seconds: float = 0.0


def save(
    path: Path, module: nn.Module, optimizer: torch.optim.Optimizer, position: Position, recipe_sha: str
) -> None:
    """Write weights, optimizer and position; data and augmentation follow from the position alone."""
    state = {
        "weights": module.state_dict(),
        "optimizer": optimizer.state_dict(),
        "position": [position.stage, position.step],
        "seconds": position.seconds,
        "recipe": recipe_sha,
    }
    half = path.with_name(path.name + ".part")
    torch.save(state, half)
    os.replace(half, path)


def load(path: Path, recipe_sha: str) -> tuple[Position, dict[str, Any]]:
    """Read a checkpoint; one of another recipe is refused."""
    try:
        state = torch.load(path, weights_only=True)
    except Exception as error:  # torch raises many kinds for a torn file
        raise CheckpointError(
            f"{path} cannot be read ({type(error).__name__}); delete it to start anew"
        ) from None
    if state["recipe"] != recipe_sha:
        raise BadData(
            f"{path} was made by recipe {state['recipe']}, this one is {recipe_sha}: "
            "resume with the recipe that began the run, or give --overwrite"
        )
    stage, step = state["position"]
    return Position(stage, step, state["seconds"]), state
