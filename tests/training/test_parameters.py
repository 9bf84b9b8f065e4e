"""Which weights move, for every family of dual encoders; groups, bounds, modes and checkpointing."""

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from alignscope.errors import Unsupported
from alignscope.models.dual.encoder import TransformersDualEncoder
from alignscope.models.zoo import open_model
from alignscope.training.parameters import (
    ScaleBounds,
    adamw,
    checkpoint_gradients,
    groups,
    moving,
    scale_bounds,
    text_tower,
    training_mode,
)

FAMILIES = ("clip", "siglip", "align", "altclip", "chinese_clip", "pair", "metaclip")


@pytest.fixture(params=FAMILIES)
def encoder(request: pytest.FixtureRequest) -> TransformersDualEncoder:
    return open_model(request.getfixturevalue(f"tiny_{request.param}_dir"))


@pytest.fixture
def clip(tiny_clip_dir: Path) -> TransformersDualEncoder:
    return open_model(tiny_clip_dir)


def test_each_side_is_what_its_embeddings_depend_on(encoder: TransformersDualEncoder) -> None:
    """Asked of autograd: no text weight reaches an image embedding, and the other way round."""
    model, pixels = encoder.model, torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    every = dict(moving(model, "both"))
    assert every.keys() == dict(model.named_parameters()).keys()
    reached = {}
    for side, embeddings in (
        ("image", encoder.embed_pixels(pixels)),
        ("text", encoder.embed_tokens(encoder.tokens(["a red dog", "a cat"]))),
    ):
        slopes = torch.autograd.grad(embeddings.sum(), list(every.values()), allow_unused=True)
        reached[side] = {name for name, slope in zip(every, slopes, strict=True) if slope is not None}
    of_score = {"logit_scale", "logit_bias", "temperature"} & every.keys()
    text, image = set(moving(model, "text")), set(moving(model, "image"))
    assert text | image == every.keys()
    assert not text & image
    assert reached["text"] <= text
    assert reached["image"] <= image
    assert of_score <= text
    assert of_score
    moving(model, "both")
    assert {id(p) for p in text_tower(model)} == {id(every[name]) for name in text - of_score}
    moving(model, "image")
    assert text_tower(model) == []
    assert {name for name, p in model.named_parameters() if p.requires_grad} == image


def test_decay_is_for_matrices_alone(encoder: TransformersDualEncoder) -> None:
    parameters = moving(encoder.model, "both")
    optimizer = adamw(parameters, learning_rate=1e-3, weight_decay=0.2)
    assert optimizer.defaults["betas"] == (0.9, 0.98)
    assert optimizer.defaults["eps"] == 1e-6
    decayed, free = ({id(p) for p in group["params"]} for group in optimizer.param_groups)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.2, 0.0]
    assert len(decayed) + len(free) == len(parameters)
    for module in encoder.model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            is_free = isinstance(module, nn.LayerNorm | nn.BatchNorm2d) or name.endswith("bias")
            if is_free or name in ("logit_scale", "temperature", "class_embedding"):
                assert id(parameter) in free, name
            elif isinstance(module, nn.Linear | nn.Embedding | nn.Conv2d):
                assert id(parameter) in decayed, name


def test_a_bias_of_two_axes_is_free() -> None:
    found = groups({"a.bias": nn.Parameter(torch.zeros(2, 2)), "a.weight": nn.Parameter(torch.zeros(2, 2))},
                   weight_decay=0.1)  # fmt: skip
    assert [len(group["params"]) for group in found] == [1, 1]


def test_the_scale_stays_between_1_and_100(encoder: TransformersDualEncoder) -> None:
    bounds = scale_bounds(encoder.model)
    for value in (-9.0, 9.0):
        with torch.no_grad():
            encoder.model.get_parameter(bounds.name).fill_(value)
        bounds.clamp(encoder.model)
        scale = encoder.traits.scale
        assert min(abs(scale - 1.0), abs(scale - 100.0)) < 1e-3


def test_a_model_that_begins_outside_keeps_its_beginning(tiny_siglip_dir: Path) -> None:
    encoder = open_model(tiny_siglip_dir)
    with torch.no_grad():
        encoder.model.logit_scale.fill_(4.75)  # a scale of 116, as SigLIP's
    start = encoder.traits.scale
    bounds = scale_bounds(encoder.model)
    assert bounds == ScaleBounds("logit_scale", 0.0, 4.75)
    bounds.clamp(encoder.model)
    assert encoder.traits.scale == start
    assert bounds.high > math.log(100.0)


@pytest.mark.parametrize(
    ("trains", "text", "image"), [("both", True, True), ("text", True, False), ("image", False, True)]
)
def test_only_towers_that_move_have_dropout_and_no_statistics_move(
    encoder: TransformersDualEncoder, trains: str, text: bool, image: bool
) -> None:
    training_mode(encoder.model, trains)
    norms = [m for m in encoder.model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert not any(norm.training for norm in norms)
    assert bool(norms) == (encoder.model.config.model_type == "align")
    assert encoder.model.text_model.training == text
    assert encoder.model.vision_model.training == image
    dropouts = [m for m in encoder.model.vision_model.modules() if isinstance(m, nn.Dropout)]
    assert all(one.training == image for one in dropouts)


def test_checkpointing_computes_again_what_moves(clip: TransformersDualEncoder) -> None:
    pixels = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    calls = {"text": 0, "image": 0}

    def count(side: str) -> None:
        calls[side] += 1

    clip.model.text_model.encoder.layers[1].layer_norm1.register_forward_hook(lambda *_: count("text"))
    clip.model.vision_model.encoder.layers[1].layer_norm1.register_forward_hook(lambda *_: count("image"))

    def slopes() -> list[torch.Tensor]:
        calls.update(text=0, image=0)
        texts = clip.embed_tokens(clip.tokens(["a red dog", "a cat"]))
        loss = (clip.embed_pixels(pixels) * texts).sum()
        return list(torch.autograd.grad(loss, [p for n, p in clip.model.named_parameters() if "fc1" in n]))

    moving(clip.model, "both")
    training_mode(clip.model, "both")
    wanted = slopes()
    assert calls == {"text": 1, "image": 1}
    checkpoint_gradients(clip.model, "both", reads_maps=True)
    found = slopes()
    assert calls == {"text": 1, "image": 2}
    checkpoint_gradients(clip.model, "both", reads_maps=False)
    assert all(torch.equal(one, other) for one, other in zip(wanted, slopes(), strict=True))
    assert calls == {"text": 2, "image": 2}
    assert all(torch.equal(one, other) for one, other in zip(wanted, found, strict=True))


def test_a_tower_that_cannot_be_checkpointed(
    clip: TransformersDualEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(clip.model.vision_model), "supports_gradient_checkpointing", False)
    checkpoint_gradients(clip.model, "text", reads_maps=False)
    with pytest.raises(Unsupported, match="CLIPVisionModel has no gradient checkpointing"):
        checkpoint_gradients(clip.model, "image", reads_maps=False)
