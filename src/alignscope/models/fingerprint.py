"""A hash of everything that decides a score: weights, architecture, preprocessing and tokenizer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from alignscope.models.dual.texts import TokenRules

DECISIVE = (
    *("model_type", "hidden_act", "num_attention_heads", "layer_norm_eps", "eos_token_id", "pad_token_id"),
    *("strides", "depthwise_padding", "pooling_type", "batch_norm_eps"),  # of convolutions
)
"""Entries of a tower's configuration that change its output and are not seen in its weights."""
STATE_OF_CALLS = ("truncation", "padding")
"""Parts of a tokenizer's JSON that only say how it was called last."""
VOLATILE = ("_name_or_path", "architectures", "dtype", "transformers_version")
"""Entries of a configuration that say where a model comes from, not what it is."""
_READ: WeakKeyDictionary[nn.Module, tuple[tuple[tuple[int, int], ...], Any]] = WeakKeyDictionary()
CLASS_NAMES = ("image_processor_type", "processor_class", "_processor_class")


def fingerprint(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, image_processor: Any, rules: TokenRules
) -> str:
    """Sha256 in hexadecimal; equal before and after saving, different after any change of a weight."""
    towers = [model.config.text_config, model.config.vision_config]
    image_json = json.loads(image_processor.to_json_string())
    facts = {
        "towers": [{name: getattr(tower, name, None) for name in DECISIVE} for tower in towers],
        "tokenizer": tokenizer_facts(tokenizer),
        "padded texts": [rules.context_length, rules.pad_id if rules.side.reads_padding else None],
        "images": {name: part for name, part in image_json.items() if name not in CLASS_NAMES},
    }
    digest = weights_digest(model)
    digest.update(json.dumps(facts, sort_keys=True, ensure_ascii=False).encode())
    return digest.hexdigest()


def whole(model: PreTrainedModel, *parts: Any) -> str:
    """Sha256 in hexadecimal of weights, the whole configuration and whatever else decides a result."""
    configuration = model.config.to_diff_dict()
    for name in VOLATILE:
        configuration.pop(name, None)
    digest = hashlib.sha256(weights_digest(model).digest())
    digest.update(json.dumps([configuration, *parts], sort_keys=True, default=str).encode())
    return digest.hexdigest()


def tokenizer_facts(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """What decides a fast tokenizer's ids."""
    facts = json.loads(tokenizer.backend_tokenizer.to_str())
    return {name: part for name, part in facts.items() if name not in STATE_OF_CALLS}


def weights_digest(model: nn.Module) -> Any:
    """A running sha256 over names, dtypes, shapes and bytes, in the order of the names.

    The weights are read again only after one of them changed.
    """
    state = model.state_dict()
    version = tuple((tensor.data_ptr(), tensor._version) for tensor in state.values())
    kept = _READ.get(model)
    if kept is None or kept[0] != version:
        kept = _READ[model] = version, _read(state)
    return kept[1].copy()


def _read(state: Mapping[str, Tensor]) -> Any:
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest


def name_of(source: str | Path) -> str:
    """What a model is called: a hub id as it is, a directory's own name; of OUT/model, which training wrote, OUT's.

    >>> name_of("openai/clip-vit-base-patch32")
    'openai/clip-vit-base-patch32'
    """
    if not Path(source).is_dir():
        return str(source)
    directory = Path(source).resolve()
    return directory.parent.name if directory.name == "model" else directory.name
