import itertools

import numpy as np
import pytest
from scipy import stats

from alignscope.errors import BadData, LengthMismatch
from alignscope.evaluation import intervals
from alignscope.evaluation.intervals import (
    Sample,
    clustered_average,
    clustered_bootstrap,
    clustered_difference,
    clustered_means,
    clustered_median,
    clustered_ratio,
    symmetric,
)


def test_the_value_is_the_mean_over_values_not_over_clusters():
    interval = clustered_bootstrap(np.array([1.0, 1.0, 1.0, 0.0]), ["a", "a", "a", "b"])
    assert interval.value == 0.75


def test_two_clusters_have_three_possible_draws():
    # aa: 1, ab: 3/4, bb: 0, with probabilities 1/4, 1/2, 1/4
    values, clusters = np.array([1.0, 1.0, 1.0, 0.0]), ["a", "a", "a", "b"]
    wide = clustered_bootstrap(values, clusters, draws=4000)
    assert (wide.low, wide.high) == (0.0, 1.0)
    narrow = clustered_bootstrap(values, clusters, draws=4000, level=0.4)  # inside the middle half
    assert (narrow.low, narrow.high) == (0.75, 0.75)
    assert narrow.reason == "inner draws equal: the interval has no width"


def test_the_draws_follow_the_exact_distribution_of_three_clusters():
    values, clusters = np.array([1.0, 2.0, 6.0, 9.0]), ["a", "a", "b", "c"]
    sums, counts = {"a": 3.0, "b": 6.0, "c": 9.0}, {"a": 2, "b": 1, "c": 1}
    exact = [
        sum(sums[c] for c in draw) / sum(counts[c] for c in draw)
        for draw in itertools.product("abc", repeat=3)
    ]
    for level in (0.5, 0.8, 0.9):
        interval = clustered_bootstrap(values, clusters, draws=60_000, level=level)
        edges = np.quantile(exact, [(1 - level) / 2, (1 + level) / 2], method="inverted_cdf")
        assert [interval.low, interval.high] == pytest.approx(edges)


@pytest.mark.parametrize("level", [0.9, 0.95])
def test_singleton_clusters_agree_with_scipy(level):
    values = np.random.default_rng(3).gamma(2.0, size=300)
    names = [f"image {i}" for i in range(300)]
    ours = clustered_bootstrap(values, names, draws=20_000, level=level)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, confidence_level=level, method="percentile", rng=1
    )
    error = values.std() / np.sqrt(300)
    assert ours.value == pytest.approx(values.mean(), rel=1e-12)
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=0.06 * error)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=0.06 * error)


def slow_ratio_of_means(samples, combine, *, draws, seed):
    """The same by plain loops over Python's own clusters."""
    generator = np.random.default_rng(seed)
    names = sorted({c for sample in samples for c in sample.clusters})
    results = []
    for _ in range(draws):
        drawn = [names[i] for i in generator.integers(len(names), size=len(names))]
        means = []
        for sample in samples:
            picked = [v for d in drawn for v, c in zip(sample.values, sample.clusters, strict=True) if c == d]
            means.append(np.mean(picked) if picked else np.nan)
        results.append(combine(*means))
    return np.quantile(results, [0.025, 0.975])


def test_difference_and_ratio_match_a_plain_loop():
    generator = np.random.default_rng(5)
    images = [f"i{n}" for n in range(12)]
    first = Sample(generator.normal(2, 1, size=40), list(generator.choice(images, 40)))
    second = Sample(generator.normal(1, 0.2, size=30), list(generator.choice(images, 30)))
    for fast, combine in (
        (clustered_difference, lambda a, b: a - b),
        (clustered_ratio, lambda a, b: a / b),
        (lambda a, b, **options: clustered_average([a, b], **options), lambda a, b: (a + b) / 2),
    ):
        interval = fast(first, second, draws=150, seed=9)
        slow = slow_ratio_of_means([first, second], combine, draws=150, seed=9)
        assert [interval.low, interval.high] == pytest.approx(slow)
        assert interval.value == pytest.approx(combine(first.values.mean(), second.values.mean()))


def test_pairing_matters():
    """Sides that move together have a gap without spread, though each side spreads."""
    generator = np.random.default_rng(0)
    values, images = generator.normal(size=50), [f"i{n}" for n in range(50)]
    gap = clustered_difference(Sample(values + 1, images), Sample(values, images))
    assert gap.high - gap.low < 1e-12
    assert gap.value == pytest.approx(1)
    alone = clustered_bootstrap(values, images)
    assert alone.high - alone.low > 0.4


def test_coverage_with_images_that_hold_correlated_values():
    """The clustered interval covers; pretending that values are independent does not."""
    generator = np.random.default_rng(11)
    clustered = naive = 0
    for _ in range(200):
        sizes = generator.integers(1, 9, size=60)
        image = np.repeat(np.arange(60), sizes)
        values = generator.normal(size=60)[image] + 0.3 * generator.normal(size=len(image))
        for is_clustered in (True, False):
            names = [str(i) for i in (image if is_clustered else range(len(image)))]
            interval = clustered_bootstrap(values, names, draws=300)
            if is_clustered:
                clustered += interval.low <= 0 <= interval.high
            else:
                naive += interval.low <= 0 <= interval.high
    assert 0.88 <= clustered / 200 <= 0.98
    assert naive / 200 < 0.75


@pytest.mark.parametrize("value", [0.1, 1 / 3, -7.3e-9, 1.0, 0.0])
def test_equal_values_are_exact(value):
    clusters = ["a"] * 3 + ["b"] * 7 + ["c"]
    interval = clustered_bootstrap(np.full(11, value), clusters)
    assert (interval.low, interval.value, interval.high) == (value, value, value)
    assert "no width" in interval.reason


def test_order_of_input_leaves_no_trace_and_seeds_do():
    generator = np.random.default_rng(2)
    values, clusters = generator.normal(size=200), [f"i{n}" for n in generator.integers(30, size=200)]
    order = generator.permutation(200)
    one = clustered_bootstrap(values, clusters, seed=4)
    assert one == clustered_bootstrap(values[order], [clusters[i] for i in order], seed=4)
    assert one != clustered_bootstrap(values, clusters, seed=5)


def test_chunks_change_nothing(monkeypatch):
    generator = np.random.default_rng(2)
    values, clusters = generator.normal(size=200), [f"i{n}" for n in generator.integers(30, size=200)]
    whole = clustered_bootstrap(values, clusters)
    monkeypatch.setattr(intervals, "CELLS_PER_CHUNK", 100)
    parts = clustered_bootstrap(values, clusters)
    assert [parts.low, parts.high] == pytest.approx([whole.low, whole.high], rel=1e-12)


def test_one_image_or_none_has_no_interval():
    one = clustered_bootstrap(np.array([1.0, 0.0, 0.0]), ["a", "a", "a"])
    assert (one.value, one.low, one.high, one.reason) == (1 / 3, None, None, "one image: no interval")
    none = clustered_bootstrap(np.array([]), [])
    assert (none.value, none.low, none.reason) == (None, None, "nothing scored")


def test_a_side_that_is_seldom_drawn_gives_no_interval():
    images = [f"i{n}" for n in range(20)]
    rare = clustered_difference(Sample(np.ones(20), images), Sample(np.zeros(1), ["i3"]), draws=1000)
    assert (rare.value, rare.low) == (1.0, None)
    share = int(rare.reason.split()[4]) / 1000
    assert share == pytest.approx((19 / 20) ** 20, abs=0.05)
    common = clustered_difference(Sample(np.arange(20.0), images), Sample(np.zeros(4), images[:4]))
    assert common.low is not None
    assert "undefined in" in common.reason  # (16/20)^20: about 23 of 2000 draws


def test_a_ratio_to_nothing_is_undefined():
    images = [f"i{n}" for n in range(20)]
    zero = clustered_ratio(Sample(np.ones(20), images), Sample(np.zeros(20), images))
    assert zero.value is None
    assert "not positive" in zero.reason
    uncertain = np.where(np.arange(20) % 2 == 0, 1.1, -1.0)
    shaky = clustered_ratio(Sample(np.ones(20), images), Sample(uncertain, images))
    assert shaky.value == pytest.approx(20)
    assert shaky.low is None


def test_bad_input_says_what_to_do():
    with pytest.raises(LengthMismatch, match="2 values for 1 clusters: give one"):
        clustered_bootstrap(np.array([1.0, 2.0]), ["a"])
    with pytest.raises(BadData, match="1 values are not finite: leave them out"):
        clustered_bootstrap(np.array([1.0, np.nan]), ["a", "b"])
    with pytest.raises(BadData, match="0 draws"):
        clustered_bootstrap(np.array([1.0]), ["a"], draws=0)


def test_clusters_may_be_numbers():
    generator = np.random.default_rng(0)
    codes = generator.integers(100, 130, size=200)
    first, second = generator.normal(size=120), generator.normal(size=80)
    numbers = Sample(first, codes[:120]), Sample(second, codes[120:])
    names = Sample(first, [str(c) for c in codes[:120]]), Sample(second, [str(c) for c in codes[120:]])
    assert clustered_difference(*numbers) == clustered_difference(*names)


def test_many_means_at_once_are_those_one_by_one():
    generator = np.random.default_rng(0)
    names = [f"i{n // 3}" for n in range(90)]
    samples = [Sample(generator.normal(size=90), names) for _ in range(3)]
    one_by_one = [clustered_bootstrap(sample.values, sample.clusters, draws=500) for sample in samples]
    for together, alone in zip(clustered_means(samples, draws=500), one_by_one, strict=True):
        assert [together.value, together.low, together.high] == pytest.approx(
            [alone.value, alone.low, alone.high], abs=1e-12
        )


def test_many_means_at_once_say_what_each_lacks():
    empty, one = Sample(np.zeros(0), []), Sample(np.array([2.0, 4.0]), ["a", "a"])
    two = Sample(np.array([0.0, 1.0]), ["a", "b"])
    found = clustered_means([empty, one, two])
    assert [(f.value, f.low, f.reason) for f in found[:2]] == [
        (None, None, "nothing scored"),
        (3.0, None, "one image: no interval"),
    ]
    assert (found[2].value, found[2].low, found[2].high) == (0.5, 0.0, 1.0)
    assert [f.reason for f in clustered_means([empty])] == ["nothing scored"]


def test_the_median_of_two_clusters_has_three_possible_draws():
    # aa: 2, ab: (2 + 3) / 2, bb: 10, with probabilities 1/4, 1/2, 1/4
    sample = Sample(np.array([10.0, 1.0, 2.0, 3.0, 10.0, 10.0]), ["b", "a", "a", "a", "b", "b"])
    wide = clustered_median(sample, draws=4000)
    assert (wide.value, wide.low, wide.high) == (6.5, 2.0, 10.0)
    narrow = clustered_median(sample, draws=4000, level=0.4)
    assert (narrow.low, narrow.high) == (6.5, 6.5)


@pytest.mark.parametrize(("count", "clusters"), [(9, 3), (300, 15), (1500, 100), (2000, 4)])
def test_medians_are_those_of_the_values_drawn_one_by_one(count, clusters):
    generator = np.random.default_rng(count)
    codes = np.arange(count) % clusters
    # values have ties, and clusters pull them: with four of 500 values each most medians are far off
    values = np.round(generator.normal(size=count) + 3 * (codes % 4), 2)
    drawn = np.random.default_rng(5)
    plain = []
    for _ in range(200):
        picked = drawn.integers(clusters, size=clusters)
        plain.append(np.median(np.concatenate([values[codes == p] for p in picked])))
    found = clustered_median(Sample(values, codes), draws=200, seed=5)
    assert found.value == np.median(values)
    assert [found.low, found.high] == pytest.approx(np.quantile(plain, [0.025, 0.975]))


def test_what_lacks_values_has_no_median():
    assert clustered_median(Sample(np.zeros(0), [])).reason == "nothing scored"
    assert clustered_median(Sample(np.array([1.0, 2.0]), ["a", "a"])) == intervals.Interval(
        1.5, None, None, "one image: no interval"
    )
    with pytest.raises(BadData, match="not finite"):
        clustered_median(Sample(np.array([1.0, np.nan]), ["a", "b"]))


def test_a_symmetric_interval_worked_by_hand():
    """Draws are 0.1, 0.2, 0.3 and 0.6 away from 0.8: half of them, by their median, no more than 0.25."""
    draws = np.array([0.9, 0.6, 0.5, 0.2])
    found = symmetric(0.8, draws, level=0.5)
    assert (found.low, found.high) == pytest.approx((0.55, 1.05))
    cut = symmetric(0.8, draws, level=0.5, least=0.6, most=1.0)
    assert (cut.low, cut.value, cut.high, cut.reason) == (0.6, 0.8, 1.0, "")
    some = symmetric(0.8, np.array([*draws, np.nan]), level=0.5)
    assert (some.low, some.high) == (found.low, found.high)
    assert some.reason == "undefined in 1 of 5 draws"
    assert symmetric(0.8, np.array([*draws, np.nan])).low is None
    most = symmetric(0.5, np.array([*[0.5] * 99, 0.2]))
    assert (most.low, most.high, most.reason) == (0.5, 0.5, "inner draws equal: the interval has no width")
    same = symmetric(0.1 + 0.2, np.full(9, 0.3))  # but for rounding
    assert same.low == same.high == 0.1 + 0.2
    assert same.reason == "all draws equal: the interval has no width"
