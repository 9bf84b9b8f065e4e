"""Options: which scores compete, what is chosen, what is a tie."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from alignscope.data.benchmarks.facts import Benchmark, Official
from alignscope.data.options import Place, options, places
from alignscope.records import Question, Shown


def benchmark(asks: str) -> Benchmark:
    def read(annotations: Path):
        yield from ()

    return Benchmark("b", "B", asks, read, Official(), "", "", "", "", "")


def question(images: int, texts: int, gold: float | None = None) -> Question:
    return Question(
        "s/1",
        "s",
        "g",
        tuple(Shown(f"{i}.jpg") for i in range(images)),
        tuple(f"t{i}" for i in range(texts)),
        ("a", "b"),
        gold,
    )


def chosen(asks: str, asked: Question, scores: dict) -> list[tuple]:
    made = options(asked, benchmark(asks), scores)
    return [(one.first, one.second) for one in made if one.chosen]


def test_a_caption_competes_with_the_other_texts_of_its_image():
    made = options(
        question(1, 3),
        benchmark("caption"),
        {("image", 0, 0): 0.2, ("image", 0, 1): 0.1, ("image", 0, 2): 0.2},
    )
    assert [one.chosen for one in made] == [True, False, True]
    assert [one.is_tie for one in made] == [True, False, True]
    assert [(one.image, one.text, one.tags, one.item) for one in made] == [
        ("0.jpg", f"t{i}", "a|b", "s/1") for i in range(3)
    ]


def test_images_compete_for_their_text():
    assert chosen("image", question(2, 1), {("image", 0, 0): 0.2, ("image", 1, 0): 0.3}) == [(1, 0)]


def test_in_a_pairing_texts_compete_for_each_image():
    scores = {("image", 0, 0): 4, ("image", 0, 1): 3, ("image", 1, 0): 5, ("image", 1, 1): 9}
    assert chosen("pairing", question(2, 2), scores) == [(0, 0), (1, 1)]


def test_right_captions_compete_with_the_wrong_one_but_not_with_each_other():
    scores = {("image", 0, 0): 3, ("image", 0, 1): 1, ("image", 0, 2): 2}
    scores |= {("text", 0, 1): 7, ("text", 0, 2): 7, ("text", 1, 2): 6}
    made = options(question(1, 3), benchmark("two captions"), scores)
    by_place = {(one.image, one.first, one.second): one for one in made}
    assert [by_place["0.jpg", 0, i].chosen for i in range(3)] == [True, False, False]
    assert [by_place["", *pair].chosen for pair in ((0, 1), (0, 2), (1, 2))] == [True, True, False]
    assert [by_place["", *pair].is_tie for pair in ((0, 1), (0, 2), (1, 2))] == [True, True, False]
    assert by_place["", 0, 2].text == "t0 | t2"


def test_scores_are_compared_in_float32():
    made = options(question(1, 2), benchmark("caption"), {("image", 0, 0): 0.3, ("image", 0, 1): 0.3 + 1e-10})
    assert all(one.is_tie and one.chosen for one in made)


@pytest.mark.parametrize("broken", [math.nan, math.inf, 1e39, None])
def test_beside_a_score_that_could_not_be_had_nothing_is_chosen(broken):
    scores = {("image", 0, 0): 0.3, ("image", 0, 1): broken}
    made = options(question(1, 2), benchmark("caption"), scores)
    assert [(one.score, one.chosen, one.is_tie) for one in made] == [
        (0.3, False, False),
        (None, False, False),
    ]
    assert options(question(1, 2), benchmark("caption"), {}) == [
        *options(question(1, 2), benchmark("caption"), {("image", 0, 0): None})
    ]


def test_two_texts_have_one_option_and_retrieval_has_none():
    (only,) = options(question(0, 2, gold=3.5), benchmark("similarity"), {("text", 0, 1): 0.5})
    assert (only.image, only.score, only.chosen, only.is_tie, only.gold) == ("", 0.5, True, False, 3.5)
    assert places(question(1, 5), "retrieval") == []
    assert places(question(2, 1), "image") == [Place("image", 0, 0), Place("image", 1, 0)]
