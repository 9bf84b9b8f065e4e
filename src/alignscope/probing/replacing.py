"""Captions with every noun replaced by a wrong one, or with everything but the nouns replaced (paper A, Fig. 2).

The paper leaves vocabularies, seeds and draws open. Here a wrong noun is drawn uniformly from the nouns that come more
than five times in training captions and in no reference of the image; any other word from the words that are no
nouns, as frequent. Spacing, punctuation, case and the number of words stay.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, final

from alignscope.errors import BadData, BadInput
from alignscope.files import sha_of
from alignscope.language.edits import cased_as
from alignscope.probing.captions import unscored
from alignscope.probing.counts import nouns_of
from alignscope.records import MadeCaption, Problem, TaggedCaption, TaggedWord

KINDS: tuple[Literal["wrong nouns"], Literal["random other words"]] = ("wrong nouns", "random other words")


@final
@dataclass(frozen=True)
class Vocabulary:
    """Words to draw from, in lower case and sorted, and where they are from."""

    nouns: tuple[str, ...]
    others: tuple[str, ...]
    captions: int
    more_than: int

    def __str__(self) -> str:
        return (
            f"{len(self.nouns)} nouns and {len(self.others)} other words, each more than {self.more_than} times "
            f"in {self.captions} captions, sha {sha_of([self.nouns, self.others])}"
        )


def vocabulary_of(captions: Iterable[TaggedCaption], *, more_than: int = 5) -> Vocabulary:
    """Nouns and other words by the class they mostly have, those that come more often than `more_than`.

    Only words of letters ("n't" and "'s" are parts of words). Names are in neither; a word as often a noun as not is a noun.
    """
    kinds: dict[str, Counter[str]] = {"NOUN": Counter(), "PROPN": Counter(), "": Counter()}
    total = 0
    for caption in captions:
        total += 1
        for word in caption.words:
            if word.text.isalpha():
                kinds[word.tag if word.tag in kinds else ""][word.text.lower()] += 1
    nouns, names, others = kinds.values()
    found = Vocabulary(
        tuple(sorted(w for w, n in nouns.items() if n > more_than and n >= others[w] + names[w])),
        tuple(sorted(w for w, n in others.items() if n > more_than and n > nouns[w] + names[w])),
        total,
        more_than,
    )
    if not found.nouns or not found.others:
        raise BadData(f"got {found}, wanted some of both: give more captions or a smaller `more_than`")
    return found


def replaced_words(
    captions: Iterable[TaggedCaption],
    references: Mapping[str, Sequence[TaggedCaption]],
    vocabulary: Vocabulary,
    *,
    draws: int = 5,
    seed: int = 0,
) -> tuple[list[MadeCaption], list[Problem]]:
    """`draws` captions of each kind for each caption; what has no words of a kind is unscored for it.

    What hangs on the word before it ("'s", "n't") stays as it is. A wrong noun differs from the word it replaces and comes in no reference of the image, whatever its class there.
    A draw depends on seed, image, caption and kind alone.
    """
    if draws < 1:
        raise BadInput(f"got {draws} draws, wanted at least 1")
    recipe = str(vocabulary)
    made: list[MadeCaption] = []
    problems: list[Problem] = []
    for caption in captions:
        said = {
            word.text.lower() for reference in references.get(caption.image, ()) for word in reference.words
        }
        if not said:
            problems.append(unscored(caption, "no reference of the image"))
            continue
        nouns = nouns_of(caption.words, names=True)
        ends = {word.end for word in caption.words}
        others = [word for word in caption.words if word not in nouns and word.start not in ends]
        for kind, words, available, barred in (
            (KINDS[0], nouns, vocabulary.nouns, said),
            (KINDS[1], others, vocabulary.others, frozenset[str]()),
        ):
            if not words:
                problems.append(unscored(caption, f"{kind}: no word to replace in the caption"))
                continue
            rng = random.Random(f"{seed}/{caption.image}/{caption.text}/{kind}")
            for draw in range(draws):
                new = [_drawn(available, {*barred, word.text.lower()}, rng) for word in words]
                kept = new if kind == KINDS[0] else [noun.text.lower() for noun in nouns]
                text = _with(caption.text, words, new)
                made.append(
                    MadeCaption(
                        caption.image,
                        kind,
                        "",
                        draw,
                        caption.text,
                        text,
                        "|".join(kept),
                        len(kept),
                        len(new),
                        recipe,
                    )
                )
    return made, problems


def _drawn(available: Sequence[str], barred: Collection[str], rng: random.Random) -> str:
    """One of the available words that is not barred, each as likely."""
    for _ in range(100):
        if (word := rng.choice(available)) not in barred:
            return word
    fitting = [word for word in available if word not in barred]
    if not fitting:
        raise BadData(
            f"got {len(available)} words to draw from, all of them barred; wanted one more: take the vocabulary "
            "from more captions"
        )
    return rng.choice(fitting)


def _with(text: str, words: Sequence[TaggedWord], new: Sequence[str]) -> str:
    parts, at = [], 0
    for word, other in zip(words, new, strict=True):
        parts += [text[at : word.start], cased_as(word.text, other)]
        at = word.end
    return "".join([*parts, text[at:]])
