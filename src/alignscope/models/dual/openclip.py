"""CLIP checkpoints of open_clip as our dual encoder, with the activation that was asked for.

Two inputs: a directory in open_clip's hub layout (`open_clip_config.json` and the weights beside it), or a
file of weights alone (.pt, .bin, .safetensors), whose sizes its shapes tell.

The activation trap (reference/papers.md, B.4): weights trained with QuickGELU and with GELU have the same
keys. OpenAI's weights, and what was fine-tuned from them, need `quick_gelu`, the default for a file alone; in
a directory the configuration decides, where no `quick_gelu` means GELU. `activation=` overrides both, for
published numbers of fine-tuned models were often computed with `gelu`. `traits.activation` says which it is.

open_clip pads with 0 and reads at the highest id, the end token; padding after it is never seen by a causal
tower, so ours, padded otherwise and read at the first end token, gives the same embeddings.

Differs: open_clip first mends texts (ftfy: mojibake, curly quotes; HTML entities), transformers does not. Where the
margin of the centre crop is odd, transformers rounds its half down and torchvision to even: a quarter or so of
photographs are cut one pixel off. On the same pixels and ids embeddings differ by rounding alone (2e-7).
"""

from __future__ import annotations

import gzip
import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from PIL.Image import Resampling
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

from alignscope.errors import CheckpointError, CheckpointMismatch, UnknownName, Unsupported
from alignscope.models.dual.encoder import TransformersDualEncoder
from alignscope.models.dual.fresh import CLIP_MEAN, CLIP_STD, END_OF_WORD, SPECIAL
from alignscope.models.dual.loading import FAILURES, check_finite, compute_device, compute_dtype, quiet
from alignscope.models.dual.openclip_keys import Sizes, Tower, read_state, renamed, sizes_of
from alignscope.registry import did_you_mean

CONFIG = "open_clip_config.json"
WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
ACTIVATIONS = ("quick_gelu", "gelu")
MERGES = "bpe_simple_vocab_16e6.txt.gz"
VOCABULARY = 49408
USED = {
    "model_cfg": {"embed_dim", "vision_cfg", "text_cfg", "quick_gelu", "init_logit_scale", "cast_dtype"},
    "vision_cfg": {"image_size", "layers", "width", "patch_size", "head_width", "mlp_ratio", "patch_dropout"},
    "text_cfg": {"context_length", "vocab_size", "width", "heads", "layers", "mlp_ratio", "pad_id", "eos_id"},
}
"""Entries that are read, or that change nothing once trained; any other must be off or as in PLAIN."""
PLAIN = {
    "vision_cfg": {"pool_type": "tok", "pos_embed_type": "learnable", "block_type": "default"},
    "text_cfg": {"pool_type": "argmax", "proj_type": "linear", "block_type": "default"},
}
IDLE = ("attn_pooler_", "timm_", "hf_", "output_tokens")
"""Beginnings of entries that say nothing unless a model of that kind is named."""
RESAMPLING = {
    "bicubic": Resampling.BICUBIC,
    "bilinear": Resampling.BILINEAR,
    "random": Resampling.BICUBIC,  # of training; open_clip evaluates so
}


def load_openclip(
    path: str | Path,
    *,
    activation: str | None = None,
    tokenizer: str | Path | None = None,
    device: str = "cpu",
    dtype: str = "float32",
) -> TransformersDualEncoder:
    """A dual encoder from open_clip's directory or file; `tokenizer` is a directory that holds one."""
    place, number, path = compute_device(device), compute_dtype(dtype), Path(path)
    if activation is not None and activation not in ACTIVATIONS:
        raise UnknownName(f"no activation named '{activation}': {did_you_mean(activation, ACTIVATIONS)}")
    if path.name in WEIGHTS and (path.parent / CONFIG).is_file():
        path = path.parent  # a file with its configuration beside it
    source = str(path)
    preprocess: dict[str, Any] = {}
    if path.is_dir():
        settings = _read_config(path / CONFIG)
        preprocess = settings.get("preprocess_cfg") or {}
        state = read_state(_weights_in(path))
        sizes, wanted = configured_sizes(settings["model_cfg"], source=source), CONFIG
        configured = "quick_gelu" if settings["model_cfg"].get("quick_gelu") else "gelu"
    else:
        state = read_state(path)
        sizes, wanted, configured = sizes_of(state, source=source), "the sizes its shapes tell", "quick_gelu"
    weights = renamed(state, sizes, source=source, wanted=wanted)
    beside = path if path.is_dir() else path.parent
    words = find_tokenizer(
        beside if tokenizer is None else Path(tokenizer), sizes, may_search=tokenizer is None
    )
    config = clip_config(sizes, activation or configured, words)
    with quiet():
        model = CLIPModel.from_pretrained(None, config=config, state_dict=weights, dtype=torch.float32)
    scale = model.logit_scale.detach().clone()
    model.to(place, number).eval()
    check_finite(source, model)
    model.logit_scale.data = scale.to(place)  # the score is computed in float32: its scale stays exact
    processor = image_processor(preprocess, sizes.image_size, source=source)
    name = path.resolve().name if path.is_dir() else path.stem
    return TransformersDualEncoder(model, words, processor, name=name)


def _read_config(path: Path) -> dict[str, Any]:
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} cannot be read ({error}): give a directory in open_clip's hub layout, or the weights' file"
        ) from None
    if not isinstance(settings, dict) or "embed_dim" not in (settings.get("model_cfg") or {}):
        raise CheckpointError(f"{path} has no model_cfg with embed_dim: it is no configuration of open_clip")
    return settings


def _weights_in(directory: Path) -> Path:
    for name in WEIGHTS:
        if (directory / name).is_file():
            return directory / name
    raise CheckpointError(f"{directory} has neither {' nor '.join(WEIGHTS)}: put the weights beside {CONFIG}")


def configured_sizes(model: Mapping[str, Any], *, source: str) -> Sizes:
    """Sizes and heads of a configuration, with open_clip's defaults; what our CLIP cannot be is refused."""
    vision, text = model.get("vision_cfg") or {}, model.get("text_cfg") or {}
    for part, entries in (("model_cfg", model), ("vision_cfg", vision), ("text_cfg", text)):
        for name, value in entries.items():
            if not _is_plain(part, name, value):
                raise Unsupported(
                    f"{source}: {CONFIG} sets {part}.{name} = {value!r}; wanted open_clip's CLIP with a plain "
                    "ViT and its own text transformer"
                )
    side = vision.get("image_size", 224)
    side = side[0] if isinstance(side, list) and len(set(side)) == 1 else side
    numbers = {"image_size": side, "patch_size": vision.get("patch_size", 16)}
    numbers |= {"image layers": vision.get("layers", 12), "text layers": text.get("layers", 12)}
    if odd := {name: value for name, value in numbers.items() if not isinstance(value, int)}:
        raise Unsupported(
            f"{source}: {CONFIG} gives {odd}, wanted one whole number each: towers of stages (ResNet) and images "
            "that are not square are not read"
        )
    wide, heads = vision.get("width", 768), vision.get("head_width", 64)
    narrow = text.get("width", 512)
    return Sizes(
        image=Tower(wide, vision.get("layers", 12), wide // heads, int(wide * vision.get("mlp_ratio", 4))),
        text=Tower(
            narrow, text.get("layers", 12), text.get("heads", 8), int(narrow * text.get("mlp_ratio", 4))
        ),
        embedding=model["embed_dim"],
        vocabulary=text.get("vocab_size", VOCABULARY),
        context_length=text.get("context_length", 77),
        image_size=side,
        patch_size=numbers["patch_size"],
    )


def _is_plain(part: str, name: str, value: Any) -> bool:
    """Whether an entry leaves the model a plain CLIP.

    >>> [_is_plain("vision_cfg", "pool_type", pool) for pool in ("tok", "avg")]
    [True, False]
    >>> [_is_plain("text_cfg", "hf_model_name", name) for name in (None, "roberta-base")]
    [True, False]
    """
    if name in USED[part] or not value or value == PLAIN.get(part, {}).get(name):
        return True
    return name.startswith(IDLE) and not name.endswith(("_model_name", "_tokenizer_name"))


def clip_config(sizes: Sizes, activation: str, tokenizer: Any) -> CLIPConfig:
    """The configuration of a `CLIPModel` of these sizes whose texts end as the tokenizer ends them."""

    def tower(part: Tower) -> dict[str, Any]:
        return {
            "hidden_size": part.width,
            "num_hidden_layers": part.layers,
            "num_attention_heads": part.heads,
            "intermediate_size": part.mlp,
            "hidden_act": activation,
            "projection_dim": sizes.embedding,
        }

    text = {"vocab_size": sizes.vocabulary, "max_position_embeddings": sizes.context_length}
    text |= {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    image = {"image_size": sizes.image_size, "patch_size": sizes.patch_size}
    return CLIPConfig(
        text_config={**tower(sizes.text), **text},
        vision_config={**tower(sizes.image), **image},
        projection_dim=sizes.embedding,
    )


def find_tokenizer(directory: Path, sizes: Sizes, *, may_search: bool) -> Any:
    """The tokenizer in a directory, or, where none lies there, the one of an installed open_clip.

    The tower reads at the highest id, so a tokenizer whose end token is another is refused.
    """
    found = _tokenizer_in(directory, sizes)
    if found is None and may_search and sizes.vocabulary == VOCABULARY:
        # located without importing: open_clip imports torchvision
        package = importlib.util.find_spec("open_clip")
        for place in (package.submodule_search_locations or []) if package else []:
            found = found or _tokenizer_in(Path(place), sizes)
    if found is None:
        raise CheckpointError(
            f"no tokenizer in {directory}: put tokenizer.json, or vocab.json and merges.txt, or open_clip's {MERGES} "
            "there, or name a directory that has one (--tokenizer DIR; in Python tokenizer=)"
            + (", or pip install open_clip_torch elsewhere and copy it from there" if may_search else "")
        )
    if found.eos_token_id >= found.vocab_size:
        raise CheckpointMismatch(
            f"the tokenizer in {directory} is not CLIP's: among its {found.vocab_size} tokens is no "
            f"{found.eos_token}; give the tokenizer the model was trained with"
        )
    highest = max(found.get_vocab().values())
    if found.eos_token_id != highest or highest >= sizes.vocabulary:
        raise CheckpointMismatch(
            f"the tokenizer in {directory} ends texts with {found.eos_token_id} of {highest + 1} ids; open_clip reads "
            f"at the highest id and this model has {sizes.vocabulary}: give the tokenizer it was trained with"
        )
    found.model_max_length = sizes.context_length
    return found


def _tokenizer_in(directory: Path, sizes: Sizes) -> Any:
    if (
        all((directory / name).is_file() for name in ("vocab.json", "merges.txt"))
        or (directory / "tokenizer.json").is_file()
    ):
        try:
            with quiet():
                return CLIPTokenizer.from_pretrained(directory, local_files_only=True)
        except FAILURES as error:
            raise CheckpointError(f"{directory}: its tokenizer cannot be loaded ({error})") from None
    if (directory / MERGES).is_file():
        return byte_pairs(directory / MERGES, vocabulary=sizes.vocabulary)
    return None


def byte_pairs(path: Path, *, vocabulary: int) -> Any:
    """CLIP's tokenizer from OpenAI's list of merges: a line of heading, then one merge a line, best first.

    Ids: 256 bytes, the same 256 at the end of a word, one per merge, start, end; merges beyond the
    vocabulary are not used.
    """
    letters = sorted(ByteLevel.alphabet())
    count = vocabulary - 2 * len(letters) - len(SPECIAL)
    try:
        lines = gzip.decompress(path.read_bytes()).decode().split("\n")[1 : 1 + max(count, 0)]
        merges = [(left, right) for left, right in (line.split() for line in lines)]
    except (OSError, EOFError, ValueError) as error:
        raise CheckpointError(f"{path} is no list of merges ({error}): copy open_clip's {MERGES}") from None
    tokens = [*letters, *(letter + END_OF_WORD for letter in letters), *(a + b for a, b in merges), *SPECIAL]
    if len(set(tokens)) != vocabulary:
        raise CheckpointMismatch(
            f"{path} makes {len(set(tokens))} tokens, the text tower has {vocabulary}: they are of different models"
        )
    return CLIPTokenizer(vocab={token: row for row, token in enumerate(tokens)}, merges=merges)


def image_processor(preprocess: Mapping[str, Any], side: int, *, source: str) -> CLIPImageProcessorPil:
    """open_clip's evaluation transform: resize, crop the centre (unless squashed), scale, normalise."""
    resize = preprocess.get("resize_mode", "shortest")
    interpolation = preprocess.get("interpolation", "bicubic")
    if resize not in ("shortest", "squash") or interpolation not in RESAMPLING:
        raise Unsupported(
            f"{source}: images resized by resize_mode '{resize}' with '{interpolation}' interpolation; wanted "
            f"'shortest' or 'squash', and {', '.join(RESAMPLING)}"
        )
    square = {"height": side, "width": side}
    return CLIPImageProcessorPil(
        size={"shortest_edge": side} if resize == "shortest" else square,
        crop_size=square,
        do_center_crop=resize == "shortest",
        resample=RESAMPLING[interpolation],
        image_mean=list(preprocess.get("mean") or CLIP_MEAN),
        image_std=list(preprocess.get("std") or CLIP_STD),
    )
