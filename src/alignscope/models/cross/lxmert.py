"""LXMERT (Tan and Bansal 2019): a language, a region and a cross-modal encoder over features of a detector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor
from transformers import LxmertConfig, PreTrainedModel

from alignscope.models.cross.bert import heads_of, layers_of, size_of
from alignscope.models.cross.encoder import Calls, Family, Site
from alignscope.models.cross.regions import padded, region_inputs, shares
from alignscope.models.protocols import PairInputs, Tokens
from alignscope.records import Regions

CROSS = "lxmert.encoder.x_layers.{i}.{part}.dropout"
TIED = {"cls.predictions.decoder.weight": "lxmert.embeddings.word_embeddings.weight"}
"""Keys that share the tensor of another, and may be missing where that one is there."""
OPTIONAL = ("cls.predictions.", "obj_predict_head.", "answer_head.")
"""Beginnings of the keys that no matching score needs."""


def sites(config: Any) -> list[Site]:
    """Where probabilities pass; the cross-attention module is shared and called for either direction in turn."""
    text: Calls = (("text", "text"),)
    image: Calls = (("image", "image"),)
    found = [Site(f"lxmert.encoder.layer.{i}.attention.self.dropout", text) for i in range(config.l_layers)]
    found += [
        Site(f"lxmert.encoder.r_layers.{i}.attention.self.dropout", image) for i in range(config.r_layers)
    ]
    for i in range(config.x_layers):
        found += [
            Site(CROSS.format(i=i, part="visual_attention.att"), (("text", "image"), ("image", "text"))),
            Site(CROSS.format(i=i, part="lang_self_att.self"), text),
            Site(CROSS.format(i=i, part="visn_self_att.self"), image),
        ]
    return found


def inputs(
    model: PreTrainedModel, image_processor: None, images: Sequence[Regions], tokens: Tokens
) -> PairInputs:
    """Corners as shares of the image's width and height; every position of the image stream is a region."""
    return region_inputs(images, tokens, shares, width=model.config.visual_feat_dim)


def match(model: PreTrainedModel, inputs: PairInputs) -> Float[Tensor, "pair 2"]:
    """Logits (no match, match)."""
    ids, mask, features, positions, present = padded(model, inputs)
    output = model(
        input_ids=ids,
        attention_mask=mask,
        visual_feats=features,
        visual_pos=positions,
        visual_attention_mask=present,
    )
    return output.cross_relationship_score


LXMERT = Family(
    "transformers:LxmertForPreTraining",
    "region",
    sites=sites,
    inputs=inputs,
    match=match,
    feature_width=lambda config: config.visual_feat_dim,
)


def config_from(state: Mapping[str, Tensor]) -> LxmertConfig:
    """The configuration of the authors' state dict, by the shapes of its tensors; other tasks' heads only
    where it has them."""
    hidden = size_of(state, "bert.embeddings.word_embeddings.weight", 1)
    predicted = {kind: f"obj_predict_head.decoder_dict.{kind}.weight" for kind in ("obj", "attr", "feat")}
    answers = "answer_head.logit_fc.3.weight"
    counted = {"num_object_labels": predicted["obj"], "num_attr_labels": predicted["attr"]}
    counted |= {"num_qa_labels": answers}
    return LxmertConfig(
        vocab_size=size_of(state, "bert.embeddings.word_embeddings.weight"),
        hidden_size=hidden,
        num_attention_heads=heads_of(hidden),
        intermediate_size=size_of(state, "bert.encoder.layer.0.intermediate.dense.weight"),
        max_position_embeddings=size_of(state, "bert.embeddings.position_embeddings.weight"),
        type_vocab_size=size_of(state, "bert.embeddings.token_type_embeddings.weight"),
        l_layers=layers_of(state, "bert.encoder.layer."),
        r_layers=layers_of(state, "bert.encoder.r_layers."),
        x_layers=layers_of(state, "bert.encoder.x_layers."),
        visual_feat_dim=size_of(state, "bert.encoder.visn_fc.visn_fc.weight", 1),
        visual_pos_dim=size_of(state, "bert.encoder.visn_fc.box_fc.weight", 1),
        task_qa=answers in state,
        task_obj_predict=any(key in state for key in predicted.values()),
        **{f"visual_{kind}_loss": key in state for kind, key in predicted.items()},
        **{name: len(state[key]) for name, key in counted.items() if key in state},
    )
