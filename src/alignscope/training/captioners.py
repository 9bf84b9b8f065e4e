"""The captioner that a recipe begins with, and what a captioner says of images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from alignscope.errors import BadInput
from alignscope.models.captioners.attention_lstm import AttentionLstmConfig
from alignscope.models.captioners.autoregressive import AutoregressiveCaptioner
from alignscope.models.captioners.captioner_loading import fresh_captioner, open_captioner
from alignscope.models.captioners.fc import FcConfig
from alignscope.models.captioners.oscar_loading import fresh_oscar
from alignscope.models.captioners.protocol import Captioner, Generated, Sight
from alignscope.models.captioners.transformer import TransformerConfig
from alignscope.models.captioners.vocabulary import UNKNOWN, Vocabulary, build, words_of
from alignscope.records import Labelled, Regions
from alignscope.training.captioning_material import Material
from alignscope.training.recipe import AttentionLstmPlan, Captioning, FcPlan, OscarPlan, SavedCaptioner

BATCH = 100


class Spoken(NamedTuple):
    """Greedy captions, and which of them have no end."""

    texts: list[str]
    cut: list[bool]


def first_captioner(recipe: Captioning, data: Material, *, device: str) -> AutoregressiveCaptioner:
    """The captioner as it is before any step."""
    plan = recipe.captioner
    if isinstance(plan, SavedCaptioner):
        named = Path(plan.vocabulary) if plan.vocabulary else None
        return open_captioner(plan.path, vocabulary=named, device=device)
    vocabulary = vocabulary_of(data, threshold=recipe.threshold)
    if isinstance(plan, OscarPlan):
        return _fresh_oscar(plan, recipe, data, vocabulary, device=device)
    sizes: dict[str, Any] = {
        "vocab_size": len(vocabulary),
        "hidden_size": plan.hidden,
        "feature_width": _width(data.train.sights[0]),
        "dropout": plan.dropout,
    }
    if isinstance(plan, FcPlan):
        config: Any = FcConfig(
            **sizes, image_at_every_step=plan.image_at_every_step, forget_bias=plan.forget_bias
        )
    elif isinstance(plan, AttentionLstmPlan):
        config = AttentionLstmConfig(**sizes, attention_size=plan.attention)
    else:
        config = TransformerConfig(
            **sizes,
            num_attention_heads=plan.heads,
            num_hidden_layers=plan.layers,
            intermediate_size=plan.mlp,
        )
    captioner = fresh_captioner(config, vocabulary, seed=recipe.seed, name=recipe.name)
    captioner.model.to(device)
    return captioner


def _fresh_oscar(
    plan: OscarPlan, recipe: Captioning, data: Material, vocabulary: Vocabulary, *, device: str
) -> AutoregressiveCaptioner:
    """A new Oscar that knows the words of the world, or of the captions; it spells those of other labels."""
    sizes: dict[str, Any] = {
        "hidden_size": plan.hidden,
        "num_hidden_layers": plan.layers,
        "num_attention_heads": plan.heads,
        "intermediate_size": plan.mlp,
        "hidden_dropout_prob": plan.dropout,
        "attention_probs_dropout_prob": plan.dropout,
        "initializer_range": plan.initializer_range,
        "caption_length": plan.caption_length,
        "text_length": plan.text_length,
        "max_position_embeddings": plan.text_length,
        "visual_feat_dim": _width(data.train.sights[0]),
    }
    words = data.words or tuple(word for word in vocabulary.words if word != UNKNOWN)
    captioner = fresh_oscar(sizes, words, seed=recipe.seed, name=recipe.name)
    captioner.model.to(device)
    return captioner


def vocabulary_of(data: Material, *, threshold: int) -> Vocabulary:
    """The words of all splits that are frequent enough; Luo counts all of them (sheet A.2)."""
    parts = (data.train, data.validation, data.test)
    said = (words_of(text) for part in parts for texts in part.captions for text in texts)
    return build(said, threshold=threshold)


def _width(sight: Sight) -> int:
    if isinstance(sight, Labelled):
        sight = sight.regions
    if isinstance(sight, Regions):
        return int(sight.features.shape[-1])
    if isinstance(sight, np.ndarray):
        return int(sight.shape[-1])
    raise BadInput(
        "got images for a new captioner, which takes features: name their folder, or a saved captioner"
    )


def speak(captioner: Captioner, sights: Sequence[Sight], *, longest: int) -> Spoken:
    """Greedy captions."""
    texts: list[str] = []
    cut: list[bool] = []
    for first in range(0, len(sights), BATCH):
        batch = [sights[at] for at in range(first, min(first + BATCH, len(sights)))]
        with torch.no_grad(), captioner.evaluating():
            said = captioner.generate(captioner.features(batch), max_length=longest)
        texts += said.texts
        cut += cut_of(said, captioner.vocabulary.end)
    return Spoken(texts, cut)


def cut_of(captions: Generated, end: int) -> list[bool]:
    """Which captions have no end."""
    return [bool(each) for each in (captions.ids != end).all(dim=-1).tolist()]
