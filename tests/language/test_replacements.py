"""Captions without some of their words."""

from __future__ import annotations

import re
from itertools import permutations

import pytest

from alignscope.language.replacements import Candidates, candidates, left_out, replaced, without
from alignscope.records import Caption, Word


def caption(text: str) -> Caption:
    words = re.finditer(r"\w+(?:['’\-]\w+)*", text)
    return Caption(text, tuple(Word(m.group(), m.start(), m.end(), "other") for m in words))


def test_any_words_of_a_plain_caption():
    text = caption("a big red dog runs")
    said = text.text.split()
    for count in range(len(said) + 1):
        for places in permutations(range(len(said)), count):
            assert without(text, places) == " ".join(w for at, w in enumerate(said) if at not in places)


@pytest.mark.parametrize(
    ("text", "places", "wanted"),
    [
        ("A dog, red, sits.", [2], "A dog,, sits."),
        ("A dog sits.", [2], "A dog."),
        ("A dog sits.", [1, 2], "A."),
        ("A dog sits.", [0, 1, 2], "."),
        ("A dog (red) sits", [2], "A dog () sits"),
        ("A dog (red one) sits", [1, 2], "A (one) sits"),
        ('the "big" dog', [0], '"big" dog'),
        ("A dog,\n  red  one", [2], "A dog,\n  one"),
        ("well-worn café's door", [0], "café's door"),
    ],
)
def test_gaps_close_before_punctuation_and_between_words(text, places, wanted):
    assert without(caption(text), places) == wanted


def test_nothing_taken_away_leaves_the_caption_as_it_is():
    assert without(caption("  a dog \n"), []) == "  a dog \n"


def test_words_that_share_characters_go_together():
    lamp = Caption("a street lamp.", (Word("street lamp", 2, 13, "object"), Word("lamp", 9, 13, "object")))
    assert without(lamp, [0]) == without(lamp, [0, 1]) == without(lamp, [1, 0]) == "a."
    assert without(lamp, [1]) == "a street."
    inner = Caption(
        "a street lamp.", (lamp.words[0], Word("street", 2, 8, "object"), Word("tree", 3, 7, "object"))
    )
    assert without(inner, [0, 1, 2]) == without(inner, [0, 2]) == "a."


def test_leave_one_out_takes_each_word_in_turn():
    assert [one.text for one in left_out(caption("a red dog."))] == ["red dog.", "a dog.", "a red."]


def test_replacements_are_of_the_same_class_and_never_said_already() -> None:
    text = "Red dog"
    words = (Word("Red", 0, 3, "attribute"), Word("dog", 4, 7, "object"))
    available = Candidates({"attribute": ("blue", "red"), "object": ("cat", "dog", "red"), "scene": ("sky",)})
    found, alone = replaced(Caption(text, words), available, draws=5, seed=0)
    assert [(one.word, one.text) for one in found] == [(0, "Blue dog")] * 5 + [(1, "Red cat")] * 5
    assert alone == []


def test_draws_differ_while_they_can_and_depend_on_the_seed_alone() -> None:
    words = (Word("dog", 2, 5, "object"),)
    available = Candidates({"object": tuple(f"thing{number:02}" for number in range(50))})
    found, _ = replaced(Caption("a dog", words), available, draws=50, seed=0)
    assert len({one.text for one in found}) == 50
    few = [replaced(Caption("a dog", words), available, draws=3, seed=seed)[0] for seed in (0, 0, 1, 2)]
    assert few[0] == few[1]
    assert len({tuple(one) for one in few}) == 3


def test_words_without_another_of_their_class_are_named() -> None:
    text = caption("dog and dog").text
    words = (Word("dog", 0, 3, "object"), Word("and", 4, 7, "other"), Word("dog", 8, 11, "relation"))
    found, alone = replaced(Caption(text, words), Candidates({"object": ("dog",)}), draws=1, seed=0)
    assert (found, alone) == ([], [0, 2])


def test_candidates_are_the_frequent_words_of_each_class() -> None:
    words = (Word("Dog", 0, 3, "object"), Word("cat", 4, 7, "object"), Word("the", 8, 11, "other"))
    more = Caption("dog", (Word("dog", 0, 3, "object"),))
    found = candidates([Caption("Dog cat the", words), more], at_least=2)
    assert found.words == {"object": ("dog",), "attribute": (), "relation": (), "scene": ()}


def test_a_word_said_together_with_the_old_one_is_never_drawn() -> None:
    words = (Word("Small", 0, 5, "attribute"), Word("dog", 6, 9, "object"))
    available = Candidates(
        {"attribute": ("big", "red", "small", "striped"), "object": ("cat", "dog", "red")},
        {"small": frozenset({"red", "striped", "absent"}), "cat": frozenset({"dog"})},
    )
    drawn = set()
    for seed in range(30):
        found, alone = replaced(Caption("Small dog", words), available, draws=1, seed=seed)
        assert not alone
        drawn |= {one.text for one in found}
    assert drawn == {"Big dog", "Small cat", "Small red"}  # the others of "cat" bar nothing of "dog"
    poor = Candidates({"attribute": ("red", "small")}, available.together)
    assert replaced(Caption("Small dog", words), poor, draws=1, seed=0) == ([], [0, 1])
