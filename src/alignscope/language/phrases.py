"""The object, attribute and relation phrases of a tagged caption, to be encoded alone (paper B, figure 3)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest

from alignscope.records import Caption, Word, WordClass

SPACE = re.compile(r"[\s\-]*")
LIST = re.compile(r"[\s\-]*(,|and|or|&|,\s*and)?\s*")
"""What may stand between the attributes of one thing."""


@dataclass(frozen=True)
class Phrase:
    """A part of a caption: `text == caption[start:end]`, and the class of word that it is there for."""

    text: str
    start: int
    end: int
    word_class: WordClass


def phrases(caption: Caption) -> list[Phrase]:
    """The phrases of a caption in the order in which they begin.

    object: a noun with its compounds. relation: neighbouring relation words ("to the left of").
    attribute: neighbouring attribute words, with commas and "and" between them, and the noun right after
    them ("striped red ball"); by themselves where none follows ("the ball is red"). The paper says no more than
    "relation/attribute phrase".

    >>> words = (Word("red", 2, 5, "attribute"), Word("ball", 6, 10, "object"), Word("on", 11, 13, "relation"))
    >>> [(phrase.text, phrase.word_class) for phrase in phrases(Caption("a red ball on", words))]
    [('red ball', 'attribute'), ('ball', 'object'), ('on', 'relation')]
    """
    runs = list(_runs(caption))
    found = []
    for run, following in zip_longest(runs, runs[1:]):
        end = run.end
        if run.word_class == "attribute" and following is not None:
            between = caption.text[run.end : following.start]
            if following.word_class == "object" and SPACE.fullmatch(between):
                end = following.end
        found.append(Phrase(caption.text[run.start : end], run.start, end, run.word_class))
    return found


def _runs(caption: Caption) -> Iterator[Phrase]:
    """Words of one class that stand together, of the three classes."""
    open_run: list[Word] = []
    for word in caption.words:
        if word.word_class not in ("object", "attribute", "relation"):
            continue
        if open_run:
            between = caption.text[open_run[-1].end : word.start]
            joint = LIST if word.word_class == "attribute" else SPACE
            if word.word_class != open_run[-1].word_class or not joint.fullmatch(between):
                yield _joined(caption, open_run)
                open_run = []
        open_run.append(word)
    if open_run:
        yield _joined(caption, open_run)


def _joined(caption: Caption, words: list[Word]) -> Phrase:
    start, end = words[0].start, words[-1].end
    return Phrase(caption.text[start:end], start, end, words[0].word_class)
