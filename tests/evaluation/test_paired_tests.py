"""Tests of two groups against scipy, and where they have no answer."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from alignscope.errors import BadData, LengthMismatch
from alignscope.evaluation.paired_tests import mann_whitney, pearson, two_sample_z, wilcoxon

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("count", [6, 20, 50])
def test_wilcoxon_is_scipys_exact_test_without_ties(count: int) -> None:
    first, second = RANDOM.normal(0.3, 1, count), RANDOM.normal(0, 1, count)
    found, wanted = wilcoxon(first, second), stats.wilcoxon(first, second, method="exact")
    assert found.p == pytest.approx(wanted.pvalue)
    assert found.statistic is not None
    total = count * (count + 1) / 2
    assert min(found.statistic, total - found.statistic) == pytest.approx(wanted.statistic)
    assert found.effect == pytest.approx(2 * found.statistic / total - 1)
    assert (found.first_items, found.second_items, found.ties) == (count, count, 0)


def test_wilcoxon_is_scipys_normal_test_with_ties_and_zeros() -> None:
    first, second = RANDOM.integers(0, 8, 300) * 1.0, RANDOM.integers(0, 7, 300) * 1.0
    found = wilcoxon(first, second)
    wanted = stats.wilcoxon(first, second, method="approx", correction=False, zero_method="wilcox")
    assert found.p == pytest.approx(wanted.pvalue)
    assert abs(found.z or 0) == pytest.approx(abs(wanted.zstatistic))
    assert found.ties == int((first == second).sum()) > 0


def test_wilcoxons_exact_p_with_ties_counts_all_signs() -> None:
    gaps = np.array([1.0, 1.0, -1.0, 2.0, 3.0, 3.0, -2.0, 5.0, 0.0])
    ranks = stats.rankdata(np.abs(gaps[gaps != 0]))
    observed = ranks[gaps[gaps != 0] > 0].sum()
    sums = np.array([ranks[np.array(signs)].sum() for signs in itertools.product([False, True], repeat=8)])
    middle = ranks.sum() / 2
    found = wilcoxon(gaps, np.zeros(9))
    assert found.p == pytest.approx((np.abs(sums - middle) >= abs(observed - middle)).mean())
    assert found.ties == 1


def test_all_pairs_up_is_the_largest_effect() -> None:
    first = np.arange(1.0, 6.0)
    found = wilcoxon(first, np.zeros(5), measure="std", group="vision-vision")
    assert (found.effect, found.statistic, found.p) == (1.0, 15.0, 2 / 32)
    assert (found.test, found.measure, found.group, found.first) == ("Wilcoxon", "std", "vision-vision", 3.0)
    assert wilcoxon(np.zeros(5), first).effect == -1.0


@pytest.mark.parametrize("is_tied", [False, True])
def test_mann_whitney_is_scipys(is_tied: bool) -> None:
    first, second = RANDOM.normal(0.2, 1, 40), RANDOM.normal(0, 1, 55)
    if is_tied:
        first, second = first.round(1), second.round(1)
    found = mann_whitney(first, second)
    wanted = stats.mannwhitneyu(first, second, use_continuity=False, method="asymptotic")
    assert found.statistic == pytest.approx(wanted.statistic)
    assert found.p == pytest.approx(wanted.pvalue)
    higher = (first[:, None] > second[None]).mean() - (first[:, None] < second[None]).mean()
    assert found.effect == pytest.approx(higher)
    assert (found.ties > 0) == is_tied


def test_two_sample_z_and_cohens_d() -> None:
    first, second = RANDOM.normal(1, 2, 200), RANDOM.normal(0, 1, 300)
    found = two_sample_z(first, second)
    assert found.z == pytest.approx(stats.ttest_ind(first, second, equal_var=False).statistic)
    assert found.z is not None
    assert found.p == pytest.approx(2 * stats.norm.sf(abs(found.z)))
    pooled = (199 * first.var(ddof=1) + 299 * second.var(ddof=1)) / 498
    assert found.effect == pytest.approx((first.mean() - second.mean()) / np.sqrt(pooled))


def test_pearson_is_scipys() -> None:
    first = RANDOM.normal(size=21)
    second = first + RANDOM.normal(size=21)
    found, wanted = pearson(first, second), stats.pearsonr(first, second)
    assert found.effect == pytest.approx(wanted.statistic)
    assert found.p == pytest.approx(wanted.pvalue, rel=1e-6)
    assert pearson(first, 2 * first).effect == pytest.approx(1)


def test_what_cannot_be_tested_says_why() -> None:
    same, none = np.ones(4), np.zeros(0)
    cases = [
        (wilcoxon(same, same), "none of 4 pairs differs"),
        (wilcoxon(none, none), "none of 0 pairs differs"),
        (mann_whitney(same, same), "all values are equal: no test"),
        (mann_whitney(none, same), "0 and 4 values: no test"),
        (two_sample_z(np.ones(40), np.zeros(30)), "neither group varies: no test"),
        (two_sample_z(np.arange(40.0), np.arange(29.0)), "40 and 29 values: wanted 30 of each"),
        (pearson(same, np.arange(4.0)), "4 pairs, one of them all equal: no correlation"),
        (pearson(np.arange(2.0), np.arange(2.0)), "2 pairs, too few: no correlation"),
    ]
    for found, reason in cases:
        assert (found.p, found.effect, found.reason) == (None, None, reason)


def test_uneven_pairs_and_broken_numbers_are_errors() -> None:
    with pytest.raises(LengthMismatch, match="3 values for 2"):
        wilcoxon(np.zeros(3), np.zeros(2))
    with pytest.raises(BadData, match="1 values are not finite"):
        mann_whitney(np.array([np.nan, 1.0]), np.zeros(2))
