"""Which weights of a dual encoder move, how fast, and what holds them back (sheet B.4)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from alignscope.errors import Unsupported
from alignscope.models.dual.families import family

Trains = Literal["both", "text", "image"]
MAX_LOG_SCALE = math.log(100.0)
SIDES: Mapping[str, tuple[str, ...]] = {
    "text": ("text_model", "text_projection"),
    "image": ("vision_model", "visual_projection"),
}
"""The modules of each side, of which a family may lack the second."""
_IMAGE = tuple(f"{name}." for name in SIDES["image"])
_TEXT = tuple(f"{name}." for name in SIDES["text"])


def learning_rate(step: int, *, peak: float, warmup: int, steps: int) -> float:
    """Linear warm-up, then half a cosine to zero (sheet B.4).

    >>> [round(learning_rate(step, peak=1.0, warmup=10, steps=100), 3) for step in (0, 9, 10, 55, 99)]
    [0.1, 1.0, 1.0, 0.5, 0.0]
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    done = (step - warmup) / max(steps - warmup, 1)
    return peak * 0.5 * (1 + math.cos(math.pi * done))


def moving(model: nn.Module, trains: Trains) -> dict[str, nn.Parameter]:
    """The parameters of the trained towers; the others lose `requires_grad`.

    What belongs to no tower, the scale and the bias of the score, moves with the text side.
    """
    found = {}
    for name, parameter in model.named_parameters():
        moves = trains == "both" or (trains == "image") == name.startswith(_IMAGE)
        parameter.requires_grad_(moves)
        if moves:
            found[name] = parameter
    return found


def text_tower(model: nn.Module) -> list[nn.Parameter]:
    """The moving parameters of the text tower: those over which gradient norms are compared."""
    return [p for name, p in model.named_parameters() if name.startswith(_TEXT) and p.requires_grad]


def groups(parameters: Mapping[str, nn.Parameter], *, weight_decay: float) -> list[dict[str, Any]]:
    """Groups of an optimizer: no weight decay on vectors and scalars (norms, the scale) nor on any bias."""
    free = {name for name, p in parameters.items() if p.ndim <= 1 or name.endswith("bias")}
    return [
        {"params": [p for n, p in parameters.items() if n not in free], "weight_decay": weight_decay},
        {"params": [p for n, p in parameters.items() if n in free], "weight_decay": 0.0},
    ]


def adamw(
    parameters: Mapping[str, nn.Parameter], *, learning_rate: float, weight_decay: float
) -> torch.optim.AdamW:
    """AdamW as CLIP is trained: beta (0.9, 0.98), epsilon 1e-6."""
    decayed = groups(parameters, weight_decay=weight_decay)
    return torch.optim.AdamW(decayed, lr=learning_rate, betas=(0.9, 0.98), eps=1e-6)


def training_mode(model: nn.Module, trains: Trains) -> None:
    """Dropout in the towers that move; statistics of BatchNorm stay as they were learned.

    They are the model's own, of far larger batches, and would differ between processes and micro-batches.
    """
    model.eval()
    for side, names in SIDES.items():
        for name in names:
            if trains in ("both", side) and hasattr(model, name):
                model.get_submodule(name).train()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


def checkpoint_gradients(model: Any, trains: Trains, *, reads_maps: bool) -> None:
    """Compute activations of the moving towers again in the backward pass; of the text tower only where no
    attribution looks inside it, for its maps must be those of the one forward."""
    for side, names in SIDES.items():
        if trains not in ("both", side) or (side == "text" and reads_maps):
            continue
        tower = model.get_submodule(names[0])
        if not tower.supports_gradient_checkpointing:
            raise Unsupported(
                f"{type(tower).__name__} has no gradient checkpointing: leave `gradient_checkpointing` out "
                "and lower `micro_batch` instead"
            )
        renamed = getattr(tower, "activation_checkpointing_enable", None)  # of late versions of transformers
        (renamed or tower.gradient_checkpointing_enable)({"use_reentrant": False})


@dataclass(frozen=True)
class ScaleBounds:
    """Between which values the parameter of the score's scale is kept."""

    name: str
    low: float
    high: float

    def clamp(self, model: nn.Module) -> None:
        """After each step of the optimizer."""
        with torch.no_grad():
            model.get_parameter(self.name).clamp_(self.low, self.high)


def scale_bounds(model: Any) -> ScaleBounds:
    """A scale between 1 and 100 (Radford et al. 2021, section 2.5), in the family's own parameter.

    A model that begins outside keeps its beginning as bound: SigLIP's 117 would else jump at the first
    step. So ask before any step is taken, also of a run that is resumed.
    """
    found = family(model.config.model_type)
    start = model.get_parameter(found.scale).detach().max().item()
    low, high = (0.01, 1.0) if found.scale_of is torch.reciprocal else (0.0, MAX_LOG_SCALE)
    return ScaleBounds(found.scale, min(low, start), max(high, start))
