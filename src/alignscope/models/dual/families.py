"""The dual encoders of transformers, one line per `model_type`: their class and what a score is made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from alignscope.errors import Unsupported


@dataclass(frozen=True)
class Family:
    """Where a model keeps the numbers of score = scale * cosine + bias, as paths inside it."""

    model_class: str
    width: str = "text_projection"  # the module whose outputs are text embeddings
    scale: str = "logit_scale"  # the parameter that `scale_of` makes the factor of
    scale_of: Callable[[Tensor], Tensor] = torch.exp
    bias: str | None = None


FAMILIES = {
    "clip": Family("CLIPModel"),
    "siglip": Family("SiglipModel", width="text_model.head", bias="logit_bias"),
    "siglip2": Family("Siglip2Model", width="text_model.head", bias="logit_bias"),
    "vision-text-dual-encoder": Family("VisionTextDualEncoderModel"),
    "align": Family("AlignModel", scale="temperature", scale_of=torch.reciprocal),
    "altclip": Family("AltCLIPModel"),
    "chinese_clip": Family("ChineseCLIPModel"),
    "metaclip_2": Family("MetaClip2Model"),
}
"""The architecture a checkpoint names must be the class of its `model_type`."""


def family(model_type: str) -> Family:
    """The family of that `model_type`.

    >>> family("siglip").bias
    'logit_bias'
    """
    if model_type not in FAMILIES:
        raise Unsupported(
            f"no dual encoder of type '{model_type}' is known, only {', '.join(FAMILIES)}: "
            "add a line to FAMILIES in models/dual/families.py"
        )
    return FAMILIES[model_type]
