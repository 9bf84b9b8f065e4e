"""Tiny random detectors of every family, saved like real ones; backbones are real kinds, narrow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

QUERIES = 12
CLASSES = {
    "conditional_detr": "ConditionalDetr",
    "d_fine": "DFine",
    "dab-detr": "DabDetr",
    "deformable_detr": "DeformableDetr",
    "detr": "Detr",
    "rt_detr": "RTDetr",
    "rt_detr_v2": "RTDetrV2",
    "table-transformer": "TableTransformer",
    "yolos": "Yolos",
}
PROCESSORS = {
    "d_fine": "RTDetr",
    "rt_detr_v2": "RTDetr",
    "table-transformer": "Detr",
    "dab-detr": "ConditionalDetr",
}
STAGES = {"embedding_size": 4, "hidden_sizes": [4, 4, 8, 16], "depths": [1, 1, 1, 1], "layer_type": "basic"}
LAST_THREE = {"out_features": ["stage2", "stage3", "stage4"]}
HGNET = {
    **{"model_type": "hgnet_v2", "embedding_size": 4, "stem_channels": [3, 4, 4]},
    **{"stage_in_channels": [4, 4, 8, 8], "stage_mid_channels": [4] * 4, "stage_out_channels": [4, 8, 8, 16]},
    **{"stage_num_blocks": [1] * 4, "stage_numb_of_layers": [1] * 4, "stage_light_block": [False] * 4},
    **{"stage_downsample": [False, True, True, True], "stage_kernel_size": [3] * 4},
    **{"hidden_sizes": [4, 8, 8, 16], "depths": [1] * 4, **LAST_THREE},
}


def config_of(kind: str) -> Any:
    import transformers

    made = getattr(transformers, f"{CLASSES[kind]}Config")
    names = {"id2label": {0: "dog", 1: "cat", 2: "kite"}, "label2id": {"dog": 0, "cat": 1, "kite": 2}}
    if kind == "yolos":
        layers = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
        return made(**layers, image_size=[64, 64], patch_size=16, num_detection_tokens=QUERIES, **names)
    decoder = {
        "decoder_layers": 2,
        "decoder_attention_heads": 2,
        "decoder_ffn_dim": 8,
        "num_queries": QUERIES,
    }
    encoder = {"encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 8}
    if kind in ("rt_detr", "rt_detr_v2", "d_fine"):
        backbone = HGNET if kind == "d_fine" else {"model_type": "rt_detr_resnet", **STAGES, **LAST_THREE}
        channels = [8, 8, 16] if kind == "d_fine" else [4, 8, 16]
        sizes = {"d_model": 16, "encoder_hidden_dim": 16, "decoder_in_channels": [16] * 3, "num_denoising": 0}
        return made(
            backbone_config=backbone, encoder_in_channels=channels, **sizes, **decoder, **encoder, **names
        )
    stages = LAST_THREE if kind == "deformable_detr" else {"out_features": ["stage4"]}
    width = (
        {"hidden_size": 16} if kind == "dab-detr" else {"d_model": 32 if kind == "deformable_detr" else 16}
    )
    backbone = {"model_type": "resnet", **STAGES, **stages}
    return made(backbone_config=backbone, **width, **decoder, **encoder, **names)


def save_detector(directory: Path, kind: str) -> Path:
    """Weights drawn with a fixed seed, of which boxes and classes differ between queries."""
    import transformers

    from alignscope.models.dual.loading import quiet

    with quiet(), torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        model = getattr(transformers, f"{CLASSES[kind]}ForObjectDetection")(config_of(kind))
        for name, parameter in model.named_parameters():
            if "bbox" not in name and (parameter.ndim == 2 or "detection_tokens" in name):
                parameter.normal_(std=0.4)
        model.save_pretrained(directory)
        name = PROCESSORS.get(kind, CLASSES[kind])
        is_square = name == "RTDetr"
        size = {"height": 96, "width": 128} if is_square else {"shortest_edge": 96, "longest_edge": 160}
        getattr(transformers, f"{name}ImageProcessorPil")(size=size).save_pretrained(directory)
    return directory
