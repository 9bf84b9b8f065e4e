"""Small recipes, material and captioners for the tests of captioning."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from alignscope.models.captioners.autoregressive import AutoregressiveCaptioner
from alignscope.models.captioners.captioner_loading import fresh_captioner
from alignscope.models.captioners.fc import FcConfig
from alignscope.models.captioners.vocabulary import Vocabulary
from alignscope.training.captioning_material import Part
from alignscope.training.recipe import (
    Captioning,
    CiderPlan,
    CrossEntropy,
    FcPlan,
    Register,
    SelfCritical,
    WorldCaptions,
)

OBJECTS = Register(attribute_rate=0.0, relation_rate=0.5, scene_rate=0.0, size_rate=0.0, object_rate=0.9)
WORDS = Vocabulary(["a", "cat", "dog", "near", "UNK"])
CROSS_ENTROPY = CrossEntropy(
    "cross-entropy", steps=6, images=3, captions=2, learning_rate=1e-2, validate_every=2, sampling_every=1
)
SELF_CRITICAL = SelfCritical(
    "self-critical",
    reward=(CiderPlan("cider"),),
    steps=4,
    images=2,
    samples=3,
    learning_rate=1e-2,
    validate_every=2,
)
RECIPE = Captioning(
    name="test",
    seed=3,
    threads=1,
    data=WorldCaptions("world", images=8, register=OBJECTS, validation=4, test=3, feature_width=16),
    captioner=FcPlan("fc", hidden=12, dropout=0.3, image_at_every_step=True, forget_bias=1.0),
    stages=(CROSS_ENTROPY, SELF_CRITICAL),
    threshold=0,
    longest=8,
    log_every=1,
    save_every=2,
)


def stages(*chosen: CrossEntropy | SelfCritical) -> Captioning:
    return replace(RECIPE, stages=chosen)


def part(images: int = 5, captions: int = 2) -> Part:
    """Vectors of chance with captions of the same few words."""
    random = np.random.default_rng(0)
    texts = ["a cat", "a dog near a cat", "a dog", "cat near dog", "near"]
    return Part(
        [f"image-{number}" for number in range(images)],
        [[texts[(number + at) % len(texts)] for at in range(captions)] for number in range(images)],
        [random.normal(size=4).astype(np.float32) for _ in range(images)],
    )


def captioner(*, scale: float = 1.0, dropout: float = 0.0, seed: int = 1) -> AutoregressiveCaptioner:
    """All weights normal with this deviation: the larger, the surer of its words."""
    sizes: dict[str, Any] = {"vocab_size": len(WORDS), "hidden_size": 6, "feature_width": 4}
    made = fresh_captioner(FcConfig(**sizes, dropout=dropout), WORDS, seed=0, name="small")
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in made.model.parameters():
            parameter.copy_(scale * torch.randn(parameter.shape, generator=generator))
    return made
