"""The loss of CAE: by hand on toys for each method, finite differences, and what must not move."""

import copy
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from toy_text import Toy

from alignscope.attribution.attribute import heats
from alignscope.attribution.options import METHODS, Method, Options
from alignscope.attribution.words import owners
from alignscope.errors import BadInput, LengthMismatch, Unsupported
from alignscope.language.replacements import Candidates, candidates
from alignscope.models.protocols import DualEncoder, Tokens
from alignscope.models.zoo import open_model
from alignscope.records import Caption, Word
from alignscope.training.cae import (
    AttributionLoss,
    Objective,
    attribution_losses,
    sides_of_tokens,
)

CLASSES = {
    **dict.fromkeys(["dog", "cat", "ball", "box", "bowl", "table"], "object"),
    **dict.fromkeys(["red", "small", "blue", "wooden"], "attribute"),
    **dict.fromkeys(["under", "above", "inside"], "relation"),
}
TEXTS = [
    "a red dog under the table",
    "a cat",
    "the small blue ball inside a wooden bowl",
    "a box above a dog",
]


def tagged(text: str) -> Caption:
    words = re.finditer(r"\w+", text)
    return Caption(text, tuple(Word(m[0], *m.span(), CLASSES.get(m[0], "other")) for m in words))


CAPTIONS = [tagged(text) for text in TEXTS]
AVAILABLE = candidates(CAPTIONS)


class Sums(Toy):
    """A text's embedding is the sum of the values of its letters, the image (1,), the score twice that."""

    values = torch.tensor([3.0, 5.0, 1.0, 2.0, 0.5])  # of v, w, x, y, z

    def tokens(self, texts: Sequence[str]) -> Tokens:
        letters = [[ord(letter) - ord("v") for letter in text.split()] for text in texts]
        spans = tuple(((0, 1), (2, 3), (4, 5), (0, 0)) for _ in texts)
        ids = torch.tensor([[*row, 0] for row in letters])
        return Tokens(ids, torch.ones_like(ids), torch.full((len(texts),), 3), spans, tuple(4 for _ in texts))

    def embed_tokens(self, tokens: Tokens) -> Tensor:
        return self.values[tokens.ids[:, :3]].sum(dim=-1, keepdim=True).requires_grad_()


def letters(*classes: str) -> list[Caption]:
    words = tuple(Word("xyz"[i], 2 * i, 2 * i + 1, kind) for i, kind in enumerate(classes))
    return [Caption("x y z", words)]


def only(losses: Mapping[Method, AttributionLoss]) -> AttributionLoss:
    [found] = losses.values()
    return found


def toy_loss(method: Method, caption: list[Caption], **options: object) -> AttributionLoss:
    image = torch.tensor([[2.0, 0.5]])
    return only(attribution_losses(Toy(), caption, image, objective=Objective((method,), **options)))


def test_attention_by_hand() -> None:
    # heats 0.25, 0.1875, 0.125: the object exceeds the mean of the others by 0.25 - 0.15625
    found = toy_loss("attention", letters("object", "attribute", "relation"))
    assert found.value.item() == 0.09375
    assert (found.valid, found.captions, found.above) == (1.0, 1, 1.0)
    assert (found.object_mean, found.composition_mean) == (0.25, 0.15625)
    turned = toy_loss("attention", letters("relation", "attribute", "object"))
    assert (turned.value.item(), turned.above) == (0.0, 0.0)  # 0.125 is below 0.21875
    pushed = toy_loss("attention", letters("relation", "attribute", "object"), margin=0.5)
    assert pushed.value.item() == 0.5 + 0.125 - 0.21875


def test_gradcam_by_hand() -> None:
    # heats 0.5, 0.1875, 0
    assert toy_loss("gradcam", letters("object", "attribute", "relation")).value.item() == 0.5 - 0.09375
    shares = toy_loss("gradcam", letters("object", "other", "relation"), heats=Options(normalize="sum"))
    assert shares.value.item() == pytest.approx(0.5 / 0.6875)  # by tokens: of words the same here
    assert toy_loss("gradcam", letters("object", "other", "relation")).value.item() == 0.5


def test_gradient_by_hand() -> None:
    # image (2, -0.5): norms 1.25, 0.9375, 0.625 of the three tokens and their softmax
    image, caption = torch.tensor([[2.0, -0.5]]), letters("object", "attribute", "relation")
    found = only(attribution_losses(Toy(), caption, image, objective=Objective(("gradient",))))
    weights = [math.exp(norm) for norm in (1.25, 0.9375, 0.625)]
    first, second, third = (weight / sum(weights) for weight in weights)
    assert found.value.item() == pytest.approx(first - (second + third) / 2)


def test_perturbation_by_hand() -> None:
    # x 1, y 2, z 0.5: x becomes v (3), which gains 4; y becomes w (5), which gains 6; z has no other
    available = Candidates({"object": ("x", "v"), "attribute": ("y", "w"), "relation": ("z",)})
    objective = Objective(("perturbation",))
    found = only(
        attribution_losses(
            Sums(),
            letters("object", "attribute", "relation"),
            torch.ones(1, 1),
            objective=objective,
            candidates=available,
        )
    )
    assert (found.object_mean, found.composition_mean, found.value.item()) == (-4.0, -6.0, 2.0)
    alone = Candidates({"object": ("x", "v"), "attribute": ("y",), "relation": ("z",)})
    none = only(
        attribution_losses(
            Sums(),
            letters("object", "attribute", "relation"),
            torch.ones(1, 1),
            objective=objective,
            candidates=alone,
        )
    )
    assert (none.valid, none.value.item(), none.above) == (0.0, 0.0, None)


def test_units_differ_where_a_word_has_two_tokens() -> None:
    caption = [Caption("x y z", (Word("x y", 0, 3, "object"), Word("z", 4, 5, "relation")))]
    assert toy_loss("attention", caption).value.item() == (0.25 + 0.1875) / 2 - 0.125
    assert toy_loss("attention", caption, unit="word").value.item() == 0.25 + 0.1875 - 0.125
    long = [Caption("x y z", (Word("x", 0, 1, "object"), Word("y z", 2, 5, "relation")))]
    available = Candidates({"object": ("v",), "relation": ("v v",)})  # drops: x -4, "y z" -7
    both = {}
    for unit in ("token", "word"):
        both[unit] = only(
            attribution_losses(
                Sums(),
                long,
                torch.ones(1, 1),
                objective=Objective(("perturbation",), unit=unit),
                candidates=available,
            )
        )
    assert both["token"].composition_mean == both["word"].composition_mean == -7.0
    assert both["token"].value.item() == both["word"].value.item() == 3.0


def test_the_token_that_the_embedding_is_read_from_has_no_side() -> None:
    # read at token 3, which spells z: its heat is not counted, so a side of z alone is no side
    toy, caption = Toy(), letters("object", "attribute", "relation")
    toy.traits = SimpleNamespace(
        family="dual", attributions=METHODS, scale=2.0, context_length=5, is_causal=False
    )
    tokens = replace(toy.tokens(["x y z"]), readout=torch.tensor([3]))
    assert sides_of_tokens(caption, owners(toy, tokens, caption), tokens).tolist() == [[0, 1, 2, 0, 0]]


def test_several_methods_share_one_pass() -> None:
    toy, caption = Toy(), letters("object", "attribute", "relation")
    image, both = torch.tensor([[2.0, 0.5]]), Objective(("attention", "gradcam"))
    parts = attribution_losses(toy, caption, image, objective=both)
    assert len(toy.taps["maps"]) == 1
    assert [(name, part.value.item()) for name, part in parts.items()] == [
        ("attention", 0.09375),
        ("gradcam", 0.40625),
    ]


@pytest.fixture(scope="module", params=["clip", "siglip"])
def model(request: pytest.FixtureRequest) -> DualEncoder:
    return open_model(request.getfixturevalue(f"tiny_{request.param}_dir"))


@pytest.fixture(scope="module")
def clip(tiny_clip_dir: Path) -> DualEncoder:
    return open_model(tiny_clip_dir)


def image_rows(model: DualEncoder, count: int, dtype: torch.dtype = torch.float32) -> Tensor:
    width = model.encode_texts(["a"]).shape[1]
    rows = torch.randn(count, width, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return nn.functional.normalize(rows, dim=-1).to(dtype)


def loss_of(
    model: DualEncoder, captions: Sequence[Caption], images: Tensor, objective: Objective
) -> AttributionLoss:
    return only(attribution_losses(model, captions, images, objective=objective, candidates=AVAILABLE))


@pytest.mark.parametrize("method", METHODS)
def test_words_equal_a_slow_loop_over_the_heats_of_records(model: DualEncoder, method: Method) -> None:
    images, options = image_rows(model, len(CAPTIONS)), Options(normalize="none", temperature=20.0)
    found = loss_of(model, CAPTIONS, images, Objective((method,), unit="word", margin=0.01, heats=options))
    heat = heats(model, CAPTIONS, images, methods=[method], options=options, candidates=AVAILABLE)[method]
    costs = []
    for caption, row, heard in zip(CAPTIONS, heat.values.tolist(), heat.heard.tolist(), strict=True):
        sides: dict[bool, list[float]] = {True: [], False: []}
        for word, value, is_heard in zip(caption.words, row, heard, strict=False):
            if word.word_class != "other" and is_heard:
                sides[word.word_class == "object"].append(value)
        if sides[True] and sides[False]:
            gap = sum(sides[True]) / len(sides[True]) - sum(sides[False]) / len(sides[False])
            costs.append(max(gap + 0.01, 0.0))
    assert len(costs) == found.captions == 3  # "a cat" has one side
    assert found.valid == 0.75
    assert found.value.item() == pytest.approx(sum(costs) / 3, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_a_batch_is_the_mean_of_its_valid_captions_alone(model: DualEncoder, method: Method) -> None:
    images = image_rows(model, len(CAPTIONS))
    objective = Objective((method,), margin=0.2, heats=Options(normalize="none", temperature=20.0))
    together = loss_of(model, CAPTIONS, images, objective)
    alone = [
        loss_of(model, CAPTIONS[i : i + 1], images[i : i + 1], objective).value.item() for i in (0, 2, 3)
    ]
    assert together.value.item() == pytest.approx(sum(alone) / 3, rel=1e-4)
    with torch.no_grad():
        unseen = loss_of(model, CAPTIONS, images, objective)
    assert not unseen.value.requires_grad
    assert unseen.value.item() == pytest.approx(together.value.item(), rel=1e-4)


@pytest.fixture
def double(clip: DualEncoder, monkeypatch: pytest.MonkeyPatch) -> DualEncoder:
    """In float64, where transformers' eager attention asks for its softmax in float32."""
    softmax = nn.functional.softmax

    def fine(values: Tensor, *args: object, dtype: torch.dtype | None = None, **more: object) -> Tensor:
        return softmax(values, *args, dtype=None if values.dtype == torch.float64 else dtype, **more)

    monkeypatch.setattr(nn.functional, "softmax", fine)
    twin = copy.deepcopy(clip)
    twin.model.double()
    return twin


@pytest.mark.parametrize("unit", ["token", "word"])
@pytest.mark.parametrize("method", METHODS)
def test_the_gradient_equals_finite_differences(double: DualEncoder, method: Method, unit: str) -> None:
    images = image_rows(double, len(CAPTIONS), torch.float64)
    # a margin that keeps every caption on the slope of the hinge; a temperature that keeps the softmax off 0 and 1
    options = Options(normalize="method", temperature=20.0)
    objective = Objective((method,), unit=unit, margin=50.0, heats=options)
    layer = double.model.text_model.encoder.layers[1]
    weights = [layer.self_attn.k_proj.weight, layer.mlp.fc1.weight, double.model.text_projection.weight]
    gradients = torch.autograd.grad(
        loss_of(double, CAPTIONS, images, objective).value, weights, allow_unused=True
    )
    step, largest = 1e-6, 0.0
    for weight, gradient in zip(weights, gradients, strict=True):
        for place in [(0, 1), (3, 2), (7, 5)]:
            slope = 0.0 if gradient is None else gradient[place].item()
            values = []
            for sign in (1, -1):
                with torch.no_grad():
                    weight[place] += sign * step
                values.append(loss_of(double, CAPTIONS, images, objective).value.item())
                with torch.no_grad():
                    weight[place] -= sign * step
            assert slope == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-4, abs=2e-8)
            largest = max(largest, abs(slope))
    assert largest > 1e-6, "no slope to compare"


@pytest.mark.parametrize("method", METHODS)
def test_without_a_valid_caption_the_gradient_is_zero(clip: DualEncoder, method: Method) -> None:
    captions = [tagged("a cat"), tagged("the red"), tagged("of the"), Caption("a dog under a table")]
    found = loss_of(clip, captions, image_rows(clip, 4), Objective((method,), margin=1.0))
    assert (found.value.item(), found.valid, found.captions) == (0.0, 0.0, 0)
    assert (found.object_mean, found.composition_mean, found.above) == (None, None, None)
    weights = list(clip.model.text_model.parameters())
    gradients = torch.autograd.grad(found.value, weights, allow_unused=True)
    assert any(gradient is not None for gradient in gradients)
    assert all((gradient == 0).all() for gradient in gradients if gradient is not None)


@pytest.mark.parametrize(
    ("method", "reaches"),
    [("attention", False), ("gradcam", True), ("gradient", True), ("perturbation", False)],
)
def test_what_the_gradient_reaches(clip: DualEncoder, method: Method, reaches: bool) -> None:
    for trains_image in (True, False):
        images = image_rows(clip, len(CAPTIONS)).requires_grad_()
        objective = Objective(
            (method,),
            margin=50.0,
            trains_image=trains_image,
            heats=Options(normalize="none", temperature=20.0),
        )
        value = loss_of(clip, CAPTIONS, images, objective).value
        of_image, of_scale, of_text = torch.autograd.grad(
            value,
            [
                images,
                clip.model.logit_scale,
                clip.model.text_model.encoder.layers[0].self_attn.q_proj.weight,
            ],
            allow_unused=True,
        )
        assert (of_image is not None and of_image.abs().sum().item() > 0) == (reaches and trains_image)
        assert of_scale is None
        assert of_text.abs().sum() > 0


@pytest.mark.parametrize("method", METHODS)
def test_it_is_float32_under_autocast(clip: DualEncoder, method: Method) -> None:
    images, objective = image_rows(clip, len(CAPTIONS)), Objective((method,), margin=0.1)
    plain = loss_of(clip, CAPTIONS, images, objective).value
    wanted = clip.encode_texts(TEXTS)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (clip.encode_texts(TEXTS) - wanted).abs().max() > 1e-4
        mixed = loss_of(clip, CAPTIONS, images, objective).value
    assert mixed.dtype == torch.float32
    assert mixed.item() == pytest.approx(plain.item(), rel=1e-6)


def test_training_on_it_closes_the_gap(clip: DualEncoder) -> None:
    twin, images = copy.deepcopy(clip), image_rows(clip, len(CAPTIONS))
    optimizer = torch.optim.Adam(twin.model.text_model.parameters(), lr=1e-3)
    objective = Objective(("attention",), margin=0.05)
    losses = []
    for _ in range(15):
        found = loss_of(twin, CAPTIONS, images, objective)
        losses.append(found.value.item())
        optimizer.zero_grad()
        found.value.backward()
        optimizer.step()
    assert losses[-1] < 0.5 * losses[0]


def test_what_does_not_fit(clip: DualEncoder) -> None:
    with pytest.raises(LengthMismatch, match="2 image embeddings for 4 captions"):
        attribution_losses(clip, CAPTIONS, image_rows(clip, 2))
    with pytest.raises(BadInput, match="needs candidates"):
        attribution_losses(clip, CAPTIONS, image_rows(clip, 4), objective=Objective(("perturbation",)))
    poor = Toy()
    poor.traits = SimpleNamespace(attributions=("attention",))
    with pytest.raises(Unsupported, match="toy gives no gradcam"):
        attribution_losses(poor, letters("object"), torch.ones(1, 2))
