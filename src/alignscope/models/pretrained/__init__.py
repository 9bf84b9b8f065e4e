"""Models whose weights come with the package."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from alignscope.errors import CheckpointError

if TYPE_CHECKING:
    from alignscope.models.protocols import DualEncoder

TINY_CLIP = Path(__file__).parent / "tiny-clip"


def tiny_clip(*, device: str = "cpu", dtype: str = "float32") -> DualEncoder:
    """A small CLIP trained from scratch in the built-in world on web captions."""
    if not (TINY_CLIP / "config.json").is_file():
        raise CheckpointError(
            f"tiny-clip's weights are not in {TINY_CLIP}: `alignscope train recipes/tiny-clip.toml` makes them"
        )
    from alignscope.models.dual.loading import load

    return load(TINY_CLIP, device=device, dtype=dtype)
