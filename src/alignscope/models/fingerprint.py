"""A hash of everything that decides a score: weights, architecture, preprocessing and tokenizer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from alignscope.models.dual.texts import TokenRules

DECISIVE = (
    *("model_type", "hidden_act", "num_attention_heads", "layer_norm_eps", "eos_token_id", "pad_token_id"),
    *("strides", "depthwise_padding", "pooling_type", "batch_norm_eps"),  # of convolutions
)
"""Entries of a tower's configuration that change its output and are not seen in its weights."""
STATE_OF_CALLS = ("truncation", "padding")
"""Parts of a tokenizer's JSON that only say how it was called last."""
CLASS_NAMES = ("image_processor_type", "processor_class", "_processor_class")


def fingerprint(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, image_processor: Any, rules: TokenRules
) -> str:
    """Sha256 in hexadecimal; equal before and after saving, different after any change of a weight."""
    towers = [model.config.text_config, model.config.vision_config]
    tokenizer_json = json.loads(tokenizer.backend_tokenizer.to_str())
    image_json = json.loads(image_processor.to_json_string())
    facts = {
        "towers": [{name: getattr(tower, name, None) for name in DECISIVE} for tower in towers],
        "tokenizer": {name: part for name, part in tokenizer_json.items() if name not in STATE_OF_CALLS},
        "padded texts": [rules.context_length, rules.pad_id if rules.side.reads_padding else None],
        "images": {name: part for name, part in image_json.items() if name not in CLASS_NAMES},
    }
    digest = weights_digest(model.state_dict())
    digest.update(json.dumps(facts, sort_keys=True, ensure_ascii=False).encode())
    return digest.hexdigest()


def weights_digest(state: Mapping[str, Tensor]) -> Any:
    """A running sha256 over names, dtypes, shapes and bytes, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest
