"""Models whose weights come with the package, all trained in the built-in world: scorers on web captions, captioners
on captions of objects and of scenes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from alignscope.errors import CheckpointError

if TYPE_CHECKING:
    from alignscope.models.captioners.autoregressive import AutoregressiveCaptioner
    from alignscope.models.protocols import CrossEncoder, DualEncoder

HERE = Path(__file__).parent


def tiny_clip(*, device: str = "cpu", dtype: str = "float32") -> DualEncoder:
    """A small CLIP trained from scratch."""
    from alignscope.models.dual.loading import load

    return load(made("tiny-clip"), device=device, dtype=dtype)


def tiny_uniter(*, device: str = "cpu", dtype: str = "float32") -> CrossEncoder:
    """A small UNITER: text and regions in one stream."""
    return _scorer("tiny-uniter", device, dtype)


def tiny_rosita(*, device: str = "cpu", dtype: str = "float32") -> CrossEncoder:
    """A small ROSITA: one stream as UNITER's, with other embeddings."""
    return _scorer("tiny-rosita", device, dtype)


def tiny_vilbert(*, device: str = "cpu", dtype: str = "float32") -> CrossEncoder:
    """A small ViLBERT: two streams that look at each other, and a product of the two at the end."""
    return _scorer("tiny-vilbert", device, dtype)


def tiny_lxmert(*, device: str = "cpu", dtype: str = "float32") -> CrossEncoder:
    """A small LXMERT: two streams, read at the text's first token."""
    return _scorer("tiny-lxmert", device, dtype)


def tiny_vinvl(*, device: str = "cpu", dtype: str = "float32") -> AutoregressiveCaptioner:
    """A small VinVL that names objects and never the scene."""
    return _captioner("tiny-vinvl", device, dtype)


def tiny_vinvl_scenes(*, device: str = "cpu", dtype: str = "float32") -> AutoregressiveCaptioner:
    """The same after captions of scenes."""
    return _captioner("tiny-vinvl-scenes", device, dtype)


def _captioner(name: str, device: str, dtype: str) -> AutoregressiveCaptioner:
    from alignscope.models.captioners.captioner_loading import open_captioner

    return open_captioner(made(name), device=device, dtype=dtype)


def _scorer(name: str, device: str, dtype: str) -> CrossEncoder:
    from alignscope.models.cross.loading import load

    return load(made(name), device=device, dtype=dtype)


def made(name: str) -> Path:
    """The directory of a model, which its recipe makes."""
    if not (HERE / name / "config.json").is_file():
        raise CheckpointError(
            f"{name}'s weights are not in {HERE / name}: `alignscope train recipes/{name}.toml` makes them"
        )
    return HERE / name
