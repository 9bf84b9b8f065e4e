"""Scores lost without a word: worked by hand on a model of word values, against captum, and in any batch."""

import copy
import re
from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType, SimpleNamespace

import pytest
import torch
from captum.attr import FeatureAblation
from torch import Tensor

from alignscope.attribution.options import Options
from alignscope.attribution.perturbation import perturbation
from alignscope.errors import BadInput
from alignscope.language.replacements import Candidates, candidates, replaced
from alignscope.models.protocols import DualEncoder, Tokens
from alignscope.models.zoo import open_model
from alignscope.records import Caption, Word

CLASSES = {
    **dict.fromkeys(["dog", "cat", "ball", "box", "bowl", "table"], "object"),
    **dict.fromkeys(["red", "small", "blue", "wooden"], "attribute"),
    **dict.fromkeys(["under", "above", "inside"], "relation"),
    "kitchen": "scene",
}
TEXTS = [
    "a red dog under the table",
    "a cat",
    "the small blue ball inside a wooden bowl",
    "a box above a dog",
]
LEAVE_OUT = Options(variant="leave-one-out")


def tagged(text: str) -> Caption:
    words = re.finditer(r"\w+", text)
    return Caption(text, tuple(Word(m[0], *m.span(), CLASSES.get(m[0].lower(), "other")) for m in words))


CAPTIONS = [tagged(text) for text in TEXTS]
AVAILABLE = candidates(CAPTIONS)


class Values:
    """A text's embedding is the sum of the values of its words; image (1,), so score = 2 * sum."""

    name, fingerprint = "values", ""
    traits = SimpleNamespace(
        family="dual", scale=2.0, context_length=77, is_causal=False, attributions=("perturbation",)
    )
    table = MappingProxyType({"red": 3.0, "dog": 5.0, "cat": 1.0, "wolf": 2.0, "blue": 0.5, "on": -1.0})

    def encode_texts(self, texts: Sequence[str], *, batch_size: int = 256, progress: None = None) -> Tensor:
        return torch.tensor([[sum(self.table.get(w, 0.0) for w in text.split())] for text in texts])

    def tokens(self, texts: Sequence[str]) -> Tokens:
        rows = [[m.span() for m in re.finditer(r"\S+", text)] for text in texts]
        width = max(map(len, rows))
        offsets = tuple(tuple([*row, *[(0, 0)] * (width - len(row))]) for row in rows)
        ids = torch.ones(len(texts), width, dtype=torch.long)
        return Tokens(ids, ids, ids[:, 0] * 0, offsets, tuple(map(len, rows)))

    def unused(self, *given: object, **options: object) -> None:
        raise NotImplementedError

    score = score_grid = encode_images = pixels = embed_pixels = embed_tokens = unused
    text_attention = text_inputs = image_attention = view = scrambled = evaluating = unused


def by_values(available: Candidates | None, **options: object) -> tuple[list[float], list[bool], list[tuple]]:
    text = "red dog on grass"
    classes = ("attribute", "object", "relation", "other")
    words = [Word(m[0], *m.span(), kind) for m, kind in zip(re.finditer(r"\w+", text), classes, strict=True)]
    found = perturbation(
        Values(),
        [Caption(text, tuple(words))],
        torch.ones(1, 1),
        candidates=available,
        options=Options(**options),
    )
    return found.values[0].tolist(), found.heard[0].tolist(), [(u.word, u.why) for u in found.unheard]


def test_the_mean_drop_over_draws_by_hand() -> None:
    available = Candidates(
        {"attribute": ("blue", "red"), "object": ("cat", "dog", "wolf"), "relation": ("on",)}
    )
    values, heard, unheard = by_values(available, draws=2)
    # red -> blue twice: 2 * (3 - 0.5) = 5; dog -> cat, wolf: 2 * (5 - 1) = 8 and 2 * (5 - 2) = 6, mean 7
    assert values == [5.0, 7.0, 0.0, 0.0]
    assert heard == [True, True, False, False]
    assert unheard == [(2, "not replaced: no other relation among the candidates")]


def test_a_single_draw_is_one_of_the_candidates_of_the_class() -> None:
    available = Candidates({"object": ("cat", "wolf"), "attribute": ("blue",)})
    seen = {by_values(available, draws=1, seed=seed)[0][1] for seed in range(20)}
    assert seen == {8.0, 6.0}
    assert by_values(available, draws=3)[0][1] in (pytest.approx(22 / 3), pytest.approx(20 / 3))


def test_leave_one_out_by_hand_harm_is_negative_and_other_words_are_heard() -> None:
    values, heard, unheard = by_values(None, variant="leave-one-out")
    assert values == [6.0, 10.0, -2.0, 0.0]  # 2 * (3, 5, -1, 0)
    assert heard == [True] * 4
    assert unheard == []


def test_replacing_needs_candidates() -> None:
    with pytest.raises(BadInput, match="needs candidates: build them from captions"):
        by_values(None)


@pytest.fixture(scope="module", params=["clip", "siglip", "pair"])
def model(request: pytest.FixtureRequest) -> DualEncoder:
    return open_model(request.getfixturevalue(f"tiny_{request.param}_dir"))


@pytest.fixture(scope="module")
def double(model: DualEncoder) -> DualEncoder:
    twin = copy.deepcopy(model)
    twin.model.double()
    return twin


def image_rows(model: DualEncoder, count: int = len(TEXTS)) -> Tensor:
    width = model.encode_texts(["a"]).shape[1]
    rows = torch.randn(count, width, generator=torch.Generator().manual_seed(3))
    return torch.nn.functional.normalize(rows, dim=-1)


def test_leave_one_out_is_captums(model: DualEncoder) -> None:
    images = image_rows(model)
    found = perturbation(model, CAPTIONS, images, options=LEAVE_OUT)
    for row, text in enumerate(TEXTS):
        words, image = text.split(), images[row]

        def scores(kept: Tensor, words: Sequence[str] = words, image: Tensor = image) -> Tensor:
            left = [" ".join(w for w, k in zip(words, one, strict=True) if k) for one in kept.bool().tolist()]
            return model.traits.scale * (model.encode_texts(left) @ image)

        theirs = FeatureAblation(scores).attribute(torch.ones(1, len(words)), baselines=0)[0]
        assert theirs.abs().max() > 1e-2
        heard = found.heard[row, : len(words)]
        assert (found.values[row, : len(words)] - theirs)[heard].abs().max() <= 1e-5 * model.traits.scale
        cut = [one.word for one in found.unheard if one.caption == row]  # SigLIP's context is short
        assert heard.tolist() == [place not in cut for place in range(len(words))]
        assert heard.sum() >= 2


@pytest.mark.parametrize("options", [Options(draws=2), LEAVE_OUT], ids=["replace", "leave-one-out"])
def test_a_batch_equals_a_loop_over_captions_in_any_order(double: DualEncoder, options: Options) -> None:
    """In float64 on the graph; and what is computed without one is the same in float32."""
    images = image_rows(double)
    how = {"candidates": AVAILABLE, "options": options}
    together = perturbation(double, CAPTIONS, images, create_graph=True, **how)
    turned = perturbation(double, CAPTIONS[::-1], images.flip(0), create_graph=True, **how)
    assert together.values.dtype == torch.float64
    assert (together.values - turned.values.flip(0)).abs().max() <= 1e-9
    assert torch.equal(together.heard, turned.heard.flip(0))
    for row, caption in enumerate(CAPTIONS):
        alone = perturbation(double, [caption], images[row : row + 1], create_graph=True, **how)
        width = len(caption.words)
        assert (together.values[row, :width] - alone.values[0]).abs().max() <= 1e-9
        assert together.heard[row].tolist() == [*alone.heard[0].tolist(), *[False] * (6 + 2 - width)]
        assert alone.values.abs().max() > 1e-3
    plain = perturbation(double, CAPTIONS, images, **how)
    assert not plain.values.requires_grad
    assert (plain.values - together.values).abs().max() <= 1e-5 * double.traits.scale


def test_a_plain_loop_over_draws(model: DualEncoder) -> None:
    images = image_rows(model)
    found = perturbation(model, CAPTIONS, images, candidates=AVAILABLE, options=Options(draws=3, seed=4))
    cut, checked = {(one.caption, one.word) for one in found.unheard}, 0  # SigLIP's context is short
    for row, (caption, image) in enumerate(zip(CAPTIONS, images, strict=True)):
        changes, _ = replaced(caption, AVAILABLE, draws=3, seed=4)
        for place in range(len(caption.words)):
            drops = [
                model.traits.scale * (model.encode_texts([caption.text])[0] @ image)
                - model.traits.scale * (model.encode_texts([change.text])[0] @ image)
                for change in changes
                if change.word == place and (row, place) not in cut
            ]
            assert bool(found.heard[row, place]) == bool(drops)
            if drops:
                wanted = float(sum(drops) / len(drops))
                assert found.values[row, place].item() == pytest.approx(wanted, abs=1e-4)
                checked += 1
    assert checked == (10 if cut else 14)


@pytest.mark.parametrize("create_graph", [False, True])
def test_every_distinct_text_is_encoded_once(
    model: DualEncoder, create_graph: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[tuple[int, ...]] = []
    embed = model.embed_tokens

    def counting(tokens: Tokens) -> Tensor:
        ids = zip(tokens.ids.tolist(), tokens.lengths, strict=True)
        rows.extend(tuple(row[:length]) for row, length in ids)
        return embed(tokens)

    monkeypatch.setattr(model, "embed_tokens", counting)
    twice = [*CAPTIONS, *CAPTIONS]
    images = image_rows(model, len(twice))
    perturbation(
        model, twice, images, candidates=AVAILABLE, options=Options(draws=6), create_graph=create_graph
    )
    assert len(rows) > 20
    assert len(rows) == len(set(rows)), "a text was encoded twice"


def test_training_reaches_the_text_tower_and_not_the_images(tiny_clip_dir: Path) -> None:
    model = open_model(tiny_clip_dir)
    images = image_rows(model).requires_grad_()
    found = perturbation(model, CAPTIONS, images, candidates=AVAILABLE, create_graph=True)
    weight = model.model.text_model.encoder.layers[0].self_attn.q_proj.weight
    image_slope, slope, scale_slope = torch.autograd.grad(
        found.values.sum(), [images, weight, model.model.logit_scale], allow_unused=True
    )
    assert image_slope is None
    assert scale_slope is None  # else the heats could be trained by shrinking the scale
    assert slope.abs().max() > 0


def test_words_beyond_the_context_are_not_heard(model: DualEncoder) -> None:
    caption = tagged("a red dog under the table " * 6)
    found = perturbation(
        model, [caption], image_rows(model, 1), candidates=AVAILABLE, options=Options(draws=1)
    )
    reported = [one.word for one in found.unheard]
    assert reported, "the caption fits"
    assert reported == list(range(reported[0], len(caption.words)))
    assert all("beyond" in one.why for one in found.unheard)
    assert not found.heard[0, reported].any()
    assert found.heard[0, : reported[0]].sum() == sum(
        word.word_class != "other" for word in caption.words[: reported[0]]
    )
