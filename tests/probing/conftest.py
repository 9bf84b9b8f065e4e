"""Captions with tags written by hand: "a/DET dog/NOUN"."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from alignscope.records import Signature, TaggedCaption, TaggedWord

Written = Callable[..., TaggedCaption]


def written(words: str, image: str = "1") -> TaggedCaption:
    """A caption from words with tags behind slashes."""
    pairs = [word.split("/") for word in words.split()]
    tagged, start = [], 0
    for text, tag in pairs:
        tagged.append(TaggedWord(text, start, start + len(text), tag))
        start += len(text) + 1
    return TaggedCaption(image, " ".join(text for text, _ in pairs), tuple(tagged))


@pytest.fixture
def caption() -> Written:
    return written


@pytest.fixture
def signature() -> Signature:
    return Signature("", "captions", "ab12", 0, 0, "captioner", "cd34", version="0.1.0")
