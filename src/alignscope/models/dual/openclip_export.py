"""A `CLIPModel` as a directory of open_clip: weights, configuration and tokenizer, for its loader and ours.

The table of keys is that of `openclip_keys`, read the other way (reference/papers.md, sheet B.4). open_clip
reads a text at its highest id, so where the end token is not the highest it changes places with the one that
is, in the tokenizer and in the rows of the embeddings. Its own tokenizer knows OpenAI's vocabulary alone:
texts of any other are cut by the `tokenizer.json` that lies beside the weights.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPModel, CLIPTokenizer

from alignscope.errors import Unsupported
from alignscope.files import write_json
from alignscope.models.dual.encoder import TransformersDualEncoder
from alignscope.models.dual.loading import check_keys
from alignscope.models.dual.openclip import ACTIVATIONS, CONFIG, RESAMPLING, WEIGHTS
from alignscope.models.dual.openclip_keys import Sizes, Tower, places

EPSILON = 1e-5
"""Of open_clip's layer norms; its configuration has no entry for it."""
EMBEDDINGS = "token_embedding.weight"


def save_openclip(encoder: TransformersDualEncoder, directory: Path) -> None:
    """Write the encoder so that open_clip's loader and `load_openclip` give the same logits."""
    sizes, settings = _described(encoder)
    weights = as_openclip(encoder.model.state_dict(), sizes, source=encoder.name)
    tokenizer, highest = _ending_last(encoder.tokenizer, source=encoder.name)
    end = encoder.tokenizer.eos_token_id
    weights[EMBEDDINGS][[end, highest]] = weights[EMBEDDINGS][[highest, end]]
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(directory)
    save_file(weights, directory / WEIGHTS[0], metadata={"format": "pt"})
    write_json(directory / CONFIG, settings)


def as_openclip(state: Mapping[str, Tensor], sizes: Sizes, *, source: str) -> dict[str, Tensor]:
    """Weights of a `CLIPModel` under open_clip's keys, copied; every name accounted for, or an error lists them."""
    rules = places(sizes)
    names = {name for place in rules.values() for name in place.names}
    check_keys(source, names - state.keys(), state.keys() - names, [], wanted="the table of open_clip's keys")
    found: dict[str, Tensor] = {}
    for key, place in rules.items():
        shares = [state[name].detach().cpu() for name in place.names]
        tensor = torch.cat(shares) if len(shares) > 1 else shares[0].clone()
        if place.is_transposed:
            tensor = rearrange(tensor, "embedding width -> width embedding").contiguous()
        found[key] = tensor
    shapes = [(key, tuple(tensor.shape), rules[key].shape) for key, tensor in found.items()]
    odd = [shape for shape in shapes if shape[1] != shape[2]]
    check_keys(source, [], [], odd, wanted="the sizes of its config.json")
    return found


def _described(encoder: TransformersDualEncoder) -> tuple[Sizes, dict[str, Any]]:
    """The sizes of a CLIP and what open_clip's configuration says of it; what it cannot say is refused."""
    model = encoder.model
    if type(model) is not CLIPModel:
        raise Unsupported(
            f"{encoder.name} is a {type(model).__name__}, and open_clip's keys are known for a CLIPModel: "
            "export it with --form transformers"
        )
    text, image = model.config.text_config, model.config.vision_config
    odd = [
        f"{part} {name} is {value!r}, there always {wanted!r}"
        for part, config in (("text", text), ("image", image))
        for name, value, wanted in (
            ("layer_norm_eps", config.layer_norm_eps, EPSILON),
            ("hidden_act", config.hidden_act, text.hidden_act),
        )
        if value != wanted
    ]
    if text.hidden_act not in ACTIVATIONS:
        odd.append(f"hidden_act is {text.hidden_act!r}, there {' or '.join(ACTIVATIONS)}")
    if image.num_channels != 3:
        odd.append(f"images have {image.num_channels} channels, there 3")
    towers = {"text": _tower(text), "image": _tower(image)}
    for name, tower in towers.items():
        if int(tower.width * (tower.mlp / tower.width)) != tower.mlp:
            odd.append(f"{name} blocks are {tower.mlp} wide inside, no ratio of {tower.width} gives that")
    preprocess, faults = _preprocessing(encoder.image_processor, image.image_size)
    if odd + faults:
        raise Unsupported(
            f"open_clip's configuration cannot say of {encoder.name}: {'; '.join(odd + faults)}; "
            "export it with --form transformers"
        )
    sizes = Sizes(
        image=towers["image"],
        text=towers["text"],
        embedding=model.config.projection_dim,
        vocabulary=text.vocab_size,
        context_length=text.max_position_embeddings,
        image_size=image.image_size,
        patch_size=image.patch_size,
    )
    return sizes, {"model_cfg": _model_cfg(sizes, text.hidden_act), "preprocess_cfg": preprocess}


def _tower(config: Any) -> Tower:
    return Tower(
        config.hidden_size, config.num_hidden_layers, config.num_attention_heads, config.intermediate_size
    )


def _model_cfg(sizes: Sizes, activation: str) -> dict[str, Any]:
    image, text = sizes.image, sizes.text
    vision_cfg = {
        "image_size": sizes.image_size,
        "layers": image.layers,
        "width": image.width,
        "head_width": image.width // image.heads,
        "patch_size": sizes.patch_size,
        "mlp_ratio": image.mlp / image.width,
    }
    text_cfg = {
        "context_length": sizes.context_length,
        "vocab_size": sizes.vocabulary,
        "width": text.width,
        "heads": text.heads,
        "layers": text.layers,
        "mlp_ratio": text.mlp / text.width,
    }
    quick = {"quick_gelu": activation == "quick_gelu"}
    return {"embed_dim": sizes.embedding, **quick, "vision_cfg": vision_cfg, "text_cfg": text_cfg}


def _preprocessing(processor: Any, side: int) -> tuple[dict[str, Any], list[str]]:
    """open_clip's evaluation transform, and what of the processor it cannot do."""
    settings = processor.to_dict()
    square = {"height": side, "width": side}
    crops = settings.get("do_center_crop") and dict(settings["crop_size"]) == square
    size = {name: edge for name, edge in dict(settings["size"]).items() if edge is not None}
    modes = {
        "shortest": bool(crops) and size == {"shortest_edge": side},
        "squash": not settings.get("do_center_crop") and size == square,
    }
    mode = next((name for name, fits in modes.items() if fits), None)
    named = {value: name for name, value in reversed(RESAMPLING.items())}
    steps = ("do_resize", "do_rescale", "do_normalize")
    faults = [f"its images go without {step}" for step in steps if not settings.get(step)]
    if settings.get("do_pad"):
        faults.append("its images are padded")
    if settings.get("rescale_factor") != 1 / 255:
        faults.append(f"its pixels are scaled by {settings.get('rescale_factor')}, there 1/255")
    if mode is None:
        faults.append(f"its images become {size} and are not then cropped to {side} x {side}")
    if settings["resample"] not in named:
        faults.append(f"its images are resampled by method {settings['resample']}")
    preprocess = {
        "size": side,
        "mode": "RGB",
        "mean": list(settings["image_mean"]),
        "std": list(settings["image_std"]),
        "interpolation": named.get(settings["resample"]),
        "resize_mode": mode,
    }
    return preprocess, faults


def _ending_last(tokenizer: Any, *, source: str) -> tuple[Any, int]:
    """The tokenizer with its end token at the highest id, and that id; the token that was there takes its place."""
    if not isinstance(tokenizer, CLIPTokenizer):
        raise Unsupported(
            f"{source} cuts texts by a {type(tokenizer).__name__}, open_clip by CLIP's tokenizer alone: export it "
            "with --form transformers"
        )
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    vocabulary = tokenizer.get_vocab()
    end, highest = tokenizer.eos_token_id, max(vocabulary.values())
    if end == highest:
        return tokenizer, highest
    swapped = {end: highest, highest: end}
    names = {name: getattr(tokenizer, name) for name in ("unk_token", "bos_token", "eos_token", "pad_token")}
    moved = CLIPTokenizer(
        vocab={token: swapped.get(row, row) for token, row in vocabulary.items()},
        merges=[tuple(merge) for merge in model["merges"]],
        model_max_length=tokenizer.model_max_length,
        **names,
    )
    return moved, highest
