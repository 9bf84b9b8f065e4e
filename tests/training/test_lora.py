"""Adapters: nothing at first, the update by hand, folded in without a trace, and every method still looks in."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import alignscope
from alignscope.attribution.attribute import heats
from alignscope.attribution.options import METHODS, Options
from alignscope.errors import BadInput, MissingExtra, Unsupported
from alignscope.models.dual.encoder import TransformersDualEncoder
from alignscope.models.dual.loading import load
from alignscope.records import Caption, Word
from alignscope.training.lora import PROJECTIONS, merged, with_adapters
from alignscope.training.settings import LoraPlan

TEXTS = ["a red dog left of a cat", "a cat"]
PLAN = LoraPlan(rank=2, alpha=3.0)


def pictures(side: int = 32) -> list[Image.Image]:
    generator = np.random.default_rng(0)
    return [Image.fromarray(generator.integers(0, 256, (side, side, 3), dtype=np.uint8)) for _ in range(2)]


def tagged(text: str) -> Caption:
    words, start = [], 0
    for each in text.split():
        kind = {"red": "attribute", "left": "relation", "dog": "object", "cat": "object"}.get(each, "other")
        words.append(Word(each, start, start + len(each), kind))
        start += len(each) + 1
    return Caption(text, tuple(words))


def moved(encoder: TransformersDualEncoder, parameters: list[torch.nn.Parameter]) -> None:
    """Other numbers in everything that trains."""
    drawn = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in parameters:
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=drawn))


@pytest.fixture
def encoder(tiny_clip_dir: Path) -> TransformersDualEncoder:
    return load(tiny_clip_dir)


def test_at_first_adapters_change_nothing_and_alone_move(encoder: TransformersDualEncoder):
    before = encoder.score_grid(pictures(), TEXTS)
    moving = with_adapters(encoder, PLAN)
    assert torch.equal(encoder.score_grid(pictures(), TEXTS), before)
    names = {n for n, p in encoder.model.named_parameters() if p.requires_grad}
    layers = 2 * 3 * len(PROJECTIONS)  # towers, layers
    assert len(moving) == len(names) == 2 * layers + 1
    assert {n for n in names if "lora_" not in n} == {"logit_scale"}
    score = encoder.embed_tokens(encoder.tokens(TEXTS)) @ encoder.embed_pixels(encoder.pixels(pictures())).mT
    (encoder.model.logit_scale.exp() * score).diagonal().sum().backward()
    assert all(p.grad is not None for p in moving)
    assert any(p.grad.abs().max() > 0 for p in moving[1:])
    assert all(p.grad is None for p in encoder.model.parameters() if not p.requires_grad)


@pytest.mark.parametrize(("trains", "tower"), [("text", "text_model"), ("image", "vision_model")])
def test_only_the_trained_tower_has_adapters(encoder: TransformersDualEncoder, trains: str, tower: str):
    with_adapters(encoder, PLAN, trains=trains)
    found = {n.partition(".")[0] for n, p in encoder.model.named_parameters() if p.requires_grad}
    assert found == ({tower, "logit_scale"} if trains == "text" else {tower})


def test_folded_in_the_embeddings_stay_and_the_weights_are_the_update_by_hand(
    encoder: TransformersDualEncoder, tiny_clip_dir: Path, tmp_path: Path
):
    first = load(tiny_clip_dir).model.state_dict()
    moved(encoder, with_adapters(encoder, PLAN, seed=3))
    adapted = encoder.model.state_dict()
    images, texts = encoder.encode_images(pictures()), encoder.encode_texts(TEXTS)
    plain = merged(encoder)
    assert (plain.encode_images(pictures()) - images).abs().max() < 1e-5
    assert (plain.encode_texts(TEXTS) - texts).abs().max() < 1e-5
    assert (load(tiny_clip_dir).encode_texts(TEXTS) - texts).abs().max() > 1e-3, "nothing was changed"
    state = plain.model.state_dict()
    assert state.keys() == first.keys()
    checked = 0
    for name, weight in first.items():
        path = name.removesuffix(".weight")
        update = torch.zeros(())
        if f"{path}.lora_A.default.weight" in adapted:
            down, up = (adapted[f"{path}.lora_{letter}.default.weight"] for letter in "AB")
            update = 3.0 / 2 * up @ down
            checked += 1
        if name != "logit_scale":
            torch.testing.assert_close(state[name], weight + update, atol=1e-6, rtol=0)
    assert checked == 24
    assert torch.equal(encoder.encode_texts(TEXTS), texts), "the adapted model stays as it was"
    plain.model.save_pretrained(tmp_path)
    again, report = type(plain.model).from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values())
    assert all(torch.equal(again.state_dict()[name], tensor) for name, tensor in state.items())


def test_every_attribution_is_that_of_the_folded_model_and_trains_the_adapters(
    encoder: TransformersDualEncoder,
):
    moving = with_adapters(encoder, PLAN)
    moved(encoder, moving)
    captions = [tagged(text) for text in TEXTS]
    options = Options(variant="leave-one-out", normalize="none")
    of = {"methods": METHODS, "options": options}
    plain = merged(encoder)
    found = heats(encoder, captions, encoder.encode_images(pictures()), create_graph=True, **of)
    wanted = heats(plain, captions, plain.encode_images(pictures()), **of)
    down = [p for n, p in encoder.model.named_parameters() if "text_model" in n and ".lora_A." in n]
    assert len(down) == 12
    for method in METHODS:
        assert found[method].values.abs().max() > 0
        torch.testing.assert_close(found[method].values.detach(), wanted[method].values, atol=1e-5, rtol=1e-3)
        gradients = torch.autograd.grad(
            found[method].values.square().sum(), down, retain_graph=True, allow_unused=True
        )
        assert any(g is not None and g.abs().max() > 0 for g in gradients), method


def test_dropout_of_adapters_is_off_when_evaluating(encoder: TransformersDualEncoder):
    moved(encoder, with_adapters(encoder, LoraPlan(rank=2, alpha=3.0, dropout=0.5)))
    encoder.model.train()
    tokens = encoder.tokens(TEXTS)
    assert not torch.equal(encoder.embed_tokens(tokens), encoder.embed_tokens(tokens))
    assert torch.equal(encoder.encode_texts(TEXTS), encoder.encode_texts(TEXTS))


def test_seeds_draw_other_adapters_and_touch_no_other_draw(tiny_clip_dir: Path):
    drawn = {}
    for seed in (0, 0, 1):
        encoder = load(tiny_clip_dir)
        before = torch.get_rng_state()
        with_adapters(encoder, PLAN, seed=seed)
        assert torch.equal(torch.get_rng_state(), before)
        found = [p for n, p in encoder.model.named_parameters() if ".lora_A." in n]
        if seed in drawn:
            assert all(torch.equal(a, b) for a, b in zip(drawn[seed], found, strict=True))
        drawn[seed] = found
    assert not torch.equal(drawn[0][0], drawn[1][0])


def test_siglip_too_and_what_cannot_be_is_told(
    tiny_siglip_dir: Path, tiny_pair_dir: Path, encoder: TransformersDualEncoder
):
    siglip = load(tiny_siglip_dir)
    before = siglip.encode_texts(TEXTS)
    moved(siglip, with_adapters(siglip, PLAN))
    names = {n for n, p in siglip.model.named_parameters() if p.requires_grad and "lora_" not in n}
    assert names == {"logit_scale", "logit_bias"}
    now = siglip.encode_texts(TEXTS)
    assert (now - before).abs().max() > 1e-4
    assert (merged(siglip).encode_texts(TEXTS) - now).abs().max() < 1e-5
    with pytest.raises(Unsupported, match="in the layers of its text_model"):
        with_adapters(load(tiny_pair_dir), PLAN)
    with pytest.raises(BadInput, match="no adapters to fold in"):
        merged(encoder)
    with pytest.raises(BadInput, match="wanted a rank of 1 or more"):
        with_adapters(encoder, LoraPlan(rank=0))
    with_adapters(encoder, PLAN)
    with pytest.raises(BadInput, match="has adapters already"):
        with_adapters(encoder, PLAN)


def test_without_peft_the_extra_is_named(encoder: TransformersDualEncoder, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingExtra, match=r"pip install 'alignscope\[lora\]'"):
        with_adapters(encoder, PLAN)


def test_the_built_in_model_takes_adapters():
    encoder = alignscope.model("tiny-clip")
    before = encoder.encode_texts(TEXTS)
    with_adapters(encoder, LoraPlan())
    assert torch.equal(encoder.encode_texts(TEXTS), before)
