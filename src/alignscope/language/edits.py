"""Edits of a caption that break either its nouns or everything but its nouns.

The replacement experiment of paper A (Fig. 2), with its unspecified parts chosen: words are drawn
uniformly with a seed, spacing and punctuation stay.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from alignscope.errors import BadInput
from alignscope.records import Caption, Word


def wrong_nouns(caption: Caption, vocabulary: Sequence[str], rng: random.Random) -> tuple[str, int]:
    """Every object word replaced by a noun drawn from `vocabulary`, and how many were.

    Nouns true of the image do not belong there; the word itself is never drawn. Case is carried over,
    articles ("a", "an") are not adjusted.

    >>> words = (Word("Dogs", 0, 4, "object"), Word("run", 5, 8, "other"))
    >>> wrong_nouns(Caption("Dogs run.", words), ["cars", "dogs"], random.Random(0))
    ('Cars run.', 1)
    """
    chosen = [word for word in caption.words if word.word_class == "object"]
    return _replaced(caption, chosen, vocabulary, rng)


def random_other_words(caption: Caption, vocabulary: Sequence[str], rng: random.Random) -> tuple[str, int]:
    """Nouns kept (object and scene words), other words replaced by draws from `vocabulary`, and how many.

    >>> words = (Word("Dogs", 0, 4, "object"), Word("run", 5, 8, "other"))
    >>> random_other_words(Caption("Dogs run.", words), ["blue"], random.Random(0))
    ('Dogs blue.', 1)
    """
    chosen = [word for word in caption.words if word.word_class not in ("object", "scene")]
    return _replaced(caption, chosen, vocabulary, rng)


def _replaced(
    caption: Caption, chosen: Sequence[Word], allowed: Sequence[str], rng: random.Random
) -> tuple[str, int]:
    """The text with each chosen word exchanged for an allowed one that differs from it."""
    parts, at = [], 0
    for word in chosen:
        fitting = [other for other in allowed if other.casefold() != word.text.casefold()]
        if not fitting:
            raise BadInput(
                f"no word can replace {word.text!r}: the vocabulary has no other; give a larger one"
            )
        parts += [caption.text[at : word.start], cased_as(word.text, rng.choice(fitting))]
        at = word.end
    return "".join([*parts, caption.text[at:]]), len(chosen)


def cased_as(original: str, new: str) -> str:
    """The new word in the original's case: CAPITALS, Initial or as it is."""
    if original.isupper() and len(original) > 1:
        return new.upper()
    return new[:1].upper() + new[1:] if original[:1].isupper() else new
