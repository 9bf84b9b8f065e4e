"""Names and paths to models; torch loads with the first model, not with this file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from alignscope.errors import UnknownName
from alignscope.registry import Registry, did_you_mean

if TYPE_CHECKING:
    from alignscope.models.protocols import DualEncoder

MODELS = Registry("model", {"tiny-clip": "alignscope.models.pretrained:tiny_clip"})
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def open_model(name_or_path: str | Path, *, device: str = "cpu", dtype: str = "float32") -> DualEncoder:
    """A model by its registered name, the directory it lies in, or its hub id, in this order."""
    name = str(name_or_path)
    if name in MODELS:
        return MODELS[name](device=device, dtype=dtype)
    if Path(name).is_dir() or looks_like_hub_id(name):
        from alignscope.models.dual.loading import load

        return load(name, device=device, dtype=dtype)
    kind = "a file" if Path(name).exists() else "no directory"
    raise UnknownName(
        f"no model named '{name}', and it is {kind}: {did_you_mean(name, list(MODELS))} "
        "A path must be a directory with config.json; a hub id reads organisation/name"
    )


def looks_like_hub_id(name: str) -> bool:
    """Whether a string that is no directory here may be the name of a model on the hub.

    >>> [looks_like_hub_id(n) for n in ("openai/clip-vit-base-patch32", "tiny-clip", "./a/b", "/a/b", "runs/a/b")]
    [True, False, False, False, False]
    """
    return HUB_ID.fullmatch(name) is not None and not name.startswith((".", "~")) and not Path(name).exists()
