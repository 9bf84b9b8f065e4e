"""A Transformer over regions (Vaswani et al. 2017): an encoder of what is seen, a causal decoder of words.

Differs: normalisation comes before each part instead of after it, which trains without a long warm-up; regions
have no positions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import final, no_type_check

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import PreTrainedConfig

from alignscope.models.captioners.decoding import State
from alignscope.models.captioners.inside import Inside
from alignscope.models.captioners.own import OwnCaptioner
from alignscope.models.captioners.protocol import Features, Sight
from alignscope.models.captioners.sights import present_of, regions
from alignscope.models.captioners.transformers_inside import Sites, beside, joined

KEPT = 4
"""Tensors that a decoder layer keeps: keys and values of the words, and of the image."""


@final
@no_type_check  # as in fc.py
class TransformerConfig(PreTrainedConfig):
    """Sizes of the base model; `vocab_size` counts the end beside the words."""

    model_type = "transformer-captioner"

    vocab_size: int = 9488
    hidden_size: int = 512
    num_attention_heads: int = 8
    num_hidden_layers: int = 6
    intermediate_size: int = 2048
    feature_width: int = 2048
    dropout: float = 0.1


class Attention(nn.Module):
    """softmax(query key^T / sqrt(dim)) value, per head."""

    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(hidden, hidden) for _ in range(4))

    def forward(
        self,
        states: Float[Tensor, "row query hidden"],
        key: Float[Tensor, "row key hidden"],
        value: Float[Tensor, "row key hidden"],
        seen: Bool[Tensor, "row_or_one query_or_one key"],
    ) -> tuple[Float[Tensor, "row query hidden"], Float[Tensor, "row head query key"]]:
        split = "row position (head dim) -> row head position dim"
        queries, keys, values = (
            rearrange(each, split, head=self.heads) for each in (self.query(states), key, value)
        )
        logits = queries @ keys.mT / math.sqrt(queries.shape[-1])
        weights = logits.masked_fill(
            ~rearrange(seen, "row query key -> row 1 query key"), -torch.inf
        ).softmax(-1)
        found = rearrange(weights @ values, "row head query dim -> row query (head dim)")
        return self.out(found), weights


def _mlp(config: TransformerConfig) -> nn.Sequential:
    hidden, inner = config.hidden_size, config.intermediate_size
    return nn.Sequential(
        nn.Linear(hidden, inner), nn.ReLU(), nn.Dropout(config.dropout), nn.Linear(inner, hidden)
    )


class EncoderLayer(nn.Module):
    """Regions look at each other."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.attention = Attention(config.hidden_size, config.num_attention_heads)
        self.mlp = _mlp(config)
        self.norms = nn.ModuleList(nn.LayerNorm(config.hidden_size) for _ in range(2))
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, states: Float[Tensor, "image region hidden"], present: Bool[Tensor, "image region"]
    ) -> Float[Tensor, "image region hidden"]:
        x = self.norms[0](states)
        seen = rearrange(present, "image region -> image 1 region")
        states = states + self.dropout(
            self.attention(x, self.attention.key(x), self.attention.value(x), seen)[0]
        )
        return states + self.dropout(self.mlp(self.norms[1](states)))


class DecoderLayer(nn.Module):
    """Words look at the words before them, then at the regions."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.words = Attention(config.hidden_size, config.num_attention_heads)
        self.image = Attention(config.hidden_size, config.num_attention_heads)
        self.mlp = _mlp(config)
        self.norms = nn.ModuleList(nn.LayerNorm(config.hidden_size) for _ in range(3))
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        states: Float[Tensor, "row token hidden"],
        kept: tuple[Tensor, ...],
        present: Bool[Tensor, "row region"],
    ) -> tuple[Float[Tensor, "row token hidden"], tuple[Tensor, ...], Float[Tensor, "row head token region"]]:
        x = self.norms[0](states)
        key = torch.cat([kept[0], self.words.key(x)], dim=1)
        value = torch.cat([kept[1], self.words.value(x)], dim=1)
        tokens, places = x.shape[1], key.shape[1]
        before = torch.ones(1, tokens, places, dtype=torch.bool, device=x.device).tril(places - tokens)
        states = states + self.dropout(self.words(x, key, value, before)[0])
        seen = rearrange(present, "row region -> row 1 region")
        found, weights = self.image(self.norms[1](states), kept[2], kept[3], seen)
        states = states + self.dropout(found)
        return states + self.dropout(self.mlp(self.norms[2](states))), (key, value, *kept[2:]), weights


@final
class TransformerCaptioner(OwnCaptioner):
    """Regions or patches in, words out; `State.attention` is (row, token, layer, head, region)."""

    config_class = TransformerConfig

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__(config)
        hidden, layers = config.hidden_size, config.num_hidden_layers
        self.see = nn.Linear(config.feature_width, hidden)
        self.embed = nn.Embedding(config.vocab_size, hidden)
        self.encoder = nn.ModuleList(EncoderLayer(config) for _ in range(layers))
        self.decoder = nn.ModuleList(DecoderLayer(config) for _ in range(layers))
        self.norms = nn.ModuleList(nn.LayerNorm(hidden) for _ in range(2))
        self.logit = nn.Linear(hidden, config.vocab_size)
        self.dropout = nn.Dropout(config.dropout)
        for parameter in self.parameters():
            if parameter.ndim > 1:
                nn.init.xavier_uniform_(parameter)
        self.post_init()

    def features(self, images: Sequence[Sight]) -> Features:
        return regions(self, images, width=self.config.feature_width)

    def begin(self, features: Features) -> State:
        """The regions, encoded, as keys and values of every decoder layer."""
        present = present_of(features)
        return self._begun(self._encoded(features.values, present), present)

    def inside(self, images: Sequence[Sight], rows: Sequence[Sequence[int]] | None) -> list[Inside]:
        """One forward per image, with the tokens of its caption (words and end) where there are some."""
        batch = self.features(images)
        looking = (layer.attention for layer in self.encoder)
        spoken, across = zip(*((layer.words, layer.image) for layer in self.decoder), strict=True)
        sites, found = Sites(0, tuple(looking), spoken, across, self.logit), []
        for number, there in enumerate(present_of(batch)):
            values, present = batch.values[number, there][None], there[there][None]
            ids = None if rows is None else torch.tensor([[self.start, *rows[number]]], device=self.device)
            see = partial(self._encoded, values, present)
            say = None if ids is None else partial(self._spoken, ids, present)
            found.append(joined(beside(sites, see, say), kind="region", specials=0, prompt=1))
        return found

    def _spoken(self, ids: Tensor, present: Tensor, states: Tensor) -> State:
        return self.advance(ids, self._begun(states, present))

    def _encoded(
        self, values: Float[Tensor, "image region width"], present: Bool[Tensor, "image region"]
    ) -> Float[Tensor, "image region hidden"]:
        states = self.dropout(self.see(values).relu())
        for layer in self.encoder:
            states = layer(states, present)
        return self.norms[0](states)

    def _begun(
        self, states: Float[Tensor, "image region hidden"], present: Bool[Tensor, "image region"]
    ) -> State:
        none = states[:, :0]
        kept = [(none, none, layer.image.key(states), layer.image.value(states)) for layer in self.decoder]
        return State((present, *(each for of_layer in kept for each in of_layer)))

    def advance(self, words: Int[Tensor, "row token"], state: State) -> State:
        """Read words at once; each sees those before it."""
        present, *kept = state.kept
        states = self.embed(words) * math.sqrt(self.config.hidden_size)
        states = self.dropout(states + waves(state.place, words.shape[1], states))
        after, maps = [], []
        for layer, place in zip(self.decoder, range(0, len(kept), KEPT), strict=True):
            states, keys, weights = layer(states, tuple(kept[place : place + KEPT]), present)
            after += keys
            maps.append(rearrange(weights, "row head token region -> row token head region"))
        logits = self.logit(self.norms[1](states))
        return State((present, *after), logits, torch.stack(maps, dim=2), state.place + words.shape[1])


def waves(first: int, count: int, like: Float[Tensor, "row _ hidden"]) -> Float[Tensor, "token hidden"]:
    """Positions as sines and cosines (Vaswani et al. 2017, section 3.5), sines first."""
    half = -(-like.shape[-1] // 2)
    place = torch.arange(first, first + count, device=like.device, dtype=like.dtype)
    speed = 10000 ** (-torch.arange(half, device=like.device, dtype=like.dtype) / half)
    angle = place[:, None] * speed
    return torch.cat([angle.sin(), angle.cos()], dim=-1)[:, : like.shape[-1]]
