"""Captions with one word replaced by another of its class, or taken away.

The perturbations of paper B (section 3.2, eq. 9). The paper gives neither candidate sets nor K: here the
candidates of a class are the words of that class in the captions at hand, frequent ones, and a draw is
seeded by caption and word, so that neither batch nor order changes it.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from alignscope.language.edits import cased_as
from alignscope.records import Caption, Word, WordClass

CONCEPTS: tuple[WordClass, ...] = ("object", "attribute", "relation", "scene")
OPENING = '([{"“‘«'
"""What leaves no gap after itself."""


@dataclass(frozen=True)
class Candidates:
    """The words of each class that may stand in for one another, in lower case and sorted.

    `together` holds, by word, those that captions give to one thing beside it ("small" and "striped"):
    put in its place they may be just as true.
    """

    words: Mapping[WordClass, tuple[str, ...]]
    together: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @cached_property
    def places(self) -> Mapping[WordClass, Mapping[str, list[int]]]:
        """Where each word stands among those of its class."""
        found: dict[WordClass, dict[str, list[int]]] = {}
        for concept, words in self.words.items():
            own = found.setdefault(concept, {})
            for place, word in enumerate(words):
                own.setdefault(word, []).append(place)
        return found


@dataclass(frozen=True)
class Perturbed:
    """A caption without one of its words; `word` is that word's place."""

    word: int
    text: str


def candidates(captions: Iterable[Caption], *, at_least: int = 1) -> Candidates:
    """The words of captions by class, those that came at least so often.

    >>> words = (Word("Dogs", 0, 4, "object"), Word("run", 5, 8, "other"))
    >>> candidates([Caption("Dogs run.", words)]).words["object"]
    ('dogs',)
    """
    counts: Counter[tuple[WordClass, str]] = Counter(
        (word.word_class, word.text.lower()) for caption in captions for word in caption.words
    )
    return Candidates(
        {
            concept: tuple(sorted(text for (c, text), n in counts.items() if c == concept and n >= at_least))
            for concept in CONCEPTS
        }
    )


def replaced(
    caption: Caption,
    available: Candidates,
    *,
    draws: int,
    seed: int,
) -> tuple[list[Perturbed], list[int]]:
    """`draws` captions per object, attribute, relation and scene word, and the words that have no other.

    A word that the caption says already, or one said together with it, is never drawn. Draws differ from
    one another as long as there are enough candidates.

    >>> words = (Word("dog", 2, 5, "object"),)
    >>> replaced(Caption("a dog", words), Candidates({"object": ("cat", "dog")}), draws=1, seed=0)
    ([Perturbed(word=0, text='a cat')], [])
    """
    said = {word.text.lower() for word in caption.words}
    perturbed, alone = [], []
    for place, word in enumerate(caption.words):
        if word.word_class not in CONCEPTS:
            continue
        words, places = available.words.get(word.word_class, ()), available.places.get(word.word_class, {})
        barred = said | available.together.get(word.text.lower(), frozenset())
        taken = sorted(at for text in barred for at in places.get(text, ()))
        others = range(len(words) - len(taken))
        if not others:
            alone.append(place)
            continue
        draw = random.Random(f"{seed}/{caption.text}/{place}")
        chosen: list[int] = []
        while len(chosen) < draws:
            chosen += draw.sample(others, min(len(others), draws - len(chosen)))
        new = [cased_as(word.text, words[_skipping(taken, at)]) for at in chosen]
        perturbed += [Perturbed(place, _with(caption, word, one)) for one in new]
    return perturbed, alone


def _skipping(taken: Sequence[int], at: int) -> int:
    """The place of the `at`th that is not taken; `taken` is sorted.

    >>> [_skipping([0, 2], at) for at in range(3)]
    [1, 3, 4]
    """
    for place in taken:
        at += place <= at
    return at


def left_out(caption: Caption) -> list[Perturbed]:
    """The caption without each of its words in turn.

    >>> left_out(Caption("a red dog.", (Word("red", 2, 5, "attribute"),)))
    [Perturbed(word=0, text='a dog.')]
    """
    return [Perturbed(place, without(caption, [place])) for place in range(len(caption.words))]


def without(caption: Caption, places: Sequence[int]) -> str:
    """The caption without the words at these places; the gaps close.

    >>> without(Caption("A dog.", (Word("A", 0, 1, "other"), Word("dog", 2, 5, "object"))), [0, 1])
    '.'
    """
    text = caption.text
    gaps: list[tuple[int, int]] = []  # words may share characters
    for start, end in sorted((caption.words[place].start, caption.words[place].end) for place in places):
        if gaps and start < gaps[-1][1]:
            start, end = gaps[-1][0], max(end, gaps.pop()[1])
        gaps.append((start, end))
    for start, end in reversed(gaps):
        before, after = text[:start], text[end:]
        is_opened = not before.strip() or before[-1] in OPENING
        if is_opened or (before[-1].isspace() and (not after or after[0].isspace())):
            after = after.lstrip()
        elif before[-1:].isspace():
            before = before.rstrip()
        text = before + after
    return text.strip() if gaps else text


def _with(caption: Caption, word: Word, new: str) -> str:
    return caption.text[: word.start] + new + caption.text[word.end :]
