"""Image maps against plain slow code: one image at a time, transformers' own maps, whole matrices."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from alignscope.attribution.patches import feature_heats, patch_heats, patch_maps
from alignscope.errors import BadInput, LengthMismatch, Unsupported
from alignscope.models.dual import vision
from alignscope.models.dual.encoder import TransformersDualEncoder
from alignscope.models.dual.loading import load
from alignscope.records import Box, Caption, Item

TEXTS = ["a red dog", "two spotted cats in the kitchen", "a blue ball"]
FAMILIES = ["clip", "pair", "altclip", "chinese_clip", "metaclip", "siglip", "align"]


@pytest.fixture(autouse=True)
def _exact_softmax(monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers takes the softmax in float32 always; here it is as fine as its input."""
    softmax = torch.nn.functional.softmax
    monkeypatch.setattr(torch.nn.functional, "softmax", lambda x, dim, dtype=None: softmax(x, dim))


def double(directory: Any) -> TransformersDualEncoder:
    model = load(directory)
    model.model.double()
    model.model.vision_model.apply(livelier)
    return model


def livelier(module: torch.nn.Module) -> None:
    """Attention far from flat, so that a wrong map cannot pass for a right one."""
    for name, parameter in module.named_parameters(recurse=False):
        if parameter.ndim == 2 and "embedding" not in name:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(parameter.shape[0] + len(name))
                torch.nn.init.normal_(parameter, std=0.25)


@pytest.fixture(scope="module", params=FAMILIES)
def model(request: pytest.FixtureRequest) -> TransformersDualEncoder:
    return double(request.getfixturevalue(f"tiny_{request.param}_dir"))


def pixels(count: int = 3) -> Tensor:
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


def embedded(model: TransformersDualEncoder, texts: list[str]) -> Tensor:
    with torch.no_grad():
        return model.embed_tokens(model.tokens(texts))


def pooled_by_hand(head: Any, hidden: Tensor) -> tuple[Tensor, Tensor]:
    """SigLIP's pooling of one image's patches, head by head; also the attention of each head, (head, patch)."""
    width, heads = hidden.shape[-1], head.attention.num_heads
    wq, wk, wv = (head.attention.in_proj_weight[i * width : (i + 1) * width] for i in range(3))
    bq, bk, bv = (head.attention.in_proj_bias[i * width : (i + 1) * width] for i in range(3))
    query, keys, values = wq @ head.probe[0, 0] + bq, hidden @ wk.T + bk, hidden @ wv.T + bv
    size = width // heads
    cuts = [slice(h * size, (h + 1) * size) for h in range(heads)]
    attention = torch.stack([(keys[:, c] @ query[c] / size**0.5).softmax(dim=0) for c in cuts])
    attention.retain_grad()
    mixed = torch.cat([attention[h] @ values[:, c] for h, c in enumerate(cuts)])
    pooled = head.attention.out_proj(mixed)
    return pooled + head.mlp(head.layernorm(pooled)), attention


def slow_reference(
    model: TransformersDualEncoder, image: Tensor, text: Tensor, layers: str, method: str
) -> Tensor:
    """One image's map in the plainest way."""
    clip, tower = model.model, model.model.vision_model
    readout = model.traits.image_readout
    if readout == "features":
        features = tower.encoder(tower.embeddings(image[None])).last_hidden_state
        output = tower.pooler(features).flatten()
        score = model.traits.scale * (output / output.norm() @ text)
        (gradient,) = torch.autograd.grad(score, features)
        channels = zip(gradient[0], features[0], strict=True)
        return sum(g.mean() * f for g, f in channels).clamp(min=0)
    before = tower.config._attn_implementation
    tower.set_attn_implementation("eager")
    output = clip.get_image_features(pixel_values=image[None], output_attentions=True)
    tower.set_attn_implementation(before)
    maps, last = list(output.attentions), []
    if readout == "pooled":
        hidden = output.last_hidden_state[0]
        pooled, pooling = pooled_by_hand(tower.head, hidden)
        last = [pooling]
    else:
        pooled = output.pooler_output[0]
    score = model.traits.scale * (pooled / pooled.norm() @ text)
    gradients = torch.autograd.grad(score, [*maps, *last], retain_graph=True)
    if method == "attention":
        used = maps if layers == "all" else maps[-1:]
        rows = last or [one[0, :, 0, 1:] for one in used]
        return torch.stack([row.mean(dim=0) for row in rows]).mean(dim=0)
    relevance = torch.eye(maps[0].shape[-1], dtype=torch.float64)
    skipped = 0 if layers == "all" else len(maps) - 1 + len(last)
    for one, gradient in list(zip(maps, gradients, strict=False))[skipped:]:
        relevance = relevance + (gradient[0] * one[0]).clamp(min=0).mean(dim=0) @ relevance
    if last:
        return (gradients[-1] * last[0]).clamp(min=0).mean(dim=0) @ relevance
    return relevance[0, 1:]


@pytest.mark.parametrize(
    ("layers", "method"),
    [("all", "gradcam"), ("last", "gradcam"), ("all", "attention"), ("last", "attention")],
)
def test_batched_heats_are_those_of_slow_code(model, layers, method):
    texts, images = embedded(model, TEXTS), pixels()
    if model.traits.image_readout == "features" and method == "attention":
        with pytest.raises(Unsupported, match="ask for gradcam"):
            patch_heats(model, images, texts, layers=layers, method=method)
        return
    heats = patch_heats(model, images, texts, layers=layers, method=method)
    grid = (8, 8) if model.traits.image_readout == "features" else (4, 4)
    assert heats.shape == (3, *grid)
    assert not heats.requires_grad
    wanted = [slow_reference(model, i, t, layers, method) for i, t in zip(images, texts, strict=True)]
    for heat, want in zip(heats, wanted, strict=True):
        assert heat.std() > 1e-4 * heat.mean() > 0, "a flat map shows nothing"
        torch.testing.assert_close(heat.flatten(), want.detach().flatten(), rtol=1e-9, atol=1e-12)


def test_a_range_takes_its_layers_and_the_pooling(model):
    texts, images = embedded(model, TEXTS), pixels()
    readout = model.traits.image_readout
    count = {"first": 3, "pooled": 4, "features": 1}[readout]
    assert torch.equal(
        patch_heats(model, images, texts, layers=(0, count)), patch_heats(model, images, texts)
    )
    with pytest.raises(BadInput, match=f"the tower has {count} layers"):
        patch_heats(model, images, texts, layers=(0, count + 1))
    if readout != "features":
        some = patch_heats(model, images, texts, layers=(1, 3))
        assert not torch.allclose(some, patch_heats(model, images, texts))
        assert some.max() > 0


@pytest.mark.parametrize("family", ["clip", "siglip", "align"])
def test_second_derivatives_are_right(family, request):
    """The heats' gradient in a direction of all weights against a central difference."""
    model = double(request.getfixturevalue(f"tiny_{family}_dir"))
    texts, images = embedded(model, TEXTS[:2]), pixels(2)
    weights = [p for p in model.model.vision_model.parameters() if p.ndim > 1]
    generator = torch.Generator().manual_seed(2)
    steps = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in weights]
    grid = patch_heats(model, images, texts).shape
    weighing = torch.randn(grid, generator=generator, dtype=torch.float64)

    def loss(create_graph: bool = False) -> Tensor:
        return (patch_heats(model, images, texts, create_graph=create_graph) * weighing).sum()

    gradients = torch.autograd.grad(loss(create_graph=True), weights, allow_unused=True)
    slope = sum((g * s).sum() for g, s in zip(gradients, steps, strict=True) if g is not None)
    size = 1e-6
    ends = []
    for sign in (1, -1):
        with torch.no_grad():
            for p, s in zip(weights, steps, strict=True):
                p.add_(s, alpha=sign * size)
        ends.append(loss())
        with torch.no_grad():
            for p, s in zip(weights, steps, strict=True):
                p.add_(s, alpha=-sign * size)
    difference = (ends[0] - ends[1]) / (2 * size)
    assert abs(difference) > 1e-3
    torch.testing.assert_close(slope.detach(), difference, rtol=1e-6, atol=1e-6)


def test_frozen_weights_change_nothing(model):
    texts, images = embedded(model, TEXTS), pixels()
    want = patch_heats(model, images, texts)
    model.model.requires_grad_(False)
    try:
        with torch.no_grad():
            got = patch_heats(model, images, texts)
    finally:
        model.model.requires_grad_(True)
    torch.testing.assert_close(got, want)


def test_gradcam_of_features_by_hand():
    """One channel whose mean gradient is 2, one at -1: 2 * 3 - 1 * 5 = 1; 2 * 1 - 1 * 4 < 0."""
    features = torch.tensor([[[[3.0, 1.0]], [[5.0, 4.0]]]])
    gradient = torch.tensor([[[[4.0, 0.0]], [[-1.0, -1.0]]]])
    assert feature_heats(features, gradient).tolist() == [[[1.0, 0.0]]]


def test_one_text_per_image(model):
    with pytest.raises(LengthMismatch, match="2 text embeddings for 3 images"):
        patch_heats(model, pixels(), embedded(model, TEXTS)[:2])


def test_a_model_without_image_maps_says_so(tiny_clip_dir, monkeypatch):
    model = load(tiny_clip_dir)
    monkeypatch.setattr(vision, "IMAGE_SIDES", {})
    with pytest.raises(Unsupported, match="no image readout"):
        patch_heats(model, pixels().float(), embedded(model, TEXTS))


def test_maps_as_records(tiny_clip_dir):
    model = load(tiny_clip_dir)
    noise = np.random.default_rng(0).integers(0, 256, (3, 40, 64, 3), dtype=np.uint8)
    pictures = {f"{i}.png": Image.fromarray(noise[i]) for i in range(3)}
    items = [Item(f"item {i}", f"{i}.png", Caption("x")) for i in (2, 0, 2, 1, 0)]
    texts = ["a red dog", "cats", "a blue ball", "a red dog", "a red dog"]
    opened: list[str] = []

    def image_of(key: str) -> Image.Image:
        opened.append(key)
        return pictures[key]

    told: list[tuple[int, int]] = []
    maps = list(
        patch_maps(
            model, items, image_of, texts, batch_size=3, progress=lambda done, of: told.append((done, of))
        )
    )
    assert opened == ["2.png", "0.png", "1.png", "0.png"], "once per batch"
    assert told == [(3, 5), (5, 5)]
    assert [(m.item, m.image, m.text, m.method) for m in maps] == [
        (item.id, item.image, text, "gradcam") for item, text in zip(items, texts, strict=True)
    ]
    assert {(m.rows, m.columns, m.view) for m in maps} == {(4, 4, maps[0].view)}
    assert maps[0].view == Box(64 / 51 * 9, 0, 64 / 51 * 41, 40), "51 x 32 after resizing, 32 of 51 are kept"
    for item, text, got in zip(items, texts, maps, strict=True):
        alone = patch_heats(model, model.pixels([pictures[item.image]]), embedded(model, [text]))
        assert got.heats == pytest.approx(alone.flatten().tolist(), rel=1e-4, abs=1e-7)
    (other,) = patch_maps(model, items[:1], image_of, texts[:1], method="attention")
    assert other.method == "attention"
    assert other != replace(maps[0], method="attention")
    with pytest.raises(LengthMismatch, match="5 texts for 4 items"):
        next(patch_maps(model, items[:4], image_of, texts))
    with pytest.raises(BadInput, match="batch size of 0"):
        next(patch_maps(model, items, image_of, texts, batch_size=0))


@pytest.mark.parametrize("method", ["attention", "gradcam"])
def test_maps_are_made_without_dropout_whatever_mode_the_model_is_in(tiny_clip_dir, method):
    model = load(tiny_clip_dir)
    texts = embedded(model, TEXTS)
    wanted = patch_heats(model, pixels().float(), texts, method=method)
    for module in model.model.train().modules():
        if hasattr(module, "dropout"):
            module.dropout = 0.5
    found = patch_heats(model, pixels().float(), texts, method=method)
    assert torch.equal(found, wanted)
    assert model.model.training
