"""Words of training captions: classed once and kept on disk, counted, and gathered as replacements.

Every word has one class, so the sheet's rule for words that two classes claim (B.1) never applies.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from alignscope.errors import BadData
from alignscope.files import sha_of
from alignscope.language.cache import default_directory
from alignscope.language.classes import word_classes
from alignscope.language.replacements import Candidates, candidates
from alignscope.records import WORD_CLASSES, Caption, Problem, WordClass
from alignscope.training.metrics import Progress
from alignscope.training.negatives import foil_candidates
from alignscope.training.places import PlacedSamples, packed

CHUNK = 5000
"""Texts parsed between two writes to the cache."""
AT_LEAST = 5
"""How often a word has to come to stand in for others (sheet B.3, perturbation)."""
_NEEDED = 2  # candidates of a class: with one, its own captions have none


@dataclass(frozen=True)
class Coverage:
    """Of how many captions the attribution loss can make use, and why not of the others."""

    captions: int
    with_objects: int
    with_attributes: int
    with_relations: int
    with_both: int  # an object, and an attribute or relation: those the loss can use
    words_per_caption: Mapping[WordClass, float]

    def shares(self) -> dict[str, float]:
        """Of the captions: those that the loss can use, and those with words of each class it asks for."""
        having = {"valid": self.with_both, "objects": self.with_objects}
        having |= {"attributes": self.with_attributes, "relations": self.with_relations}
        return {name: count / self.captions for name, count in having.items()}


@dataclass(frozen=True)
class Replacements:
    """Words that may stand in for one another, and what had to be done to have any."""

    candidates: Candidates
    problems: tuple[Problem, ...]


def classed(captions: Sequence[Caption], *, cache: Path | None = None) -> list[Caption]:
    """The captions, those without words parsed; `cache` is a directory, else `default_directory()`."""
    texts = [caption.text for caption in captions if not caption.words]
    fresh = iter(word_classes(texts, cache=cache or default_directory()) if texts else ())
    return [caption if caption.words else next(fresh) for caption in captions]


def worded(
    samples: PlacedSamples, *, cache: Path | None = None, progress: Progress | None = None
) -> PlacedSamples:
    """Samples whose captions all have classed words; their hash then speaks of the words too."""
    if all(place.words for place in samples.places):
        return samples
    captions, total = samples.captions(), sum(len(place.texts) for place in samples.places)
    words: list[bytes] = []
    while chunk := list(islice(captions, CHUNK)):
        words += map(packed, classed(chunk, cache=cache))
        if progress:
            progress("word classes", len(words), total)
    rest = iter(words)
    places = tuple(replace(place, words=tuple(islice(rest, len(place.texts)))) for place in samples.places)
    return replace(samples, places=places, sha=sha_of([samples.sha, digest_of(words)]))


def digest_of(words: Iterable[bytes]) -> str:
    """Hash of packed words."""
    return hashlib.sha256(b"".join(len(each).to_bytes(8, "big") + each for each in words)).hexdigest()


def coverage(captions: Iterable[Caption]) -> Coverage:
    """Counts over captions with words.

    >>> from alignscope.records import Word
    >>> found = coverage([Caption("red dog", (Word("red", 0, 3, "attribute"), Word("dog", 4, 7, "object")))])
    >>> found.with_both, found.with_relations
    (1, 0)
    """
    words: Counter[WordClass] = Counter()
    having: Counter[WordClass] = Counter()
    count = both = 0
    for caption in captions:
        classes = [word.word_class for word in caption.words]
        words.update(classes)
        having.update(set(classes))
        both += "object" in classes and ("attribute" in classes or "relation" in classes)
        count += 1
    if not count:
        raise BadData("got no captions, wanted one or more to count their words; check the data")
    means = {kind: words[kind] / count for kind in WORD_CLASSES}
    return Coverage(count, having["object"], having["attribute"], having["relation"], both, means)


def candidates_of(
    captions: Callable[[], Iterable[Caption]], *, name: str, phrases: bool = False
) -> Replacements:
    """Words by class from captions, those that came `AT_LEAST` times; all of a class that has too few.

    A class with fewer than two frequent words falls back to all its words, and a problem says so. With
    `phrases` they are those of `negatives.foil_candidates`, for hard negatives.
    """
    collect = foil_candidates if phrases else candidates
    found = collect(captions(), at_least=AT_LEAST)
    frequent = dict(found.words)
    poor = [kind for kind, words in frequent.items() if len(words) < _NEEDED]
    every = collect(captions()).words if poor else {}
    problems = []
    for kind in poor:
        if len(every[kind]) > len(frequent[kind]):
            problems.append(
                Problem(
                    name,
                    kind,
                    f"{len(frequent[kind])} {kind} words come {AT_LEAST} times or more: "
                    f"all {len(every[kind])} are taken as replacements",
                    "handled",
                )
            )
            frequent[kind] = every[kind]
    return Replacements(Candidates(frequent, found.together), tuple(problems))
