"""Token heats to word heats: the pieces of a word, found by character offsets, are added up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor

from alignscope.errors import LengthMismatch
from alignscope.models.protocols import PairScorer, Tokens
from alignscope.records import Caption


@dataclass(frozen=True)
class Unheard:
    """A word that got no heat, by its caption's place in the batch and its own in the caption."""

    caption: int
    word: int
    why: str


@dataclass(frozen=True)
class Heats:
    """Word heats of a batch of captions, on the graph where that was asked for.

    `values` is 0 where `heard` is False: beyond a caption's last word, or at a word the method or the
    model has nothing to say about, which `unheard` names where a reader would miss it.
    """

    values: Float[Tensor, "caption word"]
    heard: Bool[Tensor, "caption word"]
    unheard: tuple[Unheard, ...] = ()


def merged(
    model: PairScorer, tokens: Tokens, heats: Float[Tensor, "caption token"], captions: Sequence[Caption]
) -> Heats:
    """The heats of each word's tokens added up; gradients pass through.

    A word is not heard where it lies beyond the context window or (causal towers) after the position
    the embedding is read from.
    """
    if len(captions) != len(tokens.ids):
        raise LengthMismatch(f"{len(captions)} captions for {len(tokens.ids)} texts: wanted the same ones")
    owner = owners(model, tokens, captions)
    words = max((len(caption.words) for caption in captions), default=0)
    sums = heats.new_zeros(len(captions), words + 1).scatter_add(1, owner.to(heats.device), heats)
    heard = (rearrange(owner, "caption token -> caption token 1") == torch.arange(1, words + 1)).any(dim=1)
    lengths = torch.tensor([len(caption.words) for caption in captions]).long()
    missing = ~heard & (torch.arange(words) < rearrange(lengths, "caption -> caption 1"))
    limit = model.traits.context_length
    why = f"not heard: beyond the {limit} tokens of context or the text's end"
    unheard = tuple(Unheard(row, word, why) for row, word in missing.nonzero().tolist())
    return Heats(sums[:, 1:], heard, unheard)


def owners(model: PairScorer, tokens: Tokens, captions: Sequence[Caption]) -> Int[Tensor, "caption token"]:
    """The word each token belongs to, counted from 1, 0 for none: the one it shares most characters with.

    Of words that share equally many, the first.
    """
    words = max((len(caption.words) for caption in captions), default=0)
    bounds = [[(word.start, word.end) for word in caption.words] for caption in captions]
    filled = [row + [(0, 0)] * (words - len(row)) for row in bounds]
    word = torch.tensor(filled).long().reshape(len(captions), 1, words, 2)
    token = torch.tensor(tokens.offsets).long().reshape(*tokens.ids.shape, 1, 2)
    shared = torch.minimum(word[..., 1], token[..., 1]) - torch.maximum(word[..., 0], token[..., 0])
    if model.traits.is_causal:
        readout = rearrange(tokens.readout.cpu(), "caption -> caption 1 1")
        is_after = rearrange(torch.arange(tokens.ids.shape[1]), "token -> 1 token 1") >= readout
        shared = shared.masked_fill(is_after, 0)
    return F.pad(shared, (1, 0)).argmax(dim=-1)  # the first of equals, so none where nothing is shared
