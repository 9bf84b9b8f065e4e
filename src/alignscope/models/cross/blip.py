"""BLIP's image-text matching (Li et al. 2022): a text encoder that looks at the patches in every layer.

Texts begin with [CLS], as in transformers and the authors' demonstration of matching; their training and
retrieval code puts [ENC] in its place (transformers, issues 22732 and 25629), so that scores differ a little.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from PIL.Image import Image
from torch import Tensor
from transformers import PreTrainedModel

from alignscope.models.cross.encoder import Family, Site
from alignscope.models.cross.pixels import pixel_inputs
from alignscope.models.protocols import PairInputs, Tokens


def sites(config: Any) -> list[Site]:
    """Where probabilities pass: the image tower first, then self- and cross-attention by turns."""
    vision, text = config.vision_config.num_hidden_layers, config.text_config.num_hidden_layers
    found = [
        Site(f"vision_model.encoder.layers.{i}.self_attn.dropout", (("image", "image"),))
        for i in range(vision)
    ]
    for i in range(text):
        layer = f"text_encoder.encoder.layer.{i}"
        found += [
            Site(f"{layer}.attention.self.dropout", (("text", "text"),)),
            Site(f"{layer}.crossattention.self.dropout", (("text", "image"),)),
        ]
    return found


def grid(config: Any) -> tuple[int, int]:
    """Rows and columns of patches; every image becomes a square."""
    side = config.vision_config.image_size // config.vision_config.patch_size
    return side, side


def inputs(
    model: PreTrainedModel, image_processor: Any, images: Sequence[Image], tokens: Tokens
) -> PairInputs:
    """Pixels; a class token comes before the patches."""
    return pixel_inputs(image_processor, images, tokens, grid=grid(model.config))


def match(model: PreTrainedModel, inputs: PairInputs) -> Float[Tensor, "pair 2"]:
    """Logits (no match, match)."""
    with model.device:  # transformers makes one of the masks on the default device
        output = model(
            input_ids=inputs.tokens.ids.to(model.device),
            attention_mask=inputs.tokens.mask.to(model.device),
            pixel_values=torch.stack(inputs.images).to(model.device, model.dtype),
            use_itm_head=True,
        )
    return output.itm_score


BLIP = Family(
    "transformers:BlipForImageTextRetrieval",
    "patch",
    text_config=lambda config: config.text_config,
    grid=grid,
    sites=sites,
    inputs=inputs,
    match=match,
)
