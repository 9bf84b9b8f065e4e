"""Attribution of what reads pairs: against one pair at a time in plain code, and toys worked by hand."""

import re
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from alignscope.attribution.attribute import attribute, heats
from alignscope.attribution.cross import cross_heats
from alignscope.attribution.faithfulness import LEAST_GAIN, faithfulness
from alignscope.attribution.options import METHODS, Method, Options
from alignscope.attribution.patches import image_methods, patch_maps
from alignscope.attribution.perturbation import UNSCORED, perturbation
from alignscope.errors import BadInput, LengthMismatch, NoRoom, Unsupported
from alignscope.language.replacements import candidates, replaced, without
from alignscope.models.cross.encoder import TransformersCrossEncoder
from alignscope.models.protocols import Picture, Tokens, Traits
from alignscope.models.zoo import open_model
from alignscope.records import Attribution, Caption, Item, Word, WordHeat

LEAVE_OUT = Options(variant="leave-one-out", normalize="none")
RAW = Options(draws=2, seed=3, normalize="none")


def tagged(identity: str, text: str) -> Item:
    """Every word is an object."""
    words = tuple(Word(m[0], *m.span(), "object") for m in re.finditer(r"\w+", text))
    return Item(identity, f"{identity}.png", Caption(text, words))


@pytest.fixture
def items(texts: list[str]) -> list[Item]:
    return [tagged(str(number), text) for number, text in enumerate(texts)]


def records(
    model: object, items: Sequence[Item], pictures: Sequence[Picture], **how: object
) -> dict[tuple[str, str], list[float]]:
    found = [one for part in attribute(model, items, pictures, **how) for one in part.attributions]  # type: ignore[arg-type]
    return {(one.item, one.method): [word.heat for word in one.words] for one in found}


def slow_heats(
    model: TransformersCrossEncoder, item: Item, picture: Picture, available: object, options: Options
) -> dict[Method, list[float]]:
    """One pair at a time, the heats of a word's tokens added by characters; words beyond the context left out."""
    inputs = model.inputs([picture], [item.caption.text])
    own = cross_heats(model, inputs, methods=["attention", "gradcam", "gradient"]).tokens
    spans = inputs.tokens.offsets[0]
    last = max(end for _, end in spans)
    heard = [place for place, word in enumerate(item.caption.words) if word.start < last]
    found: dict[Method, list[float]] = {}
    for method, heat in own.items():
        found[method] = [
            sum(
                heat[0, at].item()
                for at, (start, end) in enumerate(spans)
                if start < end
                and start < item.caption.words[place].end
                and end > item.caption.words[place].start
            )
            for place in heard
        ]
    total = sum(found["gradcam"])
    found["gradcam"] = [heat / total for heat in found["gradcam"]]
    changes, _ = replaced(item.caption, available, draws=options.draws, seed=options.seed)  # type: ignore[arg-type]
    full = model.score([picture], [item.caption.text]).item()
    found["perturbation"] = [
        full - np.mean([model.score([picture], [c.text]).item() for c in changes if c.word == place])
        for place in heard
    ]
    return found


def test_attribute_is_a_plain_loop_over_single_pairs(
    model: TransformersCrossEncoder, items: list[Item], pictures: Sequence[Picture]
) -> None:
    """Texts and pictures of four sizes in one batch; the longest text is cut."""
    available = candidates([item.caption for item in items])
    options = replace(RAW, normalize="method")
    found = records(model, items, pictures, methods=METHODS, options=options, candidates=available)
    compared = 0
    for item, picture in zip(items, pictures, strict=True):
        wanted = slow_heats(model, item, picture, available, options)
        for method in METHODS:
            assert found[item.id, method] == pytest.approx(wanted[method], rel=1e-3, abs=2e-5)
            compared += len(wanted[method])
    assert compared > 4 * 30
    assert any(max(map(abs, values)) > 1e-2 for (_, m), values in found.items() if m == "perturbation")


def test_neither_batch_nor_order_changes_anything(
    model: TransformersCrossEncoder, items: list[Item], pictures: Sequence[Picture]
) -> None:
    how = {"methods": METHODS, "candidates": candidates([item.caption for item in items]), "options": RAW}
    whole = records(model, items, pictures, **how)
    turned = records(model, items[::-1], pictures[::-1], batch_size=3, **how)
    assert whole.keys() == turned.keys()
    assert len(whole) == 16
    for key, found in whole.items():
        assert found == pytest.approx(turned[key], rel=1e-3, abs=2e-5)


def test_words_beyond_the_context_are_problems_told_once(
    model: TransformersCrossEncoder, items: list[Item], pictures: Sequence[Picture]
) -> None:
    (found,) = attribute(model, items, pictures, methods=METHODS, options=LEAVE_OUT)
    long = items[3]
    heard = next(a for a in found.attributions if (a.item, a.method) == (long.id, "attention")).words
    assert 0 < len(heard) < len(long.caption.words)
    assert all(p.item == long.id and "beyond the 20 tokens" in p.what for p in found.problems)
    assert len(found.problems) == len(long.caption.words) - len(heard)
    assert [(a.method, a.item) for a in found.attributions] == [(m, i.id) for m in METHODS for i in items]
    for one in found.attributions:
        assert all(one.text[w.start : w.end] == w.word for w in one.words)


def test_heats_train_through_what_looks_inside_and_not_through_scores(
    model: TransformersCrossEncoder, items: list[Item], pictures: Sequence[Picture]
) -> None:
    captions, inside = [item.caption for item in items], METHODS[:3]
    found = heats(model, captions, pictures, methods=inside, create_graph=True)
    weights = [p for p in model.model.parameters() if p.ndim == 2]
    for method in inside:
        slopes = torch.autograd.grad(
            found[method].values[:, 0].sum(), weights, retain_graph=True, allow_unused=True
        )
        assert max(slope.abs().max().item() for slope in slopes if slope is not None) > 0
    with pytest.raises(Unsupported, match="only embeddings of a dual encoder can be trained through"):
        heats(model, captions, pictures, methods=["perturbation"], options=LEAVE_OUT, create_graph=True)


def test_embeddings_and_too_few_pictures_are_refused(
    model: TransformersCrossEncoder, items: list[Item], pictures: Sequence[Picture]
) -> None:
    for method in METHODS:
        with pytest.raises(BadInput, match="reads images and texts together: give pictures"):
            next(attribute(model, items, torch.zeros(4, 3), methods=[method], options=LEAVE_OUT))
    with pytest.raises(LengthMismatch, match="3 pictures for 4 items: wanted one for each"):
        next(attribute(model, items, pictures[:3]))
    with pytest.raises(LengthMismatch, match="3 pictures for 4 items"):
        next(faithfulness(model, items, pictures[:3], []))
    with pytest.raises(LengthMismatch, match="3 pictures for 4 captions"):
        perturbation(model, [item.caption for item in items], pictures[:3], options=LEAVE_OUT)


class Lazy(Sequence[Picture]):
    """Pictures made anew whenever they are asked for; the room's own asking is noted, not the type checker's."""

    def __init__(self, made: Callable[[int], Picture], places: range, opened: list[int]) -> None:
        self.made, self.places, self.opened = made, places, opened

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, place):  # type: ignore[no-untyped-def]
        if isinstance(place, slice):
            return Lazy(self.made, self.places[place], self.opened)
        if sys._getframe(1).f_code.co_filename.endswith(("attribute.py", "perturbation.py", "scores.py")):
            self.opened.append(self.places[place])
        return self.made(self.places[place])


def test_pictures_are_opened_late_and_not_once_per_text(
    model: TransformersCrossEncoder, items: list[Item], picture_of: Callable[[str, int], Picture]
) -> None:
    """In batches of two, each once for four methods and dozens of texts."""
    opened: list[int] = []
    lazy = Lazy(lambda number: picture_of(model.traits.unit, number), range(4), opened)
    assert next(attribute(model, items, lazy, methods=METHODS, options=LEAVE_OUT, batch_size=2))
    assert opened == [0, 1]
    found = records(model, items, lazy, methods=METHODS, options=LEAVE_OUT, batch_size=2)
    assert opened == [0, 1, 0, 1, 2, 3]
    wanted = records(model, items, [lazy[at] for at in range(4)], methods=METHODS, options=LEAVE_OUT)
    assert found.keys() == wanted.keys()
    assert all(found[key] == pytest.approx(wanted[key], rel=1e-3, abs=2e-5) for key in wanted)


def test_a_dual_encoder_may_be_given_pictures(tiny_clip_dir: Path, items: list[Item], picture_of) -> None:
    clip = open_model(tiny_clip_dir)
    pictures = [picture_of("patch", number) for number in range(4)]
    rows = clip.encode_images(pictures)
    how = {"methods": METHODS, "options": LEAVE_OUT}
    assert records(clip, items, pictures, **how) == records(clip, items, rows, **how)
    alone = perturbation(clip, [i.caption for i in items], pictures, options=LEAVE_OUT)
    wanted = perturbation(clip, [i.caption for i in items], rows, options=LEAVE_OUT)
    assert torch.allclose(alone.values, wanted.values, atol=1e-4)


WORTH = {"big": 1.0, "red": 2.0, "dog": 4.0, "runs": 0.5}


@dataclass
class Writer:
    """A captioner to the rest of the house: a text is worth its words, times the picture's width."""

    kind: str = "likelihood"
    context_length: int = 9
    unit: float = 1.0
    asked: list[tuple[int, str]] = field(default_factory=list)
    name: str = "writer"
    fingerprint: str = "0"

    @property
    def traits(self) -> Traits:
        return Traits(
            "captioner", "patch", None, self.context_length, "gelu", "last", True, True, ("perturbation",), 1.0,
            score=self.kind,  # type: ignore[arg-type]
            cuts=False,
        )  # fmt: skip

    def score(self, images: Sequence[Picture], texts: Sequence[str]) -> Tensor:
        self.asked += [(id(image), text) for image, text in zip(images, texts, strict=True)]
        worth = [sum(WORTH.get(word, 0.0) for word in text.split()) for text in texts]
        scores = [self.unit * i.width * w for i, w in zip(images, worth, strict=True)]
        scores = [score if text else torch.nan for score, text in zip(scores, texts, strict=True)]
        long = {at: "too long" for at, text in enumerate(texts) if len(text.split()) > self.context_length}
        if long:
            raise NoRoom("too long", [torch.nan if at in long else s for at, s in enumerate(scores)], long)
        return torch.tensor(scores)

    def tokens(self, texts: Sequence[str]) -> Tokens:
        """A word each and the end, at which a text is read."""
        rows = [[m.span() for m in re.finditer(r"\S+", text)] for text in texts]
        width = max(map(len, rows), default=0) + 1
        ids = torch.tensor([[1] * (len(row) + 1) + [0] * (width - len(row) - 1) for row in rows]).long()
        offsets = tuple((*row, *[(0, 0)] * (width - len(row))) for row in rows)
        lengths = tuple(len(row) for row in rows)
        return Tokens(ids, ids, torch.tensor(lengths).long(), offsets, lengths)

    def evaluating(self) -> AbstractContextManager[None]:
        return nullcontext()

    def scrambled(self, *, seed: int) -> "Writer":
        return self


def test_perturbation_alone_by_hand_and_texts_of_one_picture_side_by_side() -> None:
    """Worth 1, 2, 4 and 0.5, times a width of 2 or 3; the first and last caption share a picture."""
    two, three = Image.new("RGB", (2, 1)), Image.new("RGB", (3, 1))
    captions = [tagged("", text).caption for text in ("big red dog", "dog runs", "red dog")]
    writer = Writer()
    found = heats(writer, captions, [two, three, two], methods=["perturbation"], options=LEAVE_OUT)
    heat = found["perturbation"]
    assert heat.values.tolist() == [[2.0, 4.0, 8.0], [12.0, 1.5, 0.0], [4.0, 8.0, 0.0]]
    assert heat.heard.tolist() == [[True] * 3, [True, True, False], [True, True, False]]
    assert heat.unheard == ()
    assert len(writer.asked) == len(set(writer.asked)) == 4 + 3 + 2, "'red dog' is asked once for its picture"
    assert [key == id(two) for key, _ in writer.asked] == [True] * 6 + [False] * 3


def test_a_captioner_gives_nothing_else() -> None:
    writer, item = Writer(), tagged("1", "red dog")
    with pytest.raises(Unsupported, match="writer gives no gradcam, only perturbation"):
        next(attribute(writer, [item], [Image.new("RGB", (1, 1))]))
    assert image_methods(writer) == ()
    with pytest.raises(Unsupported, match="writer gives no image maps by gradcam: ask for none"):
        next(patch_maps(writer, [item], lambda key: Image.new("RGB", (1, 1)), ["a dog"]))


def test_what_has_no_score_is_a_problem_and_never_a_number() -> None:
    """A lone word leaves nothing behind; a caption without room stops no other."""
    items = [tagged("lone", "dog"), tagged("long", "red " * 10), tagged("good", "red dog")]
    pictures = [Image.new("RGB", (1, 1)) for _ in items]
    (found,) = attribute(Writer(), items, pictures, methods=["perturbation"], options=LEAVE_OUT)
    assert [one.item for one in found.attributions] == ["good"]
    assert [w.heat for w in found.attributions[0].words] == [2.0, 4.0]
    assert [(p.item, p.what) for p in found.problems] == [
        ("lone", f"word 0 {UNSCORED}"),
        *[("long", f"word {place} {UNSCORED}") for place in range(10)],
    ]


def faithful(writer: Writer, text: str = "the big red dog runs") -> tuple[list, list, list]:
    item = tagged("1", text)
    words = tuple(
        WordHeat("1", "1.png", at, w.text, w.start, w.end, w.word_class, WORTH[w.text], "right")
        for at, w in enumerate(item.caption.words)
        if w.text in WORTH
    )
    given = Attribution("1", "1.png", text, "right", words)
    (found,) = faithfulness(writer, [item], [Image.new("RGB", (2, 1))], [given])
    return list(found.records), list(found.curves), list(found.problems)


def test_faithfulness_of_scores_by_hand() -> None:
    """Twice 7.5 in all; "the" is worth nothing and stays. Hottest first: dog 4, red 2, big 1, runs 0.5."""
    writer = Writer()
    (right, _), curves, problems = faithful(writer)
    assert problems == []
    assert (right.method, right.full, right.empty, right.words) == ("right", 15.0, 0.0, 4)
    assert curves[0].values == pytest.approx((1, 3.5 / 7.5, 1.5 / 7.5, 0.5 / 7.5, 0))
    assert curves[1].values == pytest.approx((0, 4 / 7.5, 6 / 7.5, 7 / 7.5, 1))
    assert right.comprehensiveness == (8 + 12) / 2
    assert right.sufficiency == (7 + 3) / 2
    assert len(writer.asked) == len(set(writer.asked)), "every text once"


@pytest.mark.parametrize(
    ("kind", "enough"), [("match", 1.0), ("yes", 1.0), ("likelihood", 0.1), ("information", 0.1)]
)
def test_what_ranked_words_must_add_depends_on_what_a_score_is(kind: str, enough: float) -> None:
    """All words together add 15 units."""
    for share, is_enough in ((1.01, True), (0.99, False)):
        judged, _, problems = faithful(Writer(kind, unit=share * enough / 15))
        assert bool(judged) == is_enough
        added = [f"words add {0.99 * enough:.3g}" in problem.what for problem in problems]
        assert added == ([] if is_enough else [True])


def test_an_empty_rest_without_a_score_is_left_out() -> None:
    judged, _, [problem] = faithful(Writer(), "big red dog")
    assert judged == []
    assert "a score is not finite" in problem.what


def test_faithfulness_of_a_cross_encoder_is_a_plain_loop_over_its_scores(
    model: TransformersCrossEncoder,
    items: list[Item],
    pictures: Sequence[Picture],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Random weights add little or take away: here a curve of any size counts."""
    monkeypatch.setitem(LEAST_GAIN, "match", -1e9)
    parts = list(attribute(model, items, pictures, methods=["attention"]))
    given = {one.item: one for part in parts for one in part.attributions}
    found = list(faithfulness(model, items, pictures, list(given.values()), batch_size=3))
    curves = {(c.item, c.kind): c.values for one in found for c in one.curves if c.method == "attention"}
    assert {item for item, _ in curves} == {"0", "2"}, "one word, and words beyond the context, have none"
    for (number, kind), values in curves.items():
        item, picture = items[int(number)], pictures[int(number)]
        places = sorted(range(len(item.caption.words)), key=lambda at: -given[number].words[at].heat)
        scores = []
        for count in range(len(places) + 1):
            gone = places[:count] if kind == "deletion" else places[count:]
            scores.append(model.score([picture], [without(item.caption, gone)]).item())
        full, empty = scores[:: len(places)] if kind == "deletion" else scores[:: -len(places)]
        assert abs(full - empty) > 1e-2
        assert values == pytest.approx([(s - empty) / (full - empty) for s in scores], rel=1e-3, abs=1e-3)
