"""Inside the image tower: its attention maps, and which part of an image it is shown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, final

import torch.nn.functional as F
from einops import einsum, rearrange
from jaxtyping import Float
from PIL import Image as Pillow
from PIL.Image import Image
from torch import Tensor, nn
from transformers import PreTrainedModel

from alignscope.errors import BadImage, Unsupported
from alignscope.models import taps
from alignscope.records import Box


@dataclass(frozen=True)
class ImageSide:
    """Facts about the image tower of one `model_type`, paths being inside the tower.

    readout: where the embedding is read (`Traits.image_readout`).
    attention: layer i's attention module; empty for convolutions.
    pooling: the attention that pools the patches, or for convolutions what takes in the last features.
    """

    readout: Literal["first", "pooled", "features"]
    attention: str = ""
    pooling: str = ""


LAYERS = "encoder.layers.{i}.self_attn"
IMAGE_SIDES = {
    "clip_vision_model": ImageSide("first", LAYERS),
    "altclip_vision_model": ImageSide("first", LAYERS),
    "chinese_clip_vision_model": ImageSide("first", LAYERS),
    "metaclip_2_vision_model": ImageSide("first", LAYERS),
    "vit": ImageSide("first", "layers.{i}.attention"),
    "siglip_vision_model": ImageSide("pooled", LAYERS, "head.attention"),
    "align_vision_model": ImageSide("features", pooling="pooler"),
}


def image_readout(model: PreTrainedModel) -> Literal["first", "pooled", "features"] | None:
    """Where the image embedding is read; None for a tower of unknown type."""
    side = IMAGE_SIDES.get(model.vision_model.config.model_type)
    return side.readout if side else None


@contextmanager
def image_attention(model: PreTrainedModel) -> Iterator[list[Tensor]]:
    """Within the `with`, each image-tower forward appends its maps, as `DualEncoder.image_attention` says.

    They are on the graph wherever gradients are on, also where all weights are frozen.
    """
    tower = model.vision_model
    kind = tower.config.model_type
    if kind not in IMAGE_SIDES:
        raise Unsupported(
            f"no image tower of type '{kind}' is known, only {', '.join(IMAGE_SIDES)}: "
            "add a line to IMAGE_SIDES in models/dual/vision.py"
        )
    side = IMAGE_SIDES[kind]
    with ExitStack() as hooks:
        hooks.enter_context(taps.embeddings(tower.get_input_embeddings()))
        if side.readout == "features":
            yield hooks.enter_context(taps.entering(tower.get_submodule(side.pooling)))
            return
        layers = range(tower.config.num_hidden_layers)
        modules = [tower.get_submodule(side.attention.format(i=i)) for i in layers]
        if side.pooling:
            pooling = tower.get_submodule(side.pooling)
            hooks.callback(pooling.register_forward_hook(explicit_attention).remove)  # before it is tapped
            modules.append(pooling)
        hooks.enter_context(taps.eager(tower))
        yield hooks.enter_context(taps.attention(modules))


def explicit_attention(
    module: nn.MultiheadAttention, inputs: tuple[Tensor, Tensor, Tensor], output: Any
) -> tuple[Tensor, Tensor]:
    """The output of an attention module of torch, and its map (image, head, query, key) on the graph.

    As a forward hook it takes the place of what the module computed, whose map is an average over heads
    that the output does not depend on. Unmasked, batch first, no dropout: as SigLIP pools its patches.
    """
    weights = module.in_proj_weight.chunk(3)
    biases = module.in_proj_bias.chunk(3)
    query, key, value = (
        rearrange(F.linear(x, w, b), "image token (head dim) -> image head token dim", head=module.num_heads)
        for x, w, b in zip(inputs, weights, biases, strict=True)
    )
    scores = einsum(query, key, "image head query dim, image head key dim -> image head query key")
    attention = (scores * module.head_dim**-0.5).softmax(dim=-1)
    mixed = einsum(attention, value, "image head query key, image head key dim -> image head query dim")
    return module.out_proj(rearrange(mixed, "image head query dim -> image query (head dim)")), attention


def rgb(image: Image) -> Image:
    """An image of any mode in three channels of bytes; what is transparent stands on white, as in opened files."""
    if image.mode.startswith(("I", "F")):
        raise BadImage(
            f"got an image of mode {image.mode}, whose numbers beyond 255 would all turn white: open its file by "
            "alignscope.data.images.open_image, which scales them"
        )
    if image.has_transparency_data:
        clear = image.convert("RGBA")
        image = Pillow.alpha_composite(Pillow.new("RGBA", clear.size, "white"), clear)
    return image if image.mode == "RGB" else image.convert("RGB")


@final
@dataclass(frozen=True, eq=False)
class ImageTransform:
    """Images as a vision tower takes them; holds the image processor alone, so that a worker gets no weights."""

    processor: Any

    def inputs(self, images: Sequence[Image], **changes: bool) -> dict[str, Tensor]:
        """What the tower takes, by name; more than pixels where the resolution varies (NaFlex)."""
        # Said, not guessed: an image three pixels high would pass for channels-first.
        kinds = {"return_tensors": "pt", "input_data_format": "channels_last"}
        return dict(self.processor(images=[rgb(image) for image in images], **kinds, **changes))

    def pixels(self, image: Image) -> Float[Tensor, "channel height width"]:
        """An image of any size, by the whole of the model's processor."""
        return self._only_pixels(self.inputs([image]))

    def as_it_is(self, image: Image) -> Float[Tensor, "channel height width"]:
        """An image of the tower's own size: its numbers scaled and normalised, neither resized nor cropped."""
        return self._only_pixels(self.inputs([image], do_resize=False, do_center_crop=False))

    @cached_property
    def size(self) -> tuple[int, int]:
        """Height and width that the tower takes."""
        _, height, width = self.pixels(Pillow.new("RGB", (64, 64))).shape
        return height, width

    def _only_pixels(self, inputs: dict[str, Tensor]) -> Float[Tensor, "channel height width"]:
        if inputs.keys() != {"pixel_values"}:
            raise Unsupported(
                f"{type(self.processor).__name__} keeps every image's own proportions, which is "
                f"{', '.join(inputs)} and not one tensor of pixels: such models score, but are not trained here"
            )
        return inputs["pixel_values"][0]


def view(image_processor: Any, width: int, height: int) -> Box:
    """The part of an image of this size that is left after resizing and cropping, in the image's pixels.

    A crop wider than the image is filled up with black: the view then reaches over its edges.
    """
    if getattr(image_processor, "do_pad", None):
        raise Unsupported(f"{type(image_processor).__name__} pads images: their view is not known")
    across, down = _resized(image_processor, width, height)
    shown_across, shown_down = across, down
    if getattr(image_processor, "do_center_crop", None):
        shown_across, shown_down = image_processor.crop_size["width"], image_processor.crop_size["height"]
    left, top = (across - shown_across) // 2, (down - shown_down) // 2
    x, y = width / across, height / down
    return Box(left * x, top * y, (left + shown_across) * x, (top + shown_down) * y)


def _resized(image_processor: Any, width: int, height: int) -> tuple[int, int]:
    """Width and height after the processor's resizing."""
    if not image_processor.do_resize:
        return width, height
    size = {name: edge for name, edge in dict(image_processor.size).items() if edge is not None}
    if size.keys() == {"height", "width"}:
        return size["width"], size["height"]
    if size.keys() == {"shortest_edge"}:
        short, long = (
            size["shortest_edge"],
            int(size["shortest_edge"] * max(width, height) / min(width, height)),
        )
        return (short, long) if width <= height else (long, short)
    raise Unsupported(
        f"{type(image_processor).__name__} resizes to {size}: a view is known for height and width, "
        "or for the shortest edge"
    )
