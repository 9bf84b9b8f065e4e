"""Many means and means of means with intervals from the same draws of images: one pass for a whole table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from alignscope.errors import BadData
from alignscope.evaluation.intervals import Interval, cluster_draws, interval_of
from alignscope.records import DRAWS


@dataclass(frozen=True)
class Part:
    """The mean over some items, those with a value; `weight` is its own in the mean of several parts."""

    values: Float[np.ndarray, " item"]  # of all items; NaN where there is none
    places: Int[np.ndarray, " place"]  # of the items it is about
    weight: float = 1.0

    @property
    def scored(self) -> Int[np.ndarray, " scored"]:
        """The places that have a value."""
        return self.places[~np.isnan(self.values[self.places])]


def joint_intervals(
    rows: Sequence[Sequence[Part]],
    clusters: Int[np.ndarray, " item"],
    *,
    draws: int = DRAWS,
    seed: int = 0,
    level: float = 0.95,
) -> list[Interval]:
    """Per row the weighted mean of its parts' means, clusters (images) of all rows drawn together.

    A part without a value is left out of its row, and one that a draw leaves without any is left out of
    that draw, its weight going to the others.
    """
    if draws < 1 or not 0 < level < 1:
        raise BadData(f"{draws} draws at level {level}: give at least one draw and a level between 0 and 1")
    kept = [[part for part in row if len(part.scored)] for row in rows]
    sums, counts, cluster, starts, places = _totals([part for row in kept for part in row], clusters)
    if len(starts) == 0:
        return [Interval(None, None, None, "nothing scored") for _ in rows]
    mine = [[places[id(part.values), id(part.places)] for part in row] for row in kept]
    weights = [np.array([part.weight for part in row]) for row in kept]
    whole = np.add.reduceat(sums, starts) / np.add.reduceat(counts, starts)
    names, codes = np.unique(cluster, return_inverse=True)
    redrawn = np.concatenate(
        [
            _means(drawn, sums, counts, codes, starts)
            for drawn in cluster_draws(len(names), draws=draws, seed=seed)
        ]
    )
    ends = np.append(starts[1:], len(cluster))
    found = []
    for places_of_row, weight in zip(mine, weights, strict=True):
        if not places_of_row:
            found.append(Interval(None, None, None, "nothing scored"))
            continue
        value = float(_weighted(whole[None, places_of_row], weight)[0])
        images = np.unique(np.concatenate([cluster[starts[p] : ends[p]] for p in places_of_row]))
        if len(images) == 1:
            found.append(Interval(value, None, None, "one image: no interval"))
        else:
            found.append(interval_of(value, _weighted(redrawn[:, places_of_row], weight), level))
    return found


def _totals(
    parts: Sequence[Part], clusters: Int[np.ndarray, " item"]
) -> tuple[
    Float[np.ndarray, " pair"],
    Float[np.ndarray, " pair"],
    Int[np.ndarray, " pair"],
    Int[np.ndarray, " part"],
    dict[tuple[int, int], int],
]:
    """Sum, count and cluster of every (part, cluster) that has a value; where parts start; which is where.

    A part that several rows share, the same arrays, is summed once.
    """
    places: dict[tuple[int, int], int] = {}
    sums, counts, names, starts = [], [], [], [0]
    for part in parts:
        key = (id(part.values), id(part.places))
        if key in places:
            continue
        places[key] = len(places)
        scored = part.scored
        here, codes = np.unique(clusters[scored], return_inverse=True)
        sums.append(np.bincount(codes, part.values[scored]))
        counts.append(np.bincount(codes).astype(np.float64))
        names.append(here)
        starts.append(starts[-1] + len(here))
    nothing = np.zeros(0)
    return (
        np.concatenate([nothing, *sums]),
        np.concatenate([nothing, *counts]),
        np.concatenate([nothing.astype(np.int64), *names]),
        np.array(starts[:-1], dtype=np.int64),
        places,
    )


def _means(
    drawn: Int[np.ndarray, "draw cluster"],
    sums: Float[np.ndarray, " pair"],
    counts: Float[np.ndarray, " pair"],
    codes: Int[np.ndarray, " pair"],
    starts: Int[np.ndarray, " part"],
) -> Float[np.ndarray, "draw part"]:
    times = drawn[:, codes]
    total = np.add.reduceat(times * sums, starts, axis=1)
    count = np.add.reduceat(times * counts, starts, axis=1)
    means = np.full_like(total, np.nan)
    np.divide(total, count, out=means, where=count > 0)
    return means


def _weighted(
    means: Float[np.ndarray, "draw part"], weights: Float[np.ndarray, " part"]
) -> Float[np.ndarray, " draw"]:
    there = ~np.isnan(means)
    weight = there @ weights
    total = np.where(there, means, 0.0) @ weights
    return np.divide(total, weight, out=np.full(len(means), np.nan), where=weight > 0)
