"""What a benchmark yields without looking at any image: by chance, by length, by plausibility, by bags of words.

A baseline that cannot choose guesses: an item it ties on counts the probability of guessing it right,
and shows in `ties`. Text alone says something only where several texts compete for one image.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

from alignscope.data.benchmarks.facts import Asks
from alignscope.evaluation.intervals import clustered_bootstrap, measured, sample_of
from alignscope.evaluation.retrieval import IMAGE_TO_TEXT, TEXT_TO_IMAGE
from alignscope.language.ngrams import words_of
from alignscope.records import DRAWS, Measurement, Question, Signature

TextScore = Callable[[str], float]
LENGTHS: Mapping[str, TextScore] = {
    "fewer characters": lambda text: -len(text.strip()),
    "more characters": lambda text: len(text.strip()),
    "fewer words": lambda text: -len(words_of(text)),
    "more words": lambda text: len(words_of(text)),
}
"""Texts by their length: the higher score is chosen."""
NO_TEXTS = "no text competes with another for one image: text alone cannot do better than chance"


class Credit(NamedTuple):
    """The probability that an item is answered right, and whether that took a guess among ties."""

    value: float
    is_tie: bool = False


Credits = Callable[[Question], Mapping[str, Credit]]  # by part of the measure: "" or "text", "ITT", ...


def baselines(
    questions: Sequence[Question],
    asks: Asks,
    *,
    signature: Signature,
    text_scores: Mapping[str, TextScore] | None = None,
    draws: int = DRAWS,
    seed: int = 0,
    level: float = 0.95,
) -> list[Measurement]:
    """All baselines over all items and per subset; `text_scores` are further ways to choose a text.

    Such as `{"trigram": model.logprob}` with a model of `language.ngrams`.
    """
    how: dict[str, Any] = {"signature": signature, "draws": draws, "seed": seed, "level": level}
    found = chance(questions, asks, **how)
    for name, score in {**LENGTHS, **(text_scores or {})}.items():
        found += by_text(questions, asks, score, name=name, **how)
    return [*found, *bag_of_words_ceiling(questions, asks, **how)]


def chance(questions: Sequence[Question], asks: Asks, **how: Any) -> list[Measurement]:
    """What scores in random order reach, no two equal.

    One of n options is best in 1/n of all orders. Winoground: two independent comparisons are both
    right in 1/4, and both right pairings the two best of four scores in 2! 2! / 4! = 1/6. SugarCrepe++:
    the wrong caption is the lowest of three (ITT), and the score of the two right captions with each
    other the highest of three (TOT), in 1/3. Retrieval: 1 - C(n - m, k) / C(n, k) for m right among n.
    """
    if asks == "retrieval":
        return _chance_of_recall(questions, **how)
    if asks == "similarity":
        return [
            _unscored("chance", how["signature"], "scores in random order: the expected correlation is 0")
        ]
    known: Mapping[str, Credits] = {
        "caption": lambda question: {"": Credit(1 / len(question.texts))},
        "image": lambda question: {"": Credit(1 / len(question.images))},
        "pairing": lambda question: {
            "text": Credit(1 / 4),
            "image": Credit(1 / 4),
            "group": Credit(1 / 6),
        },
        "two captions": lambda question: {"ITT": Credit(1 / 3), "TOT": Credit(1 / 3)},
    }
    return _measured(_by_group(questions, known[asks]), "chance", **how)


def by_text(
    questions: Sequence[Question], asks: Asks, score: TextScore, *, name: str, **how: Any
) -> list[Measurement]:
    """Choosing the text of highest `score`, whatever the image."""
    measure = f"text alone: {name}"
    if asks not in ("caption", "two captions"):
        return [_unscored(measure, how["signature"], NO_TEXTS)]
    scored, right = cache(score), _right_texts(asks)

    def credits(question: Question) -> Mapping[str, Credit]:
        scores = [scored(text) for text in question.texts]
        return {"ITT" if right == 2 else "": _guessed(scores[:right], scores[right:])}

    return _measured(_by_group(questions, credits), measure, **how)


def bag_of_words_ceiling(questions: Sequence[Question], asks: Asks, **how: Any) -> list[Measurement]:
    """The most that a score can reach which knows which words a text has, and not their order.

    A right and a wrong text of the same words tie; on two, the ceiling is 1 minus half their share.
    In SugarCrepe++ both comparisons tie (of texts with each other: for any symmetric score). In
    Winoground an item of the same words is at chance.
    """
    measure = "bag-of-words ceiling"
    if asks not in ("caption", "two captions", "pairing"):
        return [_unscored(measure, how["signature"], NO_TEXTS)]

    def of_pairing(question: Question) -> Mapping[str, Credit]:
        is_same = _bag(question.texts[0]) == _bag(question.texts[1])
        guess = {"text": 1 / 4, "image": 1 / 4, "group": 1 / 6}
        return {part: Credit(value if is_same else 1.0, is_same) for part, value in guess.items()}

    def of_caption(question: Question) -> Mapping[str, Credit]:
        bags, right = [_bag(text) for text in question.texts], _right_texts(asks)
        ties = sum(one == other for one in bags[:right] for other in bags[right:])
        credit = Credit(1 / (1 + ties), ties > 0)
        return {"ITT": credit, "TOT": credit} if right == 2 else {"": credit}

    credits = of_pairing if asks == "pairing" else of_caption
    return _measured(_by_group(questions, credits), measure, **how)


def _right_texts(asks: Asks) -> int:
    return 2 if asks == "two captions" else 1


def _guessed(right: Sequence[float], wrong: Sequence[float]) -> Credit:
    """Whether all right scores lead all wrong ones, one side being a single score; ties are guessed.

    >>> _guessed([2.0], [1.0, 0.0]), _guessed([2.0], [2.0, 2.0]), _guessed([1.0, 3.0], [1.0])
    (Credit(value=1.0, is_tie=False), Credit(value=0.3333333333333333, is_tie=True), Credit(value=0.5, is_tie=True))
    """
    if min(right) < max(wrong):
        return Credit(0.0)
    ties = sum(one == other for one in right for other in wrong)
    return Credit(1 / (1 + ties), ties > 0)


def _bag(text: str) -> Counter[str]:
    return Counter(words_of(text))


def _by_group(questions: Sequence[Question], credits: Credits) -> dict[str, list[tuple[Credit, str]]]:
    """Credits with their image, over all items and per subset where there are several, by part of the measure."""
    found: dict[str, list[tuple[Credit, str]]] = {}
    has_subsets = len({question.subset for question in questions}) > 1
    for question in questions:
        image = question.images[0].key if question.images else question.id
        for part, credit in credits(question).items():
            groups = [part or "all"]
            if has_subsets:
                groups.append(f"{part} | {question.subset}" if part else question.subset)
            for group in groups:
                found.setdefault(group, []).append((credit, image))
    return found


def _measured(
    per_group: Mapping[str, Sequence[tuple[Credit, str]]],
    measure: str,
    *,
    signature: Signature,
    draws: int = DRAWS,
    seed: int = 0,
    level: float = 0.95,
) -> list[Measurement]:
    """The mean credit of each group."""
    signature = replace(signature, ties="guessed", seed=seed)
    found = []
    for group, pairs in per_group.items():
        sample = sample_of([(credit.value, image) for credit, image in pairs])
        found.append(
            measured(
                clustered_bootstrap(sample.values, sample.clusters, draws=draws, seed=seed, level=level),
                [sample],
                measure=measure,
                group=group,
                signature=signature,
                ties=sum(credit.is_tie for credit, _ in pairs),
                level=level,
            )
        )
    return found


def _unscored(measure: str, signature: Signature, reason: str) -> Measurement:
    whole = str(replace(signature, measure=measure))
    return Measurement(measure, "all", None, None, None, 0, 0, reason=reason, signature=whole)


def _chance_of_recall(questions: Sequence[Question], **how: Any) -> list[Measurement]:
    images, texts = len(questions), sum(len(question.texts) for question in questions)
    found = []
    for k in (1, 5, 10):
        per_image = [(_among_first(k, texts, len(q.texts)), q.images[0].key) for q in questions]
        per_text = [(_among_first(k, images, 1), q.images[0].key) for q in questions for _ in q.texts]
        both = {IMAGE_TO_TEXT: per_image, TEXT_TO_IMAGE: per_text}
        credits = {name: [(Credit(value), key) for value, key in pairs] for name, pairs in both.items()}
        found += _measured(credits, f"chance: recall@{k}", **how)
    return found


def _among_first(k: int, candidates: int, right: int) -> float:
    """How likely one of the right candidates is among the first k of a random order."""
    if candidates - right < k:
        return 1.0
    return 1 - math.comb(candidates - right, k) / math.comb(candidates, k)
