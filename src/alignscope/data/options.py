"""The options of a question: which scores decide it, which of them compete, and which one was chosen.

Needs no model: scores come as a mapping, from a model or from a file of scores made elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

from alignscope.data.benchmarks.facts import Asks, Benchmark
from alignscope.records import OptionScore, Question


class Place(NamedTuple):
    """Which score of a question: of image `first` with text `second`, or of texts `first` < `second`.

    Equal to the plain tuple: `("image", 0, 1)` is a key as well.
    """

    kind: Literal["image", "text"]
    first: int
    second: int


Scores = Mapping[tuple[str, int, int], float | None]
"""The scores of one question; a place that is absent, or None, could not be had."""


def places(question: Question, asks: Asks) -> list[Place]:
    """The scores that decide a question, right ones first.

    None for "retrieval", where an item competes with all others: `Rank` records have its outcome.
    """
    images, texts = range(len(question.images)), range(len(question.texts))
    if asks == "retrieval":
        return []
    if asks == "similarity":
        return [Place("text", 0, 1)]
    crossed = [Place("image", image, text) for image in images for text in texts]
    if asks == "two captions":
        crossed += [Place("text", 0, 1), Place("text", 0, 2), Place("text", 1, 2)]
    return crossed


def rivals(place: Place, among: Sequence[Place], asks: Asks) -> list[Place]:
    """The options that an option competes with.

    "caption" and "pairing": the other texts of its image. "image": the other images of its text. "two
    captions": each right text competes with the wrong one alone, and the two right texts together
    (their score with each other) with each of them beside the wrong one; right ones do not compete.
    """
    if asks == "two captions":
        return [
            each
            for each in among
            if each.kind == place.kind and _has_wrong_text(each) != _has_wrong_text(place)
        ]
    if asks == "image":
        return [each for each in among if each.second == place.second and each != place]
    return [each for each in among if each.first == place.first and each != place]


def options(question: Question, benchmark: Benchmark, scores: Scores) -> list[OptionScore]:
    """A record per option, compared in float32; a score that is not finite there is None.

    An option is not chosen where its own score or one it competes with is None.
    """
    among = places(question, benchmark.asks)
    single = {place: _single(scores.get(place)) for place in among}
    found = []
    for place, own in single.items():
        others = [single[each] for each in rivals(place, among, benchmark.asks)]
        option = OptionScore(
            benchmark=benchmark.name,
            item=question.id,
            subset=question.subset,
            group=question.group,
            tags="|".join(question.tags),
            image=question.images[place.first].key if place.kind == "image" else "",
            text=_text(question, place),
            first=place.first,
            second=place.second,
            score=scores[place] if own is not None else None,
            chosen=own is not None and all(each is not None and own >= each for each in others),
            is_tie=own is not None and own in others,
            gold=question.gold,
        )
        found.append(option)
    return found


def _has_wrong_text(place: Place) -> bool:
    return place.second == 2


def _text(question: Question, place: Place) -> str:
    """The text of an option; of two texts both, with a bar between."""
    if place.kind == "image":
        return question.texts[place.second]
    return f"{question.texts[place.first]} | {question.texts[place.second]}"


def _single(score: float | None) -> np.float32 | None:
    """A score in float32; None where it is not finite.

    >>> _single(1e39) is None, bool(_single(0.1) == _single(0.1 + 1e-12))
    (True, True)
    """
    if score is None:
        return None
    with np.errstate(over="ignore"):
        value = np.float32(score)
    return value if np.isfinite(value) else None
