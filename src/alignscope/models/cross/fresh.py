"""New scorers of regions of any size, from nothing but numbers and the words of a corpus."""

from __future__ import annotations

import copy
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import BertTokenizer

from alignscope.models.cross.encoder import TransformersCrossEncoder
from alignscope.models.cross.loading import FAMILIES
from alignscope.models.dual.loading import quiet
from alignscope.models.weights import save_tokenizer

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def fresh_scorer(
    architecture: str,
    *,
    width: int,
    heads: int,
    mlp: int,
    layers: int,
    image_layers: int,
    cross_layers: int,
    context_length: int,
    feature_width: int,
    initializer_range: float,
    dropout: float,
    words: Sequence[str],
    seed: int,
    name: str,
) -> TransformersCrossEncoder:
    """A scorer with random weights whose tokenizer knows `words`; the same seed gives the same weights.

    `layers` are those of the text, or of both in one stream; `image_layers` and `cross_layers` are for models
    of two streams. Heads for other tasks than matching are kept as small as the architecture allows.
    """
    family = FAMILIES[architecture]
    model_class = pkgutil.resolve_name(family.model_class)
    tokenizer = word_tokenizer(words, context_length=context_length)
    common = {
        "vocab_size": len(tokenizer),
        "max_position_embeddings": context_length,
        "hidden_size": width,
        "num_attention_heads": heads,
        "intermediate_size": mlp,
        "visual_feat_dim": feature_width,
        "initializer_range": initializer_range,
        "hidden_dropout_prob": dropout,
        "attention_probs_dropout_prob": dropout,
    }
    own = SIZES[architecture](layers, image_layers, cross_layers, common)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = model_class(model_class.config_class(**common, **own))
    return TransformersCrossEncoder(model.eval(), tokenizer, None, family, name=name)


def _one_stream(
    layers: int, image_layers: int, cross_layers: int, common: Mapping[str, Any]
) -> dict[str, Any]:
    return {"num_hidden_layers": layers}


def _lxmert(layers: int, image_layers: int, cross_layers: int, common: Mapping[str, Any]) -> dict[str, Any]:
    counts = {"l_layers": layers, "r_layers": image_layers, "x_layers": cross_layers}
    return {**counts, "num_qa_labels": 1, "num_object_labels": 1, "num_attr_labels": 1}


def _vilbert(layers: int, image_layers: int, cross_layers: int, common: Mapping[str, Any]) -> dict[str, Any]:
    width, heads, mlp = (common[n] for n in ("hidden_size", "num_attention_heads", "intermediate_size"))
    return {
        "num_hidden_layers": layers,
        "v_hidden_size": width,
        "v_num_hidden_layers": image_layers,
        "v_num_attention_heads": heads,
        "v_intermediate_size": mlp,
        "bi_hidden_size": width,
        "bi_num_attention_heads": heads,
        "v_biattention_id": list(range(image_layers - cross_layers, image_layers)),
        "t_biattention_id": list(range(layers - cross_layers, layers)),
        "v_target_size": 1,
        "v_hidden_dropout_prob": common["hidden_dropout_prob"],
        "v_attention_probs_dropout_prob": common["attention_probs_dropout_prob"],
    }


SIZES: Mapping[str, Callable[[int, int, int, Mapping[str, Any]], dict[str, Any]]] = {
    "UniterForPretraining": lambda *sizes: {**_one_stream(*sizes), "num_region_classes": 1},
    "RositaForPretraining": lambda *sizes: {
        **_one_stream(*sizes),
        "num_object_classes": 1,
        "num_attribute_classes": 1,
        "num_answers": 0,
    },
    "OscarForPretraining": lambda *sizes: {
        **_one_stream(*sizes),
        "text_length": sizes[-1]["max_position_embeddings"],
    },
    "LxmertForPreTraining": _lxmert,
    "VilbertForPretraining": _vilbert,
}
"""Entries of a configuration beyond those that all have, by architecture."""


def word_tokenizer(words: Sequence[str], *, context_length: int) -> BertTokenizer:
    """BERT's word pieces in which each of `words` is one token, and any other text is spelled."""
    letters = sorted({letter for word in words for letter in word})
    pieces = [*SPECIAL, *words, *letters, *(f"##{letter}" for letter in letters)]
    vocabulary = {piece: place for place, piece in enumerate(dict.fromkeys(pieces))}
    return BertTokenizer(vocab=vocabulary, model_max_length=context_length)


def save(scorer: TransformersCrossEncoder, directory: Path) -> None:
    """Write a directory that `open_model` takes; weights in float16, half the bytes, are read as float32."""
    with quiet():
        copy.deepcopy(scorer.model).half().save_pretrained(directory)
        save_tokenizer(scorer.tokenizer, directory)
