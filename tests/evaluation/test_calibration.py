"""AUC of matched against shuffled pairs against scipy's U test and against a plain loop."""

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from alignscope.errors import BadData, LengthMismatch
from alignscope.evaluation.calibration import matching_auc


@pytest.mark.parametrize(("count", "shift"), [(2, 0.0), (9, 1.0), (64, 0.3), (64, -2.0)])
def test_the_value_is_that_of_the_u_test(count, shift):
    generator = np.random.default_rng(count)
    matched = generator.integers(0, 6, count) + shift * 2 // 1  # ties abound
    shuffled = generator.integers(0, 6, count).astype(float)
    found = matching_auc(matched, shuffled)
    wanted = mannwhitneyu(matched, shuffled).statistic / count**2
    assert found.value == pytest.approx(wanted, abs=1e-12)
    assert found.low <= found.value <= found.high


def test_the_interval_is_that_of_images_drawn_in_a_plain_loop():
    generator = np.random.default_rng(0)
    common = generator.normal(size=30)  # of both scores of an image
    matched, shuffled = common + generator.normal(0.8, 1, 30), common + generator.normal(size=30)
    redrawn = []
    for _ in range(3000):
        drawn = generator.integers(0, 30, 30)
        redrawn.append(mannwhitneyu(matched[drawn], shuffled[drawn]).statistic / 900)
    found = matching_auc(matched, shuffled, draws=4000)
    assert [found.low, found.high] == pytest.approx(np.quantile(redrawn, [0.025, 0.975]), abs=0.015)


def test_the_interval_covers_the_truth():
    generator = np.random.default_rng(1)
    truth = 0.7602  # normal distributions one apart: Phi(1 / sqrt(2))
    hits = 0
    for _ in range(200):
        found = matching_auc(generator.normal(1, 1, 40), generator.normal(size=40), draws=400)
        hits += found.low <= truth <= found.high
    assert 0.9 <= hits / 200 <= 0.99


def test_what_cannot_be_measured_is_said():
    assert matching_auc(np.zeros(0), np.zeros(0)).reason == "nothing scored"
    alone = matching_auc(np.ones(1), np.ones(1))
    assert (alone.value, alone.low, alone.reason) == (0.5, None, "one image: no interval")
    assert "no width" in matching_auc(np.ones(4), np.zeros(4)).reason
    with pytest.raises(LengthMismatch, match="2 shuffled for 3 matched"):
        matching_auc(np.zeros(3), np.zeros(2))
    with pytest.raises(BadData, match="not finite"):
        matching_auc(np.array([np.nan]), np.zeros(1))
