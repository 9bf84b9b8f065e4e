"""Cross-encoders against transformers' own calls, per-pair loops and each other's padding."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import transformers
from PIL.Image import Image
from torch import Tensor

from alignscope.errors import BadData, BadInput, CheckpointError, CheckpointMismatch, LengthMismatch
from alignscope.models.cross.encoder import TransformersCrossEncoder
from alignscope.models.cross.loading import load
from alignscope.models.cross.vilt import patches
from alignscope.models.protocols import CrossEncoder, DualEncoder, PairScorer, Picture
from alignscope.records import Regions


def own_score(model: TransformersCrossEncoder, picture: Picture, text: str) -> float:
    """One pair through transformers as its documentation calls it; the tokenizer's own padding-free batch."""
    words = model.tokenizer([text], return_tensors="pt", truncation=True, max_length=20)
    with torch.no_grad():
        if isinstance(picture, Regions):
            features, boxes = torch.tensor(picture.features), torch.tensor(picture.boxes)
            places = boxes / torch.tensor([picture.width, picture.height] * 2)
            output = model.model(**words, visual_feats=features[None], visual_pos=places[None])
            apart, together = output.cross_relationship_score[0].tolist()
            return together - apart
        seen = model.image_processor(images=[picture], return_tensors="pt")
        if "Vilt" in type(model.model).__name__:
            return model.model(**words, **seen).logits[0, 0].item()
        del words["token_type_ids"]
        output = model.model(**words, **seen)
        odds = output.itm_score[0].softmax(dim=-1)[1].logit()
        return odds.item()


def test_scores_are_those_of_transformers(
    model: TransformersCrossEncoder, pictures: Sequence[Picture], texts: list[str]
) -> None:
    """One batch of texts and images of many sizes against single pairs without any padding."""
    wanted = [own_score(model, *pair) for pair in zip(pictures, texts, strict=True)]
    scores = model.score(pictures, texts)
    assert scores.tolist() == pytest.approx(wanted, abs=1e-4)
    assert scores.std() > 0.01
    assert model.match(model.inputs(pictures, texts)).requires_grad


def test_they_are_cross_encoders(model: TransformersCrossEncoder) -> None:
    assert isinstance(model, CrossEncoder)
    assert isinstance(model, PairScorer)
    assert not isinstance(model, DualEncoder)
    assert model.traits.family == "cross"
    assert model.traits.attributions == ("attention", "gradcam", "gradient", "perturbation")


def test_scores_do_not_depend_on_order_batch_or_random_numbers(
    model: TransformersCrossEncoder,
    pictures: Sequence[Picture],
    texts: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scores = model.score(pictures, texts)
    torch.manual_seed(123)
    assert model.score(pictures[::-1], texts[::-1]).flip(0).tolist() == pytest.approx(
        scores.tolist(), abs=1e-5
    )
    monkeypatch.setattr("alignscope.models.cross.encoder.BATCH", 3)
    assert model.score(pictures, texts).tolist() == pytest.approx(scores.tolist(), abs=1e-5)
    assert model.score([], []).shape == (0,)
    assert len(model.match(model.inputs(pictures[:1], texts[:1]))) == 1


def test_attention_maps_are_all_kept_and_rows_are_distributions(
    model: TransformersCrossEncoder, pictures: Sequence[Picture], texts: list[str]
) -> None:
    inputs = model.inputs(pictures, texts)
    with model.pair_attention() as maps:
        model.match(inputs)
    sizes = {"text": inputs.tokens.ids.shape[1], "image": inputs.units.shape[1]}
    sizes["joint"] = sizes["text"] + sizes["image"]
    for each in maps:
        assert each.probabilities.shape == (4, 2, sizes[each.query], sizes[each.key])
        assert torch.allclose(each.probabilities.sum(dim=-1), torch.ones(()))
        if each.key == "text":
            assert not (each.probabilities * (inputs.tokens.mask == 0)[:, None, None]).any()
    route = [(each.block, each.query[0] + each.key[0]) for each in maps]
    wanted = {
        "lxmert": [(0, "tt"), (1, "tt"), (2, "ii"), *cross_layer(3), *cross_layer(6)],
        "vilt": [(0, "jj"), (1, "jj")],
        "blip": [(0, "ii"), (1, "ii"), (2, "tt"), (3, "ti"), (4, "tt"), (5, "ti")],
    }
    assert route == wanted[model.model.config.model_type]


def cross_layer(block: int) -> list[tuple[int, str]]:
    """Both directions side by side, then each stream on its own."""
    return [(block, "ti"), (block, "it"), (block + 1, "tt"), (block + 2, "ii")]


def test_lxmert_shows_both_directions_of_its_shared_cross_attention(
    twin: Callable[..., Path], picture_of: Callable[[str, int], Regions]
) -> None:
    """Transformers returns text to image alone; the way back is recomputed from what entered the module."""
    model = load(twin("lxmert"))
    inputs = model.inputs([picture_of("region", 0)], ["a red dog"])
    entered: list[tuple[Tensor, ...]] = []
    shared = [layer.visual_attention.att for layer in model.model.lxmert.encoder.x_layers]
    hooks = [
        module.register_forward_pre_hook(lambda module, states: entered.append((module, *states[:2])))
        for module in shared
    ]
    with model.pair_attention() as maps:
        model.match(inputs)
    for hook in hooks:
        hook.remove()
    crossing = [each for each in maps if each.query != each.key]
    assert [(each.query, each.key) for each in crossing] == [("text", "image"), ("image", "text")] * 2
    assert crossing[0].block == crossing[1].block < crossing[2].block == crossing[3].block
    for each, (module, queries, keys) in zip(crossing, entered, strict=True):
        q, k = module.query(queries)[0].split(8, dim=-1), module.key(keys)[0].split(8, dim=-1)
        wanted = [torch.softmax(a @ b.T / 8**0.5, dim=-1) for a, b in zip(q, k, strict=True)]
        assert torch.allclose(each.probabilities[0], torch.stack(wanted), atol=1e-6)


def test_maps_are_those_that_transformers_returns(
    model: TransformersCrossEncoder, pictures: Sequence[Picture], texts: list[str]
) -> None:
    """Where transformers returns maps of its own; for ViLT in the order of positions that a run drew."""
    inputs = model.inputs(pictures[:1], texts[:1])
    with model.pair_attention() as maps:
        model.match(inputs)
    kind = model.model.config.model_type
    if kind == "lxmert":
        output = model.model(
            input_ids=inputs.tokens.ids,
            visual_feats=inputs.images[0][None],
            visual_pos=inputs.positions[0][None],
            output_attentions=True,
        )
        sets = {
            ("text", "image"): output.cross_encoder_attentions,
            ("text", "text"): output.language_attentions,
            ("image", "image"): output.vision_attentions,
        }
        for (query, key), wanted in sets.items():
            got = [each.probabilities for each in maps if (each.query, each.key) == (query, key)]
            assert len(got) >= len(wanted) > 0
            assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(got, wanted, strict=False))
    elif kind == "blip":
        output = model.model.vision_model(inputs.images[0][None], output_attentions=True)
        got = [each.probabilities for each in maps if each.key == each.query == "image"]
        assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(got, output.attentions, strict=True))
    else:
        torch.manual_seed(0)
        pixels = inputs.images[0][None]
        mask = torch.ones_like(pixels[:, 0], dtype=torch.long)
        output = model.model(
            input_ids=inputs.tokens.ids, pixel_values=pixels, pixel_mask=mask, output_attentions=True
        )
        wanted = output.attentions
        got = [each.probabilities for each in maps]
        assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(got, wanted, strict=True))


def test_hooks_are_gone_after_an_error(
    model: TransformersCrossEncoder, pictures: Sequence[Picture], texts: list[str]
) -> None:
    inputs = model.inputs(pictures, texts)
    before = model.match(inputs)
    unknown = replace(inputs, tokens=replace(inputs.tokens, ids=inputs.tokens.ids + 1000))
    with model.pair_attention() as maps, pytest.raises(IndexError):
        model.match(unknown)
    with pytest.raises(IndexError), model.pair_attention(), model.text_inputs():  # noqa: PT012
        model.match(inputs)
        model.match(unknown)
    count = len(maps)
    assert torch.equal(model.match(inputs), before)
    assert len(maps) == count
    for module in model.model.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks


def test_text_inputs_carry_a_gradient_even_where_the_weights_are_frozen(
    model: TransformersCrossEncoder, pictures: Sequence[Picture], texts: list[str]
) -> None:
    inputs = model.inputs(pictures, texts)
    gradients = []
    for frozen in (False, True):
        model.model.requires_grad_(not frozen)
        with model.text_inputs() as entered:
            score = model.match(inputs).sum()
        gradients.append(torch.autograd.grad(score, entered[0])[0])
        table = model.model.get_input_embeddings().weight
        assert torch.allclose(entered[0], table[inputs.tokens.ids])  # before positions are added
    assert torch.equal(*gradients)
    assert not gradients[0][inputs.tokens.mask == 0].any()
    assert gradients[0][inputs.tokens.mask == 1].any(dim=-1).all()


def test_vilt_says_which_patch_is_where(
    twin: Callable[..., Path], picture_of: Callable[[str, int], Image]
) -> None:
    """Every position's embedding, less its place's, is the projection of that very patch of the pixels."""
    model = load(twin("vilt"))
    inputs = model.inputs([picture_of("patch", 0)], ["cat"])
    (rows, columns), pixels = inputs.grids[0], inputs.images[0]
    assert (rows, columns) == (pixels.shape[1] // 8, pixels.shape[2] // 8) == (3, 4)
    table = model.model.vilt.embeddings
    with torch.no_grad():
        blank = patches(model.model, torch.zeros_like(pixels))[0]
        full = patches(model.model, pixels)[0]
        projection = table.patch_embeddings.projection
        order = inputs.units[0].tolist()
        assert order[0] == -1
        assert sorted(order[1:]) == list(range(12))
        assert order[1:] != list(range(12))  # drawn, and mapped back
        for position, unit in list(enumerate(order))[1:]:
            row, column = divmod(unit, columns)
            cell = pixels[None, :, row * 8 : row * 8 + 8, column * 8 : column * 8 + 8]
            wanted = projection(cell)[0, :, 0, 0] - projection.bias
            assert torch.allclose(full[position] - blank[position], wanted, atol=1e-5)


def test_vilt_that_takes_part_of_the_patches_depends_on_its_pair_alone(
    twin: Callable[..., Path], picture_of: Callable[[str, int], Image]
) -> None:
    model = load(twin("vilt", max_image_length=5))
    images = [picture_of("patch", number) for number in range(4)]
    texts = ["cat", "a dog", "two cats", "red"]
    inputs = model.inputs(images, texts)
    assert [(row >= 0).sum().item() for row in inputs.units] == [5, 5, 5, 4]  # of 12, 8, 9, 4
    torch.manual_seed(9)
    state = torch.get_rng_state()
    scores = model.score(images, texts)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(10)
    alone = [model.score([image], [text]).item() for image, text in zip(images, texts, strict=True)]
    assert scores.tolist() == pytest.approx(alone, abs=1e-5)


def test_fingerprint_follows_weights_and_configuration(
    twin: Callable[..., Path], model: TransformersCrossEncoder, tmp_path: Path
) -> None:
    kind = model.model.config.model_type
    assert load(twin(kind)).fingerprint == model.fingerprint
    with torch.no_grad():
        next(model.model.parameters()).view(-1)[0] += 1
    assert load(twin(kind)).fingerprint != model.fingerprint
    assert load(twin("vilt", max_image_length=5)).fingerprint != load(twin("vilt")).fingerprint
    shorter = Path(shutil.copytree(twin(kind), tmp_path / "shorter"))
    settings = shorter / "tokenizer_config.json"
    settings.write_text(json.dumps({**json.loads(settings.read_text()), "model_max_length": 9}))
    assert load(shorter).fingerprint != load(twin(kind)).fingerprint


def test_what_does_not_fit_is_refused(
    model: TransformersCrossEncoder,
    pictures: Sequence[Picture],
    texts: list[str],
    picture_of: Callable[[str, int], Picture],
) -> None:
    with pytest.raises(LengthMismatch, match="4 texts for 3 images"):
        model.score(pictures[:3], texts)
    other = "region" if model.traits.unit == "patch" else "patch"
    with pytest.raises(BadInput, match=r"image 1 is .*, the model takes"):
        model.inputs([pictures[0], picture_of(other, 0)], texts[:2])


def test_regions_that_do_not_fit_are_refused(
    twin: Callable[..., Path], picture_of: Callable[[str, int], Regions]
) -> None:
    """Each by the name of its image, in whichever place of the batch."""
    model = load(twin("lxmert"))
    good = picture_of("region", 0)
    outside, degenerate = good.boxes.copy(), good.boxes.copy()
    outside[1] = (0, 0, 48, 33)
    degenerate[2] = (9, 4, 9, 8)
    none = replace(good, boxes=good.boxes[:0], features=good.features[:0])
    for wrong, said in (
        (replace(good, features=good.features[:, :5]), "width 5, the model takes width 6"),
        (replace(good, boxes=outside), r"box 2 as \[0.0, 0.0, 48.0, 33.0\], wanted it inside .* 48x32"),
        (replace(good, boxes=degenerate), "box 3 as .* x1 < x2"),
        (none, "no region"),
    ):
        with pytest.raises(BadData, match=f"'poor': .*{said}"):
            model.score([good, replace(wrong, image="poor")], ["cat", "a dog"])


def test_checkpoints_that_do_not_fit_are_refused(
    twin: Callable[..., Path], tmp_path: Path, tiny_clip_dir: Path
) -> None:
    with pytest.raises(CheckpointError, match="wanted a cross-encoder"):
        load(tiny_clip_dir)
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        load(tmp_path / "nothing")
    transformers.BlipModel(load(twin("blip")).model.config).save_pretrained(tmp_path / "base")
    with pytest.raises(CheckpointError, match="BlipModel, wanted"):
        load(tmp_path / "base")
    bare = transformers.LxmertModel(load(twin("lxmert")).model.config)
    bare.config.architectures = None
    bare.save_pretrained(tmp_path / "bare")
    config = tmp_path / "bare" / "config.json"
    config.write_text(config.read_text().replace('"LxmertModel"', '"LxmertForPreTraining"'))
    with pytest.raises(CheckpointMismatch, match="missing"):
        load(tmp_path / "bare")


def test_half_precision_scores_in_float32(
    twin: Callable[..., Path], picture_of: Callable[[str, int], Picture]
) -> None:
    for kind in ("lxmert", "vilt", "blip"):
        full, half = load(twin(kind)), load(twin(kind), dtype="bfloat16")
        pair = [picture_of(full.traits.unit, 0)], ["a red dog"]
        wanted, got = full.score(*pair), half.score(*pair)
        assert got.dtype == torch.float32
        assert_near(got, wanted)


def assert_near(got: Tensor, wanted: Tensor) -> None:
    assert torch.allclose(got, wanted, rtol=0.1, atol=0.2), (got, wanted)


@pytest.mark.parametrize("kind", ["lxmert", "oscar"])
def test_the_odds_of_half_precision_logits_are_not_rounded_again(
    kind: str, twin: Callable[..., Path], picture_of: Callable[[str, int], Picture]
) -> None:
    half = load(twin(kind), dtype="bfloat16")
    inputs = half.inputs([picture_of("region", number) for number in range(4)], ["a red dog"] * 4)
    head = half.model.cls.seq_relationship if kind == "lxmert" else half.model.cls["seq_relationship"]
    said: list[Tensor] = []
    hook = head.register_forward_hook(lambda module, given, logits: said.append(logits))
    got = half.match(inputs)
    hook.remove()
    rounded, *rest = said[0].unbind(dim=-1)
    exact = [each.float() for each in (rounded, *rest)]
    if kind == "lxmert":
        wanted = exact[1] - exact[0]
        assert not torch.equal((rest[0] - rounded).float(), wanted), "nothing was checked"
    else:
        wanted = exact[0] - (exact[1].exp() + exact[2].exp()).log()
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", ["blip", "blip2", "bridgetower", "flava"])
def test_images_of_a_size_the_tower_does_not_take(
    kind: str, twin: Callable[..., Path], tmp_path: Path
) -> None:
    other = Path(shutil.copytree(twin(kind), tmp_path / "copy"))
    file = other / "preprocessor_config.json"
    settings = json.loads(file.read_text())
    changed = {n: dict.fromkeys(settings[n], 48) for n in ("size", "crop_size") if settings.get(n)}
    file.write_text(json.dumps({**settings, **changed}))
    with pytest.raises(CheckpointMismatch, match=r"gives 48 x 48 pixels .* wants 32 x 32"):
        load(other)
