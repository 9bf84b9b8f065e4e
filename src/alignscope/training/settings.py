"""What a fine-tuning is made of: the entries of its recipe, as frozen records.

`alignscope.training.reading` reads them from TOML. The defaults are paper B's (section 4.1, sheet B.4);
what the paper leaves open follows the sheet.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from alignscope.attribution.options import Layers, Method
from alignscope.files import sha_of
from alignscope.training.recipe import Register

SWAPS_AND_REPLACEMENTS = (
    "replace_object", "replace_attribute", "replace_relation", "swap_object", "swap_attribute", "swap_relation",
)  # fmt: skip


@dataclass(frozen=True)
class CocoData:
    """COCO's captions JSON (or the list form) and a folder of images; per epoch one caption of each image."""

    kind: Literal["coco"]
    captions: str
    images: str


@dataclass(frozen=True)
class TableData:
    """A NegCLIP-style table of tabs with its own wrong captions and similar images, and a folder of images."""

    kind: Literal["table"]
    table: str
    images: str


@dataclass(frozen=True)
class ShardData:
    """Webdataset shards (tar files), read as a stream; `captions` is the ending of the caption's file."""

    kind: Literal["shards"]
    files: tuple[str, ...]  # paths, or patterns with * or {000..127}
    captions: str = "txt"  # a text, or a JSON with a `caption`
    buffer: int = 5000  # samples among which the order is drawn


@dataclass(frozen=True)
class ParquetData:
    """Parquet files of image bytes and captions, read as a stream."""

    kind: Literal["parquet"]
    files: tuple[str, ...]
    image: str = "image"  # column: bytes, or the struct with `bytes` that Hugging Face writes
    caption: str = "caption"
    buffer: int = 5000


@dataclass(frozen=True)
class SceneData:
    """Scenes of the built-in world, described in a register; a new draw of captions for each seed."""

    kind: Literal["world"]
    register: Register
    images: int = 6000
    split: Literal["train", "val"] = "train"
    seed: int = 1
    captions_per_image: int = 5


DataPlan = CocoData | TableData | ShardData | ParquetData | SceneData


@dataclass(frozen=True)
class Augmentation:
    """Random resized crop: the share of the image's area it takes, and its aspect ratio."""

    scale: tuple[float, float] = (0.9, 1.0)
    ratio: tuple[float, float] = (0.75, 4 / 3)


@dataclass(frozen=True)
class AttributionPlan:
    """The attribution loss of paper B, sections 3.2-3.4 (`alignscope.training.cae`).

    weight: lambda; `matched` sets it after the warm-up so that its gradient has `ratio` times the norm of
        the contrastive one over the text tower, on `batches` batches, and keeps it.
    draws, units: of `perturbation`: replacements per word, and at most so many object and composition words
        of a caption, drawn anew each step (0: all). The paper gives neither; the extra texts are what it costs.
    anchored: objects keep their heat, so that the loss falls by more heat of composition alone (ours).
    exclusive: of `perturbation`: as of made negatives, below.
    """

    methods: tuple[Method, ...] = ("gradcam",)
    weight: float | Literal["matched"] = "matched"
    ratio: float = 0.5
    batches: int = 20
    margin: float = 0.0
    unit: Literal["token", "word"] = "token"
    trains_image: bool = True
    layers: Layers = "all"
    normalize: Literal["method", "sum", "none"] = "none"
    temperature: float = 1.0
    draws: int = 1
    units: int = 1
    anchored: bool = False
    exclusive: bool = False


@dataclass(frozen=True)
class NegativePlan:
    """Wrong captions: `made` from word classes, or the data's `own` (a table's, a scene's).

    form: `text` adds them to the texts of every image; `full` also adds a similar image of the data per
        pair, with its caption and wrong caption (NegCLIP, Yuksekgonul et al. 2023); `own` sets each caption
        against its own wrong captions alone, a loss of its own with `weight` (`losses.own_foil_loss`, ours).
    exclusive: of `made` ones, whether an attribute is only replaced by one that the captions never give
        to one thing together with it, and nouns and relations as whole phrases.
    """

    source: Literal["made", "own"] = "made"
    kinds: tuple[str, ...] = SWAPS_AND_REPLACEMENTS
    each: int = 1  # wrong captions per caption, of kinds drawn by chance
    form: Literal["text", "full", "own"] = "text"
    weight: float = 1.0  # of `own`
    exclusive: bool = True


@dataclass(frozen=True)
class ValidationPlan:
    """Pairs that are not trained on, and how many of them are looked at."""

    data: DataPlan
    pairs: int = 1000
    every: int = 200  # steps


@dataclass(frozen=True)
class LoraPlan:
    """Low-rank adapters in the attention of the trained towers (Hu et al. 2021); extra `lora`."""

    rank: int = 8
    alpha: float = 16.0
    dropout: float = 0.0


@dataclass(frozen=True)
class DistillationPlan:
    """A diffusion model's denoising loss as teacher (SDS-CLIP, Basu et al. 2023); extra `diffusion`."""

    model: str  # directory or hub id of a Stable Diffusion pipeline
    weight: float = 1.0


INDIFFERENT = ("unreadable", "log_every", "save_every")


@dataclass(frozen=True)
class FineTuning:
    """Everything that decides the weights of a fine-tuned dual encoder.

    `loss = "model"` takes the sigmoid loss where the model's score has a bias (SigLIP), else the softmax; a
    sigmoid loss without a bias begins far from where it ends.
    `contrastive` is the weight of that loss; 0 leaves the attribution loss alone (paper B, table 5).
    Either `epochs` or `steps` is given. `micro_batch` pairs at a time go through the towers; the gradients
    are those of the whole batch (Gao et al. 2021).
    """

    name: str
    model: str
    data: DataPlan
    batch: int = 256
    epochs: int = 0
    steps: int = 0
    learning_rate: float = 5e-7
    warmup: int = 50
    weight_decay: float = 0.2
    max_norm: float = 0.0  # of the gradient; 0: not clipped
    trains: Literal["both", "text", "image"] = "both"
    fresh_text: bool = False  # begins with a new text tower on the image tower as it is (Zhai et al. 2022)
    loss: Literal["model", "softmax", "sigmoid"] = "model"
    contrastive: float = 1.0
    seed: int = 0
    precision: Literal["no", "bf16", "fp16"] = "no"
    micro_batch: int = 0  # 0: the batch at once
    gradient_checkpointing: bool = False
    activation: str = ""  # of an open_clip checkpoint; as `--activation` of the other verbs
    augmentation: Augmentation | None = None
    attribution: AttributionPlan | None = None
    negatives: NegativePlan | None = None
    validation: ValidationPlan | None = None
    lora: LoraPlan | None = None
    distillation: DistillationPlan | None = None
    unreadable: float = 0.01  # share of images that may fail to open before the run stops
    log_every: int = 10
    save_every: int = 200

    @property
    def sha(self) -> str:
        return sha_of(self)

    @property
    def decisive(self) -> dict[str, Any]:
        """The entries that a run which goes on must find again; the others do not reach the weights."""
        return {name: value for name, value in asdict(self).items() if name not in INDIFFERENT}
