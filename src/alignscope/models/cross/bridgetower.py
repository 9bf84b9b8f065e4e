"""BridgeTower (Xu et al. 2023): two towers whose upper layers feed two streams that read each other.

No `attention` and no `gradcam`: the head reads the first position of the text and that of the image alike,
each stream takes in a tower's states at every layer, and the image tower shows no probabilities.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from alignscope.models.catalogue import NO_MAPS
from alignscope.models.cross.blip import grid, inputs
from alignscope.models.cross.encoder import FIRST_TOKEN, Family
from alignscope.models.protocols import PairInputs


def match(model: PreTrainedModel, inputs: PairInputs) -> Float[Tensor, "pair 2"]:
    """Logits (no match, match); images are cut to the square the model takes, so that no pixel is padding."""
    output = model(
        input_ids=inputs.tokens.ids.to(model.device),
        attention_mask=inputs.tokens.mask.to(model.device),
        pixel_values=torch.stack(inputs.images).to(model.device, model.dtype),
    )
    return output.logits


BRIDGETOWER = Family(
    "transformers:BridgeTowerForImageAndTextRetrieval",
    "patch",
    text_config=lambda config: config.text_config,
    grid=grid,
    sites=lambda config: [],
    inputs=inputs,
    match=match,
    text_side=replace(FIRST_TOKEN, starts_after_padding=True),
    attributions=NO_MAPS,
)
