"""Token heats against plain slow code, finite differences and captum."""

import copy
import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from captum.attr import LayerGradientXActivation
from torch import Tensor, nn

from alignscope.attribution.options import Options
from alignscope.attribution.tokens import counted, text_forward, token_heats, with_gradients
from alignscope.errors import BadInput, LengthMismatch
from alignscope.models.protocols import DualEncoder, Tokens
from alignscope.models.zoo import open_model

INNER = ("attention", "gradcam", "gradient")
TEXTS = [
    "a red dog to the left of a small cat",
    "two spotted cats in the kitchen",
    "The café's BLUE ball, inside a bowl",
    "cat",
    "a red dog to the left of a small cat " * 5,
]


@pytest.fixture(scope="module", params=["clip", "siglip", "pair"])
def model(request: pytest.FixtureRequest) -> DualEncoder:
    """A causal tower read at its end, one that reads its padding, one read at its first token."""
    return open_model(request.getfixturevalue(f"tiny_{request.param}_dir"))


@pytest.fixture(scope="module")
def double(model: DualEncoder) -> DualEncoder:
    """The same in float64."""
    twin = copy.deepcopy(model)
    twin.model.double()
    return twin


@pytest.fixture(autouse=True)
def softmax_in_full_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers' eager attention asks for its softmax in float32 also in a float64 tower; not here."""
    softmax = nn.functional.softmax

    def fine(values: Tensor, *args: object, dtype: torch.dtype | None = None, **more: object) -> Tensor:
        return softmax(values, *args, dtype=None if values.dtype == torch.float64 else dtype, **more)

    monkeypatch.setattr(nn.functional, "softmax", fine)


def image_rows(model: DualEncoder, count: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Any unit vectors will do for image embeddings."""
    width = model.encode_texts(["a"]).shape[1]
    rows = torch.randn(count, width, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return nn.functional.normalize(rows, dim=-1).to(dtype)


def slow_heats(model: DualEncoder, text: str, image: Tensor, layers: range) -> Mapping[str, Tensor]:
    """One caption; transformers' own `output_attentions`; a gradient per layer; loops over heads and tokens."""
    clip = model.model
    clip.text_model.set_attn_implementation("eager")
    entered: list[Tensor] = []
    table = clip.text_model.get_input_embeddings()
    hook = table.register_forward_hook(lambda module, given, output: entered.append(output))
    try:
        tokens = model.tokens([text])
        mask = None if model.traits.readout == "last" else tokens.mask
        output = clip.get_text_features(input_ids=tokens.ids, attention_mask=mask, output_attentions=True)
    finally:
        hook.remove()
        clip.text_model.set_attn_implementation("sdpa")
    embedding = output.pooler_output[0] / output.pooler_output[0].norm()
    score = model.traits.scale * (embedding * image).sum()
    at, length = int(tokens.readout[0]), tokens.ids.shape[1]
    spelled = [t for t, (start, end) in enumerate(tokens.offsets[0]) if end > start and t != at]
    relevance, listened = torch.eye(length, dtype=image.dtype), torch.zeros(length, dtype=image.dtype)
    for layer in layers:
        attention = output.attentions[layer]
        (gradient,) = torch.autograd.grad(score, attention, retain_graph=True)
        heads = [(g * a).clamp(min=0) for g, a in zip(gradient[0], attention[0], strict=True)]
        relevance = relevance + sum(heads) / len(heads) @ relevance
        listened = listened + sum(head[at] for head in attention[0]) / len(heads) / len(layers)
    (slope,) = torch.autograd.grad(score, entered[0])
    norms = [slope[0, token].abs().sum().item() for token in spelled]
    weights = [torch.tensor(norm - max(norms), dtype=torch.float64).exp().item() for norm in norms]
    heats = {name: torch.zeros(length, dtype=image.dtype) for name in INNER}
    for token, weight in zip(spelled, weights, strict=True):
        heats["attention"][token] = listened[token].detach()
        heats["gradcam"][token] = relevance[at, token].detach()
        heats["gradient"][token] = weight / sum(weights)
    return heats


@pytest.mark.parametrize("layers", ["all", "last", (0, 2)])
@pytest.mark.parametrize(("width", "limit"), [("float32", 1e-5), ("float64", 1e-9)])
def test_a_batch_equals_the_slow_loop_over_captions(
    model: DualEncoder, double: DualEncoder, layers: str | tuple[int, int], width: str, limit: float
) -> None:
    chosen = {"all": range(3), "last": range(2, 3), (0, 2): range(2)}[layers]
    used = double if width == "float64" else model
    images = image_rows(model, len(TEXTS), getattr(torch, width))
    found = token_heats(used, used.tokens(TEXTS), images, methods=INNER, options=Options(layers=layers))
    compared = 0
    for row, (text, image) in enumerate(zip(TEXTS, images, strict=True)):
        wanted = slow_heats(used, text, image, chosen)
        for method in INNER:
            heat, slow = found[method][row], wanted[method]
            assert heat.dtype == images.dtype
            assert (heat[: len(slow)] - slow).abs().max() <= limit * max(1.0, slow.max().item())
            assert heat[len(slow) :].abs().sum() == 0
            compared += int(slow.max() > 1e-3)
    assert compared >= 3 * (len(TEXTS) - 1), "too little to compare"


@pytest.mark.parametrize(("width", "limit"), [("float32", 1e-5), ("float64", 1e-9)])
def test_batch_order_and_company_change_nothing(
    model: DualEncoder, double: DualEncoder, width: str, limit: float
) -> None:
    used = double if width == "float64" else model
    # A softmax of norms about 50 makes 5e-5 of float32's last digit of them: a temperature takes that out.
    options = Options() if width == "float64" else Options(temperature=10.0)
    images = image_rows(model, len(TEXTS), getattr(torch, width))
    together = token_heats(used, used.tokens(TEXTS), images, methods=INNER, options=options)
    turned = token_heats(used, used.tokens(TEXTS[::-1]), images.flip(0), methods=INNER, options=options)
    for method in INNER:
        scale = max(1.0, together[method].max().item())
        assert (together[method] - turned[method].flip(0)).abs().max() <= limit * scale
        for row, text in enumerate(TEXTS):
            own, image = used.tokens([text]), images[row : row + 1]
            alone = token_heats(used, own, image, methods=[method], options=options)[method][0]
            assert (together[method][row, : len(alone)] - alone).abs().max() <= limit * scale
            assert alone.max() > 0


def padded(tokens: Tokens, more: int, fill: int) -> Tokens:
    """The same texts with `more` positions of padding, of the id `fill`."""
    return dataclasses.replace(
        tokens,
        ids=nn.functional.pad(tokens.ids, (0, more), value=fill),
        mask=nn.functional.pad(tokens.mask, (0, more)),
        offsets=tuple((*row, *[(0, 0)] * more) for row in tokens.offsets),
    )


@pytest.mark.parametrize("fill", ["pad", "word"])
def test_trimmed_padding_changes_nothing(double: DualEncoder, fill: str) -> None:
    tokens = double.tokens(TEXTS[:4])
    images = image_rows(double, 4, torch.float64)
    if not double.traits.trims_padding:
        assert tokens.ids.shape[1] == double.traits.context_length, (
            "this tower reads its padding: never trimmed"
        )
        return
    value = int(tokens.ids[3, 1]) if fill == "word" else double.tokenizer.pad_token_id
    wide = padded(tokens, double.traits.context_length - tokens.ids.shape[1], value)
    assert wide.ids.shape[1] > tokens.ids.shape[1]
    trimmed = token_heats(double, tokens, images, methods=INNER)
    whole = token_heats(double, wide, images, methods=INNER)
    for method in INNER:
        assert (whole[method][:, : tokens.ids.shape[1]] - trimmed[method]).abs().max() <= 1e-9
        assert whole[method][:, tokens.ids.shape[1] :].abs().sum() == 0


def test_siglip_reads_its_padding_and_gives_it_no_heat(tiny_siglip_dir: Path) -> None:
    siglip = open_model(tiny_siglip_dir)
    tokens = siglip.tokens(["cat"])
    found = text_forward(siglip, tokens, methods=INNER, create_graph=False)
    pads = tokens.mask[0] == 0
    assert pads.sum() > 5
    assert (found.attention[0][0, :, -1][:, pads] > 0).all(), "padding takes part in the tower"
    for heat in token_heats(siglip, tokens, image_rows(siglip, 1), methods=INNER).values():
        assert (heat[0, pads] == 0).all()
        assert heat[0, ~pads].sum() > 0


def test_together_or_one_by_one(double: DualEncoder) -> None:
    """Fused attention, where no map is read, gives what the eager path gives."""
    tokens, images = double.tokens(TEXTS), image_rows(double, len(TEXTS), torch.float64)
    together = token_heats(double, tokens, images, methods=INNER)
    assert list(together) == list(INNER)
    for method in INNER:
        alone = token_heats(double, tokens, images, methods=[method])[method]
        assert (together[method] - alone).abs().max() <= 1e-9


def test_the_input_gradient_is_captums(double: DualEncoder) -> None:
    tokens, images = double.tokens(TEXTS), image_rows(double, len(TEXTS), torch.float64)
    passed = text_forward(double, tokens, methods=["gradient"], create_graph=False)
    found = with_gradients(passed, images, methods=["gradient"]).input_gradient

    def scores(ids: Tensor) -> Tensor:
        embedded = double.embed_tokens(dataclasses.replace(tokens, ids=ids))
        return double.traits.scale * (embedded * images).sum(dim=-1)

    table = double.model.text_model.get_input_embeddings()
    theirs = LayerGradientXActivation(scores, table, multiply_by_inputs=False).attribute(tokens.ids)
    assert theirs.abs().max() > 1e-3
    torch.testing.assert_close(found, theirs, rtol=1e-9, atol=1e-9)


def test_the_input_gradient_by_finite_differences(double: DualEncoder) -> None:
    tokens, images = double.tokens(TEXTS[:2]), image_rows(double, 2, torch.float64)
    passed = text_forward(double, tokens, methods=["gradient"], create_graph=False)
    found = with_gradients(passed, images, methods=["gradient"]).input_gradient
    table, step = double.model.text_model.get_input_embeddings(), 1e-5

    def score(text: int, token: int, number: int, change: float) -> float:
        def nudge(module: nn.Module, given: object, output: Tensor) -> Tensor:
            moved = output.clone()
            moved[text, token, number] += change
            return moved

        hook = table.register_forward_hook(nudge)
        try:
            with torch.no_grad():
                return (double.traits.scale * (double.embed_tokens(tokens) * images).sum()).item()
        finally:
            hook.remove()

    for text, token, number in [(0, 1, 0), (0, 3, 7), (1, 2, 31), (1, 4, 15), (1, 0, 2)]:
        slope = (score(text, token, number, step) - score(text, token, number, -step)) / (2 * step)
        assert found[text, token, number].item() == pytest.approx(slope, rel=1e-5, abs=1e-7)


def smooth_slope(value: Callable[[], float], weight: Tensor, way: Tensor) -> float:
    """Central difference, by the largest step whose two sides agree: between others lies a kink.

    The gradient method sums absolute values, and about one direction in some thousands crosses a zero.
    """

    def moved(step: float) -> float:
        with torch.no_grad():
            kept = weight.clone()
            weight.add_(step * way)
        found = value()
        with torch.no_grad():
            weight.copy_(kept)
        return found

    here = value()
    for step in (1e-6, 1e-7, 1e-8):
        ahead, behind = (moved(step) - here) / step, (here - moved(-step)) / step
        if ahead == pytest.approx(behind, rel=1e-4, abs=1e-6):
            return (ahead + behind) / 2
    raise AssertionError("no smooth stretch in this direction")


@pytest.mark.parametrize("method", INNER)
def test_training_through_the_heats_by_finite_differences(double: DualEncoder, method: str) -> None:
    """The second backward, for weights that are used before and after the maps."""
    tokens, images = double.tokens(TEXTS[:3]), image_rows(double, 3, torch.float64)
    options = Options(temperature=5.0)
    weights = [p for p in double.model.text_model.parameters() if p.ndim == 2 and len(p) in (32, 64)]
    weights = [weights[0], weights[len(weights) // 2], weights[-1]]
    wanted = torch.randn(tokens.ids.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def value(*, create_graph: bool) -> Tensor:
        heat = token_heats(
            double, tokens, images, methods=[method], options=options, create_graph=create_graph
        )
        return (heat[method] * wanted).sum()

    slopes = torch.autograd.grad(value(create_graph=True), weights, allow_unused=True)
    checked = 0
    for weight, slope in zip(weights, slopes, strict=True):
        way = torch.randn(weight.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
        analytic = 0.0 if slope is None else (slope * way).sum().item()
        numeric = smooth_slope(lambda: value(create_graph=False).item(), weight, way)
        assert analytic == pytest.approx(numeric, rel=1e-4, abs=1e-6)
        checked += abs(analytic) > 1e-4
    assert checked >= 2, "too little moved"


def test_heats_train_the_image_side_too(model: DualEncoder) -> None:
    for method in ("gradcam", "gradient"):
        images = image_rows(model, 2).requires_grad_()
        found = token_heats(model, model.tokens(TEXTS[:2]), images, methods=[method], create_graph=True)[
            method
        ]
        (slope,) = torch.autograd.grad(found[:, 2].sum(), images)
        assert slope.abs().max() > 0


def test_specials_padding_and_readout_have_no_heat(model: DualEncoder) -> None:
    tokens = model.tokens(TEXTS)
    spelled = counted(tokens)
    assert not spelled[torch.arange(len(TEXTS)), tokens.readout].any()
    for heats in token_heats(model, tokens, image_rows(model, len(TEXTS)), methods=INNER).values():
        assert (heats >= 0).all()
        assert (heats[~spelled] == 0).all()
        assert (heats[spelled] > 0).float().mean() > 0.5


def test_an_end_token_written_in_the_text_is_the_readout_and_has_no_heat(tiny_clip_dir: Path) -> None:
    clip = open_model(tiny_clip_dir)
    tokens = clip.tokens(["a dog <|endoftext|> red cat"])
    at = int(tokens.readout[0])
    assert tokens.offsets[0][at] == (6, 19), "it spells characters of the text"
    assert not counted(tokens)[0, at]
    for heats in token_heats(clip, tokens, image_rows(clip, 1), methods=INNER).values():
        assert (heats[0, at:] == 0).all()
        assert heats[0, 1:at].sum() > 0


def test_the_gradient_includes_the_scale_of_the_score(tiny_clip_dir: Path) -> None:
    model = open_model(tiny_clip_dir)
    images, tokens = image_rows(model, 1), model.tokens(TEXTS[:1])
    before = token_heats(model, tokens, images, options=Options(layers="last"))["gradcam"]
    with torch.no_grad():
        model.model.logit_scale += torch.log(torch.tensor(3.0))
    after = token_heats(model, tokens, images, options=Options(layers="last"))["gradcam"]
    torch.testing.assert_close(after, 3 * before)


def test_needs_no_gradients_switched_on_and_leaves_none_behind(model: DualEncoder) -> None:
    with torch.no_grad():
        found = token_heats(model, model.tokens(TEXTS), image_rows(model, len(TEXTS)), methods=INNER)
        assert not torch.is_grad_enabled()
    for heats in found.values():
        assert heats.max() > 0
        assert not heats.requires_grad
    assert all(parameter.grad is None for parameter in model.model.parameters())


def test_frozen_weights_give_the_same_heats(model: DualEncoder) -> None:
    tokens, images = model.tokens(TEXTS), image_rows(model, len(TEXTS))
    free = token_heats(model, tokens, images, methods=INNER)
    model.model.requires_grad_(False)
    try:
        frozen = token_heats(model, tokens, images, methods=INNER)
    finally:
        model.model.requires_grad_(True)
    for method in INNER:
        assert torch.equal(free[method], frozen[method])


def hooks(model: DualEncoder) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.model.modules())


@pytest.mark.parametrize("method", INNER)
def test_hooks_are_gone_after_an_error(model: DualEncoder, method: str) -> None:
    tokens, images = model.tokens(TEXTS), image_rows(model, len(TEXTS))
    before, switched = hooks(model), model.model.text_model.config._attn_implementation
    wanted = token_heats(model, tokens, images, methods=[method])[method]
    assert hooks(model) == before
    last = model.model.text_model.encoder  # fails after every layer ran and was tapped
    broken = last.register_forward_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        token_heats(model, tokens, images, methods=[method])
    broken.remove()
    assert hooks(model) == before
    assert model.model.text_model.config._attn_implementation == switched
    assert torch.equal(token_heats(model, tokens, images, methods=[method])[method], wanted)


def test_one_image_row_per_text(model: DualEncoder) -> None:
    with pytest.raises(LengthMismatch, match="2 image embeddings for 5 texts"):
        token_heats(model, model.tokens(TEXTS), image_rows(model, 2))


def test_layers_beyond_the_tower(model: DualEncoder) -> None:
    with pytest.raises(BadInput, match=r"the text tower of .* has 3 layers"):
        token_heats(model, model.tokens(TEXTS), image_rows(model, 5), options=Options(layers=(0, 4)))


def test_no_texts_no_heats(model: DualEncoder) -> None:
    found = token_heats(model, model.tokens([]), image_rows(model, 1)[:0], methods=INNER)
    assert [len(found[method]) for method in INNER] == [0, 0, 0]
