"""Two groups of numbers: Wilcoxon's and Mann and Whitney's rank tests, z of two means, Pearson; with effect sizes.

Two-sided, without continuity correction. Wilcoxon's p is exact up to `EXACT` pairs, also with ties (the law of the
ranks that there are), and normal beyond; the others' are normal, Pearson's is Student's. Answers that are right or
wrong have their own test, `evaluation.paired.mcnemar`.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from alignscope.errors import BadData, LengthMismatch
from alignscope.evaluation.trials import student_share
from alignscope.records import GroupTest

EXACT = 50
"""Pairs up to which Wilcoxon's p is counted out."""
MANY = 30
"""Values of either group from which on z of two means is taken to be normal."""

Values = Float[np.ndarray, " value"]
Others = Float[np.ndarray, " other"]


def wilcoxon(first: Values, second: Others, *, measure: str = "", group: str = "") -> GroupTest:
    """Wilcoxon's signed-rank test of pairs; the effect is the matched-pairs rank-biserial correlation (Kerby 2014).

    Pairs without a difference are left out and counted as ties. The statistic is the sum of the ranks of pairs in
    which the first is higher; the effect its share of all ranks less the share of the others.
    """
    _check(first, second, is_paired=True)
    gaps = first - second
    gaps = gaps[gaps != 0]
    facts = _untested("Wilcoxon", measure, group, first, second, "rank-biserial")
    if len(gaps) == 0:
        return replace(facts, ties=len(first), reason=f"none of {len(first)} pairs differs")
    ranks, tie_term = _ranks(np.abs(gaps))
    higher, total = float(ranks[gaps > 0].sum()), float(ranks.sum())
    count = len(gaps)
    spread = math.sqrt(count * (count + 1) * (2 * count + 1) / 24 - tie_term / 48)
    z = (higher - total / 2) / spread
    p = _exact(ranks, higher) if count <= EXACT else two_sided(z)
    effect = (2 * higher - total) / total
    return replace(facts, statistic=higher, z=z, p=p, effect=effect, ties=len(first) - count)


def mann_whitney(first: Values, second: Others, *, measure: str = "", group: str = "") -> GroupTest:
    """Mann and Whitney's U of the first of two independent groups, normal z; the effect is 2 U / (n m) - 1.

    That is how much likelier a value of the first group is to be above one of the second than below it.
    """
    _check(first, second)
    facts = _untested("Mann-Whitney", measure, group, first, second, "rank-biserial")
    n, m = len(first), len(second)
    if not n or not m:
        return replace(facts, reason=f"{n} and {m} values: no test")
    both = np.concatenate([first, second])
    _, counts = np.unique(both, return_counts=True)
    ties = int(counts[counts > 1].sum())
    ranks, tie_term = _ranks(both)
    above = float(ranks[:n].sum()) - n * (n + 1) / 2
    variance = n * m / 12 * (n + m + 1 - tie_term / ((n + m) * (n + m - 1)))
    if len(counts) == 1:
        return replace(facts, ties=ties, reason="all values are equal: no test")
    z = (above - n * m / 2) / math.sqrt(variance)
    effect = 2 * above / (n * m) - 1
    return replace(facts, statistic=above, z=z, p=two_sided(z), effect=effect, ties=ties)


def two_sample_z(first: Values, second: Others, *, measure: str = "", group: str = "") -> GroupTest:
    """z of the difference of two means with their own variances; the effect is Cohen's d (pooled deviation).

    A normal law holds variances for known: of fewer than `MANY` values there is no test.
    """
    _check(first, second)
    facts = _untested("two-sample z", measure, group, first, second, "Cohen's d")
    n, m = len(first), len(second)
    if min(n, m) < MANY:
        return replace(facts, reason=f"{n} and {m} values: wanted {MANY} of each")
    one, other = float(first.var(ddof=1)), float(second.var(ddof=1))
    if np.ptp(first) == 0 and np.ptp(second) == 0:
        return replace(facts, reason="neither group varies: no test")
    gap = float(first.mean() - second.mean())
    z = gap / math.sqrt(one / n + other / m)
    pooled = math.sqrt(((n - 1) * one + (m - 1) * other) / (n + m - 2))
    return replace(facts, statistic=z, z=z, p=two_sided(z), effect=gap / pooled)


def pearson(first: Values, second: Others, *, measure: str = "", group: str = "") -> GroupTest:
    """Pearson's correlation, which is also the effect; the statistic is Student's t on n - 2 degrees of freedom."""
    _check(first, second, is_paired=True)
    facts = _untested("Pearson", measure, group, first, second, "r")
    count = len(first)
    if count < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return replace(facts, reason=f"{count} pairs, {_same(first, second)}: no correlation")
    one, other = first - first.mean(), second - second.mean()
    r = float((one * other).sum() / math.sqrt((one**2).sum() * (other**2).sum()))
    if abs(r) >= 1:
        return replace(facts, p=0.0, effect=math.copysign(1.0, r))
    t = r * math.sqrt((count - 2) / (1 - r * r))
    return replace(facts, statistic=t, p=2 * (1 - student_share(abs(t), count - 2)), effect=r)


def two_sided(z: float) -> float:
    """The chance that a standard normal number is at least so far from 0.

    >>> round(two_sided(0.13), 2), round(two_sided(-1.96), 3)
    (0.9, 0.05)
    """
    return math.erfc(abs(z) / math.sqrt(2))


def _untested(
    test: str, measure: str, group: str, first: Values, second: Others, effect_name: str
) -> GroupTest:
    """What is known of two groups before they are tested."""
    middle = np.median if test in ("Wilcoxon", "Mann-Whitney") else np.mean
    one, other = (float(middle(values)) if len(values) else None for values in (first, second))
    counts = len(first), len(second)
    return GroupTest(
        test, measure, group, one, other, *counts, 0, None, None, None, None, effect_name=effect_name
    )


def _ranks(values: Values) -> tuple[Values, float]:
    """Average ranks, and the sum of t^3 - t over groups of t equal values."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place], float(
        (counts.astype(np.float64) ** 3 - counts).sum()
    )


def _exact(ranks: Values, higher: float) -> float:
    """The two-sided chance of a rank sum so far from its middle where every sign is a coin's.

    Ranks are counted twice, so that shared ones are whole numbers.
    """
    doubled = np.rint(2 * ranks).astype(np.int64)
    shares = np.ones(1)
    for rank in doubled.tolist():
        shares = (np.pad(shares, (0, rank)) + np.pad(shares, (rank, 0))) / 2
    total = int(doubled.sum())
    distance = abs(2 * np.arange(total + 1) - total)
    return min(1.0, float(shares[distance >= abs(2 * round(2 * higher) - total)].sum()))


def _same(first: Values, second: Others) -> str:
    return "one of them all equal" if 0 in (np.ptp(first), np.ptp(second)) and len(first) > 2 else "too few"


def _check(first: Values, second: Others, *, is_paired: bool = False) -> None:
    if is_paired and len(first) != len(second):
        raise LengthMismatch(f"{len(first)} values for {len(second)}: a paired test takes them one to one")
    broken = int((~np.isfinite(first)).sum() + (~np.isfinite(second)).sum())
    if broken:
        raise BadData(f"{broken} values are not finite: leave them out and count them")
