"""Edits of captions, on a caption tagged by hand; no parser is involved."""

from __future__ import annotations

import random
import re
from typing import get_args

import pytest

from alignscope.errors import BadInput
from alignscope.language.edits import random_other_words, wrong_nouns
from alignscope.records import Caption, Word, WordClass

TEXT = "  A RED dog,  sits on\tthe Bed (in the kitchen)!"
CLASSES = dict(zip(range(9), "xaorrxorx", strict=True))
NAMES: dict[str, WordClass] = {"x": "other", "a": "attribute", "o": "object", "r": "relation"}
WORDS = tuple(
    Word(m.group(), m.start(), m.end(), NAMES[CLASSES[i]] if i < 9 else "scene")
    for i, m in enumerate(re.finditer(r"\w+", TEXT))
)
CAPTION = Caption(TEXT, WORDS)
NOUNS = ["cat", "car", "dog", "cup", "bed"]
FILLERS = ["blue", "under", "slowly", "and"]


def test_the_hand_tagging_is_what_it_says() -> None:
    assert [w.text for w in WORDS if w.word_class == "object"] == ["dog", "Bed"]
    assert [w.text for w in WORDS if w.word_class == "scene"] == ["kitchen"]
    assert set(NAMES.values()) | {"scene"} == set(get_args(WordClass))


def test_wrong_nouns_change_nouns_alone_and_never_to_themselves() -> None:
    seen = set()
    for seed in range(40):
        edited, count = wrong_nouns(CAPTION, NOUNS[1:], random.Random(seed))
        match = re.fullmatch(r"  A RED (\w+),  sits on\tthe (\w+) \(in the kitchen\)!", edited)
        assert match, edited
        assert count == 2
        first, second = match.groups()
        assert first in {"car", "cup", "bed"}
        assert second in {"Car", "Cup", "Dog"}
        seen.add((first, second))
    assert len(seen) == 9  # all pairs are reached


def test_random_other_words_keep_nouns_and_places() -> None:
    edited, count = random_other_words(CAPTION, FILLERS, random.Random(0))
    assert count == 7
    match = re.fullmatch(r"  (\w+) (\w+) dog,  (\w+) (\w+)\t(\w+) Bed \((\w+) (\w+) kitchen\)!", edited)
    assert match, edited
    assert all(word.lower() in FILLERS for word in match.groups())
    assert match[2].isupper()


@pytest.mark.parametrize(
    "edit",
    [
        lambda rng: wrong_nouns(CAPTION, NOUNS, rng),
        lambda rng: random_other_words(CAPTION, FILLERS, rng),
    ],
)
def test_a_seed_gives_one_edit(edit: object) -> None:
    assert edit(random.Random(5)) == edit(random.Random(5))  # type: ignore[operator]


def test_nothing_to_replace_is_the_same_text() -> None:
    bare = Caption("Hm ...", (Word("Hm", 0, 2, "other"),))
    assert wrong_nouns(bare, [], random.Random(0)) == ("Hm ...", 0)
    assert random_other_words(Caption("", ()), [], random.Random(0)) == ("", 0)


def test_too_small_a_vocabulary_is_an_error() -> None:
    with pytest.raises(BadInput, match=r"'dog'.*larger"):
        wrong_nouns(CAPTION, ["dog"], random.Random(0))
    with pytest.raises(BadInput, match="larger"):
        random_other_words(CAPTION, [], random.Random(0))
