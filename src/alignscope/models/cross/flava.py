"""FLAVA's image-text matching (Singh et al. 2022): a text and an image tower, then one stream over both.

Maps are those of the stream over both; a position stands there for what its tower made of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from PIL.Image import Image
from torch import Tensor
from transformers import PreTrainedModel

from alignscope.models.cross.encoder import Family, Site
from alignscope.models.cross.pixels import pixel_inputs
from alignscope.models.protocols import PairInputs, Tokens


def grid(config: Any) -> tuple[int, int]:
    """Rows and columns of patches; every image becomes a square."""
    side = config.image_config.image_size // config.image_config.patch_size
    return side, side


def specials(config: Any) -> int:
    """Positions before the patches: the image's class token, and that of the stream over both."""
    return 1 + config.multimodal_config.use_cls_token


def order(before_text: int, count: int) -> Int[Tensor, " position"]:
    """FLAVA's place of each position of ours, which are those of the text and then those of the image.

    The head reads the first place, so this stands first in our text, where readouts are; the text's own
    class token, which spells nothing either, stands with the image.

    >>> order(4, 7).tolist()  # read, class, two patches; then a text of three
    [0, 5, 6, 4, 1, 2, 3]
    """
    first, *image = range(before_text)
    class_token, *words = range(before_text, count)
    return torch.tensor([first, *words, class_token, *image])


def sites(config: Any) -> list[Site]:
    """Where probabilities pass."""
    rows, columns = grid(config)
    arranged = partial(order, specials(config) + rows * columns)
    return [
        Site(
            f"flava.multimodal_model.encoder.layer.{i}.attention.attention.dropout",
            (("joint", "joint"),),
            arranged,
        )
        for i in range(config.multimodal_config.num_hidden_layers)
    ]


def inputs(
    model: PreTrainedModel, image_processor: Any, images: Sequence[Image], tokens: Tokens
) -> PairInputs:
    """Pixels; before the patches stand the class tokens that are not read."""
    before = specials(model.config)
    return pixel_inputs(image_processor, images, tokens, grid=grid(model.config), before=before)


def match(model: PreTrainedModel, inputs: PairInputs) -> Float[Tensor, "pair 2"]:
    """Logits (no match, match), of text and image with nothing masked.

    Differs from the call of the whole class, which runs both towers a second time for other losses.
    """
    output = model.flava(
        input_ids=inputs.tokens.ids.to(model.device),
        attention_mask=inputs.tokens.mask.to(model.device),
        pixel_values=torch.stack(inputs.images).to(model.device, model.dtype),
    )
    return model.itm_head(output.multimodal_embeddings)


FLAVA = Family(
    "transformers:FlavaForPreTraining",
    "patch",
    text_config=lambda config: config.text_config,
    grid=grid,
    sites=sites,
    inputs=inputs,
    match=match,
    token_table="flava.text_model.embeddings.word_embeddings",
)
