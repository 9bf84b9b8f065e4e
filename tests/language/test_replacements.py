"""Captions without some of their words."""

from __future__ import annotations

import re
from itertools import permutations

import pytest

from alignscope.language.replacements import left_out, without
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
