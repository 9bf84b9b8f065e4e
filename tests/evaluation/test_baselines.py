"""Baselines against plain counting over all orders of scores, and on the published files."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from pathlib import Path

import pytest

from alignscope.evaluation.baselines import bag_of_words_ceiling, baselines, by_text, chance
from alignscope.evaluation.columns import in_columns, signs
from alignscope.language import ngrams
from alignscope.records import Measurement, OptionScore, Question, Shown, Signature

DATA = Path(__file__).parents[2].parent / "shared" / "data"
HOW = {"signature": Signature("", "toy", "ab", 0, 0, "none", "none"), "draws": 50}


def _question(number: int, texts: tuple[str, ...], images: int = 1, subset: str = "s") -> Question:
    shown = tuple(Shown(f"{number}-{i}.jpg") for i in range(images))
    return Question(f"{subset}/{number}", subset, subset, shown, texts)


def _values(found: list[Measurement]) -> dict[str, float | None]:
    return {m.group: m.value for m in found}


SHAPES = {  # texts, images, scores of two texts
    "caption": (3, 1, ()),
    "image": (1, 2, ()),
    "pairing": (2, 2, ()),
    "two captions": (3, 1, ((0, 1), (0, 2), (1, 2))),
}


@pytest.mark.parametrize("asks", SHAPES)
def test_chance_is_the_share_of_all_orders_of_scores(asks):
    """Every order of the scores once, counted by the rules that models are counted by."""
    texts, images, text_pairs = SHAPES[asks]
    places = [("1.jpg", i, t) for i in range(images) for t in range(texts)]
    places += [("", *pair) for pair in text_pairs]
    options = [
        OptionScore("toy", str(n), "s", "s", "", image, "t", first, second, float(score), False, False)
        for n, order in enumerate(itertools.permutations(range(len(places))))
        for (image, first, second), score in zip(places, order, strict=True)
    ]
    wanted = {
        part: (sign > 0).mean() for part, sign in signs(in_columns(options, benchmark="toy"), asks).items()
    }
    found = _values(chance([_question(1, ("t",) * texts, images)], asks, **HOW))
    assert found == pytest.approx({part or "all": wanted[part] for part in wanted if "caption" not in part})
    if asks == "pairing":
        assert found == pytest.approx({"text": 1 / 4, "image": 1 / 4, "group": 1 / 6})
    if asks == "two captions":
        assert found == pytest.approx({"ITT": 1 / 3, "TOT": 1 / 3})


def test_chance_of_recall_is_the_share_of_all_orders():
    """Two images with one and three captions; every order of the four captions counted."""
    asked = [_question(1, ("a",)), _question(2, ("b", "c", "d"))]
    orders = list(itertools.permutations("abcd"))
    wanted = [sum(min(order.index(t) for t in right) < 1 for order in orders) / 24 for right in ("a", "bcd")]
    found = {(m.measure, m.group): (m.value, m.items) for m in chance(asked, "retrieval", **HOW)}
    assert found["chance: recall@1", "image to text"] == (pytest.approx(sum(wanted) / 2), 2)
    assert found["chance: recall@1", "text to image"] == (pytest.approx(1 / 2), 4)
    assert found["chance: recall@5", "image to text"] == (1, 2)
    assert len(found) == 6


def test_lengths_worked_by_hand():
    asked = [
        _question(1, ("a dog", "a red dog"), subset="add"),  # the right one is shorter
        _question(2, ("a  big dog", "a dog"), subset="add"),  # longer
        _question(3, ("a cat", "a dog"), subset="swap"),  # the same
        _question(
            4, ("a cat", "a dog", "the dog"), subset="swap"
        ),  # the same as one, fewer letters than the other
    ]
    found = {(m.measure, m.group): m for m in baselines(asked, "caption", **HOW)}
    fewer, more = (found[f"text alone: {way} words", "all"] for way in ("fewer", "more"))
    assert (fewer.value, fewer.ties, fewer.items) == (pytest.approx((1 + 0 + 1 / 2 + 1 / 3) / 4), 2, 4)
    assert (more.value, more.ties) == (pytest.approx((0 + 1 + 1 / 2 + 1 / 3) / 4), 2)
    letters = found["text alone: fewer characters", "swap"]
    assert (letters.value, letters.ties, letters.items) == (1 / 2, 2, 2)
    assert found["text alone: more characters", "swap"].value == pytest.approx(1 / 4)
    assert found["text alone: fewer words", "add"].value == 1 / 2
    assert "|ties:guessed|" in fewer.signature


def test_both_right_captions_must_lead_the_wrong_one():
    order = {"a": 3.0, "b": 2.0, "c": 1.0, "d": 2.0}
    asked = [_question(n, tuple(texts)) for n, texts in enumerate(["abc", "acb", "abd", "bda"])]
    asked.append(_question(9, ("b", "b", "d")))
    (found,) = by_text(asked, "two captions", order.__getitem__, name="toy", **HOW)
    assert (found.group, found.value, found.ties) == (
        "ITT",
        pytest.approx((1 + 0 + 1 / 2 + 0 + 1 / 3) / 5),
        2,
    )


@pytest.mark.parametrize("asks", ["image", "pairing", "retrieval", "similarity"])
def test_where_no_texts_compete_text_alone_is_unscored(asks):
    (found,) = by_text([_question(1, ("a", "b"), 2)], asks, len, name="toy", **HOW)
    assert found.value is None
    assert "no text competes" in found.reason


def test_ceilings_worked_by_hand():
    same, other = ("a dog bites a man", "A man bites a dog."), ("a dog", "a cat")
    found = bag_of_words_ceiling([_question(1, same), _question(2, other)], "caption", **HOW)
    assert (found[0].value, found[0].ties) == (3 / 4, 1)
    five = ("a b c", "c b a", "b c a", "a b d", "a b")
    assert bag_of_words_ceiling([_question(1, five)], "caption", **HOW)[0].value == pytest.approx(1 / 3)
    found = bag_of_words_ceiling([_question(1, same, 2), _question(2, other, 2)], "pairing", **HOW)
    assert _values(found) == pytest.approx({"text": 5 / 8, "image": 5 / 8, "group": 7 / 12})
    triple = ("a b", "c d", "b a")
    assert _values(bag_of_words_ceiling([_question(1, triple)], "two captions", **HOW)) == {
        "ITT": 0.5,
        "TOT": 0.5,
    }


def test_no_bag_of_words_passes_the_ceiling_of_a_pairing():
    """Two texts of the same words: whatever the score of each image, ties broken in every order."""
    best: Counter[str] = Counter()
    for of_images in [(0.0, 0.0), (0.0, 1.0), (1.0, 0.0)]:
        options = [
            OptionScore("w", str(n), "", "", "", "1.jpg", "t", i, t, of_images[i] + guess / 100, False, False)
            for n, order in enumerate(itertools.permutations(range(4)))
            for (i, t), guess in zip([(0, 0), (0, 1), (1, 0), (1, 1)], order, strict=True)
        ]
        for part, sign in signs(in_columns(options, benchmark="w"), "pairing").items():
            best[part] = max(best[part], (sign > 0).mean())
    found = bag_of_words_ceiling([_question(1, ("a b", "b a"), 2)], "pairing", **HOW)
    assert _values(found) == pytest.approx(dict(best))


def test_a_trigram_model_knows_which_caption_is_english():
    model = ngrams.train(["a dog runs on the grass", "a man rides a horse", "the dog sleeps"])
    asked = [_question(1, ("a dog rides a horse", "horse a rides dog a"))]
    found = {
        m.measure: m.value for m in baselines(asked, "caption", text_scores={"trigram": model.logprob}, **HOW)
    }
    assert found["text alone: trigram"] == 1.0
    assert found["chance"] == 0.5
    assert found["bag-of-words ceiling"] == 0.5


@pytest.mark.skipif(not DATA.exists(), reason="the shared data are not here")
def test_ceilings_of_sugarcrepe_are_those_of_its_swaps():
    from alignscope.data.benchmarks.table import BENCHMARKS

    asked = [q for q in BENCHMARKS["sugarcrepe"].read(DATA / "sugar_crepe") if isinstance(q, Question)]
    found = {m.group: m for m in bag_of_words_ceiling(asked, "caption", **HOW)}
    bags = [[Counter(re.findall(r"[\w']+", text.lower())) for text in q.texts] for q in asked]
    assert sum(right == wrong for right, wrong in bags) == found["all"].ties == 572
    counts = {group: (m.ties, m.items) for group, m in found.items()}
    assert (counts["swap_att"], counts["swap_obj"]) == ((408, 666), (164, 245))
    assert found["swap_att"].value == pytest.approx(1 - 408 / 666 / 2)
    assert {m.value for group, m in found.items() if group.startswith(("add", "replace"))} == {1.0}
