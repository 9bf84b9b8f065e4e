"""Token heats to word heats: the pieces of a word, found by character offsets, are added up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from alignscope.errors import LengthMismatch
from alignscope.models.protocols import DualEncoder, Tokens
from alignscope.records import Caption, Word


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
    model: DualEncoder, tokens: Tokens, heats: Float[Tensor, "caption token"], captions: Sequence[Caption]
) -> Heats:
    """The heats of each word's tokens added up; gradients pass through.

    A word is not heard where it lies beyond the context window or (causal towers) after the position
    the embedding is read from.
    """
    if len(captions) != len(tokens.ids):
        raise LengthMismatch(f"{len(captions)} captions for {len(tokens.ids)} texts: wanted the same ones")
    words = max((len(caption.words) for caption in captions), default=0)
    owner = torch.full(tokens.ids.shape, words)  # the last column collects what belongs to no word
    heard = torch.zeros(len(captions), words, dtype=torch.bool)
    unheard = []
    limit = model.traits.context_length
    why = f"not heard: beyond the {limit} tokens of context or the text's end"
    for row, (spans, caption) in enumerate(zip(tokens.offsets, captions, strict=True)):
        last = int(tokens.readout[row]) if model.traits.is_causal else len(spans)
        for position, own in enumerate(pieces(spans[:last], caption.words)):
            owner[row, own] = position
            heard[row, position] = bool(own)
            if not own:
                unheard.append(Unheard(row, position, why))
    sums = heats.new_zeros(len(captions), words + 1).scatter_add(1, owner.to(heats.device), heats)
    return Heats(sums[:, :words], heard, tuple(unheard))


def pieces(spans: Sequence[tuple[int, int]], words: Sequence[Word]) -> list[list[int]]:
    """For each word the tokens that spell it: a token belongs to the word it shares most characters with.

    >>> words = [Word("a", 0, 1, "other"), Word("street lamp", 2, 13, "object")]
    >>> pieces([(0, 0), (0, 1), (2, 8), (9, 11), (11, 13), (13, 14)], words)
    [[1], [2, 3, 4]]
    """
    owners: list[list[int]] = [[] for _ in words]
    for token, (start, end) in enumerate(spans):
        shared = [min(end, word.end) - max(start, word.start) for word in words]
        if shared and max(shared) > 0:
            owners[shared.index(max(shared))].append(token)
    return owners
