"""Means and paired differences over seeds, against scipy and a case by hand."""

import pytest
from scipy import stats

from alignscope.errors import BadInput
from alignscope.evaluation.trials import effects, student_mean, student_quantile, student_share
from alignscope.records import Trial


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 9, 10, 30, 101])
def test_students_distribution_is_scipys(freedom):
    for value in (-3.0, -0.2, 0.0, 0.7, 2.5, 12.0):
        assert student_share(value, freedom) == pytest.approx(stats.t.cdf(value, freedom), abs=1e-12)
    for share in (0.6, 0.95, 0.975, 0.995):
        assert student_quantile(share, freedom) == pytest.approx(stats.t.ppf(share, freedom), rel=1e-9)


def test_the_interval_of_a_mean_is_scipys():
    values = [0.61, 0.55, 0.58, 0.70, 0.52]
    found = student_mean(values)
    wanted = stats.t.interval(0.95, 4, loc=found.value, scale=stats.sem(values))
    assert (found.low, found.high) == pytest.approx(wanted)


def trial(variant, seed, value, group="all"):
    return Trial(variant, seed, "accuracy", group, value, "share")


def test_differences_are_paired_by_seed():
    trials = [trial("ft", 0, 0.5), trial("ft", 1, 0.6), trial("cae", 0, 0.6), trial("cae", 1, 0.72)]
    ft, cae = effects(trials, baseline="ft", signature="data:x")
    assert ft.value == pytest.approx(0.55)
    assert ft.difference is None
    assert cae.difference == pytest.approx(0.11)
    # by hand: differences .10 and .12, standard error .01, quantile 12.706
    assert cae.difference_low == pytest.approx(0.11 - 12.7062 * 0.01, abs=1e-5)
    assert (cae.seeds, cae.above, cae.missing) == (2, 2, 0)
    assert cae.signature == "accuracy|data:x|variant:cae|seeds:2|interval:student"


def test_a_value_that_is_missing_is_counted_and_pairs_without_it():
    trials = [trial("ft", 0, 0.5), trial("ft", 1, None), trial("cae", 0, 0.4), trial("cae", 1, 0.9)]
    ft, cae = effects(trials, baseline="ft")
    assert (ft.value, ft.seeds, ft.missing, ft.low) == (0.5, 1, 1, None)
    assert cae.difference == pytest.approx(-0.1)
    assert (cae.difference_low, cae.above) == (None, 0)


def test_two_values_of_one_seed_and_an_absent_baseline_are_refused():
    with pytest.raises(BadInput, match="two values of accuracy"):
        effects([trial("ft", 0, 0.5), trial("ft", 0, 0.6)], baseline="ft")
    with pytest.raises(BadInput, match="no trial of the baseline 'ft'"):
        effects([trial("cae", 0, 0.5)], baseline="ft")
