"""Intervals of whole tables: the same as one by one, where the images are the same."""

from __future__ import annotations

import numpy as np
import pytest

from alignscope.errors import BadData
from alignscope.evaluation.intervals import Sample, clustered_average, clustered_bootstrap
from alignscope.evaluation.joint import Part, joint_intervals


def table(seed: int = 0, items: int = 200):
    draw = np.random.default_rng(seed)
    values = draw.integers(0, 3, size=items) / 2
    values[draw.random(items) < 0.1] = np.nan
    return values, draw.integers(0, 40, size=items)


def test_a_row_alone_has_the_interval_of_its_own_bootstrap():
    values, clusters = table()
    (found,) = joint_intervals([[Part(values, np.arange(200))]], clusters, draws=300, seed=3)
    scored = ~np.isnan(values)
    wanted = clustered_bootstrap(values[scored], clusters[scored], draws=300, seed=3)
    assert (found.value, found.low, found.high) == pytest.approx((wanted.value, wanted.low, wanted.high))


def test_a_macro_row_has_the_interval_of_the_average():
    values, clusters = table()
    places = [np.arange(start, 200, 3) for start in range(3)]
    rows = [[Part(values, place) for place in places], [Part(values, places[0])]]
    found, _ = joint_intervals(rows, clusters, draws=300, seed=3)
    samples = [Sample(values[p][~np.isnan(values[p])], clusters[p][~np.isnan(values[p])]) for p in places]
    wanted = clustered_average(samples, draws=300, seed=3)
    assert (found.value, found.low, found.high) == pytest.approx((wanted.value, wanted.low, wanted.high))


def test_weights_and_parts_without_values():
    values = np.array([1.0, 0.0, 0.0, np.nan])
    parts = [
        Part(values, np.array([0]), 3.0),
        Part(values, np.array([1, 2])),
        Part(values, np.array([3]), 9.0),
    ]
    (found,) = joint_intervals([parts], np.arange(4), draws=50)
    assert found.value == 0.75


def test_a_part_that_a_draw_leaves_empty_is_left_out_of_that_draw():
    values = np.array([1.0] * 30 + [0.0])
    rows = [[Part(values, np.arange(30)), Part(values, np.array([30]))]]
    (found,) = joint_intervals(rows, np.arange(31), draws=400)
    assert (found.value, found.low, found.high) == (0.5, 0.5, 1.0)


def test_nothing_one_image_and_impossible_draws():
    values, one = np.array([1.0, np.nan]), np.array([0, 0])
    empty, alone = joint_intervals([[], [Part(values, np.arange(2))]], one)
    assert (empty.value, empty.reason) == (None, "nothing scored")
    assert (alone.value, alone.low, alone.reason) == (1.0, None, "one image: no interval")
    (none,) = joint_intervals([[Part(values, np.array([1]))]], one)
    assert none.reason == "nothing scored"
    with pytest.raises(BadData, match="0 draws"):
        joint_intervals([], one, draws=0)
