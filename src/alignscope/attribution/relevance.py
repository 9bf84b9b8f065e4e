"""Relevance propagated through attention: the rules that gradcam follows in every tower.

Chefer et al. 2021 (Generic Attention-model Explainability, eq. 5-6): in every layer the positive part of
gradient times attention, averaged over heads, E; R starts as the identity and becomes R + E R from the
first layer to the last; read the row of the position the embedding is read from. Differs: only that one
row is carried, from the last layer to the first, which is the same product.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from einops import einsum, reduce
from jaxtyping import Float, Int
from torch import Tensor


def layer_relevance(
    attention: Float[Tensor, "text head query key"], gradient: Float[Tensor, "text head query key"]
) -> Float[Tensor, "text query key"]:
    """Mean over heads of the positive part of gradient times attention (Chefer et al. 2021, eq. 5).

    Paper B prints a sum over heads in its eq. 7 and says "average": this averages. The arithmetic is
    at least float32 whatever the model computes in.
    """
    return reduce((wide(gradient) * wide(attention)).relu(), "text head query key -> text query key", "mean")


def readout_row(
    relevances: Sequence[Float[Tensor, "text query key"]], readout: Int[Tensor, " text"]
) -> Float[Tensor, "text key"]:
    """The row of the readout position in (I + E_L) ... (I + E_1), without the identity on its diagonal.

    >>> layer = torch.tensor([[[0.0, 0.0], [0.5, 0.25]]])
    >>> readout_row([layer], torch.tensor([1])).tolist()  # one layer: its own row
    [[0.5, 0.25]]
    >>> readout_row([layer, layer], torch.tensor([1])).tolist()  # 0.5 + 0.5 + 0.25 * 0.5; 1.25 ** 2 - 1
    [[1.125, 0.5625]]
    """
    start = F.one_hot(readout, relevances[0].shape[-1]).to(relevances[0])
    return carried_row(start, relevances) - start


def carried_row(
    row: Float[Tensor, "text key"], relevances: Sequence[Float[Tensor, "text query key"]]
) -> Float[Tensor, "text key"]:
    """A row times (I + E_L) ... (I + E_1)."""
    for relevance in reversed(relevances):
        row = row + einsum(row, relevance, "text query, text query key -> text key")
    return row


def wide(values: Tensor) -> Tensor:
    """The values in float32, or as they are where they are finer."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
