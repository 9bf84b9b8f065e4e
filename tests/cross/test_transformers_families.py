"""VisualBERT, BLIP-2, BridgeTower and FLAVA against the documented calls of transformers, pair by pair."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoTokenizer, Blip2Processor

from alignscope.attribution.cross import cross_heats
from alignscope.errors import BadData, BadImage, BadInput, Unsupported
from alignscope.models.cross.encoder import TransformersCrossEncoder
from alignscope.models.cross.loading import load
from alignscope.models.protocols import Picture
from alignscope.records import Regions

KINDS = ["visualbert", "blip2", "bridgetower", "flava"]
Find = Callable[..., Path]


@pytest.fixture(params=KINDS)
def family(request: pytest.FixtureRequest, twin: Find) -> TransformersCrossEncoder:
    return load(twin(request.param))


@pytest.fixture
def shown(family: TransformersCrossEncoder, picture_of: Callable[[str, int], Picture]) -> list[Picture]:
    return [picture_of(family.traits.unit, number) for number in range(4)]


def documented(model: TransformersCrossEncoder, picture: Picture, text: str) -> tuple[float, float]:
    """Both logits of the matching head as the class gives them for one pair, without padding."""
    kind = model.model.config.model_type
    words = model.tokenizer([text], return_tensors="pt", truncation=True, max_length=20)
    if isinstance(picture, Regions):
        features = torch.tensor(picture.features)[None]
        ones = torch.ones(features.shape[:-1])
        output = model.model(
            **words,
            visual_embeds=features,
            visual_token_type_ids=ones.long(),
            visual_attention_mask=ones,
            labels=torch.full((1, words["input_ids"].shape[1] + len(picture)), -100),
        )
        return tuple(output.seq_relationship_logits[0].tolist())
    seen = model.image_processor(images=[picture], return_tensors="pt")
    if kind == "blip-2":
        del words["token_type_ids"]
        output = model.model(**words, **seen, use_image_text_matching_head=True)
        return tuple(output.logits_per_image[0].tolist())
    if kind == "flava":
        output = model.model(**words, **seen, input_ids_masked=words["input_ids"], return_loss=False)
        return tuple(output.itm_logits[0].tolist())
    return tuple(model.model(**words, **seen).logits[0].tolist())


def test_scores_are_those_of_transformers(
    family: TransformersCrossEncoder, shown: Sequence[Picture], texts: list[str], twin: Find
) -> None:
    """The logit of the match less the other, VisualBERT's first and everyone else's second."""
    with torch.no_grad():
        pairs = [documented(family, *pair) for pair in zip(shown, texts, strict=True)]
    first = family.model.config.model_type == "visual_bert"
    wanted = [pair[0] - pair[1] if first else pair[1] - pair[0] for pair in pairs]
    scores = family.score(shown, texts)
    assert scores.tolist() == pytest.approx(wanted, abs=1e-4)
    assert scores.std() > 0.01
    assert family.traits.match_index == (0 if first else 1)
    other = load(twin(kind_of(family)), match_index=int(first))
    assert other.score(shown, texts).tolist() == pytest.approx([-each for each in wanted], abs=1e-4)
    assert other.traits.match_index == int(first)
    with pytest.raises(BadInput, match="match index 2"):
        load(twin(kind_of(family)), match_index=2)


def kind_of(model: TransformersCrossEncoder) -> str:
    return model.name.removeprefix("tiny-random-")


def test_half_precision_is_near(
    family: TransformersCrossEncoder, shown: Sequence[Picture], twin: Find
) -> None:
    half = load(twin(kind_of(family)), dtype="bfloat16").score(shown[:1], ["a red dog"])
    assert half.dtype == torch.float32
    assert torch.allclose(half, family.score(shown[:1], ["a red dog"]), rtol=0.1, atol=0.3)


def test_blip2_keeps_every_token_where_image_tokens_are_expected(
    twin: Find, picture_of: Callable[[str, int], Image.Image], texts: list[str]
) -> None:
    """The class then cuts the first `num_query_tokens` ids away; the first tokens must still count."""
    plain, expecting = load(twin("blip2")), load(twin("blip2", image_token_index=2000))
    shown = [picture_of("patch", number) for number in range(4)]
    assert expecting.model.config.image_token_index == 2000
    assert expecting.score(shown, texts).tolist() == pytest.approx(
        plain.score(shown, texts).tolist(), abs=1e-5
    )
    one, other = plain.score(shown[:1], ["red dog cat"]), plain.score(shown[:1], ["small dog cat"])
    assert abs(one - other) > 1e-3
    words = plain.tokenizer("red dog cat", return_tensors="pt")
    ids = torch.cat([torch.full((1, 3), 2000), words["input_ids"]], dim=1)
    with torch.no_grad():
        output = expecting.model(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            **expecting.image_processor(images=shown[:1], return_tensors="pt"),
            use_image_text_matching_head=True,
        )
    odds = output.logits_per_image.softmax(dim=1)[0, 1].logit()  # softmax once
    assert odds.item() == pytest.approx(one.item(), abs=1e-4)


def test_blip2_as_its_processor_saves_it(
    twin: Find, picture_of: Callable[[str, int], Image.Image], texts: list[str], tmp_path: Path
) -> None:
    """It adds a token that stands for the image to the tokenizer, one more than the model has embeddings."""
    rows = load(twin("blip2")).model.config.qformer_config.vocab_size
    shutil.copytree(twin("blip2", image_token_index=rows), tmp_path / "whole")
    parts = (each.from_pretrained(tmp_path / "whole") for each in (AutoImageProcessor, AutoTokenizer))
    Blip2Processor(*parts, num_query_tokens=3).save_pretrained(tmp_path / "whole")
    assert len(AutoTokenizer.from_pretrained(tmp_path / "whole")) == rows + 1
    saved = load(tmp_path / "whole")
    shown = [picture_of("patch", number) for number in range(4)]
    assert torch.allclose(saved.score(shown, texts), load(twin("blip2")).score(shown, texts), atol=1e-5)
    with pytest.raises(BadData, match="text 1 holds '<image>', which this model has no embedding for"):
        saved.score(shown[:2], ["a dog", "an <image> of a dog"])


def test_blip2_averages_its_head_over_queries(
    twin: Find, picture_of: Callable[[str, int], Image.Image]
) -> None:
    model = load(twin("blip2"))
    states = []
    hook = model.model.itm_head.register_forward_hook(lambda module, inputs, output: states.append(output))
    score = model.score([picture_of("patch", 0)], ["a dog"])
    hook.remove()
    assert states[0].shape == (1, 3, 2)
    assert score.item() == pytest.approx((states[0][0, :, 1] - states[0][0, :, 0]).mean().item(), abs=1e-5)


@pytest.mark.parametrize("kind", ["blip2", "bridgetower"])
def test_models_without_maps_say_so(
    kind: str, twin: Find, picture_of: Callable[[str, int], Image.Image]
) -> None:
    model = load(twin(kind))
    inputs = model.inputs([picture_of("patch", 0)], ["a dog"])
    assert model.traits.attributions == ("gradient", "perturbation")
    with pytest.raises(Unsupported, match=f"tiny-random-{kind} gives no attention maps, only gradient"):
        model.pair_attention().__enter__()
    with pytest.raises(Unsupported, match="gives no gradcam"):
        cross_heats(model, inputs)


def test_flava_maps_are_its_own_in_the_order_of_text_and_image(
    twin: Find, picture_of: Callable[[str, int], Image.Image], texts: list[str]
) -> None:
    """FLAVA puts its class token first, then the image's and the patches, then the text."""
    model = load(twin("flava"))
    inputs = model.inputs([picture_of("patch", number) for number in range(4)], texts)
    width = inputs.tokens.ids.shape[1]
    assert inputs.units[0].tolist() == [-1, -1, *range(16)]
    before = model.match(inputs)
    with model.pair_attention() as maps:
        assert torch.allclose(model.match(inputs), before, atol=1e-6)
    theirs: list[Any] = []
    encoder = model.model.flava.multimodal_model.encoder
    hook = encoder.register_forward_pre_hook(
        lambda module, args, options: (args, {**options, "output_attentions": True}), with_kwargs=True
    )
    after = encoder.register_forward_hook(lambda module, args, output: theirs.extend(output.attentions))
    model.match(inputs)
    hook.remove()
    after.remove()
    place = [0, *range(19, 18 + width), 18, *range(1, 18)]
    assert len(maps) == len(theirs) == 2
    for ours, own in zip(maps, theirs, strict=True):
        assert (ours.query, ours.key) == ("joint", "joint")
        assert torch.allclose(ours.probabilities, own[:, :, place][..., place], atol=1e-6)
        words = ours.probabilities[:, :, :, 1:width] * (inputs.tokens.mask[:, 1:] == 0)[:, None, None]
        assert not words.any()  # nobody looks at padding
    gradients = torch.autograd.grad(before.sum(), list(model.model.flava.parameters()), allow_unused=True)
    assert any(each is not None for each in gradients)


def test_flava_heat_is_that_of_the_position_its_head_reads(
    twin: Find, picture_of: Callable[[str, int], Image.Image]
) -> None:
    """Relevance by hand in FLAVA's own order: the row of its first position, one pair without padding."""
    model = load(twin("flava"))
    inputs = model.inputs([picture_of("patch", 0)], ["a red dog near a small cat"])
    kept: list[torch.Tensor] = []
    layers = model.model.flava.multimodal_model.encoder.layer
    hooks = [
        layer.attention.attention.dropout.register_forward_pre_hook(lambda module, args: kept.append(args[0]))
        for layer in layers
    ]
    with model.evaluating():
        score = model.match(inputs).sum()
    for hook in hooks:
        hook.remove()
    relevance = torch.eye(kept[0].shape[-1])
    for attention, gradient in zip(kept, torch.autograd.grad(score, kept), strict=True):
        relevance = relevance + (attention * gradient).clamp(min=0).mean(dim=1)[0] @ relevance
    heats = cross_heats(model, inputs, methods=("gradcam", "attention"))
    assert torch.allclose(heats.tokens["gradcam"][0, 1:-1], relevance[0, 19:-1], atol=1e-6)
    assert torch.allclose(heats.images[0], relevance[0, 2:18], atol=1e-6)
    paid = torch.stack([attention.mean(dim=1)[0, 0] for attention in kept]).mean(dim=0)
    assert torch.allclose(heats.tokens["attention"][0, 1:-1], paid[19:-1], atol=1e-6)
    assert relevance[0, 2:18].std() > 0


def test_visualbert_takes_features_alone(twin: Find, picture_of: Callable[[str, int], Regions]) -> None:
    """Boxes change nothing, features of another width are refused, the width is a trait."""
    model, regions = load(twin("visualbert")), picture_of("region", 0)
    moved = replace(regions, boxes=regions.boxes / 2)
    scores = model.score([regions, moved], ["a dog", "a dog"])
    assert scores[0].item() == pytest.approx(scores[1].item(), abs=1e-6)
    assert model.traits.feature_width == 6
    assert model.inputs([regions], ["a dog"]).positions[0].shape == (3, 0)
    with pytest.raises(BadData, match="width 5, the model takes width 6"):
        model.score([replace(regions, features=regions.features[:, :5])], ["a dog"])


@pytest.mark.parametrize("kind", ["visualbert", "flava"])
def test_maps_are_joint_and_rows_are_distributions(
    kind: str, twin: Find, picture_of: Callable[[str, int], Picture], texts: list[str]
) -> None:
    model = load(twin(kind))
    inputs = model.inputs([picture_of(model.traits.unit, number) for number in range(4)], texts)
    with model.pair_attention() as maps:
        model.match(inputs)
    positions = inputs.tokens.ids.shape[1] + inputs.units.shape[1]
    assert [(each.query, each.key, each.block) for each in maps] == [("joint", "joint", n) for n in (0, 1)]
    for each in maps:
        assert each.probabilities.shape == (4, 2, positions, positions)
        assert torch.allclose(each.probabilities.sum(dim=-1), torch.ones(()))


@pytest.mark.parametrize("kind", ["blip2", "bridgetower", "flava"])
def test_images_of_any_size_and_mode(kind: str, twin: Find) -> None:
    model = load(twin(kind))
    for size in ((1, 1), (30, 50), (90, 62), (700, 500)):
        scores = model.score([Image.new(mode, size) for mode in ("L", "RGBA", "RGB")], ["a dog"] * 3)
        assert scores.isfinite().all()
        inputs = model.inputs([Image.new("RGB", size)], ["a dog"])
        assert inputs.grids == ((4, 4),) == (model.traits.grid,)
        assert inputs.images[0].shape == (3, 32, 32)


def test_images_too_narrow_to_resize_are_refused_by_their_size(twin: Find) -> None:
    """BridgeTower keeps proportions up to a longest side, after which nothing is left of the other."""
    with pytest.raises(BadImage, match="an image of 3x50 pixels cannot be brought to the size"):
        load(twin("bridgetower")).score([Image.new("RGB", (3, 50))], ["a dog"])


def test_heats_of_gradients_can_be_trained_through(
    family: TransformersCrossEncoder, shown: Sequence[Picture], texts: list[str]
) -> None:
    """A second derivative, which fused attention does not have."""
    inputs = family.inputs(shown, texts)
    family.model.eval()
    heat = cross_heats(family, inputs, methods=("gradient",), create_graph=True).tokens["gradient"]
    heat.square().sum().backward()
    table = dict(family.model.named_parameters())
    assert any(each.grad is not None and each.grad.abs().sum() > 0 for each in table.values())
