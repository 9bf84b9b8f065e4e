"""Hooks that live in a `with`: they keep every call of a module and are gone afterwards, also after an error."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from alignscope.errors import Unsupported


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
def embeddings(table: nn.Embedding) -> Iterator[list[Tensor]]:
    """What an embedding table gives while the `with` lasts, in the order of the calls.

    Each is part of the graph: where the table is frozen, a leaf that gradients reach all the same.
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
def eager(tower: PreTrainedModel) -> Iterator[None]:
    """The tower computes attention step by step, with maps on the graph, while the `with` lasts."""
    before = tower.config._attn_implementation
    tower.set_attn_implementation("eager")
    try:
        yield
    finally:
        tower.set_attn_implementation(before)
