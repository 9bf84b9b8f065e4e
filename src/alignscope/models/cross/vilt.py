"""ViLT (Kim et al. 2021): text tokens and image patches in one stream; images keep their proportions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from PIL.Image import Image
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel

from alignscope.models.cross.encoder import Family, one_stream
from alignscope.models.cross.pixels import pixels
from alignscope.models.protocols import PairInputs, Tokens

SEED = 0
"""Of the patches that take part and their order, which transformers draws from the global generator."""


def patches(
    model: PreTrainedModel, image: Float[Tensor, "channel height width"]
) -> tuple[Float[Tensor, "position dim"], Int[Tensor, " patch"], tuple[int, int]]:
    """Embeddings of a class token and of patches, which patches they are (row by row), and the grid.

    One image at a time under a fixed seed, so that a score depends on its pair alone; the caller's random
    numbers go on as if nothing had been drawn.
    """
    image = image.to(model.device, model.dtype)[None]
    mask = torch.ones_like(image[:, 0], dtype=torch.long)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(SEED)
        embedded, _, (places, grid) = model.vilt.embeddings.visual_embed(
            image, mask, max_image_length=model.config.max_image_length
        )
    return embedded[0], places[0, :, 0] * grid[1] + places[0, :, 1], grid


def inputs(
    model: PreTrainedModel, image_processor: Any, images: Sequence[Image], tokens: Tokens
) -> PairInputs:
    """Pixels, and which patch the model puts at each position after the class token."""
    found = [pixels(image_processor, image) for image in images]
    with torch.no_grad():
        drawn = [patches(model, image) for image in found]
    class_token = torch.tensor([-1])
    units = [torch.cat([class_token, which.cpu()]) for _, which, _ in drawn] or [class_token]
    grids = tuple(grid for _, _, grid in drawn)
    return PairInputs(
        tokens,
        tuple(found),
        (),
        pad_sequence(units, batch_first=True, padding_value=-1)[: len(images)],
        tuple(rows * columns for rows, columns in grids),
        grids,
    )


def match(model: PreTrainedModel, inputs: PairInputs) -> Float[Tensor, " pair"]:
    """The ranking logit."""
    embedded = [patches(model, image)[0] for image in inputs.images]
    real = [torch.ones(len(each), dtype=torch.long, device=model.device) for each in embedded]
    output = model(
        input_ids=inputs.tokens.ids.to(model.device),
        attention_mask=inputs.tokens.mask.to(model.device),
        image_embeds=pad_sequence(embedded, batch_first=True),
        pixel_mask=pad_sequence(real, batch_first=True),
    )
    return output.logits[:, 0]


VILT = Family(
    "transformers:ViltForImageAndTextRetrieval",
    "patch",
    sites=one_stream("vilt.encoder.layer.{i}.attention.attention.dropout"),
    inputs=inputs,
    match=match,
    match_index=None,
)
