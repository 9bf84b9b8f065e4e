"""Names and paths to models; torch loads with the first model, not with this file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from alignscope.errors import BadInput, UnknownName
from alignscope.registry import Registry, did_you_mean

if TYPE_CHECKING:
    from alignscope.models.protocols import DualEncoder

MODELS = Registry("model", {"tiny-clip": "alignscope.models.pretrained:tiny_clip"})
WEIGHTS = (".pt", ".bin", ".safetensors")
"""Endings of a file of weights alone; these are open_clip's."""
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def open_model(
    name_or_path: str | Path,
    *,
    device: str = "cpu",
    dtype: str = "float32",
    activation: str | None = None,
    tokenizer: str | Path | None = None,
) -> DualEncoder:
    """A model by its registered name, the directory or file it lies in, or its hub id, in this order.

    `activation` and `tokenizer` are for weights of open_clip, which do not tell them.
    """
    name = str(name_or_path)
    if name not in MODELS and is_openclip(Path(name)):
        from alignscope.models.dual.openclip import load_openclip

        return load_openclip(name, activation=activation, tokenizer=tokenizer, device=device, dtype=dtype)
    if activation is not None or tokenizer is not None:
        raise BadInput(
            f"activation and tokenizer are asked for '{name}', which is no checkpoint of open_clip: other models "
            "bring their own, leave them out"
        )
    if name in MODELS:
        return MODELS[name](device=device, dtype=dtype)
    if Path(name).is_dir() or looks_like_hub_id(name):
        from alignscope.models.dual.loading import load

        return load(name, device=device, dtype=dtype)
    kind = "a file" if Path(name).exists() else "no directory"
    raise UnknownName(
        f"no model named '{name}', and it is {kind}: {did_you_mean(name, list(MODELS))}; "
        "a path must be a directory with config.json or open_clip_config.json, or open_clip's weights "
        f"({', '.join(WEIGHTS)}); a hub id reads organisation/name"
    )


def is_openclip(path: Path) -> bool:
    """Whether a path is a checkpoint of open_clip; a directory that also has a config.json is transformers'."""
    if path.is_dir():
        return any(path.glob("open_clip_*")) and not (path / "config.json").is_file()
    return path.is_file() and path.suffix in WEIGHTS


def looks_like_hub_id(name: str) -> bool:
    """Whether a string that is no directory here may be the name of a model on the hub.

    >>> [looks_like_hub_id(n) for n in ("openai/clip-vit-base-patch32", "tiny-clip", "./a/b", "/a/b", "runs/a/b")]
    [True, False, False, False, False]
    """
    return HUB_ID.fullmatch(name) is not None and not name.startswith((".", "~")) and not Path(name).exists()
