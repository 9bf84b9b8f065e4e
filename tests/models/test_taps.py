"""Taps keep every call in order, refuse what returns no map, and leave nothing behind."""

from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import AttentionMaskInterface

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


def test_step_by_step_is_what_transformers_computes_eagerly(tiny_clip_dir: Path) -> None:
    model = load(tiny_clip_dir)
    tower, tokens = model.model.text_model, model.tokens(["a red dog", "cat"])
    modules = [layer.self_attn for layer in tower.encoder.layers]
    tower.set_attn_implementation("eager")
    with torch.no_grad(), taps.attention(modules) as theirs:
        wanted = model.embed_tokens(tokens)
    with torch.no_grad(), taps.eager(tower), taps.attention(modules) as ours:
        got = model.embed_tokens(tokens)
    assert tower.config._attn_implementation == "eager"
    for mine, other in zip([got, *ours], [wanted, *theirs], strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-7)


@pytest.mark.parametrize("name", ["clip", "pair"])
def test_a_dropped_mask_would_be_seen(
    name: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without its mask function transformers lets every token see every other; the contract catches it."""
    model = load(request.getfixturevalue(f"tiny_{name}_dir"))
    tokens = model.tokens(["a red dog to the left of a small cat", "cat"])
    with torch.no_grad():
        wanted = model.embed_tokens(tokens)
        monkeypatch.delitem(AttentionMaskInterface._global_mapping, taps.EAGER)
        with model.text_attention() as maps:
            got = model.embed_tokens(tokens)
    assert maps[0].triu(diagonal=1).count_nonzero() > 0
    assert maps[0][1, :, 0, -1].min() > 0, "padding is attended to"
    assert (got - wanted).abs().max() > 0.01


def test_dropout_of_attention_is_only_for_training() -> None:
    module, x = nn.Identity(), torch.randn(1, 1, 8, 4)
    _, trained = taps.step_by_step(module.train(), x, x, x, None, scaling=1.0, dropout=0.5)
    _, plain = taps.step_by_step(module.eval(), x, x, x, None, scaling=1.0, dropout=0.5)
    torch.testing.assert_close(plain.sum(dim=-1), torch.ones(1, 1, 8))
    assert (trained == 0).any()
    assert (plain > 0).all()
