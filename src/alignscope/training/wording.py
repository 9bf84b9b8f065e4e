"""How captions read while a captioner is trained: length, repetition, variety, nouns, perplexity."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import final

from alignscope.language.ngrams import Model
from alignscope.language.perplexity import caption_scores, perplexity
from alignscope.models.captioners.vocabulary import words_of

_FUNCTION_WORDS = (
    "a an the this that these those his her its their some any each other another one two three "
    "and or but while as is are was were be being been has have had do does it he she they who which there "
    "of in on at to by with from for into onto over under near next beside behind above below up down out off "
    "around through against along across between inside touching left right also not"
)
FUNCTION_WORDS = frozenset(_FUNCTION_WORDS.split())
"""Words that say nothing of an image alone; a caption may well need one twice."""


@final
@dataclass(frozen=True)
class Wording:
    """Of a set of captions; None where it has nothing to be measured on."""

    length: float  # words
    cut: float  # share without an end at the longest length
    repetition: float  # share in which a word of content comes twice
    distinct_2: float | None  # different pairs of neighbours among all (Li et al. 2016)
    nouns: float | None  # share of all words
    perplexity: float | None


def wording(
    texts: Sequence[str],
    *,
    cut: Sequence[bool],
    nouns: Collection[str] = (),
    model: Model | None = None,
) -> Wording:
    """What can be told of captions without looking at images.

    >>> found = wording(["a cat on a cat", "a dog"], cut=[True, False], nouns={"cat", "dog"})
    >>> found.length, found.cut, found.repetition, found.distinct_2, round(found.nouns, 3)
    (3.5, 0.5, 0.5, 0.8, 0.429)
    """
    said = [words_of(text) for text in texts]
    words = [word for each in said for word in each]
    pairs = [pair for each in said for pair in pairwise(each)]
    surprise = perplexity(caption_scores(model, texts)) if model else None
    return Wording(
        length=len(words) / len(said),
        cut=sum(cut) / len(said),
        repetition=sum(map(repeats, said)) / len(said),
        distinct_2=len(set(pairs)) / len(pairs) if pairs else None,
        nouns=sum(word in nouns for word in words) / len(words) if words and nouns else None,
        perplexity=surprise.ppl if surprise else None,
    )


def repeats(words: Sequence[str]) -> bool:
    """Whether a word of content comes twice.

    >>> repeats("a moon with a pale moon".split()), repeats("the cat by the dog".split())
    (True, False)
    """
    return any(count > 1 and word not in FUNCTION_WORDS for word, count in Counter(words).items())
