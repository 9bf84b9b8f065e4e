"""Hooks that live in a `with`: they keep every call of a module and are gone afterwards, also after an error."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import eager_mask

from alignscope.errors import Unsupported

EAGER = "alignscope"
"""The name under which transformers knows `step_by_step`."""


@contextmanager
def attention(modules: Sequence[nn.Module]) -> Iterator[list[Tensor]]:
    """Every attention map the modules return while the `with` lasts, in the order of the calls.

    An attention module of transformers returns `(output, probabilities)`; the probabilities
    (text, head, query, key) are kept as they are, on the graph.
    """
    maps: list[Tensor] = []

    def keep(module: nn.Module, inputs: Any, output: Any) -> None:
        if not isinstance(output, tuple) or len(output) < 2 or not isinstance(output[1], Tensor):
            raise Unsupported(
                f"{type(module).__name__} returned no attention map: it must run its eager path; "
                "call it inside `eager(tower)`"
            )
        maps.append(output[1])

    with ExitStack() as hooks:
        for module in modules:
            hooks.callback(module.register_forward_hook(keep).remove)
        yield maps


@contextmanager
def embeddings(table: nn.Module) -> Iterator[list[Tensor]]:
    """What an embedding (of tokens or patches) gives while the `with` lasts, in the order of the calls.

    Each is part of the graph: where the weights are frozen, a leaf that gradients reach all the same.
    """
    found: list[Tensor] = []

    def keep(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        if torch.is_grad_enabled() and not output.requires_grad:
            output = output.detach().requires_grad_()
        found.append(output)
        return output

    hook = table.register_forward_hook(keep)
    try:
        yield found
    finally:
        hook.remove()


@contextmanager
def entering(module: nn.Module) -> Iterator[list[Tensor]]:
    """What goes into a module while the `with` lasts, in the order of the calls."""
    found: list[Tensor] = []

    def keep(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        found.append(inputs[0])

    hook = module.register_forward_pre_hook(keep)
    try:
        yield found
    finally:
        hook.remove()


def step_by_step(
    module: nn.Module,
    query: Float[Tensor, "text head query dim"],
    key: Float[Tensor, "text head key dim"],
    value: Float[Tensor, "text head key dim"],
    attention_mask: Float[Tensor, "..."] | None,
    *,
    scaling: float,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[Float[Tensor, "text query head dim"], Float[Tensor, "text head query key"]]:
    """softmax(scaling * query key^T + attention_mask) value, and the map (Vaswani et al. 2017, eq. 1).

    Differs from transformers' own eager path: a float64 softmax stays float64, there it is float32.
    """
    logits = query @ key.mT * scaling
    if attention_mask is not None:
        logits = logits + attention_mask
    kind = torch.promote_types(query.dtype, torch.float32)
    attention = F.softmax(logits, dim=-1, dtype=kind).to(query.dtype)
    attention = F.dropout(attention, p=dropout, training=module.training)
    return rearrange(attention @ value, "text head query dim -> text query head dim").contiguous(), attention


AttentionInterface.register(EAGER, step_by_step)
AttentionMaskInterface.register(EAGER, eager_mask)  # without this line transformers drops every mask


@contextmanager
def eager(tower: PreTrainedModel) -> Iterator[None]:
    """The tower computes attention step by step, with maps on the graph, while the `with` lasts."""
    before = tower.config._attn_implementation
    tower.set_attn_implementation(EAGER)
    try:
        yield
    finally:
        tower.set_attn_implementation(before)
