"""The layers of ViLBERT (Lu et al. 2019, section 2.1) under the names of its authors' files, and their order."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from alignscope.errors import BadInput
from alignscope.models.cross.bert import (
    BertSizes,
    Intermediate,
    Layer,
    Output,
    TextEmbeddings,
    attend,
    encoder_layers,
)

LOCATION = 5
"""Width of the vectors that say where a region lies."""
TASKS = 20


class VilbertConfig(BertSizes):
    """Sizes; before co-attention k run the text layers below `t_biattention_id[k]`, likewise the regions'."""

    model_type = "vilbert"

    v_hidden_size: int = 1024
    v_num_hidden_layers: int = 6
    v_num_attention_heads: int = 8
    v_intermediate_size: int = 1024
    v_hidden_act: str = "gelu"
    v_hidden_dropout_prob: float = 0.1
    v_attention_probs_dropout_prob: float = 0.1
    v_target_size: int = 1601
    bi_hidden_size: int = 1024
    bi_num_attention_heads: int = 8
    v_biattention_id: list[int] | tuple[int, ...] = (0, 1, 2, 3, 4, 5)
    t_biattention_id: list[int] | tuple[int, ...] = (6, 7, 8, 9, 10, 11)
    fusion: str = "mul"
    num_vqa_answers: int = 3129
    num_gqa_answers: int = 1533
    task_specific_tokens: bool = False
    task: int = 7
    """Of the task tokens, the one that scores are asked for with: the authors' number of retrieval on COCO."""


class Step(NamedTuple):
    """A layer of one stream, or a co-attention of both."""

    part: Literal["layer", "v_layer", "c_layer"]
    number: int


def route(config: VilbertConfig) -> list[Step]:
    """Every layer in the order of the forward: before each co-attention those below its ids (exclusive ends),
    regions first, and what is left over at the end.

    >>> [f"{part}.{i}" for part, i in route(VilbertConfig(num_hidden_layers=3, v_num_hidden_layers=1,
    ...     t_biattention_id=[1, 2], v_biattention_id=[0, 1]))]
    ['layer.0', 'c_layer.0', 'v_layer.0', 'layer.1', 'c_layer.1', 'layer.2']
    """
    image, text = [*config.v_biattention_id], [*config.t_biattention_id]
    many = config.v_num_hidden_layers, config.num_hidden_layers
    for name, ids, layers in (("v", image, many[0]), ("t", text, many[1])):
        if len(image) != len(text) or ids != sorted(ids) or not all(0 <= each <= layers for each in ids):
            raise BadInput(
                f"got {name}_biattention_id {ids}, wanted as many as the other's, in order, at most {layers}"
            )
    steps: list[Step] = []
    done = (0, 0)
    for connection, ends in enumerate([*zip(image, text, strict=True), many]):
        steps += [Step("v_layer", i) for i in range(done[0], ends[0])]
        steps += [Step("layer", i) for i in range(done[1], ends[1])]
        if connection < len(image):
            steps.append(Step("c_layer", connection))
        done = ends
    return steps


class TaskEmbeddings(TextEmbeddings):
    """Text embeddings whose second position says which task it is and counts for no position."""

    def __init__(self, config: VilbertConfig) -> None:
        super().__init__(config)
        self.task = config.task
        self.task_embeddings = nn.Embedding(TASKS, config.hidden_size)

    def forward(self, ids: Int[Tensor, "pair token"]) -> Float[Tensor, "pair token hidden"]:
        words = self.word_embeddings(ids) + self.token_type_embeddings.weight[0]
        places = self.position_embeddings.weight[: ids.shape[1] - 1]
        task = self.task_embeddings.weight[self.task].expand(len(ids), 1, -1)
        together = torch.cat([words[:, :1] + places[:1], task, words[:, 2:] + places[1:]], dim=1)
        return self.dropout(self.LayerNorm(together))


class RegionEmbeddings(nn.Module):
    """LN(W features + W locations)."""

    def __init__(self, config: VilbertConfig) -> None:
        super().__init__()
        self.image_embeddings = nn.Linear(config.visual_feat_dim, config.v_hidden_size)
        self.image_location_embeddings = nn.Linear(LOCATION, config.v_hidden_size)
        self.LayerNorm = nn.LayerNorm(config.v_hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(
        self, features: Float[Tensor, "pair position _"], locations: Float[Tensor, "pair position 5"]
    ) -> Float[Tensor, "pair position _"]:
        together = self.image_embeddings(features) + self.image_location_embeddings(locations)
        return self.dropout(self.LayerNorm(together))


class Real(NamedTuple):
    """True at positions of either stream that are no padding."""

    text: Bool[Tensor, "pair token"]
    image: Bool[Tensor, "pair position"]


class CoAttention(nn.Module):
    """Each stream asks the other; 1 is the image and 2 the text. The maps of both go through `dropout`,
    first those of the text over the positions of the image."""

    def __init__(self, config: VilbertConfig) -> None:
        super().__init__()
        self.heads = config.bi_num_attention_heads
        for name in ("query", "key", "value"):
            self.add_module(f"{name}1", nn.Linear(config.v_hidden_size, config.bi_hidden_size))
            self.add_module(f"{name}2", nn.Linear(config.hidden_size, config.bi_hidden_size))
        self.dropout = nn.Dropout(config.attention_probs_dropout_prob)

    def forward(
        self,
        text: Float[Tensor, "pair token _"],
        image: Float[Tensor, "pair position _"],
        real: Real,
    ) -> tuple[Float[Tensor, "pair token bi"], Float[Tensor, "pair position bi"]]:
        how: dict[str, Any] = {"heads": self.heads, "dropout": self.dropout}
        for_text = attend(self.query2(text), self.key1(image), self.value1(image), real.image, **how)
        for_image = attend(self.query1(image), self.key2(text), self.value2(text), real.text, **how)
        return for_text, for_image


class CoOutput(nn.Module):
    """LN(dense(context) + states) of either stream; the authors' `q_dense1` and `q_dense2` are never used."""

    def __init__(self, config: VilbertConfig) -> None:
        super().__init__()
        image = config.v_hidden_size, config.v_hidden_dropout_prob
        text = config.hidden_size, config.hidden_dropout_prob
        for number, (width, dropout) in enumerate((image, text), start=1):
            self.add_module(f"dense{number}", nn.Linear(config.bi_hidden_size, width))
            self.add_module(f"LayerNorm{number}", nn.LayerNorm(width, eps=config.layer_norm_eps))
            self.add_module(f"dropout{number}", nn.Dropout(dropout))
            self.add_module(f"q_dense{number}", nn.Linear(config.bi_hidden_size, width))

    def forward(
        self, for_text: Tensor, for_image: Tensor, text: Tensor, image: Tensor
    ) -> tuple[Tensor, Tensor]:
        image = self.LayerNorm1(self.dropout1(self.dense1(for_image)) + image)
        text = self.LayerNorm2(self.dropout2(self.dense2(for_text)) + text)
        return text, image


class CoLayer(nn.Module):
    """Co-attention and, for each stream, a feed-forward part."""

    def __init__(self, config: VilbertConfig) -> None:
        super().__init__()
        self.biattention = CoAttention(config)
        self.biOutput = CoOutput(config)
        image, text = config.v_hidden_size, config.hidden_size
        of_image = {"dropout": config.v_hidden_dropout_prob, "eps": config.layer_norm_eps}
        of_text = {"dropout": config.hidden_dropout_prob, "eps": config.layer_norm_eps}
        self.v_intermediate = Intermediate(image, config.v_intermediate_size, act=config.v_hidden_act)
        self.v_output = Output(config.v_intermediate_size, image, **of_image)
        self.t_intermediate = Intermediate(text, config.intermediate_size, act=config.hidden_act)
        self.t_output = Output(config.intermediate_size, text, **of_text)

    def forward(self, text: Tensor, image: Tensor, real: Real) -> tuple[Tensor, Tensor]:
        text, image = self.biOutput(*self.biattention(text, image, real), text, image)
        image = self.v_output(self.v_intermediate(image), image)
        text = self.t_output(self.t_intermediate(text), text)
        return text, image


class Encoder(nn.Module):
    """The layers of both streams, run along the `route`."""

    def __init__(self, config: VilbertConfig) -> None:
        super().__init__()
        self.route = route(config)
        self.layer = encoder_layers(config)
        self.v_layer = nn.ModuleList(
            Layer(
                config.v_hidden_size,
                config.v_num_attention_heads,
                config.v_intermediate_size,
                act=config.v_hidden_act,
                dropout=config.v_hidden_dropout_prob,
                attention_dropout=config.v_attention_probs_dropout_prob,
                eps=config.layer_norm_eps,
            )
            for _ in range(config.v_num_hidden_layers)
        )
        self.c_layer = nn.ModuleList(CoLayer(config) for _ in config.v_biattention_id)

    def forward(self, text: Tensor, image: Tensor, real: Real) -> tuple[Tensor, Tensor]:
        for part, number in self.route:
            if part == "layer":
                text = self.layer[number](text, real.text)
            elif part == "v_layer":
                image = self.v_layer[number](image, real.image)
            else:
                text, image = self.c_layer[number](text, image, real)
        return text, image


class Pooler(nn.Module):
    """relu(W h) of a stream's first position; tanh in BERT and LXMERT."""

    def __init__(self, hidden: int, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden, width)

    def forward(self, states: Float[Tensor, "pair position hidden"]) -> Float[Tensor, "pair width"]:
        return F.relu(self.dense(states[:, 0]))


class Streams(NamedTuple):
    """The last states of either stream, and what is pooled from them."""

    text: Float[Tensor, "pair token hidden"]
    image: Float[Tensor, "pair position v_hidden"]
    pooled_text: Float[Tensor, "pair bi"]
    pooled_image: Float[Tensor, "pair bi"]


class TwoStreams(nn.Module):
    """Embeddings, encoder and poolers."""

    def __init__(self, config: VilbertConfig) -> None:
        super().__init__()
        self.embeddings = (TaskEmbeddings if config.task_specific_tokens else TextEmbeddings)(config)
        self.v_embeddings = RegionEmbeddings(config)
        self.encoder = Encoder(config)
        self.t_pooler = Pooler(config.hidden_size, config.bi_hidden_size)
        self.v_pooler = Pooler(config.v_hidden_size, config.bi_hidden_size)

    def forward(
        self,
        ids: Int[Tensor, "pair token"],
        features: Float[Tensor, "pair position width"],
        locations: Float[Tensor, "pair position 5"],
        real: Real,
    ) -> Streams:
        text, image = self.encoder(self.embeddings(ids), self.v_embeddings(features, locations), real)
        return Streams(text, image, self.t_pooler(text), self.v_pooler(image))
