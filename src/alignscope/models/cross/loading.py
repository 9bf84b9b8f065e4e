"""Cross-encoders from a directory or a hub id: every key checked, nothing initialised at random, no pickles."""

from __future__ import annotations

import pkgutil
from functools import partial
from pathlib import Path
from typing import Any

from transformers import AutoImageProcessor, AutoTokenizer, PreTrainedConfig

from alignscope.errors import CheckpointError
from alignscope.models.cross.encoder import TransformersCrossEncoder
from alignscope.models.cross.pixels import pixels
from alignscope.models.dual.loading import (
    EVERY_KEY,
    FAILURES,
    broken,
    check_finite,
    check_image_size,
    check_report,
    compute_device,
    compute_dtype,
    quiet,
)
from alignscope.models.fingerprint import name_of
from alignscope.models.hub import look_for
from alignscope.registry import Registry

FAMILIES = Registry(
    "cross-encoder",
    {
        "BlipForImageTextRetrieval": "alignscope.models.cross.blip:BLIP",
        "Blip2ForImageTextRetrieval": "alignscope.models.cross.blip2:BLIP2",
        "BridgeTowerForImageAndTextRetrieval": "alignscope.models.cross.bridgetower:BRIDGETOWER",
        "FlavaForPreTraining": "alignscope.models.cross.flava:FLAVA",
        "LxmertForPreTraining": "alignscope.models.cross.lxmert:LXMERT",
        "OscarForImageTextRetrieval": "alignscope.models.cross.oscar:OSCAR_RETRIEVAL",
        "OscarForPretraining": "alignscope.models.cross.oscar:OSCAR",
        "RositaForPretraining": "alignscope.models.cross.rosita:ROSITA",
        "UniterForImageTextRetrieval": "alignscope.models.cross.uniter:UNITER_RETRIEVAL",
        "UniterForPretraining": "alignscope.models.cross.uniter:UNITER",
        "VilbertForPretraining": "alignscope.models.cross.vilbert:VILBERT",
        "VilbertForTasks": "alignscope.models.cross.vilbert:VILBERT_TASKS",
        "ViltForImageAndTextRetrieval": "alignscope.models.cross.vilt:VILT",
        "VisualBertForPreTraining": "alignscope.models.cross.visualbert:VISUALBERT",
    },
)
"""By the architecture that a checkpoint's configuration names; each is imported with its first model."""


def load(
    path_or_hub_id: str | Path, *, device: str = "cpu", dtype: str = "float32", match_index: int | None = None
) -> TransformersCrossEncoder:
    """A cross-encoder ready to score, in evaluation mode; `dtype` is what it computes in."""
    place, number = compute_device(device), compute_dtype(dtype)
    source = str(path_or_hub_id)
    with quiet():
        named = architecture(source)
        if named not in FAMILIES:
            raise CheckpointError(f"{source} is a {named}, wanted a cross-encoder: {', '.join(FAMILIES)}")
        family = FAMILIES[named]
        model_class = pkgutil.resolve_name(family.model_class)
        config = _part("config.json", source, model_class.config_class.from_pretrained)
        model, report = _part(
            "weights",
            source,
            model_class.from_pretrained,
            config=config,
            **EVERY_KEY,
        )
        check_report(source, report)
        tokenizer = _part("tokenizer", source, AutoTokenizer.from_pretrained, trust_remote_code=False)
        takes_pixels = family.unit == "patch"
        image_processor = (
            _part("image processor", source, AutoImageProcessor.from_pretrained, trust_remote_code=False)
            if takes_pixels
            else None
        )
        if takes_pixels and family.grid(config) is not None:
            tower = getattr(config, "vision_config", None) or config.image_config
            check_image_size(source, tower, partial(pixels, image_processor))
    name = name_of(source)
    model.to(place, number).eval()
    check_finite(source, model)
    return TransformersCrossEncoder(
        model, tokenizer, image_processor, family, name=name, match_index=match_index
    )


def architecture(source: str) -> str:
    """The class that a checkpoint's configuration names, or its model type where it names none."""
    look_for(source)
    facts, _ = _part("config.json", source, PreTrainedConfig.get_config_dict)
    if not isinstance(facts, dict):
        raise CheckpointError(
            f"{source}: its config.json is no object with named entries; give a directory written by save_pretrained"
        )
    named = facts.get("architectures") or facts.get("model_type", "model of no type")
    return str(named[0] if isinstance(named, list) else named)


def _part(what: str, source: str, read: Any, **options: Any) -> Any:
    """A part of a checkpoint; what transformers raises on a broken one becomes one sentence."""
    is_local = Path(source).is_dir()
    try:
        return read(source, local_files_only=is_local, **options)
    except FAILURES as error:
        raise broken(what, source, is_local, error) from None
