"""One call for every method: records, shares, problems, batches; and what losses are trained through."""

import dataclasses
import re
from pathlib import Path

import pytest
import torch
from torch import Tensor

from alignscope.attribution.attribute import Attributed, attribute, heats, normalised
from alignscope.attribution.options import METHODS, Options
from alignscope.attribution.perturbation import perturbation
from alignscope.attribution.tokens import token_heats
from alignscope.attribution.words import Heats, merged
from alignscope.errors import BadInput, LengthMismatch, Unsupported
from alignscope.language.replacements import candidates
from alignscope.models.protocols import DualEncoder
from alignscope.models.zoo import open_model
from alignscope.records import Caption, Item, Word

TEXTS = ["a red dog", "two spotted cats in the kitchen", "a cat", "the left of a small cat", "a blue ball"]


def tagged(identity: str, text: str) -> Item:
    """Every word is an object."""
    words = tuple(Word(m[0], *m.span(), "object") for m in re.finditer(r"\S+", text))
    return Item(identity, f"{identity}.png", Caption(text, words))


ITEMS = [tagged(str(number), text) for number, text in enumerate(TEXTS)]
AVAILABLE = candidates([item.caption for item in ITEMS])


@pytest.fixture(scope="module", params=["clip", "siglip", "pair"])
def model(request: pytest.FixtureRequest) -> DualEncoder:
    return open_model(request.getfixturevalue(f"tiny_{request.param}_dir"))


@pytest.fixture(scope="module")
def clip(tiny_clip_dir: Path) -> DualEncoder:
    return open_model(tiny_clip_dir)


def image_rows(model: DualEncoder, count: int) -> Tensor:
    width = model.encode_texts(["a"]).shape[1]
    rows = torch.randn(count, width, generator=torch.Generator().manual_seed(5))
    return torch.nn.functional.normalize(rows, dim=-1)


def whole(model: DualEncoder, items: list[Item], rows: Tensor, **how: object) -> Attributed:
    (found,) = attribute(model, items, rows, **how)
    return found


def test_all_methods_in_one_call_are_each_methods_own(model: DualEncoder) -> None:
    captions, rows = [item.caption for item in ITEMS], image_rows(model, 5)
    options = Options(normalize="none", draws=2)
    found = heats(model, captions, rows, methods=METHODS, options=options, candidates=AVAILABLE)
    assert list(found) == list(METHODS)
    tokens = model.tokens([caption.text for caption in captions])
    inner = token_heats(model, tokens, rows, methods=METHODS[:3], options=options)
    for method in METHODS[:3]:
        assert torch.equal(found[method].values, merged(model, tokens, inner[method], captions).values)
    alone = perturbation(model, captions, rows, candidates=AVAILABLE, options=options)
    assert torch.equal(found["perturbation"].values, alone.values)


def test_records_say_the_method_and_keep_the_order(model: DualEncoder) -> None:
    rows = image_rows(model, 5)
    found = whole(model, ITEMS, rows, methods=METHODS, candidates=AVAILABLE, batch_size=5)
    raw = heats(model, [i.caption for i in ITEMS], rows, methods=METHODS, candidates=AVAILABLE)
    assert [(a.method, a.item) for a in found.attributions] == [
        (method, item.id) for method in METHODS for item in ITEMS
    ]
    for one in found.attributions:
        item = ITEMS[int(one.item)]
        assert (one.image, one.text) == (item.image, item.caption.text)
        cut = sum(p.item == item.id and "beyond" in p.what for p in found.problems)  # SigLIP's is short
        assert [w.position for w in one.words] == list(range(len(item.caption.words) - cut))
        assert cut <= 1
        for word in one.words:
            assert one.text[word.start : word.end] == word.word
            assert (word.method, word.item, word.word_class) == (one.method, one.item, "object")
            assert word.heat == raw[one.method].values[int(one.item), word.position].item()


@pytest.mark.parametrize("size", [1, 2, 3])
def test_batch_size_changes_nothing(model: DualEncoder, size: int) -> None:
    rows, told = image_rows(model, 5), []
    how = {"methods": METHODS, "candidates": AVAILABLE, "options": Options(temperature=10.0)}
    parts = list(
        attribute(model, ITEMS, rows, batch_size=size, progress=lambda *done: told.append(done), **how)
    )
    assert told == [(min(at + size, 5), 5) for at in range(0, 5, size)]
    one = {(a.method, a.item): a for part in parts for a in part.attributions}
    other = {(a.method, a.item): a for a in whole(model, ITEMS, rows, batch_size=5, **how).attributions}
    assert one.keys() == other.keys()
    assert len(one) == 20
    for key, found in one.items():
        assert [w.heat for w in found.words] == pytest.approx([w.heat for w in other[key].words], abs=1e-4)


def test_shares_are_the_raw_heats_divided_by_their_sum(clip: DualEncoder) -> None:
    rows = image_rows(clip, 5)
    absolute = whole(clip, ITEMS, rows, options=Options(normalize="none")).attributions
    shares = whole(clip, ITEMS, rows).attributions
    for one, other in zip(shares, absolute, strict=True):
        total = sum(word.heat for word in other.words)
        assert total > 0
        assert sum(word.heat for word in one.words) == pytest.approx(1)
        for share, heat in zip(one.words, other.words, strict=True):
            assert share.heat == pytest.approx(heat.heat / total, rel=1e-5)


def test_which_methods_are_shares() -> None:
    assert [Options().sums_to_one(method) for method in METHODS] == [False, True, False, False]
    assert all(Options(normalize="sum").sums_to_one(method) for method in METHODS)
    assert not any(Options(normalize="none").sums_to_one(method) for method in METHODS)


def test_a_sum_that_is_not_above_zero_is_left_as_it_is() -> None:
    heat = Heats(torch.tensor([[1.0, 3.0], [1.0, -2.0], [0.0, 0.0]]), torch.ones(3, 2, dtype=torch.bool))
    assert normalised(heat).values.tolist() == [[0.25, 0.75], [1.0, -2.0], [0.0, 0.0]]


def test_no_share_of_a_negative_sum(clip: DualEncoder) -> None:
    """Leaving words out may raise the score: such heats are reported raw, and refused as shares."""
    rows = image_rows(clip, 5)
    raw = Options(variant="leave-one-out")
    absolute = whole(clip, ITEMS, rows, methods=["perturbation"], options=raw).attributions
    negative = {a.item for a in absolute if sum(word.heat for word in a.words) <= 0}
    assert 0 < len(negative) < 5, "draw other image rows"
    shares = whole(
        clip, ITEMS, rows, methods=["perturbation"], options=dataclasses.replace(raw, normalize="sum")
    )
    assert {a.item for a in shares.attributions} == {item.id for item in ITEMS} - negative
    assert {p.item for p in shares.problems} == negative
    assert all("do not add up to more than 0" in p.what for p in shares.problems)


def test_words_beyond_the_context_are_problems_and_not_zeros(clip: DualEncoder) -> None:
    item = tagged("long", "a red dog to the left of a small cat " * 3)
    found = whole(clip, [item], image_rows(clip, 1), methods=["gradcam", "attention"])
    assert [one.method for one in found.attributions] == ["gradcam", "attention"]
    for one in found.attributions:
        assert 0 < len(one.words) < len(item.caption.words)
        assert len(one.words) + len(found.problems) == len(item.caption.words), "told once, not per method"
    assert {p.action for p in found.problems} == {"unscored"}
    assert all("beyond the 24 tokens of context" in p.what for p in found.problems)
    assert sum(word.heat for word in found.attributions[0].words) == pytest.approx(1)


def test_captions_that_cannot_be_attributed_are_problems(clip: DualEncoder) -> None:
    bare, end = Item("bare", "i.png", Caption("a dog")), tagged("end", "<|endoftext|> dog")
    found = whole(clip, [bare, end], image_rows(clip, 2))
    assert not found.attributions
    assert [(p.item, p.subject, p.what) for p in found.problems] == [
        (
            "end",
            "<|endoftext|>",
            "word 0 not heard: beyond the 24 tokens of context or the text's end",
        ),
        ("end", "dog", "word 1 not heard: beyond the 24 tokens of context or the text's end"),
        ("bare", "a dog", "gradcam: no tagged words to attribute to"),
    ]


def test_heats_of_zero_are_a_problem(clip: DualEncoder) -> None:
    found = whole(clip, ITEMS[:1], torch.zeros(1, 16))  # no score, no gradient
    assert [p.what for p in found.problems] == ["gradcam: every word has heat 0"]
    assert not found.attributions


def test_a_loss_trains_through_every_method(model: DualEncoder) -> None:
    """The function that makes records is the one a loss uses: same numbers, on the graph."""
    captions, rows = [item.caption for item in ITEMS], image_rows(model, 5)
    how = {"methods": METHODS, "candidates": AVAILABLE, "options": Options(temperature=10.0)}
    plain = heats(model, captions, rows, **how)
    graph = heats(model, captions, rows, create_graph=True, **how)
    weights = [p for p in model.model.text_model.parameters() if p.ndim == 2]
    for method in METHODS:
        assert not plain[method].values.requires_grad
        scale = max(1.0, plain[method].values.abs().max().item())
        assert (graph[method].values - plain[method].values).abs().max() <= 1e-5 * scale
        slopes = torch.autograd.grad(
            graph[method].values[:, 0].sum(), weights, retain_graph=True, allow_unused=True
        )
        assert max(slope.abs().max().item() for slope in slopes if slope is not None) > 0


def test_one_image_row_per_item_and_batches_of_one_or_more(clip: DualEncoder) -> None:
    with pytest.raises(LengthMismatch, match="3 image embeddings for 5 items"):
        next(attribute(clip, ITEMS, image_rows(clip, 3)))
    with pytest.raises(BadInput, match="batch size of 0"):
        next(attribute(clip, ITEMS, image_rows(clip, 5), batch_size=0))


def test_an_unknown_method_is_refused_by_the_models_traits(clip: DualEncoder) -> None:
    class Deaf:
        """All of a model but the methods that look inside."""

        def __init__(self, inner: DualEncoder) -> None:
            self.inner, self.traits = inner, dataclasses.replace(inner.traits, attributions=("perturbation",))

        def __getattr__(self, name: str) -> object:
            return getattr(self.inner, name)

    with pytest.raises(Unsupported, match="gives no gradcam, only perturbation"):
        next(attribute(Deaf(clip), ITEMS, image_rows(clip, 5)))
    found = whole(
        Deaf(clip), ITEMS, image_rows(clip, 5), methods=["perturbation"], candidates=AVAILABLE, batch_size=5
    )
    assert len(found.attributions) == 5


def test_no_items_no_records(clip: DualEncoder) -> None:
    assert list(attribute(clip, [], image_rows(clip, 1)[:0])) == []


def test_records_are_made_without_dropout_whatever_mode_the_model_is_in(model: DualEncoder) -> None:
    rows = image_rows(model, 5)
    how = {"methods": METHODS, "candidates": AVAILABLE, "batch_size": 5}
    wanted = whole(model, ITEMS, rows, **how)
    had = {module: module.dropout for module in model.model.modules() if hasattr(module, "dropout")}
    model.model.train()
    model.model.vision_model.eval()
    try:
        for module, dropout in had.items():
            module.dropout = 0.5 if isinstance(dropout, float) else torch.nn.Dropout(0.5)
        found = whole(model, ITEMS, rows, **how)
        assert model.model.training
        assert model.model.text_model.training
        assert not model.model.vision_model.training, "a tower frozen in evaluation mode stays there"
        captions = [item.caption for item in ITEMS]
        in_loss = [heats(model, captions, rows, methods=METHODS[:3], create_graph=True) for _ in "ab"]
    finally:
        model.model.eval()
        for module, dropout in had.items():
            module.dropout = dropout
    assert found == wanted
    assert not torch.equal(*(one["gradcam"].values for one in in_loss)), "a loss trains with dropout"
