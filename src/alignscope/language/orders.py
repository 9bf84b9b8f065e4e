"""ARO's four wrong word orders of a caption (Yuksekgonul et al. 2023, "When and why vision-language models
behave like bags-of-words"; `dataset_zoo/perturbations.py` and `retrieval.py`, lines 15-34, of the authors).

Differs: every shuffle is seeded by the caption itself, so it does not depend on what was shuffled before;
trigrams are of the parser's words, where the authors take another tokenizer's. As with the authors, the
words are those of the caption as it was written, punctuation included, and texts are cleaned and cut to
30 words after the shuffle; a shuffle may give the caption back.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from random import Random
from typing import NamedTuple

from alignscope.language.pipeline import parsed

NOUNS = frozenset({"NN", "NNS", "NNP", "NNPS"})
ADJECTIVES = frozenset({"JJ", "JJR", "JJS"})
MAX_WORDS = 30


class WordOrders(NamedTuple):
    """A caption and its shuffles, all cleaned; the fields after the first are the kinds of shuffle."""

    caption: str
    nouns_and_adjectives: str
    all_but_nouns_and_adjectives: str
    within_trigrams: str
    trigrams: str


class _Tagged(NamedTuple):
    words: list[str]
    tags: list[str]


def word_orders(captions: Sequence[str], *, seed: int) -> Iterator[WordOrders]:
    """One record per caption, in order; equal captions have equal shuffles under a seed and a parser."""
    for caption, document in zip(captions, parsed(captions), strict=True):
        tokens = [token for token in document if not token.is_space]
        tagged = _Tagged([token.text for token in tokens], [token.tag_ for token in tokens])
        yield WordOrders(
            cleaned(caption),
            *(
                cleaned(" ".join(shuffle(tagged, Random(f"{seed}/{caption}/{kind}"))))
                for kind, shuffle in _SHUFFLES.items()
            ),
        )


def cleaned(text: str) -> str:
    """A text as the authors give it to models: lower case, most punctuation a space, at most 30 words.

    >>> cleaned("A man's red hat; (two) dogs, near U.S.A.")
    "a man's red hat two dogs, near u s a"
    """
    return " ".join(re.sub(r"[.!\"()*#:;~]", " ", text.lower()).split()[:MAX_WORDS])


def _nouns_and_adjectives(tagged: _Tagged, random: Random) -> list[str]:
    """Nouns change places with nouns, adjectives with adjectives."""
    words = _permuted(tagged.words, _places(tagged, NOUNS), random)
    return _permuted(words, _places(tagged, ADJECTIVES), random)


def _all_but_nouns_and_adjectives(tagged: _Tagged, random: Random) -> list[str]:
    """Nouns and adjectives stay, all other words change places."""
    stay = set(_places(tagged, NOUNS | ADJECTIVES))
    return _permuted(tagged.words, [place for place in range(len(tagged.words)) if place not in stay], random)


def _within_trigrams(tagged: _Tagged, random: Random) -> list[str]:
    """Each three words change places among themselves."""
    return list(chain.from_iterable(random.sample(three, len(three)) for three in _trigrams(tagged.words)))


def _trigrams_shuffled(tagged: _Tagged, random: Random) -> list[str]:
    """Threes of words change places as wholes."""
    threes = _trigrams(tagged.words)
    return list(chain.from_iterable(random.sample(threes, len(threes))))


_SHUFFLES: dict[str, Callable[[_Tagged, Random], list[str]]] = dict(
    zip(
        WordOrders._fields[1:],
        (_nouns_and_adjectives, _all_but_nouns_and_adjectives, _within_trigrams, _trigrams_shuffled),
        strict=True,
    )
)


def _places(tagged: _Tagged, tags: frozenset[str]) -> list[int]:
    return [place for place, tag in enumerate(tagged.tags) if tag in tags]


def _permuted(words: list[str], places: list[int], random: Random) -> list[str]:
    """The words with those at `places` shuffled among these."""
    moved = list(words)
    for place, source in zip(places, random.sample(places, len(places)), strict=True):
        moved[place] = words[source]
    return moved


def _trigrams(words: list[str]) -> list[list[str]]:
    """The words three by three; the last may be fewer."""
    return [words[start : start + 3] for start in range(0, len(words), 3)]
