"""Captioners from a directory, a hub id or a published file of weights, new ones, and writing them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedConfig, PreTrainedModel

from alignscope.errors import AlignscopeError, BadInput, CheckpointError, CheckpointMismatch
from alignscope.models import weights
from alignscope.models.captioners import loading, oscar_loading
from alignscope.models.captioners.attention_lstm import AttentionLstmCaptioner
from alignscope.models.captioners.autoregressive import AutoregressiveCaptioner
from alignscope.models.captioners.captioner import KINDS, CaptionDecoder
from alignscope.models.captioners.fc import OLD_KEYS, FcCaptioner, config_from
from alignscope.models.captioners.oscar import OscarForCaptioning
from alignscope.models.captioners.oscar_speller import OscarSpeller
from alignscope.models.captioners.transformer import TransformerCaptioner
from alignscope.models.captioners.transformers_speller import READERS, TokenizerWords, TransformersSpeller
from alignscope.models.captioners.vocabulary import FILE, Vocabulary
from alignscope.models.cross.loading import architecture
from alignscope.models.dual.loading import (
    EVERY_KEY,
    FAILURES,
    check_finite,
    check_report,
    compute_device,
    compute_dtype,
    quiet,
    reason_of,
)
from alignscope.models.fingerprint import name_of
from alignscope.models.zoo import CAPTIONERS

OWN: dict[str, type[PreTrainedModel]] = {
    each.__name__: each for each in (FcCaptioner, AttentionLstmCaptioner, TransformerCaptioner)
}
"""Captioners of this package by the architecture that a configuration names."""
OSCAR = OscarForCaptioning.__name__
RULES = "models/captioners/fc.py"


def open_captioner(
    path_or_hub_id: str | Path,
    *,
    vocabulary: Path | None = None,
    device: str = "cpu",
    dtype: str = "float32",
) -> AutoregressiveCaptioner:
    """A captioner in evaluation mode: its registered name, a directory or hub id, or a weights file of
    self-critical.pytorch's `newfc` or `fc`, which needs its vocabulary (JSON) named."""
    source, path = str(path_or_hub_id), Path(path_or_hub_id)
    if source in CAPTIONERS and vocabulary is None:
        return CAPTIONERS[source](device=device, dtype=dtype)
    place, number = compute_device(device), compute_dtype(dtype)
    if path.is_file():
        captioner = _published(path, vocabulary)
    else:
        with quiet():
            named = architecture(source)
            if named in KINDS and vocabulary is None:
                return _of_transformers(source, named, device, dtype)
            state = None if named in (OSCAR, *OWN, *KINDS) else oscar_loading.official_state(path)
            has_tokenizer = state is not None or named in (OSCAR, *KINDS)
            if not has_tokenizer and named not in OWN:
                raise CheckpointError(
                    f"{source} is a {named}, wanted a captioner: {', '.join([*OWN, OSCAR, *KINDS])}"
                )
            if has_tokenizer and vocabulary is not None:
                raise CheckpointError(
                    f"{source} is a {named} with a tokenizer of its own: leave `vocabulary` out"
                )
            if state is not None:
                captioner = oscar_loading.official(path, state)
            elif named == OSCAR:
                captioner = _oscar(path)
            else:
                captioner = _own(path, named, vocabulary)
    captioner.model.to(place, number).eval()
    check_finite(source, captioner.model)
    return captioner


def fresh_captioner(
    config: PreTrainedConfig, vocabulary: Vocabulary, *, seed: int, name: str
) -> AutoregressiveCaptioner:
    """A captioner with random weights; the same seed gives the same weights. The configuration's class says
    which model; its vocabulary size must be that of the vocabulary."""
    model_class = next((each for each in OWN.values() if each.config_class is type(config)), None)
    if model_class is None:
        wanted = ", ".join(each.config_class.__name__ for each in OWN.values())
        raise BadInput(f"got a {type(config).__name__}, wanted the configuration of a captioner: {wanted}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = model_class(config)
    return captioner_of(model.eval(), vocabulary, name=name)


def captioner_of(model: PreTrainedModel, vocabulary: Vocabulary, *, name: str) -> AutoregressiveCaptioner:
    """A model of this package with its vocabulary, one row of weights for each word and the end."""
    if model.config.vocab_size != len(vocabulary):
        raise CheckpointMismatch(
            f"{name}: got {model.config.vocab_size - 1} words in the weights and {len(vocabulary) - 1} in the "
            "vocabulary: give the vocabulary that it was trained with"
        )
    return AutoregressiveCaptioner(model, vocabulary, name=name)


def save_captioner(captioner: AutoregressiveCaptioner, directory: Path) -> None:
    """Write a directory that `open_captioner` takes: config.json, safetensors and the vocabulary."""
    with quiet():
        captioner.model.save_pretrained(directory)
        if isinstance(captioner.speller, TransformersSpeller):
            weights.save_tokenizer(captioner.speller.decoder.tokenizer, directory)
            captioner.speller.decoder.image_processor.save_pretrained(directory)
        elif isinstance(captioner.speller, OscarSpeller):
            weights.save_tokenizer(captioner.speller.tokenizer, directory)
        elif isinstance(captioner.vocabulary, Vocabulary):
            captioner.vocabulary.save(directory / FILE)


def _own(directory: Path, named: str, vocabulary: Path | None) -> AutoregressiveCaptioner:
    """A directory that `save_captioner` wrote."""
    words = Vocabulary.read(vocabulary or directory / FILE)
    return captioner_of(_model(directory, OWN[named]), words, name=name_of(directory))


def _oscar(directory: Path) -> AutoregressiveCaptioner:
    """A directory that `save_captioner` wrote of an Oscar."""
    model, words = _model(directory, OscarForCaptioning), oscar_loading.tokenizer_of(directory)
    return oscar_loading.captioner_of(model, words, name=name_of(directory))


def _model(directory: Path, model_class: Any) -> Any:
    """Every key of a directory of ours."""
    try:
        config = model_class.config_class.from_pretrained(directory, local_files_only=True)
        model, report = model_class.from_pretrained(
            directory, config=config, local_files_only=True, **EVERY_KEY
        )
    except AlignscopeError:
        raise
    except FAILURES as error:
        raise CheckpointError(
            f"{directory}: its weights cannot be loaded ({reason_of(error)}): give a complete directory written by "
            "save_captioner"
        ) from None
    check_report(str(directory), report)
    return model


def _published(path: Path, vocabulary: Path | None) -> AutoregressiveCaptioner:
    """A file of `newfc` or `fc`, whose sizes its tensors tell."""
    if vocabulary is None:
        raise CheckpointError(
            f"{path} is a file of weights, which holds no words: name its vocabulary too, the JSON with `ix_to_word` "
            "that it was trained with"
        )
    state = weights.read_state(path)
    try:
        config = config_from(state)
    except CheckpointMismatch as error:
        raise CheckpointMismatch(f"{path}: {error}") from None
    model = FcCaptioner(config)
    fit = weights.fit(model, state, source=str(path), rules=RULES, rename=OLD_KEYS)
    model.load_state_dict(fit.weights)
    return captioner_of(model, Vocabulary.read(vocabulary), name=path.stem)


def _of_transformers(source: str, named: str, device: str, dtype: str) -> AutoregressiveCaptioner:
    decoder = loading.load(source, device=device, dtype=dtype).decoder
    assert isinstance(decoder, CaptionDecoder)  # `named` is one of KINDS
    speller = TransformersSpeller(decoder, READERS[named])
    name = name_of(source)
    return AutoregressiveCaptioner(speller, TokenizerWords(decoder), name=name)
