"""Similarity of two texts against human judgement: Spearman and Pearson with intervals over pairs.

Spearman of the cosine is the main score of MTEB (`cosine_spearman`); no regression is trained, so the
numbers of SentEval's SICK-R and STS-B tasks are others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int

from alignscope.evaluation.columns import Columns
from alignscope.evaluation.intervals import Interval, cluster_draws, interval_of, measured
from alignscope.records import DRAWS, Measurement, Signature

FEWEST_PAIRS = 3

Values = Float[np.ndarray, " pair"]
Counts = Int[np.ndarray, "draw pair"]


def correlations(
    columns: Columns,
    *,
    signature: Signature,
    missing: Mapping[str, int],
    draws: int = DRAWS,
    seed: int = 0,
    level: float = 0.95,
) -> list[Measurement]:
    """Spearman and Pearson of score and gold, per subset where there are several, and over all pairs."""
    score = np.full(len(columns.items), np.nan)
    score[columns.item] = columns.scores
    is_known = np.isfinite(score) & np.isfinite(columns.gold)
    subsets = np.array(columns.subsets, dtype=object)
    names = sorted({*columns.subsets, *missing})
    parts = {name: subsets == name for name in names} if len(names) > 1 else {}
    signature = replace(signature, seed=seed)
    numbers = []
    for group, mine in {"all": np.ones(len(score), dtype=bool), **parts}.items():
        lost = sum(missing.values()) if group == "all" else missing.get(group, 0)
        used = mine & is_known
        for measure, statistic in (("spearman", _spearman), ("pearson", _pearson)):
            interval = _interval(statistic, score[used], columns.gold[used], draws, seed, level)
            number = measured(
                interval,
                [],
                measure=measure,
                group=group,
                signature=signature,
                unit="correlation",
                items=int(used.sum()),
                missing=int((mine & ~is_known).sum()) + lost,
                level=level,
            )
            numbers.append(number)
    return numbers


def correlation_difference(
    first: Values, second: Values, gold: Values, *, draws: int = DRAWS, seed: int = 0, level: float = 0.95
) -> tuple[Interval, tuple[float | None, float | None]]:
    """Spearman of `second` minus that of `first`, the same pairs drawn for both; and the two correlations."""
    once = np.ones((1, len(gold)), dtype=np.int64)
    if len(gold) < FEWEST_PAIRS:
        return Interval(None, None, None, f"{len(gold)} pairs: no correlation"), (None, None)
    values = [float(_spearman(score, gold, once)[0]) for score in (first, second)]
    if np.isnan(values).any():
        reason = "all scores or all judgements are equal: no correlation"
        return Interval(None, None, None, reason), (None, None)
    redrawn = [
        _spearman(second, gold, drawn) - _spearman(first, gold, drawn)
        for drawn in cluster_draws(len(gold), draws=draws, seed=seed)
    ]
    return interval_of(values[1] - values[0], np.concatenate(redrawn), level), (values[0], values[1])


def _interval(
    statistic: Callable[[Values, Values, Counts], Float[np.ndarray, " draw"]],
    score: Values,
    gold: Values,
    draws: int,
    seed: int,
    level: float,
) -> Interval:
    if len(score) < FEWEST_PAIRS:
        return Interval(None, None, None, f"{len(score)} pairs: no correlation")
    value = float(statistic(score, gold, np.ones((1, len(score)), dtype=np.int64))[0])
    if np.isnan(value):
        return Interval(None, None, None, "all scores or all judgements are equal: no correlation")
    redrawn = [statistic(score, gold, drawn) for drawn in cluster_draws(len(score), draws=draws, seed=seed)]
    return interval_of(value, np.concatenate(redrawn), level)


def _pearson(one: Values, other: Values, counts: Counts) -> Float[np.ndarray, " draw"]:
    """Pearson's correlation of pairs counted so often, per draw."""
    return _weighted(np.broadcast_to(one, counts.shape), np.broadcast_to(other, counts.shape), counts)


def _spearman(one: Values, other: Values, counts: Counts) -> Float[np.ndarray, " draw"]:
    """Pearson's correlation of the average ranks that the pairs have in each draw."""
    return _weighted(_average_ranks(one, counts), _average_ranks(other, counts), counts)


def _average_ranks(values: Values, counts: Counts) -> Float[np.ndarray, "draw pair"]:
    """Ranks among values counted so often, equal ones sharing their average."""
    _, place = np.unique(values, return_inverse=True)
    order = np.argsort(place, kind="stable")
    starts = np.flatnonzero(np.diff(place[order], prepend=-1))
    of_value = np.add.reduceat(counts[:, order], starts, axis=1)
    last = np.cumsum(of_value, axis=1)
    return (last - (of_value - 1) / 2)[:, place]


def _weighted(
    one: Float[np.ndarray, "draw pair"], other: Float[np.ndarray, "draw pair"], counts: Counts
) -> Float[np.ndarray, " draw"]:
    total = counts.sum(axis=1, keepdims=True)
    one = one - (one * counts).sum(axis=1, keepdims=True) / total
    other = other - (other * counts).sum(axis=1, keepdims=True) / total
    product = (counts * one * other).sum(axis=1)
    squares = (counts * one**2).sum(axis=1) * (counts * other**2).sum(axis=1)
    return np.divide(product, np.sqrt(squares), out=np.full(len(counts), np.nan), where=squares > 0)
