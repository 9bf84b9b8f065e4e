"""Generative models from a directory or a hub id: every key checked, nothing initialised at random, no pickles."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, cast, get_args

import transformers
from transformers import AutoConfig, AutoImageProcessor, AutoProcessor, AutoTokenizer
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES
from transformers.processing_utils import ProcessorMixin

from alignscope.errors import CheckpointError, UnknownName, Unsupported
from alignscope.models.captioners.captioner import KINDS, CaptionDecoder
from alignscope.models.captioners.chat import Chat
from alignscope.models.captioners.question import QUESTION, REQUEST, TEXT, Scoring, around, check_template
from alignscope.models.captioners.reading import check_tokenizer
from alignscope.models.captioners.scorer import GenerativeScorer
from alignscope.models.captioners.transformers_inside import TOWERS
from alignscope.models.cross.loading import architecture
from alignscope.models.cross.pixels import pixels
from alignscope.models.dual.loading import (
    EVERY_KEY,
    FAILURES,
    check_finite,
    check_image_size,
    check_report,
    compute_device,
    compute_dtype,
    quiet,
    reason_of,
)
from alignscope.models.fingerprint import name_of
from alignscope.registry import did_you_mean

ARCHITECTURES = frozenset({*KINDS, *MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES.values()})
"""Classes that `load` takes, by the name in a checkpoint's configuration."""


def is_known(architecture: str) -> bool:
    """Whether a checkpoint of that class is a generator for `load`.

    >>> [is_known(name) for name in ("LlavaForConditionalGeneration", "GitForCausalLM", "CLIPModel")]
    [True, True, False]
    """
    return architecture in ARCHITECTURES


def load(
    path_or_hub_id: str | Path,
    *,
    device: str = "cpu",
    dtype: str = "float32",
    scoring: str | None = None,
    template: str | None = None,
) -> GenerativeScorer:
    """A scorer ready to score, in evaluation mode; `dtype` is what it computes in.

    Models with a chat template are asked a question ("yes") unless told otherwise, the others score by
    likelihood. Captioners answer no questions. How it scores is part of its name, and so of signatures.
    """
    place, number = compute_device(device), compute_dtype(dtype)
    chosen = None if scoring is None else scoring_of(scoring)
    source = str(path_or_hub_id)
    with quiet():
        named = architecture(source)
        if not is_known(named):
            wanted = f"{', '.join(KINDS)}, or a class of AutoModelForImageTextToText"
            raise CheckpointError(f"{source} is a {named}, wanted a generative model: {wanted}")
        if named in KINDS and chosen == "yes":
            raise Unsupported(
                f"{source} is a {named}, a captioner, which answers no question: take scoring 'likelihood' or "
                "'information', or a vision-language model that follows instructions"
            )
        model = _model(source, named)
        model.to(place, number).eval()
        check_finite(source, model)
        decoder = _captioner if named in KINDS else _chat
        name = name_of(source)
        made = decoder(source, model, named, chosen, template)
        return GenerativeScorer(made, name=f"{name}[{made.scoring}]")


def scoring_of(name: str) -> Scoring:
    """The way to score of that name.

    >>> scoring_of("likelyhood")
    Traceback (most recent call last):
    ...
    alignscope.errors.UnknownName: no scoring named 'likelyhood': did you mean 'likelihood'?
    """
    if name not in get_args(Scoring):
        raise UnknownName(f"no scoring named '{name}': {did_you_mean(name, get_args(Scoring))}")
    return cast(Scoring, name)


def _model(source: str, named: str) -> Any:
    """The model of the class the configuration names, filled key by key."""
    config = _part("config.json", source, AutoConfig.from_pretrained, trust_remote_code=False)
    if config.is_encoder_decoder and named not in KINDS:
        raise Unsupported(
            f"{source} is a {named}, whose decoder reads the prompt by cross-attention: give a model that is a "
            f"decoder alone, or one of {', '.join(KINDS)}"
        )
    model, report = _part(
        "weights",
        source,
        getattr(transformers, named).from_pretrained,
        config=config,
        **EVERY_KEY,
    )
    check_report(source, report)
    return model


def _captioner(
    source: str, model: Any, named: str, scoring: Scoring | None, template: str | None
) -> CaptionDecoder:
    tokenizer = _part("tokenizer", source, AutoTokenizer.from_pretrained, trust_remote_code=False)
    images = _part("image processor", source, AutoImageProcessor.from_pretrained, trust_remote_code=False)
    check_tokenizer(tokenizer)
    tower = getattr(model.config, "vision_config", None) or model.config.encoder
    if hasattr(model.config, "vision_config") or tower.model_type in TOWERS:  # others may take any size
        check_image_size(source, tower, partial(pixels, images))
    scoring, template = scoring or "likelihood", TEXT if template is None else template
    check_template(template, scoring)
    return CaptionDecoder(model, tokenizer, images, KINDS[named], scoring, template)


def _chat(source: str, model: Any, named: str, scoring: Scoring | None, template: str | None) -> Chat:
    processor = _processor(source)
    check_tokenizer(processor.tokenizer)
    has_turns = bool(processor.chat_template)
    scoring = scoring or ("yes" if has_turns else "likelihood")
    if template is None:
        template = QUESTION if scoring == "yes" else REQUEST if has_turns else TEXT
    check_template(template, scoring)
    seen, unseen = (around(processor, template, scoring, with_image=shown) for shown in (True, False))
    return Chat(model, processor, scoring, template, seen, unseen)


def _processor(source: str) -> Any:
    """The model's processor; where its part for videos needs a library that is absent, without that part."""
    try:
        return _part("processor", source, AutoProcessor.from_pretrained, trust_remote_code=False)
    except CheckpointError as error:
        if "orchvision" not in str(error):
            raise
    config = _part("config.json", source, AutoConfig.from_pretrained, trust_remote_code=False)
    named = getattr(transformers, PROCESSOR_MAPPING_NAMES[config.model_type])
    changes = {  # what they do beside concerns videos
        "check_argument_for_proper_class": lambda self, name, part: None,
        "apply_chat_template": ProcessorMixin.apply_chat_template,
    }
    without_videos: Any = type(named.__name__, (named,), changes)
    images = _part("image processor", source, AutoImageProcessor.from_pretrained, trust_remote_code=False)
    tokenizer = _part("tokenizer", source, AutoTokenizer.from_pretrained, trust_remote_code=False)
    parts = {"image_processor": images, "tokenizer": tokenizer, "video_processor": None}
    chosen = [parts[name] for name in named.get_attributes()]

    def assembled(source: str, **options: Any) -> Any:
        facts, _ = named.get_processor_dict(source, **options)
        return without_videos.from_args_and_dict(chosen, facts)

    return _part("processor", source, assembled)


def _part(what: str, source: str, read: Any, **options: Any) -> Any:
    """A part of a checkpoint; what transformers raises on a broken one becomes one sentence."""
    try:
        return read(source, local_files_only=Path(source).is_dir(), **options)
    except FAILURES as error:
        raise CheckpointError(
            f"{source}: its {what} cannot be loaded ({reason_of(error)}): give a complete directory written by "
            "save_pretrained, or the hub id of a model that is in the local cache"
        ) from None
