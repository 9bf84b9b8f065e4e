"""What can be opened: every family of models as data, without loading any.

Licences are those that the page at `where` states; nothing here is advice, read the page.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

PRETRAINED = Path(__file__).parent / "pretrained"
ALL = ("attention", "gradcam", "gradient", "perturbation")
NO_MAPS = ("gradient", "perturbation")
"""Methods of a model whose attention the rules for one or two streams do not describe."""
SCORES_ALONE = ("perturbation",)
CARD = "see the model card"
COSINE = "scale x cosine + bias"
ODDS = "log-odds of a match"
LOGIT = "logit of a match"
GENERATED = "likelihood, information or yes"
DETECTOR = "regions of a detector (2048 wide)"


@dataclass(frozen=True)
class Known:
    """A family of models. `classes` are the architectures that its config.json names; `match_index` is which
    of two logits says that image and text belong together, None where there is one logit or none."""

    name: str
    classes: tuple[str, ...]
    family: Literal["dual", "cross", "captioner"]
    needs: str
    methods: tuple[str, ...]
    score: str
    licence: str
    where: tuple[str, ...]
    match_index: int | None = None


def _dual(name: str, model_class: str, licence: str, *where: str) -> Known:
    return Known(name, (model_class,), "dual", "pixels", ALL, COSINE, licence, where)


def _seeing(
    name: str,
    model_class: str,
    licence: str,
    *where: str,
    methods: tuple[str, ...] = ALL,
    match_index: int | None = 1,
) -> Known:
    """A cross-encoder of pixels."""
    score = LOGIT if match_index is None else ODDS
    return Known(name, (model_class,), "cross", "pixels", methods, score, licence, where, match_index)


def _of_regions(
    name: str, model_class: str, licence: str, *where: str, needs: str = DETECTOR, match_index: int | None = 1
) -> Known:
    score = LOGIT if match_index is None else ODDS
    return Known(name, (model_class,), "cross", needs, ALL, score, licence, where, match_index)


def _writing(name: str, model_class: str, score: str, licence: str, *where: str) -> Known:
    return Known(name, (model_class,), "captioner", "pixels", SCORES_ALONE, score, licence, where)


CATALOGUE = (
    _dual("CLIP", "CLIPModel", CARD, "openai/clip-vit-base-patch32"),
    _dual("open_clip (ViT)", "CLIPModel", "MIT (this checkpoint)", "laion/CLIP-ViT-B-32-laion2B-s34B-b79K"),
    _dual("SigLIP", "SiglipModel", "Apache-2.0", "google/siglip-base-patch16-224"),
    _dual("SigLIP 2", "Siglip2Model", "Apache-2.0", "google/siglip2-base-patch16-naflex"),
    _dual("ALIGN", "AlignModel", CARD, "kakaobrain/align-base"),
    _dual("AltCLIP", "AltCLIPModel", CARD, "BAAI/AltCLIP"),
    _dual("Chinese CLIP", "ChineseCLIPModel", CARD, "OFA-Sys/chinese-clip-vit-base-patch16"),
    _dual("MetaCLIP 2", "MetaClip2Model", CARD, "facebook/metaclip-2-worldwide-b32"),
    _dual("image tower + BERT", "VisionTextDualEncoderModel", CARD, "clip-italian/clip-italian"),
    _of_regions(
        "UNITER",
        "UniterForPretraining",
        "not stated for the weights",
        "github.com/ChenRocks/UNITER (uniter-base.pt, uniter-large.pt)",
        needs=f"{DETECTOR}: BUTD, 10 to 100",
    ),
    _of_regions(
        "UNITER (retrieval)",
        "UniterForImageTextRetrieval",
        "not stated for the weights",
        "github.com/ChenRocks/UNITER (fine-tuned there)",
        needs=f"{DETECTOR}: BUTD, 10 to 100",
        match_index=None,
    ),
    _of_regions(
        "ROSITA",
        "RositaForPretraining",
        "see the repository",
        "github.com/MILVLG/rosita",
        needs=f"{DETECTOR}: BUTD in PyTorch (R101), 36",
    ),
    _of_regions(
        "ViLBERT",
        "VilbertForPretraining",
        "see the repository",
        "github.com/jiasenlu/vilbert_beta",
        needs=f"{DETECTOR}: 10 to 100",
        match_index=0,
    ),
    _of_regions(
        "ViLBERT 12-in-1",
        "VilbertForTasks",
        "see the repository",
        "github.com/facebookresearch/vilbert-multi-task",
        needs=f"{DETECTOR}: ResNeXt-152, up to 100",
        match_index=None,
    ),
    _of_regions(
        "LXMERT",
        "LxmertForPreTraining",
        "not stated for the weights",
        "unc-nlp/lxmert-base-uncased",
        "github.com/airsplay/lxmert (*_LXRT.pth)",
        needs=f"{DETECTOR}: BUTD, 36",
    ),
    _of_regions(
        "VisualBERT",
        "VisualBertForPreTraining",
        "not stated for the weights",
        "uclanlp/visualbert-vqa-coco-pre",
        needs=f"{DETECTOR}; boxes do not enter",
        match_index=0,
    ),
    _of_regions(
        "Oscar/VinVL",
        "OscarForPretraining",
        "see the repository",
        "github.com/microsoft/Oscar (VinVL_MODEL_ZOO.md: pretrained_base)",
        needs=f"{DETECTOR} with tags: VinVL (X152-C4), up to 50",
        match_index=0,
    ),
    _of_regions(
        "Oscar/VinVL (retrieval)",
        "OscarForImageTextRetrieval",
        "see the repository",
        "github.com/microsoft/Oscar (VinVL_MODEL_ZOO.md: image-text retrieval)",
        needs=f"{DETECTOR} with tags: VinVL (X152-C4), up to 50",
    ),
    _seeing(
        "ViLT",
        "ViltForImageAndTextRetrieval",
        "Apache-2.0",
        "dandelin/vilt-b32-finetuned-coco",
        match_index=None,
    ),
    _seeing("BLIP (matching)", "BlipForImageTextRetrieval", "BSD-3-Clause", "Salesforce/blip-itm-base-coco"),
    _seeing(
        "BLIP-2 (matching)",
        "Blip2ForImageTextRetrieval",
        "MIT",
        "Salesforce/blip2-itm-vit-g",
        methods=NO_MAPS,
    ),
    _seeing(
        "BridgeTower",
        "BridgeTowerForImageAndTextRetrieval",
        "MIT",
        "BridgeTower/bridgetower-base-itm-mlm",
        methods=NO_MAPS,
    ),
    _seeing("FLAVA", "FlavaForPreTraining", "BSD-3-Clause", "facebook/flava-full"),
    _writing(
        "BLIP (captioning)",
        "BlipForConditionalGeneration",
        "likelihood or information",
        "BSD-3-Clause",
        "Salesforce/blip-image-captioning-base",
    ),
    _writing("GIT", "GitForCausalLM", "likelihood or information", CARD, "microsoft/git-base-coco"),
    Known(
        "Oscar/VinVL (captioning)",
        ("OscarForCaptioning",),
        "captioner",
        f"{DETECTOR} with labels: VinVL (X152-C4), up to 50",
        (),
        "captions by `open_captioner`, no score",
        "see the repository",
        ("github.com/microsoft/Oscar (VinVL_MODEL_ZOO.md: coco_captioning_base_xe)",),
    ),
    _writing(
        "image encoder + text decoder",
        "VisionEncoderDecoderModel",
        "likelihood or information",
        CARD,
        "nlpconnect/vit-gpt2-image-captioning",
    ),
    _writing(
        "any of AutoModelForImageTextToText",
        "AutoModelForImageTextToText",
        GENERATED,
        CARD,
        "e.g. llava-hf/llava-1.5-7b-hf",
        "Qwen/Qwen2.5-VL-3B-Instruct",
    ),
)
"""In the order of the families; the last line stands for every class that transformers maps to that name."""


@dataclass(frozen=True)
class Named:
    """A model that a name alone opens, and its family where it lies in this package."""

    name: str
    known: Known | None


def named_models() -> list[Named]:
    """The registered names in order; what they are, their config.json says."""
    from alignscope.models.zoo import CAPTIONERS, MODELS

    return [Named(name, _known(PRETRAINED / name / "config.json")) for name in (*MODELS, *CAPTIONERS)]


def _known(config: Path) -> Known | None:
    if not config.is_file():
        return None
    classes = json.loads(config.read_text(encoding="utf-8")).get("architectures") or []
    return next((each for each in CATALOGUE if set(each.classes) & set(classes)), None)
