"""Two runs on the same items: the difference with its interval, McNemar's exact test, Holm's correction.

Runs on the same items are not independent, so neither two separate intervals nor a test of two proportions
tells them apart (McNemar 1947; Holm 1979). Nor are items of one image: where it has several, the test is of
images. A tie is wrong, in float32, as in "accuracy".
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from alignscope.errors import BadData
from alignscope.evaluation.columns import Columns, signs
from alignscope.evaluation.intervals import Interval, clustered_bootstrap
from alignscope.evaluation.paired_tests import two_sided
from alignscope.evaluation.similarity import correlation_difference
from alignscope.records import DRAWS, Choice, Rank

EXACT = 20_000
"""Items gained or lost up to which the signs of their images are counted out."""


@dataclass(frozen=True)
class Answers:
    """Which items a run has right, for one question of one benchmark; NaN where it could not be scored."""

    items: Sequence[str]
    subsets: Sequence[str]
    images: Sequence[str]
    right: Float[np.ndarray, " item"]


@dataclass(frozen=True)
class Paired:
    """One line of a comparison; `difference` is the second run's accuracy (or correlation) minus the first's.

    Items are those that both runs scored. `alone_*` could not be paired: the other run lacks them, or has no
    score. `p` is McNemar's (`mcnemar_of_images` where an image has several items), `p_holm` the same among all
    lines about the whole of a benchmark; subsets are explored, not corrected.
    """

    benchmark: str
    question: str  # "", or text, image, group; ITT, TOT; a direction of retrieval; spearman
    subset: str  # "all" for the whole
    first: float | None
    second: float | None
    difference: float | None
    low: float | None
    high: float | None
    level: float
    items: int
    images: int
    first_only_right: int
    second_only_right: int
    alone_in_first: int
    alone_in_second: int
    p: float | None
    p_holm: float | None
    reason: str = ""


def answers_of(columns: Columns, asks: str) -> dict[str, Answers]:
    """What a run has right, by the question asked of its items."""
    return {
        question: _answers(columns.items, columns.subsets, columns.images, sign)
        for question, sign in signs(columns, asks).items()
    }


def answers_of_choices(choices: Iterable[Choice]) -> Answers:
    """The choices of an audit; a caption and its foils are as many items, named by caption and foil."""
    rows = list(choices)
    with np.errstate(over="ignore"):
        scores = np.array([(row.caption_score, row.foil_score) for row in rows], dtype=np.float64)
        scores = scores.reshape(-1, 2).astype(np.float32)
    sign = np.where(np.isfinite(scores).all(axis=1), (scores[:, 0] > scores[:, 1]).astype(np.float64), np.nan)
    names = [f"{row.item}\n{row.image}\n{row.kind}\n{row.foil}" for row in rows]
    return _answers(names, [row.kind for row in rows], [row.image for row in rows], sign)


def answers_of_ranks(ranks: Iterable[Rank]) -> dict[str, Answers]:
    """Whether each query finds its right answer first, by direction."""
    by_direction: dict[str, list[Rank]] = {}
    for rank in ranks:
        by_direction.setdefault(rank.direction, []).append(rank)
    return {
        f"recall@1, {direction}": _answers(
            [rank.query for rank in mine],
            ["all"] * len(mine),
            [rank.image for rank in mine],
            np.array([rank.rank == 1 for rank in mine], dtype=np.float64),
        )
        for direction, mine in by_direction.items()
    }


def compared(
    benchmark: str,
    question: str,
    first: Answers,
    second: Answers,
    *,
    draws: int = DRAWS,
    seed: int = 0,
    level: float = 0.95,
) -> list[Paired]:
    """The whole ("all") and each subset where there are several; `p_holm` comes with `corrected`."""
    one, other = _table(first), _table(second)
    parts = sorted({*first.subsets, *second.subsets})
    lines = []
    for subset in ["all", *(parts if len(parts) > 1 else [])]:
        mine = {name: row for name, row in one.items() if subset in ("all", row.subset)}
        theirs = {name: row for name, row in other.items() if subset in ("all", row.subset)}
        both = [
            name for name, row in mine.items() if row.is_scored and name in theirs and theirs[name].is_scored
        ]
        right = np.array([(mine[name].right, theirs[name].right) for name in both]).reshape(-1, 2)
        images = [mine[name].image for name in both]
        if any(theirs[name].image != image for name, image in zip(both, images, strict=True)):
            raise BadData(
                f"{benchmark}: the runs show other images for the same items; compare runs on one data set"
            )
        interval = clustered_bootstrap(right[:, 1] - right[:, 0], images, draws=draws, seed=seed, level=level)
        gone = len(mine) - len(both), len(theirs) - len(both)
        lines.append(_line((benchmark, question, subset), right, images, interval, gone, level))
    return lines


def compared_correlations(
    benchmark: str, first: Columns, second: Columns, *, draws: int = DRAWS, seed: int = 0, level: float = 0.95
) -> Paired:
    """Spearman's correlation of either run with the judgements; pairs of texts are resampled, no p is given."""
    score = np.full((2, len(first.items)), np.nan)
    score[0, first.item] = first.scores
    theirs = np.full(len(second.items), np.nan)
    theirs[second.item] = second.scores
    place = {name: index for index, name in enumerate(first.items)}
    both = [(place[name], index) for index, name in enumerate(second.items) if name in place]
    for mine, index in both:
        score[1, mine] = theirs[index]
    known = np.isfinite(score).all(axis=0) & np.isfinite(first.gold)
    interval, values = correlation_difference(
        score[0, known], score[1, known], first.gold[known], draws=draws, seed=seed, level=level
    )
    items = int(known.sum())
    return Paired(
        benchmark,
        "spearman",
        "all",
        *values,
        interval.value,
        interval.low,
        interval.high,
        level,
        items,
        images=0,
        first_only_right=0,
        second_only_right=0,
        alone_in_first=len(first.items) - items,
        alone_in_second=len(second.items) - items,
        p=None,
        p_holm=None,
        reason=interval.reason,
    )


def corrected(lines: Sequence[Paired]) -> list[Paired]:
    """The lines with Holm's correction over those about whole benchmarks."""
    whole = [line for line in lines if line.subset == "all" and line.p is not None]
    p_holm = dict(zip(map(id, whole), holm([line.p for line in whole if line.p is not None]), strict=True))
    return [replace(line, p_holm=p_holm.get(id(line))) for line in lines]


def mcnemar(first_only: int, second_only: int) -> float:
    """The exact two-sided p: items that only one run has right fall to either side like a coin.

    >>> mcnemar(0, 5), mcnemar(3, 3)
    (0.0625, 1.0)
    """
    total, fewer = first_only + second_only, min(first_only, second_only)
    ways, so_far = 1, 0  # of `count` items among all, and up to there: whole numbers, hence exact
    for count in range(fewer + 1):
        so_far += ways
        ways = ways * (total - count) // (count + 1)
    return min(1.0, 2 * so_far / 2**total)


def mcnemar_of_images(gains: Int[np.ndarray, " image"]) -> float:
    """McNemar's test of images with several items: what each gains in all falls to either side like a coin.

    The two-sided chance that signs drawn anew give a sum so far from 0 (Fisher 1935); of gains of 1 and -1 that of
    `mcnemar`. Exact up to `EXACT` items gained or lost, and normal beyond.

    >>> mcnemar_of_images(np.array([1, 1, 1, 1, 1, 0])), mcnemar_of_images(np.array([3, -1]))
    (0.0625, 1.0)
    """
    if np.abs(gains).sum() > EXACT:
        return two_sided(float(gains.sum() / np.sqrt((gains.astype(np.float64) ** 2).sum())))
    law = np.ones(1)  # of how much falls to one side
    for size, count in zip(*np.unique(np.abs(gains[gains != 0]), return_counts=True), strict=True):
        ways = [
            math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1) for k in range(count + 1)
        ]
        shares = np.zeros(size * count + 1)
        shares[::size] = np.exp(np.array(ways) - count * math.log(2))
        law = np.convolve(law, shares)
    distance = np.abs(2 * np.arange(len(law)) - (len(law) - 1))
    return min(1.0, float(law[distance >= abs(gains.sum())].sum()))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment: the k-th smallest of n times n - k + 1, never below one before it.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda place: p_values[place])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = highest
    return adjusted


@dataclass(frozen=True, slots=True)
class _Answer:
    subset: str
    image: str
    right: float

    @property
    def is_scored(self) -> bool:
        return not math.isnan(self.right)


def _table(answers: Answers) -> Mapping[str, _Answer]:
    rows = map(_Answer, answers.subsets, answers.images, answers.right.tolist())
    return dict(zip(answers.items, rows, strict=True))


def _answers(
    items: Sequence[str], subsets: Sequence[str], images: Sequence[str], sign: Float[np.ndarray, " item"]
) -> Answers:
    if len(set(items)) < len(items):
        raise BadData(f"{len(items) - len(set(items))} items are there twice: a run has each of them once")
    return Answers(items, subsets, images, np.where(np.isnan(sign), np.nan, sign > 0))


def _line(
    name: tuple[str, str, str],
    right: Float[np.ndarray, "item run"],
    images: Sequence[str],
    interval: Interval,
    gone: tuple[int, int],
    level: float,
) -> Paired:
    first, second = right.mean(axis=0).tolist() if len(right) else (None, None)
    only = int((right[:, 0] > right[:, 1]).sum()), int((right[:, 1] > right[:, 0]).sum())
    shown, image = np.unique(np.array(images, dtype=str), return_inverse=True)
    gains = np.bincount(image, right[:, 1] - right[:, 0], minlength=len(shown)).astype(np.int64)
    p = mcnemar(*only) if len(shown) == len(right) else mcnemar_of_images(gains)
    return Paired(
        *name,
        first,
        second,
        interval.value,
        interval.low,
        interval.high,
        level,
        len(right),
        len(shown),
        *only,
        *gone,
        p if len(right) else None,
        None,
        interval.reason,
    )
