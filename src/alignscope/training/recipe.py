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


@dataclass(frozen=True)
class WorldCaptions:
    """Scenes of the built-in world described in a register; validation and test have scenes of their own.

    A captioner sees the mean of a scene's regions, the regions, these with labels, or the picture. Captions
    name objects as the register says, or say as HL's where the picture is taken.
    """

    kind: Literal["world"]
    images: int
    register: Register | None = None
    validation: int = 200
    test: int = 200
    seed: int = 0
    captions_per_image: int = 5
    sees: Literal["mean region", "regions", "labelled", "image"] = "mean region"
    feature_width: int = 256
    says: Literal["objects", "scenes"] = "objects"


@dataclass(frozen=True)
class KarpathyCaptions:
    """Karpathy's `dataset_coco.json`, and features of its images: a folder with one `.npy` each.

    Without features a captioner sees the images. A reward looks at `images` (a folder) or `regions` (a file).
    """

    kind: Literal["karpathy"]
    captions: str
    features: str = ""
    images: str = ""
    regions: str = ""
    most: int = 0  # images that are trained on, the first of the file; 0 takes all


@dataclass(frozen=True)
class HighLevelCaptions:
    """Captions of one axis of HL (train.jsonl, test.jsonl), and the regions and labels of its images.

    `validation` images are held out of those that are trained on; without `labels` tags of regions are labels.
    """

    kind: Literal["hl"]
    train: str
    test: str
    regions: str
    labels: str = ""
    axis: Literal["scene", "action", "rationale", "object"] = "scene"
    validation: int = 1499
    seed: int = 0


@dataclass(frozen=True)
class OscarCaptions:
    """Oscar's files: a yaml for each split that names features, labels and captions."""

    kind: Literal["oscar"]
    train: str
    validation: str
    test: str


@dataclass(frozen=True)
class FcPlan:
    """A new FC captioner; the world's needs the image at every step and a forget gate that begins open."""

    kind: Literal["fc"]
    hidden: int = 512
    dropout: float = 0.5
    image_at_every_step: bool = False
    forget_bias: float = 0.0


@dataclass(frozen=True)
class AttentionLstmPlan:
    """A new attention LSTM."""

    kind: Literal["attention-lstm"]
    hidden: int = 1000
    attention: int = 512
    dropout: float = 0.5


@dataclass(frozen=True)
class TransformerPlan:
    """A new Transformer over regions."""

    kind: Literal["transformer"]
    hidden: int = 512
    layers: int = 6
    heads: int = 8
    mlp: int = 2048
    dropout: float = 0.1


@dataclass(frozen=True)
class OscarPlan:
    """A new Oscar/VinVL over regions with labels, whose vocabulary are the words of its captions."""

    kind: Literal["oscar"]
    hidden: int = 768
    layers: int = 12
    heads: int = 12
    mlp: int = 3072
    dropout: float = 0.1
    caption_length: int = 40
    text_length: int = 70
    initializer_range: float = 0.02  # BERT's, for its width; narrow models need more to begin


@dataclass(frozen=True)
class SavedCaptioner:
    """A captioner that is there: a directory, hub id, or file of weights with its vocabulary."""

    kind: Literal["saved"]
    path: str
    vocabulary: str = ""


@dataclass(frozen=True)
class ScorerPlan:
    """A reward: the score of a model, in a space of `alignscope.training.rewards`."""

    kind: Literal["scorer"]
    model: str
    space: Literal["paper", "probability", "score", "cosine"] = "paper"
    scale: float = 1.0
    weight: float = 1.0


@dataclass(frozen=True)
class CiderPlan:
    """A reward: CIDEr-D against the image's own captions."""

    kind: Literal["cider"]
    weight: float = 1.0


@dataclass(frozen=True)
class MeasurePlan:
    """A reward: a measure that another package brings (`alignscope.evaluation.measures`)."""

    kind: Literal["measure"]
    name: str
    weight: float = 1.0


@dataclass(frozen=True)
class CrossEntropy:
    """A stretch of cross-entropy training; the defaults are paper A's (sheet A.3).

    Rates follow epochs: the learning rate is multiplied by `decay` every `decay_every`, the chance that the
    captioner reads its own words rises by `sampling` every `sampling_every` up to `most_sampling`.
    """

    kind: Literal["cross-entropy"]
    epochs: int = 0
    steps: int = 0
    images: int = 10  # of a step
    captions: int = 5  # of each
    learning_rate: float = 5e-4
    decay: float = 0.8
    decay_every: int = 3
    sampling: float = 0.05
    sampling_every: int = 5
    most_sampling: float = 0.25
    most_gradient: float = 0.1  # of any one weight
    validate_every: int = 3000
    keep: Literal["best", "last"] = "best"  # best: the highest CIDEr-D on the validation images


@dataclass(frozen=True)
class SelfCritical:
    """A stretch of self-critical training; the defaults are paper A's (sheet A.3).

    `most_repetition` and `most_cut` are the shares of a step's samples, with a word of content twice and without
    an end at the longest length, above which an alarm is told; with `stop_at_alarm` the stage ends there.
    """

    kind: Literal["self-critical"]
    reward: tuple[ScorerPlan | CiderPlan | MeasurePlan, ...]
    epochs: int = 0
    steps: int = 0
    images: int = 10
    samples: int = 5
    baseline: Literal["greedy", "others"] = "greedy"
    learning_rate: float = 5e-5
    most_gradient: float = 0.1
    validate_every: int = 3000
    keep: Literal["best", "last"] = "last"
    most_repetition: float = 0.5
    most_cut: float = 0.5
    stop_at_alarm: bool = False


@dataclass(frozen=True)
class MaskedCaption:
    """A stretch of masked-caption training of Oscar/VinVL; the defaults are the authors' (sheet C.2).

    A share `masked` of a caption's tokens, at least one and at most `most_masked`, is predicted from the tokens
    before, labels and regions. After `drop_worst_after` steps the share `drop_worst` of a step's places with the
    highest loss is left out. The learning rate falls to 0 in a line; epochs go through every caption.
    """

    kind: Literal["masked-caption"]
    epochs: int = 0
    steps: int = 0
    images: int = 32  # of a step, each with one caption
    learning_rate: float = 3e-5
    weight_decay: float = 0.05
    masked: float = 0.15
    most_masked: int = 3
    label_smoothing: float = 0.1
    drop_worst: float = 0.2
    drop_worst_after: int = 20000
    freezes_embeddings: bool = False  # of words, which also write them
    most_gradient: float = 1.0  # the norm of all
    validate_every: int = 0  # steps; 0 after each epoch
    keep: Literal["best", "last"] = "best"


CaptionStage = CrossEntropy | SelfCritical | MaskedCaption


@dataclass(frozen=True)
class Captioning:
    """Everything that decides the weights of a captioner; `threshold`, `words_read` and `longest` are sheet A.2's."""

    name: str
    seed: int
    threads: int
    data: WorldCaptions | KarpathyCaptions | HighLevelCaptions | OscarCaptions
    captioner: FcPlan | AttentionLstmPlan | TransformerPlan | OscarPlan | SavedCaptioner
    stages: tuple[CaptionStage, ...]
    threshold: int = 5  # a word is kept that occurs more often
    words_read: int = 16  # of a caption in training
    longest: int = 20  # words of a caption that is written
    log_every: int = 50
    save_every: int = 1000
