"""Which words make one preposition: "in front of", "on the left side of", "next to"."""

from __future__ import annotations

from collections.abc import Sequence

from alignscope.language.lexicon import DETERMINERS, FIXED, LEADS, PLACES, REFINERS

LONGEST = max(len(phrase.split()) for phrase in FIXED)


def multiword_prepositions(words: Sequence[str]) -> list[tuple[int, int]]:
    """Half-open ranges of words that make one preposition, the longest first from the left.

    A range is a phrase of `FIXED`, or lead + (determiner) + (refiner) + place + "of".

    >>> multiword_prepositions("a dog on the left side of a bed next to it".split())
    [(2, 7), (9, 11)]
    >>> multiword_prepositions("the front of a bus in front".split())
    []
    """
    lower = [word.lower() for word in words]
    found = []
    start = 0
    while start < len(lower):
        end = max(_fixed(lower, start), _place(lower, start))
        if end > start:
            found.append((start, end))
        start = max(end, start + 1)
    return found


def _fixed(words: Sequence[str], start: int) -> int:
    for size in range(min(LONGEST, len(words) - start), 1, -1):
        if " ".join(words[start : start + size]) in FIXED:
            return start + size
    return start


def _place(words: Sequence[str], start: int) -> int:
    """End of lead + (determiner) + (refiner) + place + "of" at `start`, or `start`."""
    if words[start] not in LEADS:
        return start
    at = start + 1
    at += at < len(words) and words[at] in DETERMINERS
    at += at + 1 < len(words) and words[at] in REFINERS and words[at + 1] in PLACES
    is_place = at + 1 < len(words) and words[at] in PLACES and words[at + 1] == "of"
    return at + 2 if is_place else start
