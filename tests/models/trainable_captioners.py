"""Small captioners of every kind with random weights that are far from flat."""

from typing import Any

import numpy as np
import torch

from alignscope.models.captioners.attention_lstm import AttentionLstmConfig
from alignscope.models.captioners.autoregressive import AutoregressiveCaptioner
from alignscope.models.captioners.captioner_loading import fresh_captioner
from alignscope.models.captioners.fc import FcConfig
from alignscope.models.captioners.protocol import Features
from alignscope.models.captioners.transformer import TransformerConfig
from alignscope.models.captioners.vocabulary import Vocabulary

WORDS = Vocabulary(["a", "cat", "dog", "near", "red", "UNK"])
SIZES: dict[str, Any] = {"vocab_size": len(WORDS), "hidden_size": 6, "feature_width": 5}
SMALL = {"num_attention_heads": 2, "num_hidden_layers": 2, "intermediate_size": 7}
CONFIGS = {
    "fc": lambda: FcConfig(**SIZES),
    "fc-for-small-worlds": lambda: FcConfig(**SIZES, image_at_every_step=True, forget_bias=1.0),
    "attention-lstm": lambda: AttentionLstmConfig(**SIZES, attention_size=4),
    "transformer": lambda: TransformerConfig(**SIZES, **SMALL),
}
REGIONS = ("attention-lstm", "transformer")


def captioner(
    kind: str, *, scale: float = 1.0, dtype: torch.dtype = torch.float32
) -> AutoregressiveCaptioner:
    """Seeded; every tensor is random, normalisation and biases too."""
    made = fresh_captioner(CONFIGS[kind](), WORDS, seed=0, name=kind)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in made.model.parameters():
            parameter.copy_(scale * torch.randn(parameter.shape, generator=generator))
    made.model.to(dtype)
    return made


def sights(kind: str, count: int = 3) -> list[np.ndarray]:
    """A vector per image, or 2, 3, 4 ... regions."""
    random = np.random.default_rng(0)
    shapes = [(number + 2, 5) if kind in REGIONS else (5,) for number in range(count)]
    return [random.normal(size=shape).astype(np.float32) for shape in shapes]


def features(made: AutoregressiveCaptioner, count: int = 3) -> Features:
    return made.features(sights(made.name, count))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
