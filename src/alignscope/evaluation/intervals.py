"""Bootstrap intervals that resample images, because values of one image hang together.

They are percentile intervals, but for statistics that drawing again biases (`symmetric`). Clusters are
drawn with replacement and every mean is a ratio of sums, so that clusters may differ in size (Field and
Welsh 2007, the randomised cluster bootstrap). Where all clusters say the same, the interval has no width;
the record's `reason` then says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from jaxtyping import Float, Int

from alignscope.errors import BadData, LengthMismatch
from alignscope.records import DRAWS, Measurement, Signature

ROUNDED = 12  # digits to which a draw equals the value, where both are sums
CELLS_PER_CHUNK = 60_000  # draws x clusters held at once; larger arrays cost fresh memory each time


@dataclass(frozen=True)
class Interval:
    """A value with its interval; `low` and `high` are None where `reason` says why.

    A reason beside an interval is a remark: no width, or draws in which the value is undefined.
    """

    value: float | None
    low: float | None
    high: float | None
    reason: str = ""


@dataclass(frozen=True)
class Sample:
    """Values and the cluster (image) each belongs to."""

    values: Float[np.ndarray, " value"]
    clusters: Sequence[str] | Int[np.ndarray, " value"]


def clustered_bootstrap(
    values: Float[np.ndarray, " value"],
    clusters: Sequence[str] | Int[np.ndarray, " value"],
    *,
    draws: int = DRAWS,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """The mean of `values` with an interval from resampled clusters.

    >>> clustered_bootstrap(np.array([1.0, 1.0, 0.0]), ["a", "a", "b"]).value == 2 / 3
    True
    >>> clustered_bootstrap(np.array([1.0, 0.0]), ["a", "a"])
    Interval(value=0.5, low=None, high=None, reason='one image: no interval')
    """
    return clustered_statistic([Sample(values, clusters)], _only, draws=draws, seed=seed, level=level)


def clustered_difference(
    first: Sample, second: Sample, *, draws: int = DRAWS, seed: int = 0, level: float = 0.95
) -> Interval:
    """Mean of `first` minus mean of `second`, clusters of both drawn together."""
    return clustered_statistic([first, second], _difference, draws=draws, seed=seed, level=level)


def clustered_ratio(
    first: Sample, second: Sample, *, draws: int = DRAWS, seed: int = 0, level: float = 0.95
) -> Interval:
    """Mean of `first` over mean of `second`; undefined where the latter is not positive."""
    return clustered_statistic([first, second], _ratio, draws=draws, seed=seed, level=level)


def clustered_average(
    samples: Sequence[Sample], *, draws: int = DRAWS, seed: int = 0, level: float = 0.95
) -> Interval:
    """The plain average of several means (macro average), clusters of all drawn together."""
    return clustered_statistic(samples, _average, draws=draws, seed=seed, level=level)


def clustered_statistic(
    samples: Sequence[Sample],
    combine: Callable[[Float[np.ndarray, "draw sample"]], Float[np.ndarray, " draw"]],
    *,
    draws: int = DRAWS,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """A statistic of the samples' means; the same draw of clusters serves all samples.

    Draws in which the statistic is undefined (a sample has no value in it) are left out and
    mentioned; where they outnumber one tail of the interval, there is none.
    """
    if draws < 1 or not 0 < level < 1:
        raise BadData(f"{draws} draws at level {level}: give at least one draw and a level between 0 and 1")
    for sample in samples:
        _check(sample)
    if not samples or any(len(sample.values) == 0 for sample in samples):
        return Interval(None, None, None, "nothing scored")
    totals, centres = _totals(samples)
    value = float(combine(_means(totals.sum(axis=0, keepdims=True), centres))[0])
    if np.isnan(value):
        return Interval(None, None, None, "undefined: the mean divided by is not positive")
    if len(totals) == 1:
        return Interval(value, None, None, "one image: no interval")
    redrawn = [combine(_means(sums, centres)) for sums in _resampled(totals, draws=draws, seed=seed)]
    return interval_of(value, np.concatenate(redrawn), level)


def clustered_means(
    samples: Sequence[Sample], *, draws: int = DRAWS, seed: int = 0, level: float = 0.95
) -> list[Interval]:
    """The mean of each of many samples with its own interval, from the same draws of clusters.

    The clusters are those of all samples together: `clustered_bootstrap` of each in the time of one,
    where they have the same; a sample from few of them is undefined in some draws.
    """
    scored = [sample for sample in samples if len(sample.values)]
    if not scored:
        return [Interval(None, None, None, "nothing scored") for _ in samples]
    for sample in scored:
        _check(sample)
    totals, centres = _totals(scored)
    values = _means(totals.sum(axis=0, keepdims=True), centres)[0]
    clusters = (totals[:, len(scored) :] > 0).sum(axis=0)
    redrawn = np.concatenate([_means(sums, centres) for sums in _resampled(totals, draws=draws, seed=seed)])
    found = (
        interval_of(float(value), column, level)
        if count > 1
        else Interval(float(value), None, None, "one image: no interval")
        for value, column, count in zip(values, redrawn.T, clusters, strict=True)
    )
    return [
        next(found) if len(sample.values) else Interval(None, None, None, "nothing scored")
        for sample in samples
    ]


def clustered_median(sample: Sample, *, draws: int = DRAWS, seed: int = 0, level: float = 0.95) -> Interval:
    """The median of the values with an interval from resampled clusters.

    The median of a draw is that of its values, each as often as its cluster was drawn; it is looked
    for near the middle first, which is exact and much faster where there are many values.
    """
    _check(sample)
    if len(sample.values) == 0:
        return Interval(None, None, None, "nothing scored")
    clusters, [codes] = _coded([sample])
    value = float(np.median(sample.values))
    if clusters == 1:
        return Interval(value, None, None, "one image: no interval")
    order = np.argsort(sample.values, kind="stable")
    values, codes = np.asarray(sample.values, dtype=np.float64)[order], codes[order]
    reach = 10 * int(np.sqrt(len(values)))  # ten standard errors of a median's rank and more
    narrow = (max(0, len(values) // 2 - reach), min(len(values), len(values) // 2 + reach))
    rows = max(1, 10 * CELLS_PER_CHUNK // len(values))
    redrawn = []
    for chunk in cluster_draws(clusters, draws=draws, seed=seed):
        for drawn in (chunk[start : start + rows] for start in range(0, len(chunk), rows)):
            medians = _medians(drawn, values, codes, *narrow)
            if np.isnan(medians).any():
                medians = _medians(drawn, values, codes, 0, len(values))
            redrawn.append(medians)
    return interval_of(value, np.concatenate(redrawn), level)


def symmetric(
    value: float,
    redrawn: Float[np.ndarray, " draw"],
    *,
    least: float = -math.inf,
    most: float = math.inf,
    level: float = 0.95,
) -> Interval:
    """The value and to both sides as far as `level` of its draws are away from it (Hall 1988), cut where it can lie.

    For statistics that drawing again biases, such as overlaps of ranks: percentiles of their draws can miss the
    value itself. Draws that are NaN are left out and mentioned, as in `clustered_statistic`.

    >>> found = symmetric(0.9, np.array([0.5, 0.6, 0.7, 0.8]), level=0.5, most=1.0)
    >>> round(found.low, 3), found.high
    (0.65, 1.0)
    """

    def edges(defined: Float[np.ndarray, " draw"]) -> tuple[float, float]:
        reach = float(np.quantile(np.abs(defined - value).round(ROUNDED), level))
        return max(least, value - reach), min(most, value + reach)

    return interval_of(value, redrawn, level, edges)


def _medians(
    drawn: Int[np.ndarray, "draw cluster"],
    values: Float[np.ndarray, " value"],
    codes: Int[np.ndarray, " value"],
    start: int,
    stop: int,
) -> Float[np.ndarray, " draw"]:
    """Medians of sorted values counted as often as their cluster; NaN where not in [start, stop)."""
    clusters = drawn.shape[1]
    total = drawn @ np.bincount(codes, minlength=clusters)
    before = drawn @ np.bincount(codes[:start], minlength=clusters)
    upto = drawn[:, codes[start:stop]].cumsum(axis=1) + before[:, None]
    low = values[start + (2 * upto >= total[:, None]).argmax(axis=1)]
    high = values[start + (2 * upto > total[:, None]).argmax(axis=1)]
    is_inside = (2 * before < total) & (2 * upto[:, -1] > total)
    return np.where(is_inside, (low + high) / 2, np.nan)


def interval_of(
    value: float,
    redrawn: Float[np.ndarray, " draw"],
    level: float,
    edges: Callable[[Float[np.ndarray, " draw"]], tuple[float, float]] | None = None,
) -> Interval:
    """The value with the percentiles of its draws, or other edges; draws that are NaN are left out and mentioned."""
    draws = len(redrawn)
    defined = redrawn[~np.isnan(redrawn)]
    undefined = draws - len(defined)
    if undefined / draws > (1 - level) / 2:
        return Interval(value, None, None, f"no interval: undefined in {undefined} of {draws} draws")
    shares = [(1 - level) / 2, (1 + level) / 2]
    low, high = (float(edge) for edge in (edges(defined) if edges else np.quantile(defined, shares)))
    equal = "all" if np.ptp(defined).round(ROUNDED) == 0 else "inner"
    remarks = [
        f"undefined in {undefined} of {draws} draws" if undefined else "",
        f"{equal} draws equal: the interval has no width" if low == high else "",
    ]
    return Interval(value, low, high, "; ".join(filter(None, remarks)))


def measured(
    interval: Interval,
    samples: Sequence[Sample],
    *,
    measure: str,
    group: str,
    signature: Signature,
    unit: str = "share",
    items: int | None = None,
    ties: int = 0,
    missing: int = 0,
    level: float = 0.95,
    reason: str = "",
    method: str = "",
) -> Measurement:
    """An interval as a reported number; `items` defaults to the number of values.

    The signature keeps its data and model and says how many items and images this number rests on, and
    which `method` of attribution where it names none itself.
    """
    images = _coded(samples)[0] if samples else 0
    count = sum(len(sample.values) for sample in samples) if items is None else items
    return Measurement(
        measure=measure,
        group=group,
        value=interval.value,
        low=interval.low,
        high=interval.high,
        items=count,
        images=images,
        ties=ties,
        missing=missing,
        unit=unit,
        level=level,
        reason=reason or interval.reason,
        signature=str(
            replace(
                signature,
                measure=measure,
                items=count,
                images=images,
                method=signature.method or method,
            )
        ),
        method=method,
    )


def sample_of(pairs: Sequence[tuple[float, str]]) -> Sample:
    """A sample from (value, cluster) pairs."""
    return Sample(
        np.array([value for value, _ in pairs], dtype=np.float64), [cluster for _, cluster in pairs]
    )


def _check(sample: Sample) -> None:
    if len(sample.values) != len(sample.clusters):
        raise LengthMismatch(
            f"{len(sample.values)} values for {len(sample.clusters)} clusters: give one cluster per value"
        )
    broken = int((~np.isfinite(sample.values)).sum())
    if broken:
        raise BadData(f"{broken} values are not finite: leave them out and count them as missing")


def _totals(
    samples: Sequence[Sample],
) -> tuple[Float[np.ndarray, "cluster sums"], Float[np.ndarray, " sample"]]:
    """Per cluster the sums and the counts of each sample, and each sample's smallest value.

    Sums are of distances from the smallest value: exact where all are equal. Values are sorted
    first, so that the order of the input leaves no trace in the rounding.
    """
    clusters, codes = _coded(samples)
    sums: list[np.ndarray] = []
    counts: list[np.ndarray] = []
    centres: list[float] = []
    for sample, index in zip(samples, codes, strict=True):
        values = np.asarray(sample.values, dtype=np.float64)
        order = np.lexsort((values, index))
        centre = values.min()
        sums.append(np.bincount(index[order], values[order] - centre, minlength=clusters))
        counts.append(np.bincount(index, minlength=clusters).astype(np.float64))
        centres.append(float(centre))
    return np.stack([*sums, *counts], axis=1), np.array(centres, dtype=np.float64)


def _coded(samples: Sequence[Sample]) -> tuple[int, list[Int[np.ndarray, "..."]]]:
    """How many clusters there are, and the place of each value's among them all, sorted."""
    if all(isinstance(sample.clusters, np.ndarray) for sample in samples):
        whole = np.concatenate([cast(np.ndarray, sample.clusters) for sample in samples])
        names, places = np.unique(whole, return_inverse=True)
        return len(names), np.split(places, np.cumsum([len(sample.values) for sample in samples])[:-1])
    place = {
        name: index
        for index, name in enumerate(sorted({cluster for sample in samples for cluster in sample.clusters}))
    }
    return len(place), [
        np.array([place[cluster] for cluster in sample.clusters], dtype=np.int64) for sample in samples
    ]


def _resampled(
    totals: Float[np.ndarray, "cluster sums"], *, draws: int, seed: int
) -> Iterator[Float[np.ndarray, "draw sums"]]:
    """Sums over clusters drawn with replacement, chunk by chunk."""
    for drawn in cluster_draws(len(totals), draws=draws, seed=seed):
        yield drawn.astype(np.float64) @ totals


def cluster_draws(clusters: int, *, draws: int, seed: int) -> Iterator[Int[np.ndarray, "draw cluster"]]:
    """How often each cluster is drawn, with replacement, chunk by chunk.

    That is multinomial; counting drawn positions gives the same law as `Generator.multinomial` several
    times faster.
    """
    generator = np.random.default_rng(seed)
    chunk = max(1, CELLS_PER_CHUNK // clusters)
    for start in range(0, draws, chunk):
        rows = min(chunk, draws - start)
        drawn = generator.integers(clusters, size=(rows, clusters))
        cells = drawn + clusters * np.arange(rows)[:, None]
        yield np.bincount(cells.ravel(), minlength=rows * clusters).reshape(rows, clusters)


def _means(
    sums: Float[np.ndarray, "draw sums"], centres: Float[np.ndarray, " sample"]
) -> Float[np.ndarray, "draw sample"]:
    """Ratio of sums per draw and sample; NaN where a draw holds no value of a sample."""
    above, counts = sums[:, : len(centres)], sums[:, len(centres) :]
    means = np.full_like(above, np.nan)
    np.divide(above, counts, out=means, where=counts > 0)
    return means + centres


def _only(means: Float[np.ndarray, "draw sample"]) -> Float[np.ndarray, " draw"]:
    return means[:, 0]


def _difference(means: Float[np.ndarray, "draw sample"]) -> Float[np.ndarray, " draw"]:
    return means[:, 0] - means[:, 1]


def _average(means: Float[np.ndarray, "draw sample"]) -> Float[np.ndarray, " draw"]:
    return means.mean(axis=1)


def _ratio(means: Float[np.ndarray, "draw sample"]) -> Float[np.ndarray, " draw"]:
    ratios = np.full(len(means), np.nan)
    np.divide(means[:, 0], means[:, 1], out=ratios, where=means[:, 1] > 0)
    return ratios
