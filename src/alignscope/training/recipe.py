"""What a training from scratch is made of, as frozen records; `alignscope.training.reading` reads them from TOML."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from alignscope.files import sha_of
from alignscope.records import FOIL_KINDS


@dataclass(frozen=True)
class WorldData:
    """Which scenes of the built-in world are trained on."""

    images: int
    seed: int = 0
    captions_per_image: int = 5


@dataclass(frozen=True)
class Tower:
    """Sizes of one transformer tower, in the terms of `transformers.CLIPConfig`."""

    width: int
    layers: int
    heads: int
    mlp: int


@dataclass(frozen=True)
class Architecture:
    """A CLIP: two towers, a shared embedding size, an activation."""

    image: Tower
    text: Tower
    image_size: int
    patch_size: int
    embedding: int
    context_length: int
    activation: str = "quick_gelu"


@dataclass(frozen=True)
class Register:
    """How often captions name what they could name; see `alignscope.data.world.grammar.Register`."""

    attribute_rate: float
    relation_rate: float
    scene_rate: float
    size_rate: float
    object_rate: float


@dataclass(frozen=True)
class Stage:
    """One stretch of contrastive training.

    `trains` says which towers move; `fresh_text` draws a new text tower before the stage starts.
    `grouped` is the share of each batch that comes in groups of `group` images with the same two nouns,
    `foils` the number of wrong captions per right one, of kinds drawn from `foil_kinds`.
    """

    name: str
    trains: Literal["both", "text", "image"]
    register: Register
    steps: int
    batch: int
    learning_rate: float
    warmup: int
    weight_decay: float = 0.1
    max_norm: float = 1.0
    fresh_text: bool = False
    grouped: float = 0.0
    group: int = 8
    foils: int = 0
    foil_kinds: tuple[str, ...] = FOIL_KINDS


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a model's weights."""

    name: str
    seed: int
    threads: int
    data: WorldData
    architecture: Architecture
    stages: tuple[Stage, ...]
    check_every: int = 100
    save_every: int = 200

    @property
    def sha(self) -> str:
        return sha_of(self)


@dataclass(frozen=True)
class Scorer:
    """A scorer of regions with a matching head; sizes are those of `models.cross.fresh`."""

    architecture: str
    width: int
    heads: int
    mlp: int
    layers: int
    image_layers: int = 0
    cross_layers: int = 0
    context_length: int = 32
    feature_width: int = 256
    initializer_range: float = 0.02  # BERT's, for its width; narrow models of two streams need more to begin
    dropout: float = 0.1


@dataclass(frozen=True)
class Matching:
    """Everything that decides the weights of a scorer of regions trained from scratch on matching.

    Each right caption comes with `in_batch` captions of other images of its batch and with up to `foils`
    wrong ones made from it, of kinds drawn from `foil_kinds`.
    """

    name: str
    seed: int
    threads: int
    data: WorldData
    scorer: Scorer
    register: Register
    steps: int
    batch: int
    learning_rate: float
    warmup: int
    weight_decay: float = 0.01
    max_norm: float = 1.0
    in_batch: int = 1
    foils: int = 1
    foil_kinds: tuple[str, ...] = FOIL_KINDS
    check_every: int = 100
    save_every: int = 200
