"""Images as a model's own processor gives them, one at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from einops import repeat
from jaxtyping import Float
from PIL.Image import Image, new
from torch import Tensor

from alignscope.errors import BadImage
from alignscope.models.dual.vision import rgb
from alignscope.models.protocols import PairInputs, Tokens
from alignscope.records import Box


def pixels(image_processor: Any, image: Image, **changes: bool) -> Float[Tensor, "channel height width"]:
    """Pixels as the model takes them; any mode of bytes, any size. `changes` overrule the processor's settings."""
    # Said, not guessed: an image three pixels high would pass for channels-first.
    kinds = {"return_tensors": "pt", "input_data_format": "channels_last"}
    try:
        batch = image_processor(images=[rgb(image)], **kinds, **changes)
    except ValueError as error:
        raise BadImage(
            f"an image of {image.width}x{image.height} pixels cannot be brought to the size that "
            f"{type(image_processor).__name__} wants ({error}): crop it to a less narrow shape"
        ) from None
    return batch["pixel_values"][0]


def pixel_inputs(
    image_processor: Any,
    images: Sequence[Image],
    tokens: Tokens,
    *,
    grid: tuple[int, int],
    before: int = 1,
) -> PairInputs:
    """A batch of images that all become one grid; so many positions that are no patch stand before the patches."""
    count = grid[0] * grid[1]
    places = torch.arange(-before, count).clamp(min=-1)
    return PairInputs(
        tokens,
        tuple(pixels(image_processor, image) for image in images),
        (),
        repeat(places, "position -> pair position", pair=len(images)),
        (count,) * len(images),
        (grid,) * len(images),
    )


def view(image_processor: Any, width: int, height: int) -> Box:
    """The part of an image of this size that is left after resizing and cropping, in the image's pixels.

    Both are asked of the processor itself, whose rules differ (ViLT's sides are multiples of 32). A crop
    wider than the image is filled up with black: the view then reaches over its edges.
    """
    if not getattr(image_processor, "do_center_crop", None):
        return Box(0, 0, width, height)
    blank = new("RGB", (width, height))
    _, down, across = pixels(image_processor, blank, do_center_crop=False).shape
    _, shown_down, shown_across = pixels(image_processor, blank).shape
    left, top = (across - shown_across) // 2, (down - shown_down) // 2
    x, y = width / across, height / down
    return Box(left * x, top * y, (left + shown_across) * x, (top + shown_down) * y)
