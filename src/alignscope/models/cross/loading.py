"""Cross-encoders from a directory or a hub id: every key checked, nothing initialised at random, no pickles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoConfig, AutoImageProcessor, AutoTokenizer

from alignscope.errors import CheckpointError
from alignscope.models.cross.blip import BLIP
from alignscope.models.cross.encoder import TransformersCrossEncoder
from alignscope.models.cross.lxmert import LXMERT
from alignscope.models.cross.vilt import VILT
from alignscope.models.dual.loading import (
    FAILURES,
    check_finite,
    check_keys,
    compute_device,
    compute_dtype,
    quiet,
    reason_of,
)

FAMILIES = {"lxmert": LXMERT, "vilt": VILT, "blip": BLIP}
"""By `model_type`; the architecture a checkpoint names must be the family's."""


def load(
    path_or_hub_id: str | Path, *, device: str = "cpu", dtype: str = "float32"
) -> TransformersCrossEncoder:
    """A cross-encoder ready to score, in evaluation mode; `dtype` is what it computes in."""
    place, number = compute_device(device), compute_dtype(dtype)
    source = str(path_or_hub_id)
    with quiet():
        config = _part("config.json", source, AutoConfig.from_pretrained)
        named = (config.architectures or [None])[0]
        family = FAMILIES.get(config.model_type)
        if family is None or named not in (None, family.model_class):
            wanted = ", ".join(each.model_class for each in FAMILIES.values())
            raise CheckpointError(
                f"{source} is a {named or config.model_type}, wanted a cross-encoder: {wanted}"
            )
        model, report = _part(
            "weights",
            source,
            getattr(transformers, family.model_class).from_pretrained,
            config=config,
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            weights_only=True,
        )
        check_keys(source, report["missing_keys"], report["unexpected_keys"], report["mismatched_keys"])
        tokenizer = _part("tokenizer", source, AutoTokenizer.from_pretrained, trust_remote_code=False)
        takes_pixels = family.unit == "patch"
        image_processor = (
            _part("image processor", source, AutoImageProcessor.from_pretrained, trust_remote_code=False)
            if takes_pixels
            else None
        )
    name = Path(source).resolve().name if Path(source).is_dir() else source
    model.to(place, number).eval()
    check_finite(source, model)
    return TransformersCrossEncoder(model, tokenizer, image_processor, family, name=name)


def _part(what: str, source: str, read: Any, **options: Any) -> Any:
    """A part of a checkpoint; what transformers raises on a broken one becomes one sentence."""
    try:
        return read(source, local_files_only=Path(source).is_dir(), **options)
    except FAILURES as error:
        raise CheckpointError(
            f"{source}: its {what} cannot be loaded ({reason_of(error)}): give a complete directory written by "
            "save_pretrained, or the hub id of a model that is in the local cache"
        ) from None
