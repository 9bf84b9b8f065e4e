"""Tiny random cross-encoders, saved and loaded like real ones, and pairs for each."""

import pkgutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image

from alignscope.models.cross.encoder import TransformersCrossEncoder
from alignscope.models.cross.loading import FAMILIES, load
from alignscope.models.cross.oscar import OscarConfig
from alignscope.models.cross.rosita import RositaConfig
from alignscope.models.cross.uniter import UniterConfig
from alignscope.models.cross.vilbert_layers import VilbertConfig
from alignscope.models.protocols import Picture
from alignscope.records import Regions

TEXTS = [
    "a red dog near a small cat",
    "cat",
    "The kitchen, with two unknowable cats!",
    "a red dog near a small cat " * 5,
]
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "red", "dog", "near", "small", "cat", "##s"]
PIECES += ["the", "kitchen", ",", "with", "two", "!", "un", "##know", "##able"]
WIDTH = {"hidden_size": 16, "intermediate_size": 24, "num_attention_heads": 2}
TEXT = {**WIDTH, "vocab_size": len(PIECES), "max_position_embeddings": 20, "num_hidden_layers": 2}
CLASSES = {
    "lxmert": "LxmertForPreTraining",
    "vilt": "ViltForImageAndTextRetrieval",
    "blip": "BlipForImageTextRetrieval",
    "uniter": "UniterForPretraining",
    "uniter-retrieval": "UniterForImageTextRetrieval",
    "rosita": "RositaForPretraining",
    "oscar": "OscarForPretraining",
    "oscar-retrieval": "OscarForImageTextRetrieval",
    "visualbert": "VisualBertForPreTraining",
    "blip2": "Blip2ForImageTextRetrieval",
    "bridgetower": "BridgeTowerForImageAndTextRetrieval",
    "flava": "FlavaForPreTraining",
    "vilbert": "VilbertForPretraining",
    "vilbert-tasks": "VilbertForTasks",
}
SIZES = [(48, 32), (20, 40), (32, 32), (64, 25)]
VISION = {**WIDTH, "image_size": 32, "patch_size": 8, "num_hidden_layers": 2}
VILBERT = {
    **{**TEXT, "num_hidden_layers": 3},
    **{"v_hidden_size": 12, "v_num_hidden_layers": 2, "v_num_attention_heads": 3, "v_intermediate_size": 10},
    **{
        "bi_hidden_size": 16,
        "bi_num_attention_heads": 4,
        "v_biattention_id": [0, 1],
        "t_biattention_id": [1, 2],
    },
    **{"visual_feat_dim": 6, "v_target_size": 5, "num_vqa_answers": 4, "num_gqa_answers": 3},
}


def config_of(kind: str) -> Any:
    """Of a model that scores regions 6 features wide, or images of about 32x32."""
    make = {
        "lxmert": lxmert,
        "uniter": lambda: UniterConfig(**TEXT, visual_feat_dim=6, num_region_classes=5),
        "uniter-retrieval": lambda: UniterConfig(**TEXT, visual_feat_dim=6, num_region_classes=5),
        "rosita": lambda: RositaConfig(
            **TEXT, visual_feat_dim=6, num_object_classes=5, num_attribute_classes=4, num_answers=3
        ),
        "oscar": lambda: OscarConfig(**TEXT, visual_feat_dim=6),
        "oscar-retrieval": lambda: OscarConfig(**TEXT, visual_feat_dim=6),
        "vilbert": lambda: VilbertConfig(**VILBERT),
        "vilbert-tasks": lambda: VilbertConfig(**VILBERT),
        "visualbert": lambda: transformers.VisualBertConfig(**TEXT, visual_embedding_dim=6),
        "vilt": lambda: transformers.ViltConfig(**TEXT, image_size=32, patch_size=8),
        "blip": blip,
        "blip2": blip2,
        "bridgetower": bridgetower,
        "flava": flava,
    }
    return make[kind]()


def lxmert() -> Any:
    text = {name: value for name, value in TEXT.items() if name != "num_hidden_layers"}
    return transformers.LxmertConfig(
        **text, l_layers=2, r_layers=1, x_layers=2, visual_feat_dim=6, num_qa_labels=3, num_attr_labels=3
    )


def blip() -> Any:
    return transformers.BlipConfig(
        text_config={**TEXT, "encoder_hidden_size": 16, "pad_token_id": 0},
        vision_config=VISION,
        projection_dim=8,
        image_text_hidden_size=8,
    )


def blip2() -> Any:
    return transformers.Blip2Config(
        vision_config=VISION,
        qformer_config={**TEXT, "encoder_hidden_size": 16, "use_qformer_text_input": True},
        text_config={"model_type": "opt", "hidden_size": 16, "num_hidden_layers": 0},
        num_query_tokens=3,
        image_text_hidden_size=8,
    )


def bridgetower() -> Any:
    width = {"hidden_size": 64, "intermediate_size": 32}
    return transformers.BridgeTowerConfig(
        **width,
        num_attention_heads=2,
        num_hidden_layers=2,
        text_config={
            **TEXT,
            **width,
            "pad_token_id": 0,
            "max_position_embeddings": 21,
            "num_hidden_layers": 3,
        },
        vision_config={"hidden_size": 64, "num_hidden_layers": 3, "image_size": 32, "patch_size": 8},
    )


def flava() -> Any:
    return transformers.FlavaConfig(
        text_config=TEXT,
        image_config={**VISION, "vocab_size": 8},
        multimodal_config={**WIDTH, "num_hidden_layers": 2},
        init_codebook=False,
        hidden_size=16,
        projection_dim=8,
    )


def save_twin(directory: Path, kind: str, **changes: Any) -> Path:
    """Weights drawn with a fixed seed, large enough that attention is not flat."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    config = config_of(kind)
    for name, value in changes.items():
        setattr(config, name, value)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        model = pkgutil.resolve_name(FAMILIES[CLASSES[kind]].model_class)(config)
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.4)
    model.save_pretrained(directory)
    transformers.BertTokenizer(vocab={piece: row for row, piece in enumerate(PIECES)}).save_pretrained(
        directory
    )
    if kind == "vilt":
        transformers.ViltImageProcessorPil(size={"shortest_edge": 24}, size_divisor=8).save_pretrained(
            directory
        )
    if kind in ("blip", "blip2"):
        transformers.BlipImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(directory)
    if kind == "bridgetower":
        edge = {"shortest_edge": 32}
        transformers.BridgeTowerImageProcessorPil(size=edge, crop_size=edge, size_divisor=8).save_pretrained(
            directory
        )
    if kind == "flava":
        square = {"height": 32, "width": 32}
        transformers.FlavaImageProcessorPil(size=square, crop_size=square).save_pretrained(directory)
    return directory


@pytest.fixture(scope="session")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """The directory of a twin, by kind; keyword arguments change its configuration."""
    made: dict[str, Path] = {}

    def find(kind: str, **changes: Any) -> Path:
        key = f"{kind}-{sorted(changes.items())}"
        if key not in made:
            made[key] = save_twin(tmp_path_factory.mktemp("cross") / f"tiny-random-{kind}", kind, **changes)
        return made[key]

    return find


@pytest.fixture(params=["lxmert", "vilt", "blip"])
def model(request: pytest.FixtureRequest, twin: Callable[..., Path]) -> TransformersCrossEncoder:
    return load(twin(request.param))


@pytest.fixture
def shaken(twin: Callable[..., Path]) -> Callable[[str], TransformersCrossEncoder]:
    """Loads a twin with no bias at 0 and no gain at 1, so that each of them counts."""

    def find(kind: str) -> TransformersCrossEncoder:
        scorer = load(twin(kind))
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in scorer.model.parameters():
                if parameter.ndim == 1:
                    parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.3)
        return scorer

    return find


def picture(unit: str, number: int) -> Picture:
    """Noise: an image of any size, or three to six regions."""
    noise = np.random.default_rng(number)
    width, height = SIZES[number % len(SIZES)]
    if unit == "patch":
        return Image.fromarray(noise.integers(0, 256, (height, width, 3), dtype=np.uint8))
    count = 3 + number % 4
    features = noise.normal(size=(count, 6)).astype(np.float32)
    corners = np.sort(noise.uniform(size=(count, 2, 2)), axis=1).reshape(count, 4) * ([width, height] * 2)
    return Regions(f"image {number}", width, height, corners.astype(np.float32), features)


@pytest.fixture
def pictures(model: TransformersCrossEncoder) -> Sequence[Picture]:
    """One for each of the texts, no two of the same size."""
    return [picture(model.traits.unit, number) for number in range(len(TEXTS))]


@pytest.fixture
def regions() -> Sequence[Picture]:
    """One record for each of the texts, no two with as many regions."""
    return [picture("region", number) for number in range(len(TEXTS))]


@pytest.fixture
def texts() -> list[str]:
    return list(TEXTS)


@pytest.fixture
def picture_of() -> Callable[[str, int], Picture]:
    return picture
