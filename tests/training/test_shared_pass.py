"""One pass of the captions for both losses: the same numbers and gradients as two passes, in parts and whole."""

import copy
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from alignscope.attribution.options import METHODS, Method, Options
from alignscope.errors import BadInput, LengthMismatch
from alignscope.language.replacements import candidates
from alignscope.models.dual.encoder import TransformersDualEncoder
from alignscope.models.protocols import Tokens
from alignscope.models.zoo import open_model
from alignscope.records import Caption, Word
from alignscope.training import cae
from alignscope.training.cae import Objective, attribution_losses, text_forward
from alignscope.training.losses import contrastive_loss

CLASSES = {
    **dict.fromkeys(["dog", "cat", "ball", "box", "bowl", "table"], "object"),
    **dict.fromkeys(["red", "small", "blue", "wooden"], "attribute"),
    **dict.fromkeys(["under", "above", "inside"], "relation"),
    **dict.fromkeys(["kitchen"], "scene"),
}
TEXTS = [
    "a red dog under the table",
    "a cat",
    "the small blue ball inside a wooden bowl",
    "a box above a dog in the kitchen",
]
# a temperature that keeps the softmax off 0 and 1
HEATS = Options(normalize="none", temperature=20.0)


def tagged(text: str) -> Caption:
    words = re.finditer(r"\w+", text)
    return Caption(text, tuple(Word(m[0], *m.span(), CLASSES.get(m[0], "other")) for m in words))


CAPTIONS = [tagged(text) for text in TEXTS]
AVAILABLE = candidates(CAPTIONS)


def of(method: Method, **more: object) -> Objective:
    return Objective((method,), margin=50.0, heats=HEATS, **more)  # the hinge is open for every caption


@pytest.fixture(scope="module", params=["clip", "siglip"])
def model(request: pytest.FixtureRequest) -> TransformersDualEncoder:
    return open_model(request.getfixturevalue(f"tiny_{request.param}_dir"))


@pytest.fixture(scope="module")
def double(tiny_clip_dir: Path) -> TransformersDualEncoder:
    twin = open_model(tiny_clip_dir)
    twin.model.double()
    return twin


def image_rows(model: TransformersDualEncoder, count: int) -> Tensor:
    number = next(model.model.parameters()).dtype
    width = model.encode_texts(["a"]).shape[1]
    rows = torch.randn(count, width, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return nn.functional.normalize(rows, dim=-1).to(number)


def weights_of(model: TransformersDualEncoder) -> list[Tensor]:
    return [*model.model.text_model.parameters(), model.model.logit_scale]


def losses(
    model: TransformersDualEncoder, images: Tensor, objective: Objective, *, is_shared: bool
) -> tuple[Tensor, Tensor]:
    forward = text_forward(model, CAPTIONS, objective) if is_shared else None
    texts = model.embed_tokens(model.tokens(TEXTS)) if forward is None else forward.embeddings
    contrastive = contrastive_loss(images, texts, model.model.logit_scale.exp().reshape(()))
    heard = attribution_losses(
        model, CAPTIONS, images, objective=objective, candidates=AVAILABLE, forward=forward
    )
    return contrastive, torch.stack([one.value for one in heard.values()]).sum()


def gradients(loss: Tensor, tensors: Sequence[Tensor]) -> list[Tensor]:
    found = torch.autograd.grad(loss, tensors, allow_unused=True, retain_graph=True)
    return [torch.zeros_like(t) if g is None else g for t, g in zip(tensors, found, strict=True)]


@pytest.mark.parametrize("methods", [*[(method,) for method in METHODS], METHODS])
def test_one_pass_gives_what_two_give(model: TransformersDualEncoder, methods: tuple[Method, ...]) -> None:
    model = copy.deepcopy(model)
    model.model.double()  # fused attention in one, eager in the other
    images = image_rows(model, len(CAPTIONS)).requires_grad_()
    objective = Objective(methods, margin=50.0, heats=HEATS)  # the hinge is open for every caption
    alone = losses(model, images, objective, is_shared=False)
    shared = losses(model, images, objective, is_shared=True)
    for ours, theirs in zip(shared, alone, strict=True):
        assert ours.item() == pytest.approx(theirs.item(), rel=1e-9)
        tensors = [images, *weights_of(model)]
        for one, other in zip(gradients(ours, tensors), gradients(theirs, tensors), strict=True):
            assert (one - other).abs().max() <= 1e-9 * max(1.0, other.abs().max().item())
    assert max(one.abs().max().item() for one in gradients(shared[1], weights_of(model))) > 1e-4


@pytest.mark.parametrize("method", METHODS)
def test_both_losses_by_finite_differences(double: TransformersDualEncoder, method: Method) -> None:
    images, objective = image_rows(double, len(CAPTIONS)).requires_grad_(), of(method)
    layer = double.model.text_model.encoder.layers[1]
    tensors = [
        images,
        layer.self_attn.k_proj.weight,
        layer.mlp.fc1.weight,
        double.model.text_projection.weight,
        double.model.text_model.embeddings.token_embedding.weight,
    ]

    def both() -> Tensor:
        contrastive, attribution = losses(double, images, objective, is_shared=True)
        return contrastive + 0.7 * attribution

    slopes = gradients(both(), tensors)
    if (
        method == "perturbation"
    ):  # whose loss leaves the images out (eq. 9): of them the contrastive slope only
        tensors, slopes = tensors[1:], slopes[1:]
    generator = torch.Generator().manual_seed(5)
    for tensor, slope in zip(tensors, slopes, strict=True):
        way = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
        step, ends = 1e-6, []
        for sign in (1, -1):
            with torch.no_grad():
                tensor += sign * step * way
            ends.append(both().item())
            with torch.no_grad():
                tensor -= sign * step * way
        wanted = (ends[0] - ends[1]) / (2 * step)
        assert abs(wanted) > 1e-4
        assert (slope * way).sum().item() == pytest.approx(wanted, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("method", METHODS)
def test_parts_with_cached_gradients_equal_the_whole(double: TransformersDualEncoder, method: Method) -> None:
    """Gao et al. 2021: gradients of all embeddings first, then part by part into the tower."""
    images, objective, weights = image_rows(double, len(CAPTIONS)), of(method), weights_of(double)[:-1]
    scale = double.model.logit_scale.exp().detach()

    def heard(part: slice) -> tuple[cae.AttributionLoss, Tensor, Tensor]:
        rows = images[part].clone().requires_grad_()
        forward = text_forward(double, CAPTIONS[part], objective)
        found = attribution_losses(
            double, CAPTIONS[part], rows, objective=objective, candidates=AVAILABLE, forward=forward
        )[method]
        return found, forward.embeddings, rows

    found, texts, rows = heard(slice(None))
    whole = gradients(contrastive_loss(rows, texts, scale) + 0.7 * found.value, [rows, *weights])

    parts = [slice(0, 1), slice(1, 2), slice(2, 4)]  # the second has no valid caption
    with torch.no_grad():
        embedded = torch.cat([text_forward(double, CAPTIONS[part], objective).embeddings for part in parts])
    leaves = [images.clone().requires_grad_(), embedded.detach().requires_grad_()]
    to_images, to_texts = torch.autograd.grad(contrastive_loss(*leaves, scale), leaves)
    double.model.zero_grad(set_to_none=True)
    of_rows = []
    total = 0.0
    for part in parts:
        own, texts, rows = heard(part)
        weight = torch.tensor(0.7 / found.captions, dtype=torch.float64)
        torch.autograd.backward([texts, rows, own.total], [to_texts[part], to_images[part], weight])
        of_rows.append(rows.grad)
        total += own.total.item()
    assert total / found.captions == pytest.approx(found.value.item(), rel=1e-12)
    for ours, theirs in zip([torch.cat(of_rows), *(weight.grad for weight in weights)], whole, strict=True):
        assert theirs.abs().max() > 0
        assert (ours - theirs).abs().max() <= 1e-9 * max(1.0, theirs.abs().max().item())
    double.model.zero_grad(set_to_none=True)


@pytest.mark.parametrize("method", METHODS)
def test_sums_and_counts_make_the_mean_over_processes(model: TransformersDualEncoder, method: Method) -> None:
    images = image_rows(model, len(CAPTIONS))
    parts = [slice(0, 3), slice(3, 4)]
    whole, *halves = (
        attribution_losses(model, CAPTIONS[part], images[part], objective=of(method), candidates=AVAILABLE)[
            method
        ]
        for part in (slice(None), *parts)
    )
    assert [one.captions for one in (whole, *halves)] == [3, 2, 1]
    for one in (whole, *halves):
        assert one.total.item() == pytest.approx(one.value.item() * one.captions, rel=1e-6)
    assert sum(one.total.item() for one in halves) / 3 == pytest.approx(whole.value.item(), rel=1e-6)
    mean = sum(one.total for one in halves) / 3
    for ours, theirs in zip(
        gradients(mean, weights_of(model)), gradients(whole.value, weights_of(model)), strict=True
    ):
        assert (ours - theirs).abs().max() <= 2e-6 * max(1.0, theirs.abs().max().item())


def test_after_the_forward_nothing_is_left_in_the_model(double: TransformersDualEncoder) -> None:
    tower = double.model.text_model
    before = tower.config._attn_implementation
    forward = text_forward(double, CAPTIONS, Objective(("attention", "gradcam", "gradient"), heats=HEATS))
    kept = len(forward.attention)
    assert kept == tower.config.num_hidden_layers
    assert tower.config._attn_implementation == before == "sdpa"
    assert not any(module._forward_hooks for module in double.model.modules())
    double.embed_tokens(double.tokens(["a cat"]))
    assert len(forward.attention) == kept
    plain = text_forward(double, CAPTIONS, Objective(("perturbation",), heats=HEATS))
    assert plain.attention == ()
    assert plain.inputs is None


def test_the_pass_is_float32_under_autocast(tiny_clip_dir: Path) -> None:
    clip = open_model(tiny_clip_dir)
    wanted = clip.encode_texts(TEXTS)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (clip.embed_tokens(clip.tokens(TEXTS)) - wanted).abs().max() > 1e-4
        for method in METHODS:
            found = text_forward(clip, CAPTIONS, of(method)).embeddings
            assert found.dtype == torch.float32
            assert (found - wanted).abs().max() < 1e-6
        assert torch.is_autocast_enabled("cpu")


def test_without_gradients_dropout_is_off_and_the_numbers_the_same(tiny_clip_dir: Path) -> None:
    clip = copy.deepcopy(open_model(tiny_clip_dir))
    images, objective = image_rows(clip, len(CAPTIONS)), Objective(METHODS, margin=0.3, heats=HEATS)

    def values() -> list[float]:
        forward = text_forward(clip, CAPTIONS, objective)
        found = attribution_losses(
            clip, CAPTIONS, images, objective=objective, candidates=AVAILABLE, forward=forward
        )
        return [one.value.item() for one in found.values()]

    wanted = values()
    for layer in clip.model.text_model.encoder.layers:
        layer.self_attn.dropout = 0.5
    clip.model.train()
    with torch.no_grad():
        assert values() == pytest.approx(wanted, rel=1e-5)
    assert clip.model.training


@pytest.fixture
def encoded(double: TransformersDualEncoder, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """The texts that went through the tower since it was asked last."""
    texts: dict[tuple[int, ...], str] = {}
    through: list[str] = []
    tokens, embed = double.tokens, double.embed_tokens

    def spelt(given: Tokens) -> list[tuple[int, ...]]:
        return [tuple(row[:length]) for row, length in zip(given.ids.tolist(), given.lengths, strict=True)]

    def spelling(given: Sequence[str]) -> Tokens:
        made = tokens(given)
        texts.update(zip(spelt(made), given, strict=True))
        return made

    def embedding(given: Tokens) -> Tensor:
        through.extend(texts[ids] for ids in spelt(given))
        return embed(given)

    monkeypatch.setattr(double, "tokens", spelling)
    monkeypatch.setattr(double, "embed_tokens", embedding)

    def since() -> list[str]:
        found = through[:]
        through.clear()
        return found

    return since


def test_perturbation_encodes_what_the_loss_needs_and_no_more(
    double: TransformersDualEncoder, encoded: Callable[[], list[str]]
) -> None:
    images, draws = image_rows(double, 5), 2
    encoded()
    captions = [*CAPTIONS, CAPTIONS[0]]  # the same twice
    objective = Objective(("perturbation",), margin=50.0, heats=Options(normalize="none", draws=draws))
    forward = text_forward(double, captions, objective)
    assert encoded() == [caption.text for caption in captions]
    attribution_losses(double, captions, images, objective=objective, candidates=AVAILABLE, forward=forward)
    changed = encoded()
    assert len(changed) == len(set(changed))
    lengths = list(double.tokens(changed).lengths)
    assert lengths == sorted(lengths), "texts of like length go together"
    counts = {text: 0 for text in TEXTS}
    for text in changed:
        words = text.split()
        (source,) = [
            other
            for other in TEXTS
            if len(other.split()) == len(words)
            and sum(a != b for a, b in zip(other.split(), words, strict=True)) == 1
        ]
        (place,) = [i for i, (a, b) in enumerate(zip(source.split(), words, strict=True)) if a != b]
        assert CLASSES[source.split()[place]] in ("object", "attribute", "relation")  # not the kitchen
        counts[source] += 1
    # two draws of each word with a side, one where it has one other (red for small, blue and wooden);
    # "a cat" has one side only, so it does not count and costs nothing
    assert counts == {TEXTS[0]: 2 * 4, TEXTS[1]: 0, TEXTS[2]: 3 * 1 + 3 * 2, TEXTS[3]: 2 * 3}


def test_units_are_drawn_from_each_side(
    double: TransformersDualEncoder, encoded: Callable[[], list[str]]
) -> None:
    images = image_rows(double, len(CAPTIONS))
    seen: dict[str, set[frozenset[int]]] = {text: set() for text in TEXTS}
    for seed in range(12):
        heats = Options(normalize="none", draws=1, seed=seed)
        objective = Objective(("perturbation",), margin=50.0, heats=heats, units=1)
        forward = text_forward(double, CAPTIONS, objective)
        encoded()
        found = attribution_losses(
            double, CAPTIONS, images, objective=objective, candidates=AVAILABLE, forward=forward
        )
        assert len(encoded()) == 2 * 3  # one object and one other of each of three captions
        assert found["perturbation"].captions == 3
        for caption in CAPTIONS:
            drawn = cae.drawn(caption, range(len(caption.words)), objective)
            assert drawn == cae.drawn(caption, range(len(caption.words)), objective)
            kinds = sorted(caption.words[place].word_class == "object" for place in drawn)
            assert kinds == ([] if caption.text == "a cat" else [False, True])
            seen[caption.text].add(frozenset(drawn))
    assert len(seen[TEXTS[2]]) > 3  # of 2 objects x 4 others


def test_a_unit_is_drawn_among_words_that_have_another(double: TransformersDualEncoder) -> None:
    # of the composition words only "above" can be replaced: it must be the one that is drawn
    caption = tagged("a red small blue wooden box above a dog")
    available = candidates([caption, tagged("under a cat")])
    images = image_rows(double, 1)
    for seed in range(6):
        heats = Options(normalize="none", draws=1, seed=seed)
        objective = Objective(("perturbation",), heats=heats, units=1)
        found = attribution_losses(double, [caption], images, objective=objective, candidates=available)
        assert found["perturbation"].captions == 1


def test_forwards_that_do_not_fit(double: TransformersDualEncoder) -> None:
    images = image_rows(double, len(CAPTIONS))
    plain = text_forward(double, CAPTIONS, of("perturbation"))
    with pytest.raises(BadInput, match="kept nothing for gradcam"):
        attribution_losses(double, CAPTIONS, images, objective=of("gradcam"), forward=plain)
    with pytest.raises(LengthMismatch, match="a forward of 4 texts for 2 captions"):
        attribution_losses(double, CAPTIONS[:2], images[:2], objective=of("gradcam"), forward=plain)
    with torch.no_grad():
        unseen = text_forward(double, CAPTIONS, of("gradcam"))
    with pytest.raises(BadInput, match="made without gradients"):
        attribution_losses(double, CAPTIONS, images, objective=of("gradcam"), forward=unseen)
