"""Length, nouns and repetition of captions (paper A, section 4.1 and Table 4).

The paper names neither spaCy's model nor says whether names are nouns, nor what makes two nouns the same:
here nouns are words tagged NOUN, with `names` also PROPN, the same when spelt alike but for case, with
`lemmas` when their lemmas are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from alignscope.errors import BadInput
from alignscope.evaluation.intervals import clustered_means, measured, sample_of
from alignscope.probing.captions import worded
from alignscope.records import (
    DRAWS,
    CaptionCounts,
    Measurement,
    Problem,
    Signature,
    TaggedCaption,
    TaggedWord,
)

AVERAGES = (
    ("caption length", "words"),
    ("nouns per caption", "nouns"),
    ("unique nouns per caption", "nouns"),
    ("noun share of words", "share"),
    ("captions with a repeated noun", "share"),
)
"""What `averages` gives, with its unit; the first three are columns of Table 4."""


def nouns_of(words: Iterable[TaggedWord], *, names: bool = False) -> list[TaggedWord]:
    """The nouns among tagged words, in order; `names` counts proper ones too.

    >>> nouns_of([TaggedWord("a", 0, 1, "DET"), TaggedWord("dog", 2, 5, "NOUN")])[0].text
    'dog'
    """
    tags = ("NOUN", "PROPN") if names else ("NOUN",)
    return [word for word in words if word.tag in tags]


def counted(
    captions: Iterable[TaggedCaption], *, names: bool = False, lemmas: bool = False
) -> tuple[list[CaptionCounts], list[Problem]]:
    """Length, nouns and distinct nouns of each caption; those without a word are unscored."""
    kept, problems = worded(captions)
    counts = []
    for caption in kept:
        nouns = nouns_of(caption.words, names=names)
        distinct = {_form(noun, lemmas=lemmas) for noun in nouns}
        counts.append(
            CaptionCounts(caption.image, caption.text, len(caption.words), len(nouns), len(distinct))
        )
    return counts, problems


def averages(
    counts: Sequence[CaptionCounts], *, signature: Signature, missing: int = 0, draws: int = DRAWS
) -> list[Measurement]:
    """Means over captions with intervals over images; a caption without a noun has 0 of them."""
    columns = [
        [(float(value), one.image) for one, value in zip(counts, values, strict=True)]
        for values in (
            [one.words for one in counts],
            [one.nouns for one in counts],
            [one.unique_nouns for one in counts],
            [one.nouns / one.words for one in counts],
            [one.unique_nouns < one.nouns for one in counts],
        )
    ]
    samples = [sample_of(column) for column in columns]
    intervals = clustered_means(samples, draws=draws, seed=signature.seed)
    return [
        measured(
            interval,
            [sample],
            measure=measure,
            group="all",
            signature=signature,
            unit=unit,
            missing=missing,
        )
        for (measure, unit), sample, interval in zip(AVERAGES, samples, intervals, strict=True)
    ]


def _form(noun: TaggedWord, *, lemmas: bool) -> str:
    if lemmas and not noun.lemma:
        raise BadInput(f"got no lemma of {noun.text!r}, wanted one: tag with `lemmas=True`")
    return (noun.lemma if lemmas else noun.text).casefold()
