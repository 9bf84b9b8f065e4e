"""Phrases of tagged captions; the tags are written out here, so no parser is needed."""

from __future__ import annotations

import re

import pytest

from alignscope.language.phrases import phrases
from alignscope.records import Caption, Word

LETTER = {"o": "object", "a": "attribute", "r": "relation", "s": "scene", "-": "other"}


def tagged(text: str, letters: str) -> Caption:
    """A caption from its words' class letters."""
    matches = list(re.finditer(r"\w+", text))
    words = (
        Word(match.group(), match.start(), match.end(), LETTER[letter])
        for match, letter in zip(matches, letters, strict=True)
    )
    return Caption(text, tuple(words))


CASES = {
    "plain": (
        "A striped red ball to the left of a box.",
        "-aaorrrr-o",
        ["a:striped red ball", "o:ball", "r:to the left of", "o:box"],
    ),
    "compound noun": ("a white tennis ball", "-aoo", ["a:white tennis ball", "o:tennis ball"]),
    "predicate": ("The ball is red and dogs run", "-o-a-o-", ["o:ball", "a:red", "o:dogs"]),
    "list": ("a black and white, small cat", "-a-aao", ["a:black and white, small cat", "o:cat"]),
    "hyphens": ("a red-brown fox", "-aao", ["a:red-brown fox", "o:fox"]),
    "another sentence": ("It is red. Dogs sleep", "--ao-", ["a:red", "o:Dogs"]),
    "comma before a noun": ("It is red, dogs sleep", "--ao-", ["a:red", "o:dogs"]),
    "two relations": ("sits on a mat, under a lamp", "rr-or-o", ["r:sits on", "o:mat", "r:under", "o:lamp"]),
    "relations are not a list": ("over and under it", "r-r-", ["r:over", "r:under"]),
    "two objects": ("dogs, cats and mice", "oo-o", ["o:dogs", "o:cats", "o:mice"]),
    "scene": ("a dark kitchen", "-as", ["a:dark"]),
    "nothing": ("it is so", "---", []),
    "empty": ("", "", []),
    "attribute at the end": ("a dog sleeping", "-oa", ["o:dog", "a:sleeping"]),
}


@pytest.mark.parametrize(("text", "letters", "wanted"), CASES.values(), ids=CASES)
def test_phrases(text: str, letters: str, wanted: list[str]) -> None:
    found = phrases(tagged(text, letters))
    assert [f"{phrase.word_class[0]}:{phrase.text}" for phrase in found] == wanted
    assert all(phrase.text == text[phrase.start : phrase.end] for phrase in found)
    assert [phrase.start for phrase in found] == sorted(phrase.start for phrase in found)


def test_an_untagged_caption_has_no_phrases() -> None:
    assert phrases(Caption("a red ball")) == []
