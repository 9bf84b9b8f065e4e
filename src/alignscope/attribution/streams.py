"""Relevance propagated through a model of two streams, text and image, that look at each other.

Chefer et al. 2021 (Generic Attention-model Explainability, eq. 5-11). R_sq says how much each position of
stream s hears of each position of stream q: at first itself alone, so R_tt and R_ii are the identity, R_ti
and R_it zero. With E the positive part of gradient times attention, averaged over heads (`layer_relevance`):

    self-attention of s           R_ss += E R_ss                  R_sq += E R_sq
    cross-attention of s to q     R_sq += N(R_ss)^T E N(R_qq)     R_ss += E R_qs

where N divides each row of R - I by its sum and adds I again. All attentions of one block start from the
relevances before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from alignscope.errors import BadInput

Matrix = Float[Tensor, "pair query key"]


@dataclass(frozen=True, eq=False)
class Step:
    """What one attention passes on: E of its map and gradient, from which stream to which."""

    query: Literal["text", "image"]
    key: Literal["text", "image"]
    block: int
    relevance: Matrix


@dataclass(frozen=True, eq=False)
class Relevance:
    """What the positions of either stream (rows) hear of those of either stream (columns)."""

    text_text: Float[Tensor, "pair token token"]
    text_image: Float[Tensor, "pair token position"]
    image_text: Float[Tensor, "pair position token"]
    image_image: Float[Tensor, "pair position position"]

    def of(self, query: str, key: str) -> Matrix:
        """The matrix with rows of one stream and columns of another."""
        matrix: Tensor = getattr(self, f"{query}_{key}")
        return matrix


def start(
    text: Bool[Tensor, "pair token"], image: Bool[Tensor, "pair position"], dtype: torch.dtype = torch.float32
) -> Relevance:
    """Before any attention every position hears itself alone.

    >>> start(torch.ones(1, 2).bool(), torch.ones(1, 3).bool()).text_text.tolist()
    [[[1.0, 0.0], [0.0, 1.0]]]
    """
    (pairs, tokens), positions = text.shape, image.shape[1]
    nothing = torch.zeros(pairs, tokens, positions, dtype=dtype, device=text.device)
    own = torch.eye(max(tokens, positions), dtype=dtype, device=text.device).expand(pairs, -1, -1)
    return Relevance(own[:, :tokens, :tokens], nothing, nothing.mT, own[:, :positions, :positions])


def propagated(
    steps: Sequence[Step], text: Bool[Tensor, "pair token"], image: Bool[Tensor, "pair position"]
) -> Relevance:
    """The relevances after all steps, which come in the order in which the model ran them.

    `text` and `image` are True at real positions; padding neither hears nor is heard.
    """
    blocks = [step.block for step in steps]
    if blocks != sorted(blocks):
        raise BadInput(f"steps of blocks {blocks}: wanted the order of one forward, blocks counting up")
    real = {"text": text, "image": image}
    relevance = start(text, image, *{step.relevance.dtype for step in steps})
    for _, block in groupby(steps, key=lambda step: step.block):
        before = relevance
        for step in block:
            is_real = real[step.query][:, :, None] & real[step.key][:, None, :]
            passed = torch.where(is_real, step.relevance, 0.0)
            relevance = added(relevance, before, replace(step, relevance=passed))
    return relevance


def added(relevance: Relevance, before: Relevance, step: Step) -> Relevance:
    """The relevances with one step's share, computed from those before its block."""
    s, passed = step.query, step.relevance
    q = "image" if s == "text" else "text"
    if step.key == s:
        to_own = passed @ before.of(s, s)
        to_other = passed @ before.of(s, q)
    else:
        to_own = passed @ before.of(q, s)
        to_other = normalised(before.of(s, s)).mT @ passed @ normalised(before.of(q, q))
    changes = {f"{s}_{s}": relevance.of(s, s) + to_own, f"{s}_{q}": relevance.of(s, q) + to_other}
    return replace(relevance, **changes)


def normalised(relevance: Matrix) -> Matrix:
    """What was added to the identity, its rows divided by their sums, and the identity (eq. 8-9).

    >>> normalised(torch.tensor([[[1.5, 1.5], [0.0, 1.0]]])).tolist()  # a row that heard nothing stays
    [[[1.25, 0.75], [0.0, 1.0]]]
    """
    own = torch.eye(relevance.shape[-1], dtype=relevance.dtype, device=relevance.device)
    heard = relevance - own
    total = heard.sum(dim=-1, keepdim=True)
    return heard / torch.where(total > 0, total, 1.0) + own
