import math

import numpy as np
import pytest

from alignscope.evaluation.heats import heat_columns
from alignscope.evaluation.intervals import clustered_bootstrap
from alignscope.evaluation.ratios import accuracy_below, accuracy_by_ratio, heat_ratios
from alignscope.records import Choice, Signature, WordHeat

SIGNATURE = Signature("", "pairs", "9f31c2", 0, 0, "tiny-clip", "ab12", method="layers=all")


def choice(item, is_right=True, kind="replace_relation", margin=1.0):
    return Choice(item, f"i{item}", kind, "caption", "foil", margin if is_right else -margin, 0.0)


def caption(item, objects=(), relations=(), method="gradcam"):
    return [
        WordHeat(item, f"i{item}", 0, "w", 0, 1, word_class, heat, method)
        for word_class, heats in (("object", objects), ("relation", relations))
        for heat in heats
    ]


HEATS = [
    *caption("1", [0.5, 0.3], [0.1, 0.3]),  # .2 / .4 = .5
    *caption("2", [0.2], [0.5]),  # 2.5
    *caption("3", [0.4], [-0.1]),  # -.25
    *caption("4", [0.4], [0.4]),  # 1
    *caption("5", [], [0.4]),
    *caption("6", [0.4], []),
    *caption("7", [0.1, -0.1], [0.4]),  # mean object heat of 0
    *caption("10", [-0.1], [0.4]),
    *caption("8", [0.4, math.nan], [0.4]),
]
CHOICES = [
    choice("1"),
    choice("2"),
    choice("3", is_right=False),
    choice("4", margin=0.0),
    *(choice(item) for item in ("5", "6", "7", "8", "10")),
    choice("9"),  # without heats
    choice("1", kind="swap_relation"),
    choice("2", kind="swap_object"),  # no relation foil
    choice("2", margin=math.inf),
]


def test_ratios_worked_out_by_hand():
    found = heat_ratios(CHOICES, heat_columns(HEATS)["gradcam"])
    np.testing.assert_allclose(found.ratios, [-0.25, 0.5, 0.5, 1.0, 2.5])
    assert found.is_right.tolist() == [False, True, True, False, True]
    assert found.is_tie.tolist() == [False, False, False, True, False]
    assert found.images == ["i3", "i1", "i1", "i4", "i2"]
    assert found.missing == 7


def test_halves_worked_out_by_hand():
    low, high, gap = accuracy_by_ratio(CHOICES, heat_columns(HEATS), signature=SIGNATURE)
    assert [n.group for n in (low, high, gap)] == ["low half", "high half", "high minus low"]
    assert {(n.measure, n.method, n.missing, n.unit) for n in (low, high, gap)} == {
        ("accuracy by ratio", "gradcam", 7, "share")
    }
    assert (low.value, low.items, low.images, low.ties) == (pytest.approx(2 / 3), 3, 2, 0)
    assert (high.value, high.items, high.images, high.ties) == (0.5, 2, 2, 1)
    assert (gap.value, gap.items, gap.images, gap.ties) == (pytest.approx(0.5 - 2 / 3), 5, 4, 1)
    assert "|method:gradcam layers=all|" in gap.signature


def test_the_curve_worked_out_by_hand():
    points = accuracy_below(CHOICES, heat_columns(HEATS))
    assert {(point.figure, point.series) for point in points} == {("accuracy by ratio", "gradcam")}
    np.testing.assert_allclose([p.x for p in points], [-0.25, 0.5, 1.0, 2.5])
    np.testing.assert_allclose([p.y for p in points], [0, 2 / 3, 0.5, 0.6])
    assert [p.items for p in points] == [1, 3, 4, 5]
    # one image has no interval; two of four images are missing together in a sixteenth of all draws
    assert [(p.low, p.high) for p in points[:2]] == [(None, None)] * 2
    assert all(p.low <= p.y <= p.high and p.low < p.high for p in points[2:])


def test_without_ratios_there_is_no_curve_and_the_numbers_say_so():
    columns = heat_columns(caption("1", [0.5], []))
    assert accuracy_below([choice("1")], columns) == []
    numbers = accuracy_by_ratio([choice("1")], columns, signature=SIGNATURE)
    assert [(n.value, n.missing, n.reason) for n in numbers] == [(None, 1, "nothing scored")] * 3
    assert accuracy_below([], columns) == []


def test_methods_have_their_own_curve_of_about_fifty_points():
    generator = np.random.default_rng(0)
    heats, choices = [], []
    for n in range(400):
        right = bool(generator.random() < 0.7)
        choices.append(choice(str(n), is_right=right))
        relation = float(generator.gamma(2.0)) + right  # who heeds the relation is right
        heats += caption(str(n), [1.0], [relation])
        heats += caption(str(n), [1.0], [float(generator.gamma(2.0))], "attention")
    points = accuracy_below(choices, heat_columns(heats), draws=300)
    by_method = {m: [p for p in points if p.series == m] for m in ("gradcam", "attention")}
    assert [len(own) for own in by_method.values()] == [50, 50]
    last = by_method["gradcam"][-1]
    rights = np.array([float(c.is_right) for c in choices])
    whole = clustered_bootstrap(rights, [c.image for c in choices], draws=300)
    assert (last.y, last.items) == (pytest.approx(rights.mean()), 400)
    # the order of clusters is the same, so are the draws
    assert (last.low, last.high) == pytest.approx((whole.low, whole.high))
    gaps = {
        n.method: n
        for n in accuracy_by_ratio(choices, heat_columns(heats), signature=SIGNATURE, draws=300)
        if n.group == "high minus low"
    }
    assert gaps["gradcam"].low > 0
    assert gaps["attention"].low < 0.1 < gaps["gradcam"].value
