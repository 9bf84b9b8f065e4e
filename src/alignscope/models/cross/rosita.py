"""ROSITA (Cui et al. 2021): one encoder over the tokens of a text and the regions of a detector.

The image side is LN(W feature + W position), without a type.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.activations import ACT2FN

from alignscope.errors import BadData
from alignscope.models.cross.bert import BertSizes, attend, heads_of, layers_of, size_of
from alignscope.models.cross.encoder import Family, one_stream
from alignscope.models.cross.regions import region_inputs, shares
from alignscope.models.cross.uniter import match
from alignscope.models.protocols import PairInputs, Tokens
from alignscope.records import Regions

POSITION = 5
OPTIONAL = ("text_mlm_head.", "imgfeat_head.", "mm_qa_head.")
"""Keys that begin so are of other tasks: no score needs them, and a file may lack them."""
TIED = {"text_mlm_head.decode.weight": "text_embeddings.word_embeddings.weight"}
"""Tensors that are another one, which a file may therefore lack."""
BOOKKEEPING = ("epoch", "net_optim", "amp")
"""Entries of an official file that are no weights."""
PUNCTUATION = re.compile(r"[^\s\w]|_")
REMOVED = "\ufffd"
"""A character that BERT's tokenizers leave out without a trace, so that its neighbours touch."""


class RositaConfig(BertSizes):
    """Sizes of ROSITA-base; `num_answers` is 0 where there is no head for questions."""

    model_type = "rosita"

    num_object_classes: int = 1600
    num_attribute_classes: int = 400
    num_answers: int = 0


class RositaTextEmbeddings(nn.Module):
    """LN(word + position + type 0)."""

    def __init__(self, config: RositaConfig) -> None:
        super().__init__()
        hidden = config.hidden_size
        self.word_embeddings = nn.Embedding(config.vocab_size, hidden)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, hidden)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, hidden)
        self.layer_norm = nn.LayerNorm(hidden, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, ids: Int[Tensor, "pair token"]) -> Float[Tensor, "pair token hidden"]:
        places = self.position_embeddings.weight[: ids.shape[1]]
        together = self.word_embeddings(ids) + places + self.token_type_embeddings.weight[0]
        return self.dropout(self.layer_norm(together))


class RositaVisualEmbeddings(nn.Module):
    """Regions as states."""

    def __init__(self, config: RositaConfig) -> None:
        super().__init__()
        self.dense_imgfeat = nn.Linear(config.visual_feat_dim, config.hidden_size)
        self.dense_bboxfeat = nn.Linear(POSITION, config.hidden_size)
        self.layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(
        self, features: Float[Tensor, "pair region width"], positions: Float[Tensor, "pair region 5"]
    ) -> Float[Tensor, "pair region hidden"]:
        return self.dropout(self.layer_norm(self.dense_imgfeat(features) + self.dense_bboxfeat(positions)))


class RositaAttention(nn.Module):
    """Positions look at each other."""

    def __init__(self, config: RositaConfig) -> None:
        super().__init__()
        hidden = config.hidden_size
        self.heads = config.num_attention_heads
        self.dense_v = nn.Linear(hidden, hidden)
        self.dense_k = nn.Linear(hidden, hidden)
        self.dense_q = nn.Linear(hidden, hidden)
        self.dense_merge = nn.Linear(hidden, hidden)
        self.dropout = nn.Dropout(config.attention_probs_dropout_prob)

    def forward(
        self, states: Float[Tensor, "pair position width"], seen: Bool[Tensor, "pair position"]
    ) -> Float[Tensor, "pair position width"]:
        parts = self.dense_q(states), self.dense_k(states), self.dense_v(states)
        return self.dense_merge(attend(*parts, seen, heads=self.heads, dropout=self.dropout))


class Widened(nn.Module):
    """A dense layer, an activation, a normalisation where there is one, and a second dense layer."""

    def __init__(self, hidden: int, width: int, out: int, *, act: str, eps: float | None = None) -> None:
        super().__init__()
        self.dense0 = nn.Linear(hidden, width)
        self.dense1 = nn.Linear(width, out)
        self.activation = ACT2FN[act]
        if eps is not None:
            self.layer_norm = nn.LayerNorm(width, eps=eps)
        self.is_normalised = eps is not None

    def forward(self, states: Float[Tensor, "*any hidden"]) -> Float[Tensor, "*any out"]:
        wide = self.activation(self.dense0(states))
        return self.dense1(self.layer_norm(wide) if self.is_normalised else wide)


class RositaLayer(nn.Module):
    """Self-attention and feed-forward, each with a residual and a normalisation after it."""

    def __init__(self, config: RositaConfig) -> None:
        super().__init__()
        hidden, eps = config.hidden_size, config.layer_norm_eps
        self.mhatt = RositaAttention(config)
        self.ffn = Widened(hidden, config.intermediate_size, hidden, act=config.hidden_act)
        self.layer_norm0 = nn.LayerNorm(hidden, eps=eps)
        self.layer_norm1 = nn.LayerNorm(hidden, eps=eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(
        self, states: Float[Tensor, "pair position hidden"], seen: Bool[Tensor, "pair position"]
    ) -> Float[Tensor, "pair position hidden"]:
        states = self.layer_norm0(states + self.dropout(self.mhatt(states, seen)))
        return self.layer_norm1(states + self.dropout(self.ffn(states)))


class RositaWordHead(nn.Module):
    """Logits of masked words."""

    def __init__(self, config: RositaConfig) -> None:
        super().__init__()
        hidden = config.hidden_size
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))
        self.dense = nn.Linear(hidden, hidden)
        self.activation = ACT2FN[config.hidden_act]
        self.layer_norm = nn.LayerNorm(hidden, eps=config.layer_norm_eps)
        self.decode = nn.Linear(hidden, config.vocab_size, bias=False)

    def forward(self, states: Float[Tensor, "*any hidden"]) -> Float[Tensor, "*any word"]:
        return self.decode(self.layer_norm(self.activation(self.dense(states)))) + self.bias


class RositaRegionHead(nn.Module):
    """Features, object classes and attributes of masked regions."""

    def __init__(self, config: RositaConfig) -> None:
        super().__init__()
        hidden = config.hidden_size
        self.dense = nn.Linear(hidden, hidden)
        self.activation = ACT2FN[config.hidden_act]
        self.layer_norm = nn.LayerNorm(hidden, eps=config.layer_norm_eps)
        self.dense_feat = nn.Linear(hidden, config.visual_feat_dim)
        self.dense_obj = nn.Linear(hidden, config.num_object_classes)
        self.dense_attr = nn.Linear(hidden, config.num_attribute_classes)

    def forward(
        self, states: Float[Tensor, "*any hidden"]
    ) -> tuple[Float[Tensor, "*any width"], Float[Tensor, "*any object"], Float[Tensor, "*any attribute"]]:
        states = self.layer_norm(self.activation(self.dense(states)))
        return self.dense_feat(states), self.dense_obj(states), self.dense_attr(states)


class RositaForPretraining(PreTrainedModel):
    """With all heads; the forward gives the matching head's logits (no match, match)."""

    config_class = RositaConfig
    _tied_weights_keys = TIED

    def __init__(self, config: RositaConfig) -> None:
        super().__init__(config)
        hidden = config.hidden_size
        self.text_embeddings = RositaTextEmbeddings(config)
        self.visual_embeddings = RositaVisualEmbeddings(config)
        layers = [RositaLayer(config) for _ in range(config.num_hidden_layers)]
        self.backbone = nn.ModuleDict({"layers": nn.ModuleList(layers)})
        self.pooler = nn.ModuleDict({"dense": nn.Linear(hidden, hidden)})
        self.text_mlm_head = RositaWordHead(config)
        self.imgfeat_head = RositaRegionHead(config)
        self.mm_itm_head = nn.ModuleDict({"dense": nn.Linear(hidden, 2)})
        if config.num_answers:
            self.mm_qa_head = Widened(
                hidden, 2 * hidden, config.num_answers, act=config.hidden_act, eps=config.layer_norm_eps
            )
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.text_embeddings.word_embeddings

    def forward(
        self,
        ids: Int[Tensor, "pair token"],
        mask: Bool[Tensor, "pair token"],
        features: Float[Tensor, "pair region width"],
        positions: Float[Tensor, "pair region 5"],
        present: Bool[Tensor, "pair region"],
    ) -> Float[Tensor, "pair 2"]:
        image = self.visual_embeddings(features, positions)
        states = torch.cat([self.text_embeddings(ids), image], dim=1)
        seen = torch.cat([mask, present], dim=1)
        for layer in self.backbone["layers"]:
            states = layer(states, seen)
        return self.mm_itm_head["dense"](self.pooler["dense"](states[:, 0]).tanh())


def flattened(nested: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors of an official file, which holds a state dict per module, under one name each.

    >>> flattened({"epoch": 3, "pooler": {"dense.bias": torch.zeros(2)}})
    {'pooler.dense.bias': tensor([0., 0.])}
    """
    found: dict[str, Tensor] = {}
    for module, state in nested.items():
        if module in BOOKKEEPING:
            continue
        if not isinstance(state, Mapping) or not all(isinstance(each, Tensor) for each in state.values()):
            raise BadData(
                f"got {type(state).__name__} under {module!r}, wanted a state dict of tensors per module: "
                "give ROSITA's own file"
            )
        found |= {f"{module}.{key}": tensor for key, tensor in state.items()}
    return found


def config_from(state: Mapping[str, Tensor]) -> RositaConfig:
    """The configuration of an official state dict, flattened, by the shapes of its tensors."""
    hidden = size_of(state, "text_embeddings.word_embeddings.weight", 1)
    heads = {
        "num_object_classes": "imgfeat_head.dense_obj.bias",
        "num_attribute_classes": "imgfeat_head.dense_attr.bias",
        "num_answers": "mm_qa_head.dense1.bias",
    }
    return RositaConfig(
        architectures=["RositaForPretraining"],
        vocab_size=size_of(state, "text_embeddings.word_embeddings.weight"),
        hidden_size=hidden,
        num_hidden_layers=layers_of(state, "backbone.layers."),
        num_attention_heads=heads_of(hidden),
        intermediate_size=size_of(state, "backbone.layers.0.ffn.dense0.weight"),
        max_position_embeddings=size_of(state, "text_embeddings.position_embeddings.weight"),
        type_vocab_size=size_of(state, "text_embeddings.token_type_embeddings.weight"),
        visual_feat_dim=size_of(state, "visual_embeddings.dense_imgfeat.weight", 1),
        **{name: len(state[key]) for name, key in heads.items() if key in state},
    )


def without_punctuation(text: str) -> str:
    """Take out what is neither letter, digit nor space, and underscores, as ROSITA's authors do.

    Each such character becomes one that the tokenizer drops: "don't" is read as "dont", "t-shirt" as
    "tshirt", while offsets stay those of the text as given. Lower case is left to the tokenizer.

    >>> [len(without_punctuation(text)) for text in ("don't", "a_b!")]
    [5, 4]
    """
    return PUNCTUATION.sub(REMOVED, text)


def five(regions: Regions) -> Float[Tensor, "region 5"]:
    """x1/W, y1/H, x2/W, y2/H and the share of the image's area."""
    corners = shares(regions)
    area = (corners[:, 2:] - corners[:, :2]).prod(dim=-1, keepdim=True)
    return torch.cat([corners, area], dim=-1)


def inputs(
    model: PreTrainedModel, image_processor: None, images: Sequence[Regions], tokens: Tokens
) -> PairInputs:
    """Every position of the image stream is a region, with a position vector of five numbers."""
    return region_inputs(images, tokens, five, width=model.config.visual_feat_dim)


ROSITA = Family(
    "alignscope.models.cross.rosita:RositaForPretraining",
    "region",
    sites=one_stream("backbone.layers.{i}.mhatt.dropout"),
    inputs=inputs,
    match=match,
    feature_width=lambda config: config.visual_feat_dim,
    prepare=without_punctuation,
)
