"""Taps keep every call in order, refuse what returns no map, and leave nothing behind."""

from pathlib import Path

import pytest
import torch
from torch import nn

from alignscope.errors import Unsupported
from alignscope.models import taps
from alignscope.models.dual.loading import load


class Doubling(nn.Module):
    """Returns its input and, as its map, the double of it."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x, 2 * x


def test_a_module_called_twice_gives_two_maps_in_order() -> None:
    module, one = Doubling(), torch.ones(1)
    with taps.attention([module]) as maps:
        module(one)
        module(3 * one)
    module(5 * one)
    assert [kept.item() for kept in maps] == [2, 6]
    assert not module._forward_hooks


def test_maps_stay_on_the_graph() -> None:
    module, x = Doubling(), torch.ones(1, requires_grad=True)
    with taps.attention([module]) as maps:
        module(x)
    assert torch.autograd.grad(maps[0], x)[0].item() == 2


def test_attention_that_is_not_eager_is_refused(tiny_clip_dir: Path) -> None:
    model = load(tiny_clip_dir)
    modules = [layer.self_attn for layer in model.model.text_model.encoder.layers]
    with pytest.raises(Unsupported, match="CLIPAttention returned no attention map"), taps.attention(modules):
        model.embed_tokens(model.tokens(["a cat"]))
    assert not any(module._forward_hooks for module in modules)
    with taps.eager(model.model.text_model), taps.attention(modules) as maps:
        model.embed_tokens(model.tokens(["a cat"]))
    assert len(maps) == len(modules) == 3
