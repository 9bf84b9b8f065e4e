"""Rows of all processes in each of them, with their gradient."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, distributed


def gathered(rows: Float[Tensor, "row dim"]) -> Float[Tensor, "all dim"]:
    """The rows of every process in the order of ranks, any number from each; alone what was given.

    Backward sums over processes and hands each its own rows. So where every process computes the loss of
    all rows and parameter gradients are averaged over processes, they are those of one process that has
    all rows: the sum counts each of the equal losses, the average takes that away again.
    All processes must come here, and back, in the same order: give rows that require a gradient in all of
    them or in none, also where there are none.
    """
    if not distributed.is_initialized() or distributed.get_world_size() == 1:
        return rows
    mine = torch.tensor([len(rows)], device=rows.device)
    counts = [torch.zeros_like(mine) for _ in range(distributed.get_world_size())]
    distributed.all_gather(counts, mine)
    return _Gather.apply(rows, [int(count) for count in counts])


class _Gather(torch.autograd.Function):
    """All-gather of padded rows; sum over processes and own slice backward."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, counts: list[int]) -> Tensor:
        ctx.counts = counts
        padded = rows.new_zeros(max(counts), *rows.shape[1:])
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in counts]
        distributed.all_gather(parts, padded)
        return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        total = gradient.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total.split(ctx.counts)[distributed.get_rank()], None
