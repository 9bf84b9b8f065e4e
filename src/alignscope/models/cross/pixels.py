"""Images as a model's own processor gives them, one at a time."""

from __future__ import annotations

from typing import Any

from jaxtyping import Float
from PIL.Image import Image
from torch import Tensor


def pixels(image_processor: Any, image: Image) -> Float[Tensor, "channel height width"]:
    """Pixels as the model takes them; any mode, any size."""
    rgb = image if image.mode == "RGB" else image.convert("RGB")
    # Said, not guessed: an image three pixels high would pass for channels-first.
    batch = image_processor(images=[rgb], return_tensors="pt", input_data_format="channels_last")
    return batch["pixel_values"][0]
