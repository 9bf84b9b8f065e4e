"""Weights of open_clip's CLIP: read without running code, every key by a written rule into `CLIPModel`.

The rules are the map of reference/papers.md, sheet B.4: attention's rows are query, key, value in this
order, the two projections are transposed, everything else changes its name alone.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from einops import rearrange
from torch import Tensor

from alignscope.errors import CheckpointError, CheckpointMismatch, Unsupported
from alignscope.models import weights
from alignscope.models.dual.loading import check_keys

HEAD_WIDTH = 64
WIDEST_OF_HEAD_WIDTH = 1024
"""Every published open_clip image tower up to this width has heads of 64; wider ones have 80 to 112."""
FOREIGN = {
    "text_model.": "the keys of a transformers model: give its directory, with config.json",
    "visual.attnpool.": "a ResNet image tower",
    "visual.trunk.": "an image tower of timm",
    "visual.attn_pool.": "an image tower with attentional pooling",
    "text_decoder.": "a captioner (CoCa)",
    "text.": "a text tower of its own (custom or of transformers)",
}
"""What keys that begin so are a sign of; none of it can be had from a `CLIPModel`."""
STATED = ("input_resolution", "context_length", "vocab_size")
"""Numbers that OpenAI's archives keep among the weights; the shapes say them too."""
MEASURED = {
    "token_embedding.weight": 2,
    "positional_embedding": 2,
    "text_projection": 2,
    "transformer.resblocks.0.mlp.c_fc.weight": 2,
    "visual.conv1.weight": 4,
    "visual.positional_embedding": 2,
    "visual.transformer.resblocks.0.mlp.c_fc.weight": 2,
}
"""Keys whose shapes tell the sizes, with their numbers of axes."""
STEMS = {key.partition(".")[0] for key in MEASURED} | {"ln_final", "logit_scale"}
"""What keys begin with, up to the first dot."""


@dataclass(frozen=True)
class Tower:
    """Sizes of one transformer; `mlp` is the width inside its blocks."""

    width: int
    layers: int
    heads: int
    mlp: int


@dataclass(frozen=True)
class Sizes:
    """Everything that decides the shapes of a CLIP, and its numbers of heads."""

    image: Tower
    text: Tower
    embedding: int
    vocabulary: int
    context_length: int
    image_size: int
    patch_size: int


@dataclass(frozen=True)
class Place:
    """Where one tensor of the file goes; several names take equal shares of its rows, in order."""

    shape: tuple[int, ...]
    names: tuple[str, ...]
    is_transposed: bool = False


def places(sizes: Sizes) -> dict[str, Place]:
    """Every key of an open_clip file, its shape, and its name in `CLIPModel`."""
    text, image, joint = sizes.text, sizes.image, sizes.embedding
    positions = (sizes.image_size // sizes.patch_size) ** 2 + 1
    words, patches = "text_model.embeddings", "vision_model.embeddings"
    patch = (image.width, 3, sizes.patch_size, sizes.patch_size)
    return {
        "logit_scale": Place((), ("logit_scale",)),
        "token_embedding.weight": Place((sizes.vocabulary, text.width), (f"{words}.token_embedding.weight",)),
        "positional_embedding": Place(
            (sizes.context_length, text.width), (f"{words}.position_embedding.weight",)
        ),
        **_blocks("transformer", "text_model", text),
        **_affine("ln_final.", ("text_model.final_layer_norm",), (text.width,)),
        "text_projection": Place((text.width, joint), ("text_projection.weight",), is_transposed=True),
        "visual.conv1.weight": Place(patch, (f"{patches}.patch_embedding.weight",)),
        "visual.class_embedding": Place((image.width,), (f"{patches}.class_embedding",)),
        "visual.positional_embedding": Place(
            (positions, image.width), (f"{patches}.position_embedding.weight",)
        ),
        **_affine("visual.ln_pre.", ("vision_model.pre_layrnorm",), (image.width,)),
        **_blocks("visual.transformer", "vision_model", image),
        **_affine("visual.ln_post.", ("vision_model.post_layernorm",), (image.width,)),
        "visual.proj": Place((image.width, joint), ("visual_projection.weight",), is_transposed=True),
    }


def _blocks(theirs: str, ours: str, tower: Tower) -> dict[str, Place]:
    wide, inner = tower.width, tower.mlp
    parts: dict[str, tuple[tuple[str, ...], tuple[int, ...]]] = {
        "ln_1.": (("layer_norm1",), (wide,)),
        "attn.in_proj_": (("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"), (3 * wide, wide)),
        "attn.out_proj.": (("self_attn.out_proj",), (wide, wide)),
        "ln_2.": (("layer_norm2",), (wide,)),
        "mlp.c_fc.": (("mlp.fc1",), (inner, wide)),
        "mlp.c_proj.": (("mlp.fc2",), (wide, inner)),
    }
    found: dict[str, Place] = {}
    for layer in range(tower.layers):
        for part, (names, shape) in parts.items():
            full = tuple(f"{ours}.encoder.layers.{layer}.{name}" for name in names)
            found |= _affine(f"{theirs}.resblocks.{layer}.{part}", full, shape)
    return found


def _affine(prefix: str, names: tuple[str, ...], shape: tuple[int, ...]) -> dict[str, Place]:
    return {
        f"{prefix}weight": Place(shape, tuple(f"{name}.weight" for name in names)),
        f"{prefix}bias": Place(shape[:1], tuple(f"{name}.bias" for name in names)),
    }


def renamed(state: Mapping[str, Tensor], sizes: Sizes, *, source: str, wanted: str) -> dict[str, Tensor]:
    """The weights under the names of `CLIPModel`, in float32; every key accounted for, or an error lists them."""
    rules = places(sizes)
    misshapen = [
        (key, tuple(state[key].shape), place.shape)
        for key, place in rules.items()
        if key in state and tuple(state[key].shape) != place.shape
    ]
    check_keys(source, rules.keys() - state.keys(), state.keys() - rules.keys(), misshapen, wanted=wanted)
    found: dict[str, Tensor] = {}
    for key, place in rules.items():
        tensor = state[key].to(torch.float32, copy=True)  # a copy: the file may be mapped into memory
        if place.is_transposed:
            tensor = rearrange(tensor, "width embedding -> embedding width").contiguous()
        shares = tensor.chunk(len(place.names)) if len(place.names) > 1 else (tensor,)
        found |= dict(zip(place.names, shares, strict=True))
    return found


def sizes_of(state: Mapping[str, Tensor], *, source: str) -> Sizes:
    """Sizes told by the shapes; the numbers of heads by the rule of 64 that OpenAI's towers keep."""
    missing = [key for key, axes in MEASURED.items() if key not in state or state[key].ndim != axes]
    left_over = [key for key in state if key.partition(".")[0] not in STEMS]
    if missing:
        check_keys(source, missing, left_over, [], wanted="the keys of open_clip's CLIP")
    shapes = {key: tuple(state[key].shape) for key in MEASURED}
    patches, image_width = shapes["visual.positional_embedding"]
    side = math.isqrt(max(patches - 1, 0))
    if side == 0 or side**2 + 1 != patches:
        raise CheckpointMismatch(
            f"{source}: visual.positional_embedding has {patches} rows, wanted 1 + a square number of patches"
        )
    if image_width > WIDEST_OF_HEAD_WIDTH:
        raise CheckpointError(
            f"{source}: its image tower is {image_width} wide, and a file alone does not tell how many heads "
            "such a tower has: give a directory with open_clip_config.json beside the weights"
        )
    patch_size = shapes["visual.conv1.weight"][-1]
    return Sizes(
        image=_tower(state, "visual.transformer", source=source),
        text=_tower(state, "transformer", source=source),
        embedding=shapes["text_projection"][1],
        vocabulary=shapes["token_embedding.weight"][0],
        context_length=shapes["positional_embedding"][0],
        image_size=side * patch_size,
        patch_size=patch_size,
    )


def _tower(state: Mapping[str, Tensor], prefix: str, *, source: str) -> Tower:
    inner, width = state[f"{prefix}.resblocks.0.mlp.c_fc.weight"].shape
    if width % HEAD_WIDTH:
        raise CheckpointError(
            f"{source}: {prefix} is {width} wide, no multiple of {HEAD_WIDTH}, so the file alone does not tell "
            "its number of heads: give a directory with open_clip_config.json beside the weights"
        )
    numbered = re.compile(re.escape(prefix) + r"\.resblocks\.(\d+)\.")
    layers = 1 + max(int(found[1]) for key in state if (found := numbered.match(key)))
    return Tower(width, layers, width // HEAD_WIDTH, inner)


def read_state(path: Path) -> dict[str, Tensor]:
    """The weights in a file, unwrapped from what a training run saves around them; no code is run."""
    whole = weights.unwrapped(weights.read(path))
    if isinstance(whole, dict):
        whole = {key: value for key, value in weights.single(whole).items() if key not in STATED}
    state = weights.named_tensors(whole, path)
    for prefix, what in FOREIGN.items():
        if any(key.startswith(prefix) for key in state):
            raise Unsupported(
                f"{path} holds {what} (keys that begin with '{prefix}'); wanted open_clip's CLIP with a ViT "
                "and its own text transformer"
            )
    return state
