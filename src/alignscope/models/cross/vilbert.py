"""ViLBERT (Lu et al. 2019) and its multi-task successor, 12-in-1 (Lu et al. 2020): a text and a region stream.

Written to the published sizes and the keys of the authors' files. Texts are lower-cased by their tokenizer
and never cut at the 30 tokens of the authors' retrieval code: the context is `max_position_embeddings`.
The score depends on the first position of either stream; heats are read from the text's alone, as Chefer et
al. do for LXMERT, so that the region layers after the last co-attention have no part in them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from alignscope.errors import BadInput
from alignscope.models.cross.bert import Transform, WordHead, heads_of, layers_of, size_of
from alignscope.models.cross.encoder import Calls, Family, Site
from alignscope.models.cross.regions import padded, region_inputs, shares
from alignscope.models.cross.vilbert_layers import Real, Streams, TwoStreams, VilbertConfig, route
from alignscope.models.protocols import PairInputs, Tokens
from alignscope.records import Regions

WORDS = "bert.embeddings.word_embeddings.weight"
TIED = {"cls.predictions.decoder.weight": WORDS}
"""Keys that share the tensor of another, and may be missing where that one is there."""
OPTIONAL = (
    "cls.predictions.",
    "cls.imagePredictions.",
    "vil_prediction.",
    "vil_prediction_gqa.",
    "vil_binary_prediction.",
    "vil_tri_prediction.",
    "vision_logit.",
    "linguisic_logit.",
)
"""Beginnings of the keys that no matching score needs."""
WHOLE_IMAGE = (0.0, 0.0, 1.0, 1.0, 1.0)
CHANNELS = 128
"""Width of a head over regions and of co-attention in every published size; a file does not tell it."""
ATTENTIONS: dict[str, tuple[str, Calls]] = {
    "layer": ("attention.self.dropout", (("text", "text"),)),
    "v_layer": ("attention.self.dropout", (("image", "image"),)),
    "c_layer": ("biattention.dropout", (("text", "image"), ("image", "text"))),
}


class RegionHead(nn.Module):
    """Logits of the detector's classes at masked regions."""

    def __init__(self, config: VilbertConfig) -> None:
        super().__init__()
        self.transform = Transform(config.v_hidden_size, act=config.v_hidden_act, eps=config.layer_norm_eps)
        self.decoder = nn.Linear(config.v_hidden_size, config.v_target_size)

    def forward(self, states: Float[Tensor, "*any hidden"]) -> Float[Tensor, "*any class"]:
        return self.decoder(self.transform(states))


class PretrainingHeads(nn.Module):
    """Masked words, masked regions, and whether text and image belong together (index 0: they do)."""

    def __init__(self, config: VilbertConfig) -> None:
        super().__init__()
        self.predictions = WordHead(config)
        self.bi_seq_relationship = nn.Linear(config.bi_hidden_size, 2)
        self.imagePredictions = RegionHead(config)


class AnswerHead(nn.Module):
    """Logits of a closed set of answers from what is fused of one pair, or of several."""

    def __init__(self, fused: int, width: int, answers: int, *, eps: float) -> None:
        super().__init__()
        self.logit_fc = nn.Sequential(
            nn.Linear(fused, width), nn.GELU(), nn.LayerNorm(width, eps=eps), nn.Linear(width, answers)
        )

    def forward(self, fused: Float[Tensor, "*any fused"]) -> Float[Tensor, "*any answer"]:
        return self.logit_fc(fused)


class Vilbert(PreTrainedModel):
    """Both streams and the heads of pre-training; what a pair's score is, the two models below say."""

    config: VilbertConfig
    config_class = VilbertConfig
    _tied_weights_keys = TIED

    def __init__(self, config: VilbertConfig) -> None:
        super().__init__(config)
        if config.fusion not in ("mul", "sum"):
            raise BadInput(f"got fusion {config.fusion!r}, wanted 'mul' or 'sum'")
        self.bert = TwoStreams(config)
        self.cls = PretrainingHeads(config)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def get_input_embeddings(self) -> nn.Module:
        return self.bert.embeddings.word_embeddings

    def get_output_embeddings(self) -> nn.Module:
        return self.cls.predictions.decoder

    def fused(self, streams: Streams) -> Float[Tensor, "pair bi"]:
        """Text and image as one vector."""
        text, image = streams.pooled_text, streams.pooled_image
        return self.dropout(text * image if self.config.fusion == "mul" else text + image)


@final
class VilbertForPretraining(Vilbert):
    """The model of vilbert_beta."""

    def __init__(self, config: VilbertConfig) -> None:
        super().__init__(config)
        self.post_init()

    def forward(self, *batch: Any) -> Float[Tensor, "pair 2"]:
        return self.cls.bi_seq_relationship(self.fused(self.bert(*batch)))


@final
class VilbertForTasks(Vilbert):
    """The model of 12-in-1: one head per kind of task; retrieval's is `vil_logit`."""

    def __init__(self, config: VilbertConfig) -> None:
        super().__init__(config)
        fused, eps = config.bi_hidden_size, config.layer_norm_eps
        self.vil_prediction = AnswerHead(fused, 2 * fused, config.num_vqa_answers, eps=eps)
        self.vil_prediction_gqa = AnswerHead(fused, 2 * fused, config.num_gqa_answers, eps=eps)
        self.vil_binary_prediction = AnswerHead(2 * fused, 2 * fused, 2, eps=eps)
        self.vil_logit = nn.Linear(fused, 1)
        self.vil_tri_prediction = nn.Linear(fused, 3)
        self.vision_logit = nn.Linear(config.v_hidden_size, 1)
        self.linguisic_logit = nn.Linear(config.hidden_size, 1)  # the authors' spelling
        self.post_init()

    def forward(self, *batch: Any) -> Float[Tensor, "pair 1"]:
        return self.vil_logit(self.fused(self.bert(*batch)))


def sites(config: VilbertConfig) -> list[Site]:
    """Where probabilities pass, in the order of the forward; both directions of a co-attention are one block."""
    found = []
    for part, number in route(config):
        dropout, calls = ATTENTIONS[part]
        found.append(Site(f"bert.encoder.{part}.{number}.{dropout}", calls))
    return found


def locations(regions: Regions) -> Float[Tensor, "region 5"]:
    """Corners as shares of the image's width and height, and the share of its area."""
    corners = shares(regions)
    left, top, right, bottom = corners.unbind(dim=-1)
    return torch.cat([corners, ((right - left) * (bottom - top))[:, None]], dim=-1)


def inputs(
    model: PreTrainedModel, image_processor: None, images: Sequence[Regions], tokens: Tokens
) -> PairInputs:
    """The whole image, as the mean of its regions, and then the regions; where the model has task tokens, one
    more token after the first, which stands for no characters and whose id is not read."""
    if model.config.task_specific_tokens:
        tokens = with_task(tokens)
    found = region_inputs(images, tokens, locations, width=model.config.visual_feat_dim)
    whole = torch.tensor([WHOLE_IMAGE])
    return replace(
        found,
        images=tuple(torch.cat([each.mean(dim=0, keepdim=True), each]) for each in found.images),
        positions=tuple(torch.cat([whole, each]) for each in found.positions),
        units=F.pad(found.units, (1, 0), value=-1),
    )


def with_task(tokens: Tokens) -> Tokens:
    """Tokens with the place of one that names a task after the first."""
    return replace(
        tokens,
        ids=torch.cat([tokens.ids[:, :1], tokens.ids], dim=-1),
        mask=torch.cat([tokens.mask[:, :1], tokens.mask], dim=-1),
        offsets=tuple((*spans[:1], (0, 0), *spans[1:]) for spans in tokens.offsets),
    )


def logits(model: PreTrainedModel, inputs: PairInputs) -> Float[Tensor, "pair logit"]:
    """What the head of matching says: (match, no match), or one logit."""
    ids, is_token, features, places, is_region = padded(model, inputs)
    is_whole = torch.arange(is_region.shape[1], device=model.device) == 0
    return model(ids, features, places, Real(is_token, is_region | is_whole))


def rank(model: PreTrainedModel, inputs: PairInputs) -> Float[Tensor, " pair"]:
    """The one logit of retrieval."""
    return logits(model, inputs)[:, 0]


def config_from(state: Mapping[str, Tensor]) -> VilbertConfig:
    """The configuration of weights in the authors' layout, from their shapes; `architectures` names the model.

    Which layers the co-attentions come before, and how wide heads are, is as in every published size: the
    first region layers, the last text layers.
    """

    usual = VilbertConfig()

    def found(key: str, default: int) -> int:
        return size_of(state, key) if key in state else default

    embedding = "bert.v_embeddings.image_embeddings.weight"
    hidden, v_hidden = size_of(state, WORDS, 1), size_of(state, embedding)
    bi_hidden = size_of(state, "bert.t_pooler.dense.weight")
    text_layers, connections = (layers_of(state, f"bert.encoder.{part}.") for part in ("layer", "c_layer"))
    return VilbertConfig(
        architectures=["VilbertForTasks" if "vil_logit.weight" in state else "VilbertForPretraining"],
        vocab_size=size_of(state, WORDS),
        hidden_size=hidden,
        num_hidden_layers=text_layers,
        num_attention_heads=heads_of(hidden),
        intermediate_size=size_of(state, "bert.encoder.layer.0.intermediate.dense.weight"),
        max_position_embeddings=size_of(state, "bert.embeddings.position_embeddings.weight"),
        type_vocab_size=size_of(state, "bert.embeddings.token_type_embeddings.weight"),
        v_hidden_size=v_hidden,
        v_num_hidden_layers=layers_of(state, "bert.encoder.v_layer."),
        v_num_attention_heads=max(1, v_hidden // CHANNELS),
        v_intermediate_size=size_of(state, "bert.encoder.v_layer.0.intermediate.dense.weight"),
        visual_feat_dim=size_of(state, embedding, 1),
        v_target_size=found("cls.imagePredictions.decoder.weight", usual.v_target_size),
        bi_hidden_size=bi_hidden,
        bi_num_attention_heads=max(1, bi_hidden // CHANNELS),
        v_biattention_id=[*range(connections)],
        t_biattention_id=[*range(text_layers - connections, text_layers)],
        num_vqa_answers=found("vil_prediction.logit_fc.3.weight", usual.num_vqa_answers),
        num_gqa_answers=found("vil_prediction_gqa.logit_fc.3.weight", usual.num_gqa_answers),
        task_specific_tokens="bert.embeddings.task_embeddings.weight" in state,
    )


VILBERT = Family(
    "alignscope.models.cross.vilbert:VilbertForPretraining",
    "region",
    sites=sites,
    inputs=inputs,
    match=logits,
    match_index=0,
    feature_width=lambda config: config.visual_feat_dim,
)
VILBERT_TASKS = replace(
    VILBERT,
    model_class="alignscope.models.cross.vilbert:VilbertForTasks",
    match=rank,
    match_index=None,
)
