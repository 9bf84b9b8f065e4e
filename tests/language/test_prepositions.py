"""Multi-word prepositions by hand."""

from __future__ import annotations

import pytest

from alignscope.language.lexicon import FIXED
from alignscope.language.prepositions import multiword_prepositions


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a dog in front of a bed", ["in front of"]),
        ("a dog In Front Of a bed", ["In Front Of"]),
        ("left of it and to the right of it", ["left of", "to the right of"]),
        ("at the very top of a hill", ["at the very top of"]),
        ("on the top left side of a page", []),  # two refiners: not a known shape
        ("the top of a hill", []),
        ("a man in front", []),
        ("out of the box next to me", ["out of", "next to"]),
        ("on", []),
        ("in the middle", []),
        ("", []),
    ],
)
def test_ranges(text: str, wanted: list[str]) -> None:
    words = text.split()
    assert [" ".join(words[start:end]) for start, end in multiword_prepositions(words)] == wanted


def test_every_fixed_phrase_is_found_whole() -> None:
    assert len(FIXED) >= 30
    for phrase in FIXED:
        words = ["dog", *phrase.split(), "bed"]
        assert multiword_prepositions(words) == [(1, len(words) - 1)], phrase
