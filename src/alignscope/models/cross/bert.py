"""BERT's building blocks (Devlin et al. 2019) under BERT's names, for models whose authors built on them.

Attention probabilities pass through the submodule `attention.self.dropout`, so that a hook there sees each map.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import no_type_check

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import PreTrainedConfig
from transformers.activations import ACT2FN

from alignscope.errors import CheckpointMismatch

HEAD = 64
"""Numbers per attention head of every BERT that was published; a state dict does not tell them."""


@no_type_check  # transformers takes more keywords than a dataclass has fields, which type checks at run time refuse
class BertSizes(PreTrainedConfig):
    """The sizes of BERT-base, over features of a detector."""

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    layer_norm_eps: float = 1e-12
    initializer_range: float = 0.02
    visual_feat_dim: int = 2048
    tie_word_embeddings: bool = True


def attend(
    query: Float[Tensor, "pair query width"],
    key: Float[Tensor, "pair key width"],
    value: Float[Tensor, "pair key width"],
    seen: Bool[Tensor, "pair key"] | Bool[Tensor, "pair query key"],
    *,
    heads: int,
    dropout: nn.Module,
) -> Float[Tensor, "pair query width"]:
    """softmax(query key^T / sqrt(dim)) value over the keys that are seen (Vaswani et al. 2017, eq. 1).

    Differs from BERT: unseen keys get exactly no weight, not that of a logit lowered by 10000.
    """
    split = "pair position (head dim) -> pair head position dim"
    queries, keys, values = (rearrange(each, split, head=heads) for each in (query, key, value))
    logits = queries @ keys.mT / queries.shape[-1] ** 0.5
    seen = rearrange(seen, "pair ... key -> pair 1 (...) key")
    logits = logits.masked_fill(~seen, torch.finfo(logits.dtype).min)
    kind = torch.promote_types(logits.dtype, torch.float32)
    probabilities = dropout(F.softmax(logits, dim=-1, dtype=kind).to(values.dtype))
    return rearrange(probabilities @ values, "pair head query dim -> pair query (head dim)")


class SelfAttention(nn.Module):
    """Positions look at each other."""

    def __init__(self, hidden: int, heads: int, *, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(hidden, hidden)
        self.key = nn.Linear(hidden, hidden)
        self.value = nn.Linear(hidden, hidden)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, states: Float[Tensor, "pair position width"], seen: Bool[Tensor, "pair position"]
    ) -> Float[Tensor, "pair position width"]:
        parts = self.query(states), self.key(states), self.value(states)
        return attend(*parts, seen, heads=self.heads, dropout=self.dropout)


class Output(nn.Module):
    """LN(dense(update) + states): how every part of a layer ends."""

    def __init__(self, width: int, hidden: int, *, dropout: float, eps: float) -> None:
        super().__init__()
        self.dense = nn.Linear(width, hidden)
        self.LayerNorm = nn.LayerNorm(hidden, eps=eps)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, update: Float[Tensor, "pair position width"], states: Float[Tensor, "pair position hidden"]
    ) -> Float[Tensor, "pair position hidden"]:
        return self.LayerNorm(self.dropout(self.dense(update)) + states)


class Intermediate(nn.Module):
    """The widening half of the feed-forward part."""

    def __init__(self, hidden: int, width: int, *, act: str) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden, width)
        self.activation = ACT2FN[act]

    def forward(self, states: Float[Tensor, "pair position _"]) -> Float[Tensor, "pair position _"]:
        return self.activation(self.dense(states))


class Attention(nn.Module):
    """Self-attention and what joins it to the states."""

    def __init__(
        self, hidden: int, heads: int, *, dropout: float, attention_dropout: float, eps: float
    ) -> None:
        super().__init__()
        self.self = SelfAttention(hidden, heads, dropout=attention_dropout)
        self.output = Output(hidden, hidden, dropout=dropout, eps=eps)

    def forward(
        self, states: Float[Tensor, "pair position width"], seen: Bool[Tensor, "pair position"]
    ) -> Float[Tensor, "pair position width"]:
        return self.output(self.self(states, seen), states)


class Layer(nn.Module):
    """Self-attention and feed-forward, each with a residual and a normalisation after it."""

    def __init__(
        self,
        hidden: int,
        heads: int,
        intermediate: int,
        *,
        act: str = "gelu",
        dropout: float = 0.1,
        attention_dropout: float = 0.1,
        eps: float = 1e-12,
    ) -> None:
        super().__init__()
        self.attention = Attention(
            hidden, heads, dropout=dropout, attention_dropout=attention_dropout, eps=eps
        )
        self.intermediate = Intermediate(hidden, intermediate, act=act)
        self.output = Output(intermediate, hidden, dropout=dropout, eps=eps)

    def forward(
        self, states: Float[Tensor, "pair position width"], seen: Bool[Tensor, "pair position"]
    ) -> Float[Tensor, "pair position width"]:
        states = self.attention(states, seen)
        return self.output(self.intermediate(states), states)


def encoder_layers(config: BertSizes) -> nn.ModuleList:
    """The layers of an encoder of these sizes."""
    return nn.ModuleList(
        Layer(
            config.hidden_size,
            config.num_attention_heads,
            config.intermediate_size,
            act=config.hidden_act,
            dropout=config.hidden_dropout_prob,
            attention_dropout=config.attention_probs_dropout_prob,
            eps=config.layer_norm_eps,
        )
        for _ in range(config.num_hidden_layers)
    )


class TextEmbeddings(nn.Module):
    """LN(word + position + type 0)."""

    def __init__(self, config: BertSizes) -> None:
        super().__init__()
        hidden = config.hidden_size
        self.word_embeddings = nn.Embedding(config.vocab_size, hidden)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, hidden)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, hidden)
        self.LayerNorm = nn.LayerNorm(hidden, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, ids: Int[Tensor, "pair token"]) -> Float[Tensor, "pair token hidden"]:
        places = self.position_embeddings.weight[: ids.shape[1]]
        together = self.word_embeddings(ids) + places + self.token_type_embeddings.weight[0]
        return self.dropout(self.LayerNorm(together))


class Transform(nn.Module):
    """What comes before the decoder of a prediction head: LN(act(dense(states)))."""

    def __init__(self, hidden: int, *, act: str, eps: float) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden, hidden)
        self.activation = ACT2FN[act]
        self.LayerNorm = nn.LayerNorm(hidden, eps=eps)

    def forward(self, states: Float[Tensor, "*any hidden"]) -> Float[Tensor, "*any hidden"]:
        return self.LayerNorm(self.activation(self.dense(states)))


class WordHead(nn.Module):
    """Logits of masked words; the decoder's weight is tied to the word embeddings by the model."""

    def __init__(self, config: BertSizes) -> None:
        super().__init__()
        hidden, words = config.hidden_size, config.vocab_size
        self.bias = nn.Parameter(torch.zeros(words))
        self.transform = Transform(hidden, act=config.hidden_act, eps=config.layer_norm_eps)
        self.decoder = nn.Linear(hidden, words, bias=False)

    def forward(self, states: Float[Tensor, "*any hidden"]) -> Float[Tensor, "*any word"]:
        return self.decoder(self.transform(states)) + self.bias


def size_of(state: Mapping[str, Tensor], key: str, side: int = 0) -> int:
    """One side of a tensor of a state dict; a tensor that is not there is an error that names it."""
    if key not in state:
        raise CheckpointMismatch(
            f"got no tensor {key!r} among {len(state)}, wanted it to tell the model's sizes: "
            "give a whole checkpoint of this architecture"
        )
    return state[key].shape[side]


def layers_of(state: Mapping[str, Tensor], prefix: str) -> int:
    """How many layers a state dict numbers after a prefix.

    >>> layers_of({"layer.0.bias": torch.zeros(1), "layer.1.bias": torch.zeros(1)}, "layer.")
    2
    """
    numbered = re.compile(re.escape(prefix) + r"(\d+)\.")
    return len({found[1] for found in map(numbered.match, state) if found})


def heads_of(hidden: int) -> int:
    """Attention heads of a published model of this width.

    >>> heads_of(768), heads_of(1024)
    (12, 16)
    """
    return max(1, hidden // HEAD)
