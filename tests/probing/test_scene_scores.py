"""F1 of scene probes by hand and by scikit-learn, corrected tests and Holm's families."""

import math

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import f1_score

from alignscope.probing.scene_scores import corrected_resampled, f1_scores, scene_differences, scene_scores
from alignscope.records import SceneProbe, SceneProbeCell


def test_f1_of_a_confusion_matrix_worked_by_hand():
    confused = np.array([[8, 2, 0], [1, 3, 0], [1, 0, 0]])
    # classes: 16/(10+10), 6/(4+5), 0/(1+0)
    found = f1_scores(confused)
    assert found.by_class == pytest.approx([0.8, 2 / 3, 0.0])
    assert found.micro == pytest.approx(11 / 15)
    assert found.macro == pytest.approx((0.8 + 2 / 3) / 3)
    assert found.weighted == pytest.approx((0.8 * 10 + 2 / 3 * 4) / 15)


@pytest.mark.parametrize("seed", range(5))
def test_f1_as_scikit_learn_has_it(seed):
    generator = np.random.default_rng(seed)
    truth = np.concatenate([np.arange(4), generator.integers(4, size=40)])
    said = generator.integers(3, size=44)  # the last class is never said
    confused = np.zeros((4, 4), dtype=np.int64)
    for one, other in zip(truth, said, strict=True):
        confused[one, other] += 1
    found = f1_scores(confused)
    options = {"labels": range(4), "zero_division": 0.0}
    assert found.by_class == pytest.approx(f1_score(truth, said, average=None, **options))
    for average in ("micro", "macro", "weighted"):
        assert getattr(found, average) == pytest.approx(f1_score(truth, said, average=average, **options))


def test_the_corrected_test_widens_the_plain_one():
    gaps = [0.02, 0.05, 0.01, 0.04, 0.03]
    plain = stats.ttest_1samp(gaps, 0.0)
    none = corrected_resampled(gaps, test_over_train=0.0)
    assert (none.t, none.p) == pytest.approx((plain.statistic, plain.pvalue), abs=1e-9)
    wide = corrected_resampled(gaps, test_over_train=1 / 9)
    assert wide.t == pytest.approx(plain.statistic * math.sqrt((1 / 5) / (1 / 5 + 1 / 9)))
    assert wide.p == pytest.approx(2 * stats.t.sf(wide.t, 4), abs=1e-9)
    for same in ([0.1, 0.1], [28 / 66 - 3 / 66, 38 / 66 - 13 / 66]):  # the same 25 of 66, but for rounding
        found = corrected_resampled(same, test_over_train=0.1)
        assert (found.t, found.p, found.low) == (None, None, None)
        assert found.reason.startswith("the same difference")
    assert corrected_resampled([0.1], test_over_train=0.1).reason == "one seed: no test"


def test_holms_families_are_the_lines_of_a_table_that_ask_the_same():
    """Two captioners, intact and cut: two lines ask of the captioner, two of objects, two of both, worked by hand."""
    micro = {
        ("object", "all"): [0.50, 0.52, 0.51],
        ("object", "cut"): [0.40, 0.45, 0.38],
        ("scene", "all"): [0.60, 0.61, 0.63],
        ("scene", "cut"): [0.58, 0.50, 0.49],
    }
    inputs = {f"{a} {b}": {"captioner": a, "objects": b} for a, b in micro}
    runs = [
        SceneProbe("all", name, name, classifier, "scenes", 70, seed, 2, 70, 30, f1, f1, f1, 1.0)
        for classifier in ("forest", "mlp")  # another table, another family
        for name, values in zip(inputs, micro.values(), strict=True)
        for seed, f1 in enumerate(values)
    ]
    lines = scene_differences(runs, inputs)
    assert len(lines) == 2 * 3 * 6
    for classifier in ("forest", "mlp"):
        mine = [one for one in lines if (one.classifier, one.measure) == (classifier, "macro F1")]
        for question in ("captioner", "objects", "captioner, objects"):
            low, high = sorted((one.p, one.p_holm) for one in mine if one.question == question)
            assert low[1] == pytest.approx(min(1, 2 * low[0]))
            assert high[1] == pytest.approx(min(1, max(2 * low[0], high[0])))
    assert {one.family for one in lines} == {2}
    [first] = [one for one in mine if (one.trained_on, one.against_trained_on) == ("object all", "scene all")]
    gaps = np.array([-0.10, -0.09, -0.12])
    t = gaps.mean() / (gaps.std(ddof=1) * math.sqrt(1 / 3 + 3 / 7))
    assert first.p == pytest.approx(2 * stats.t.sf(-t, 2))
    assert {(one.question, one.family) for one in scene_differences(runs)} == {("input", 6)}


def test_a_probe_tested_elsewhere_asks_of_the_transfer():
    inputs = {
        name: {"captioner": name.split()[0], "objects": name.split()[1]}
        for name in ("a all", "a cut", "b all")
    }
    routes = [(name, name) for name in inputs] + [("a all", "a cut")]
    runs = [
        SceneProbe("all", *route, "mlp", "scenes", 70, seed, 2, 70, 30, *[(place + 1) ** seed / 9] * 3, 1.0)
        for place, route in enumerate(routes)
        for seed in range(3)
    ]
    found = {
        (one.trained_on, one.tested_on, one.against_trained_on, one.against_tested_on): one.question
        for one in scene_differences(runs, inputs)
    }
    assert found["a all", "a all", "a all", "a cut"] == "transfer"
    assert found["a cut", "a cut", "a all", "a cut"] == "transfer, objects"
    assert found["b all", "b all", "a all", "a cut"] == "transfer, captioner"
    assert found["a cut", "a cut", "b all", "b all"] == "captioner, objects"


def test_the_interval_of_a_mean_f1_stays_where_f1_can_lie() -> None:
    """Three splits of .5, .8 and 1.0 have a Student interval that leaves 0 to 1 on either side."""
    shared = ("all", "states", "states", "forest", "scenes", 70)
    runs = [SceneProbe(*shared, seed, 2, 70, 30, f1, f1, f1, 1.0) for seed, f1 in enumerate((0.5, 0.8, 1.0))]
    cells = [SceneProbeCell(*shared, seed, "beach", "beach", 30) for seed in range(3)]
    (micro,) = [one for one in scene_scores(runs, cells) if one.measure == "micro F1"]
    assert (micro.low, micro.high) == (0.0, 1.0)
    assert micro.mean == pytest.approx(2.3 / 3)
