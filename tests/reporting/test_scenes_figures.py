"""Figures of scene captioners: contours, matrices, confusions and densities against plain arithmetic."""

import math
import re
import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from markupsafe import Markup

from alignscope.files import write_parquet
from alignscope.records import BlockCell, Point, SceneProbeCell, UnitName
from alignscope.reporting.curves import Curve
from alignscope.reporting.scenes_figures import (
    Matrix,
    attention_matrix,
    confidence_figure,
    confusion,
    heat_map,
    joined,
    segments,
)
from alignscope.reporting.scenes_numbers import Probe, read_study

RUNS = runpy.run_path(str(Path(__file__).with_name("scene_runs.py")))
write_study = RUNS["write_study"]


@pytest.fixture
def study(tmp_path):
    return lambda *, name="run", **changes: write_study(tmp_path / name, **changes)


def test_contours_are_level():
    xs, ys = np.linspace(-2, 2, 41), np.linspace(-1, 3, 31)
    heights = np.exp(-(xs[:, None] ** 2 + (ys[None] - 1) ** 2))
    lines = segments(xs, ys, heights, math.exp(-(1.03**2)))
    assert len(lines) > 40
    for one, other in lines:
        for x, y in (one, other):
            assert math.hypot(x, y - 1) == pytest.approx(1.03, abs=0.01)
    (whole,) = joined(lines)
    assert whole[0] == whole[-1]
    assert len(whole) == len(lines) + 1
    ramp = np.repeat(xs[:, None], 31, axis=1)
    assert {round(x, 9) for line in segments(xs, ys, ramp, 0.25) for x, _ in line} == {0.25}


def test_saddles_have_two_lines():
    heights = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert len(segments(np.array([0.0, 1.0]), np.array([0.0, 1.0]), heights, 0.5)) == 2


def test_a_heat_map_shades_each_cell_once_and_says_its_highest():
    values = np.array([[0.0, 0.5], [1.0, 0.25]])
    drawn = str(heat_map(Matrix(("<a>", "b"), ("c", "d & e"), values), title="t", highest=1.0))
    shades = {float(opacity): path.count("M") for opacity, path in re.findall(r'fill-opacity="([\d.]+)" d="([^"]*)"', drawn)}  # fmt: skip
    assert shades == {0.25: 1, 0.5: 1, 1.0: 1}
    assert "highest: b to c 1.00; &lt;a&gt; to d &amp; e 0.50" in drawn
    assert "<a>" not in drawn


def test_attention_matrices_set_labels_before_vision(study):
    directory = study()
    place = directory / "seed-0" / "attention" / "models" / "scene"
    place.mkdir(parents=True)
    cells = [
        BlockCell("i", 0, "max", block, row, column, row, column, value)
        for block, row, column, value in (
            ("vision-label", 0, 0, 0.1), ("label-label", 0, 0, 0.2), ("label-vision", 0, 0, 0.3), ("vision-vision", 0, 0, 0.4),
        )
    ]  # fmt: skip
    write_parquet(place / "cells.parquet", [*cells, replace(cells[0], image="later", value=9.0)], BlockCell)
    write_parquet(place / "units.parquet", [UnitName("i", "label", 0, "car")], UnitName)
    image, matrix = attention_matrix(read_study(directory), "scene", 0)
    assert (image, matrix.rows) == ("i", ("car", "region 1"))
    assert matrix.values.tolist() == [[0.2, 0.3], [0.1, 0.4]]


def test_confusions_are_shares_of_the_true_scene_over_seeds(study):
    directory = study(seeds=2)
    name = "scene test"
    base = SceneProbeCell("all", name, name, "forest", "scenes", 50, 0, "road", "road", 3)
    for seed, cells in enumerate(
        [
            [base, replace(base, predicted="sea", count=1), replace(base, task="control", count=99)],
            [replace(base, predicted="sea", count=4), replace(base, split=90, count=99)],
        ]
    ):
        write_parquet(directory / f"seed-{seed}" / "scenes" / "cells.parquet", cells, SceneProbeCell)
    matrix = confusion(read_study(directory), Probe(name, name), ("road", "sea"))
    assert matrix.values.tolist() == [[3 / 8, 5 / 8], [0.0, 0.0]]
    assert confusion(read_study(directory), Probe("object test", "object test"), ("road", "sea")) is None


def test_densities_of_seeds_weigh_as_many_captions(study, monkeypatch):
    directory = study(seeds=2)
    figure, series = "confidence after, unchanged", "scene | test | image"
    for seed, (left, items) in enumerate([(0.0, 30), (2.0, 10)]):
        points = [Point(figure, series, left + x, y, None, None, items) for x, y in ((0, 0), (0.5, 2), (1, 0))]  # fmt: skip
        write_parquet(directory / f"seed-{seed}" / "ablation" / "points.parquet", points, Point)
    kept = []
    monkeypatch.setattr(
        "alignscope.reporting.scenes_figures.density_chart",
        lambda curves, means, **how: kept.append((curves, means)) or Markup("drawn"),
    )
    assert confidence_figure(read_study(directory), figure) == [("test", Markup("drawn"))]
    ((curve,), (mean,)) = kept[0]
    assert isinstance(curve, Curve)
    heights = {point.x: point.y for point in curve.points}
    step = curve.points[1].x - curve.points[0].x
    assert sum(heights.values()) * step == pytest.approx(1.0, abs=0.02)
    assert sum(y for x, y in heights.items() if x < 1.5) * step == pytest.approx(0.75, abs=0.02)
    assert mean.value == pytest.approx(0.75 * 0.5 + 0.25 * 2.5, abs=0.02)
