"""Curves are drawn where their numbers lie, and said in words."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from alignscope.records import Point
from alignscope.reporting.curves import Curve, Mean, curves_of, density_chart, line_chart, ticks


def curve(name: str, *ys: float, low: float | None = None, high: float | None = None) -> Curve:
    last = len(ys) - 1
    return Curve(name, tuple(Point("f", name, i / last, y, low, high, 9) for i, y in enumerate(ys)))


def lines(svg: str) -> dict[str, list[tuple[float, float]]]:
    """Points of each line by its style, read back from the markup."""
    found = re.findall(r'<polyline class="curve s-(\w+)" points="([^"]*)"', svg)
    return {name: [tuple(map(float, p.split(","))) for p in points.split()] for name, points in found}  # type: ignore[misc]


def labels(svg: str) -> dict[str, float]:
    """Height of each name."""
    found = re.findall(r'<text class="name[^"]*" x="[^"]*" y="([^"]*)"[^>]*>([^<]*)</text>', svg)
    return {name: float(y) for y, name in found}


def test_a_line_runs_through_its_points() -> None:
    drawn = lines(line_chart([curve("gradcam", 1.0, 0.25, 0.0)], title="t", x_title="x"))["gradcam"]
    (x0, y0), (x1, y1), (x2, y2) = drawn
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.02)
    assert (y1 - y0) / (y2 - y0) == pytest.approx(0.75, abs=0.001)  # down three quarters of the way
    assert y0 < y2  # more is higher up


def test_the_band_holds_the_intervals() -> None:
    svg = line_chart([curve("gradcam", 0.5, 0.5, low=0.0, high=1.0)], title="t", x_title="x")
    band = re.search(r'<polygon class="fill s-gradcam" points="([^"]*)"', svg)
    assert band is not None
    heights = sorted({float(point.split(",")[1]) for point in band[1].split()})
    middle = lines(svg)["gradcam"][0][1]
    assert len(heights) == 2
    assert middle == pytest.approx(sum(heights) / 2)


def test_names_of_close_ends_are_pushed_apart_in_order_and_stay_within() -> None:
    names = ("attention", "gradcam", "gradient", "perturbation", "random")
    close = [curve(name, 1.0, 0.2 * i, 0.0) for i, name in enumerate(names)]
    found = labels(line_chart(close, title="t", x_title="x"))
    assert list(found) == list(reversed(names))  # the higher curve is named above
    heights = list(found.values())
    assert all(below - above >= 13 - 1e-6 for above, below in pairwise(heights))
    assert max(heights) <= 200
    apart = labels(line_chart([curve("gradcam", 0, 1), curve("random", 0, 0)], title="t", x_title="x"))
    assert apart["random"] - apart["gradcam"] > 100  # names far apart stay at their ends


def test_one_curve_alone_needs_no_name() -> None:
    assert not labels(line_chart([curve("gradcam", 0, 1)], title="t", x_title="x"))


def test_powers_of_ten_are_evenly_apart() -> None:
    points = tuple(Point("f", "gradient", x, 0.5, None, None, 9) for x in (1e-8, 1e-4, 1.0))
    svg = line_chart([Curve("gradient", points)], title="t", x_title="x", is_logarithmic=True)
    (x0, _), (x1, _), (x2, _) = lines(svg)["gradient"]
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.02)
    assert ">0.0001<" in svg


def test_what_is_counted_has_whole_numbers_on_its_axis() -> None:
    def shown(*xs: float) -> list[str]:
        points = tuple(Point("f", "gradcam", x, 0.5, None, None, 9) for x in xs)
        svg = line_chart([Curve("gradcam", points)], title="t", x_title="x")
        return re.findall(r'text-anchor="middle">([\d.]+)<', svg)

    assert shown(1.0, 2.0, 3.0) == ["1", "2", "3"]
    assert shown(1.0, 2.5, 3.0) == ["1", "1.5", "2", "2.5", "3"]


def test_a_chart_says_what_it_shows() -> None:
    svg = line_chart([curve("gradcam", 1.0, 0.25, 0.0)], title="Deletion", x_title="x", unit="share")
    assert "<title" in svg
    assert ">gradcam: 100.0 % at 0, 25.0 % at 0.5, 0.0 % at 1</desc>" in svg
    ids = re.findall(r' id="([^"]*)"', svg)
    assert f'aria-labelledby="{" ".join(ids)}"' in svg


def test_means_are_marked_on_the_axis_and_printed() -> None:
    svg = density_chart(
        [curve("object", 0.0, 1.0, 0.0), curve("relation", 1.0, 0.5, 0.0)],
        [Mean("object", 0.5), Mean("relation", 0.25)],
        title="t",
        x_title="heat",
    )
    marks = dict(re.findall(r'<line class="mean s-(\w+)" x1="([^"]*)"', svg))
    (left, _), (middle, _), _ = lines(svg)["object"]
    assert float(marks["object"]) == pytest.approx(middle, abs=0.02)
    assert float(marks["relation"]) == pytest.approx((left + middle) / 2, abs=0.02)
    assert {"object 0.500", "relation 0.250"} == set(labels(svg))
    assert "mean of object words 0.500" in svg


def test_points_that_are_no_numbers_are_left_out_and_series_are_told_apart() -> None:
    points = [
        Point("heat density", "gradcam/object", 0.2, 1.0, None, None, 9),
        Point("heat density", "gradcam/object", 0.1, 2.0, None, None, 9),
        Point("heat density", "gradcam/relation", float("nan"), 1.0, None, None, 9),
        Point("heat density", "gradient/object", 0.1, 1.0, None, None, 9),
        Point("deletion curve", "gradcam", 0.1, 1.0, None, None, 9),
    ]
    found = curves_of(points, "heat density", under="gradcam/")
    assert [(c.name, [p.x for p in c.points]) for c in found] == [("object", [0.1, 0.2])]


def test_names_of_users_series_are_escaped() -> None:
    attack = '"><script>'
    svg = line_chart([curve(attack, 0, 1), curve("b", 1, 0)], title=attack, x_title=attack)
    assert "<script" not in svg
    assert "s-unknown" in svg


@pytest.mark.parametrize(("low", "high"), [(0.0, 1e-9), (-3.0, 3e5), (0.391, 1.07), (5.0, 5.1)])
def test_ticks_are_round_few_and_inside(low: float, high: float) -> None:
    found = ticks(low, high)
    assert 2 <= len(found) <= 6
    assert all(low - 1e-12 <= tick <= high * (1 + 1e-12) for tick in found)
    assert all(len(f"{tick:g}") <= 8 for tick in found)


def test_all_points_alike_are_drawn() -> None:
    assert "nan" not in line_chart([curve("gradcam", 0.5, 0.5)], title="t", x_title="x")
