"""Numbers out of next-token logits: how likely a text is, and how sure a "yes"."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from einops import rearrange, reduce
from jaxtyping import Bool, Float, Int
from torch import Tensor


def mean_log_likelihood(
    logits: Float[Tensor, "text token vocabulary"],
    ids: Int[Tensor, "text token"],
    is_real: Bool[Tensor, "text token"],
) -> Float[Tensor, " text"]:
    """Mean of log P(token | all before it) over the real tokens; `logits[:, i]` predict token i.

    >>> even = torch.zeros(1, 2, 4)  # four tokens, all as likely
    >>> mean_log_likelihood(even, torch.tensor([[3, 1]]), torch.tensor([[True, False]])).exp()
    tensor([0.2500])
    """
    chosen = rearrange(ids, "text token -> text token 1")
    each = logits.log_softmax(dim=-1).gather(-1, chosen)
    each = rearrange(each, "text token 1 -> text token").masked_fill(~is_real, 0)
    return reduce(each, "text token -> text", "sum") / is_real.sum(dim=-1)


def log_odds(logits: Float[Tensor, "text vocabulary"], answers: Sequence[int]) -> Float[Tensor, " text"]:
    """log P - log(1 - P), where P is the probability that the next token is one of the answers.

    >>> log_odds(torch.tensor([[0.0, 0.0, 0.0, 0.0]]), [1, 2, 3]).exp()
    tensor([3.])
    """
    is_answer = torch.zeros(logits.shape[-1], dtype=torch.bool, device=logits.device)
    is_answer[list(answers)] = True
    return logits[:, is_answer].logsumexp(dim=-1) - logits[:, ~is_answer].logsumexp(dim=-1)
