"""Captioners whose inside can be read, by a directory, a hub id or the name of one that comes with the package."""

from __future__ import annotations

from pathlib import Path

from alignscope.errors import UnknownName, Unsupported
from alignscope.models.captioners import transformers_inside
from alignscope.models.captioners.captioner_loading import open_captioner
from alignscope.models.captioners.inside import Open, SeenInside
from alignscope.models.captioners.transformers_speller import TransformersSpeller
from alignscope.models.zoo import CAPTIONERS, MODELS, looks_like_hub_id
from alignscope.registry import did_you_mean


def open_seen(
    name_or_path: str | Path, *, vocabulary: Path | None = None, device: str = "cpu", dtype: str = "float32"
) -> SeenInside:
    """A captioner in evaluation mode: VinVL, BLIP, GIT, an image encoder with a text decoder, or the Transformer of
    regions; one of which nothing inside is read is refused."""
    name = str(name_or_path)
    twins = named_captioners()
    if name in MODELS:
        raise UnknownName(
            f"{name} writes no captions, wanted a captioner: one of {', '.join(twins)}, or a directory"
        )
    if name not in twins and not Path(name).exists() and not looks_like_hub_id(name):
        raise UnknownName(
            f"no captioner named '{name}', and no directory is: {did_you_mean(name, twins)}; a hub id reads "
            "organisation/name"
        )
    captioner = open_captioner(name_or_path, vocabulary=vocabulary, device=device, dtype=dtype)
    speller = captioner.speller
    if not isinstance(speller, Open):
        raise Unsupported(
            f"{name} is a {type(captioner.model).__name__}, in which what is seen attends to nothing: take VinVL, "
            "BLIP, GIT or a TransformerCaptioner; `open_captioner` opens it to write captions"
        )
    if isinstance(speller, TransformersSpeller):
        transformers_inside.sites_of(speller.module)  # which refuses by name
    return captioner


def named_captioners() -> list[str]:
    """Captioners that a name alone opens."""
    return sorted(CAPTIONERS)
