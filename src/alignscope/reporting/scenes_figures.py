"""The figures of paper C as inline SVG: attention matrices, contours of spread and mass, special tokens, confidence, confusions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, pairwise

import numpy as np
from jaxtyping import Float
from markupsafe import Markup

from alignscope.files import read_parquet
from alignscope.records import BlockCell, DensityCell, Point, SceneProbeCell, UnitName
from alignscope.reporting.bars import Bar, bar_chart
from alignscope.reporting.curves import (
    WIDTH,
    Curve,
    Mean,
    Plane,
    density_chart,
    drawing,
    frame,
    line_chart,
)
from alignscope.reporting.entries import plain
from alignscope.reporting.run import read_rows
from alignscope.reporting.scenes_numbers import CAPTIONERS, Probe, Study, over_seeds, parts_of, sets_of

Panel = tuple[str, Markup]
SIDES = ("label", "vision")
SHADES = 16
LEGIBLE = 8.0
"""Width of a cell below which names of rows and columns cannot be read."""
WITHIN = (0.25, 0.5, 0.75, 0.95)
"""Shares of a density that contours hold."""
STYLES = ("attention", "gradcam", "gradient", "perturbation")
"""Colours and dashes of curves that are of no captioner."""
AFTER, SHIFT = "confidence after, unchanged", "confidence shift, unchanged"


@dataclass(frozen=True)
class Matrix:
    """Values by row and column; `borders` are places where a block ends."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: Float[np.ndarray, "row column"]
    borders: tuple[int, ...] = ()


def heat_map(matrix: Matrix, *, title: str, highest: float) -> Markup:
    """Cells shaded from 0 to `highest`, with the names of rows and columns where there is room for letters."""
    size = (WIDTH - 108) / max(len(matrix.columns), 1)
    left, top = 82.0, 68.0 if size >= LEGIBLE else 12.0
    parts = [*_shaded(matrix, highest, left, top, size), *_borders(matrix, left, top, size)]
    if size >= LEGIBLE:
        parts += _names(matrix, left, top, size)
    bottom = top + size * len(matrix.rows)
    scale = f"empty 0, strongest {plain(highest)}"
    parts.append(Markup('<text x="{}" y="{}">{}</text>').format(left, round(bottom + 14, 1), scale))
    flat = [(matrix.values[i, j], r, c) for i, r in enumerate(matrix.rows) for j, c in enumerate(matrix.columns)]  # fmt: skip
    most = sorted(flat, key=lambda one: -one[0])[:3]
    said = "highest: " + "; ".join(f"{row} to {column} {plain(float(value))}" for value, row, column in most)  # fmt: skip
    return drawing(title, said, parts, height=bottom + 20)


def _shaded(matrix: Matrix, highest: float, left: float, top: float, size: float) -> list[Markup]:
    """One path for every shade."""
    levels = np.clip(np.nan_to_num(matrix.values) / (highest or 1.0) * SHADES, 0, SHADES).round().astype(int)
    parts = []
    for level in range(1, SHADES + 1):
        cells = [
            f"M{left + j * size:.2f} {top + i * size:.2f}h{size:.2f}v{size:.2f}h-{size:.2f}z"
            for i, j in np.argwhere(levels == level)
        ]
        if cells:
            parts.append(
                Markup('<path class="heat" fill-opacity="{}" d="{}"/>').format(
                    round(level / SHADES, 3), "".join(cells)
                )
            )
    return parts


def _borders(matrix: Matrix, left: float, top: float, size: float) -> list[Markup]:
    wide, high = size * len(matrix.columns), size * len(matrix.rows)
    line = Markup('<line class="foot" x1="{}" x2="{}" y1="{}" y2="{}"/>')
    ends = [(0, 0), (len(matrix.columns), len(matrix.rows)), *((at, at) for at in matrix.borders)]
    parts = []
    for across, down in ends:
        x, y = round(left + across * size, 2), round(top + down * size, 2)
        parts += [line.format(x, x, top, round(top + high, 2)), line.format(left, round(left + wide, 2), y, y)]  # fmt: skip
    return parts


def _names(matrix: Matrix, left: float, top: float, size: float) -> list[Markup]:
    parts = []
    for i, name in enumerate(matrix.rows):
        y = round(top + (i + 0.5) * size + 3.5, 1)
        parts.append(Markup('<text x="{}" y="{}" text-anchor="end">{}</text>').format(left - 5, y, name))
    for j, name in enumerate(matrix.columns):
        x = round(left + (j + 0.5) * size + 3.5, 1)
        parts.append(
            Markup('<text x="{0}" y="{1}" transform="rotate(-60 {0} {1})">{2}</text>').format(
                x, top - 5, name
            )
        )
    return parts


def attention_figure(study: Study, layer: int) -> list[Panel]:
    """Figures 3 and 11: the matrix of labels and vision of one image, by captioner on one scale; of the first seed."""
    matrices = {name: found for name in CAPTIONERS if (found := attention_matrix(study, name, layer)) is not None}  # fmt: skip
    highest = max((float(np.nanmax(one[1].values)) for one in matrices.values()), default=1.0)
    return [
        (
            f"{CAPTIONERS[name]}, layer {layer + 1}, {image}",
            heat_map(matrix, title=f"attention of {name}, layer {layer + 1}", highest=highest),
        )
        for name, (image, matrix) in matrices.items()
    ]


def attention_layers(study: Study) -> tuple[int, ...]:
    """Layers of which a matrix was kept."""
    found = {one.layer for one in _cells(study, next(iter(CAPTIONERS)))}
    return tuple(sorted(found))


def attention_matrix(study: Study, name: str, layer: int) -> tuple[str, Matrix] | None:
    """The image and its matrix, labels before vision, rows attend to columns."""
    found = [one for one in _cells(study, name) if one.layer == layer and one.heads == "max"]
    image = next((one.image for one in found), "")
    found = [one for one in found if one.image == image]
    places: dict[tuple[str, int], int] = {}  # side and place, to unit
    for one in found:
        down, _, across = one.block.partition("-")
        places[down, one.row], places[across, one.column] = one.row_unit, one.column_unit
    order = sorted((place for place in places if place[0] in SIDES), key=lambda place: (SIDES.index(place[0]), place[1]))  # fmt: skip
    if not order:
        return None
    values = np.full((len(order), len(order)), np.nan)
    at = {place: number for number, place in enumerate(order)}
    for one in found:
        down, _, across = one.block.partition("-")
        if (down, one.row) in at and (across, one.column) in at:
            values[at[down, one.row], at[across, one.column]] = one.value
    names = tuple(_unit_names(study, name, image, [(side, places[side, place]) for side, place in order]))
    return image, Matrix(names, names, values, (sum(side == "label" for side, _ in order),))


def _cells(study: Study, name: str) -> list[BlockCell]:
    path = study.directory / f"seed-{study.seeds[0]}" / "attention" / "models" / name / "cells.parquet"
    return read_rows(path, BlockCell)


def _unit_names(study: Study, name: str, image: str, units: Iterable[tuple[str, int]]) -> list[str]:
    """What labels and regions are called; a region without a name has a number."""
    path = study.directory / f"seed-{study.seeds[0]}" / "attention" / "models" / name / "units.parquet"
    called = {(one.of, one.unit): one.name for one in read_rows(path, UnitName) if one.image == image}
    return [called.get(unit) or f"{'region' if unit[0] == 'vision' else unit[0]} {unit[1] + 1}" for unit in units]  # fmt: skip


def contour_figure(study: Study, figures: Sequence[str]) -> list[Panel]:
    """Figure 4: contours of standard deviation and mass over images, by block; of the first seed."""
    path = study.directory / f"seed-{study.seeds[0]}" / "attention" / "densities.parquet"
    found: dict[str, dict[str, list[DensityCell]]] = {}
    for one in read_rows(path, DensityCell):
        if one.figure in figures:
            found.setdefault(one.figure, {}).setdefault(one.series, []).append(one)
    titles = {figure: _block_in_words(figure) for figure in sorted(found, key=figures.index)}
    return [(title, contours(found[figure], title=title)) for figure, title in titles.items()]


def _block_in_words(figure: str) -> str:
    """Which rows attend to which columns.

    >>> _block_in_words("pooled | layer 0 | max"), _block_in_words("label-vision | layer 0 | max")
    ('all relations together', 'label rows, vision columns')
    """
    down, _, across = parts_of(figure)[0].partition("-")
    return f"{down} rows, {across} columns" if across else "all relations together"


def contours(series: Mapping[str, Sequence[DensityCell]], *, title: str) -> Markup:
    """Lines that hold a quarter, a half, three quarters and 95 % of each density."""
    cells = [one for mine in series.values() for one in mine if one.density > 0]
    tops = {name: max((one.density for one in mine), default=0.0) for name, mine in series.items()}
    held = [
        one for name, mine in series.items() for one in mine if one.density > 0.01 * tops[name]
    ] or cells  # what lies beyond every contour only takes room
    xs, ys = [one.x for one in held] or [0.0, 1.0], [one.y for one in held] or [0.0, 1.0]
    plane = Plane((min(xs), max(xs)), (min(ys), max(ys)), left=42, right=WIDTH - 12, top=24, bottom=194)
    parts = frame(plane, "standard deviation (mass upwards)")
    said = []
    for place, (name, mine) in enumerate(series.items()):
        grid = _grid_of(mine)
        for within in WITHIN:
            parts.append(_contour(*grid, _level(grid[2], within), plane, name))
        style = name if name in CAPTIONERS else "unknown"
        parts.append(
            Markup('<text class="name s-{}" x="{}" y="12">{}</text>').format(
                style, 46 + 150 * place, CAPTIONERS.get(name, name)
            )
        )
        x, y = np.unravel_index(int(grid[2].argmax()), grid[2].shape)
        said.append(f"{name} densest at standard deviation {grid[0][x]:.3g} and mass {grid[1][y]:.3g}")
    return drawing(title, "; ".join(said), parts, height=232)


Across = Float[np.ndarray, " x"]
Upwards = Float[np.ndarray, " y"]
Heights = Float[np.ndarray, "x y"]


def _grid_of(cells: Sequence[DensityCell]) -> tuple[Across, Upwards, Heights]:
    xs, ys = (np.array(sorted({getattr(one, axis) for one in cells})) for axis in ("x", "y"))
    heights = np.zeros((len(xs), len(ys)))
    at = np.searchsorted(xs, [one.x for one in cells]), np.searchsorted(ys, [one.y for one in cells])
    heights[at] = [one.density for one in cells]
    return xs, ys, heights


def _level(heights: Heights, within: float) -> float:
    """The height above which that share of a density lies."""
    flat = np.sort(heights.ravel())[::-1]
    total = np.cumsum(flat)
    return float(flat[int(np.searchsorted(total, within * total[-1]))]) if total[-1] > 0 else 0.0


Place = tuple[float, float]


def segments(xs: Across, ys: Upwards, heights: Heights, level: float) -> list[tuple[Place, Place]]:
    """Pieces of the line along which a surface has a height, square by square of its grid (marching squares)."""
    found = []
    above = (heights >= level).astype(int)
    mixed = above[:-1, :-1] + above[1:, :-1] + above[:-1, 1:] + above[1:, 1:]
    for i, j in np.argwhere((mixed > 0) & (mixed < 4)):
        corners = [(i, j), (i + 1, j), (i + 1, j + 1), (i, j + 1)]
        crossed = [
            _crossing((xs[a[0]], ys[a[1]], heights[a]), (xs[b[0]], ys[b[1]], heights[b]), level)
            for a, b in (sorted(edge) for edge in pairwise([*corners, corners[0]]))  # as its neighbour has it
            if above[a] != above[b]
        ]
        found += [(crossed[k], crossed[k + 1]) for k in range(0, len(crossed), 2)]
    return found


def _crossing(
    one: tuple[float, float, float], other: tuple[float, float, float], level: float
) -> tuple[float, float]:
    share = (level - one[2]) / (other[2] - one[2])
    return float(one[0] + share * (other[0] - one[0])), float(one[1] + share * (other[1] - one[1]))


def joined(pieces: Sequence[tuple[Place, Place]]) -> list[list[Place]]:
    """Pieces that share an end as lines, open ones from their ends.

    >>> joined([((0, 0), (1, 0)), ((2, 0), (1, 0)), ((5, 5), (6, 6))])
    [[(0, 0), (1, 0), (2, 0)], [(5, 5), (6, 6)]]
    """
    left: dict[Place, list[Place]] = {}
    for one, other in pieces:
        left.setdefault(one, []).append(other)
        left.setdefault(other, []).append(one)
    lines = []
    for start in sorted(left, key=lambda place: len(left[place]) != 1):
        while left[start]:
            line = [start]
            while left[line[-1]]:
                following = left[line[-1]].pop()
                left[following].remove(line[-1])
                line.append(following)
            lines.append(line)
    return lines


def _contour(xs: Across, ys: Upwards, heights: Heights, level: float, plane: Plane, name: str) -> Markup:
    path = "".join(
        "M" + "L".join(f"{plane.across(x):.1f} {plane.down(y):.1f}" for x, y in line)
        for line in joined(segments(xs, ys, heights, level))
    )
    style = name if name in CAPTIONERS else "unknown"
    return Markup('<path class="curve s-{}" d="{}"/>').format(style, path)


def special_figure(study: Study) -> list[Panel]:
    """Figure 10: the attention that special tokens get from each kind of row, layer by layer, mean over seeds."""
    curves: dict[str, dict[str, list[Point]]] = {}
    for group in study.groups("attention", "inbound attention"):
        name, what, layer, heads = parts_of(group)
        mean = over_seeds(study.values("attention", "inbound attention", group))
        if heads != "max" or mean is None:
            continue
        at = float(layer.removeprefix("layer ")) + 1
        point = Point(what, name, at, mean.value, mean.low, mean.high, mean.seeds)
        curves.setdefault(what, {}).setdefault(name, []).append(point)
    return [
        (
            _ordinal(what),
            line_chart(
                [Curve(name, tuple(points)) for name, points in mine.items()],
                title=_ordinal(what),
                x_title="layer",
            ),
        )
        for what, mine in curves.items()
    ]


def _ordinal(what: str) -> str:
    """Which special token, counted from 1, and whose attention.

    >>> _ordinal("special 0 from vision")
    'special token 1, attention from vision'
    """
    _, number, _, kind = what.split(" ", 3)
    return f"special token {int(number) + 1}, attention from {kind}"


def confidence_figure(study: Study, figure: str) -> list[Panel]:
    """Figures 6 and 7: densities of both captioners in each set of images, all seeds together."""
    says = "confidence after" if figure == AFTER else "confidence before minus after"
    panels = []
    for images in sets_of(study):
        curves = [_mixed(study, figure, f"{name} | {images} | image", name) for name in CAPTIONERS]
        panel = _densities(curves, f"{figure} {images}", says)
        panels += [(images, panel)] if panel else []
    return panels


def set_figure(study: Study) -> list[Panel]:
    """Figure 12: densities of confidence of each set of images, by captioner; none where there is one set."""
    panels = []
    for name, says in CAPTIONERS.items():
        found = [_mixed(study, AFTER, f"{name} | {images} | image", images) for images in sets_of(study)]
        curves = [replace(one, style=style) for one, style in zip(found, cycle(STYLES), strict=False) if one]
        panel = _densities(curves, f"{AFTER} {name} by images", "confidence after")
        panels += [(says, panel)] if panel and len(curves) > 1 else []
    return panels


def _densities(curves: Sequence[Curve | None], title: str, x_title: str) -> Markup | None:
    there = [one for one in curves if one is not None]
    if not there:
        return None
    means = [Mean(one.name, _mean_of(one), one.style) for one in there]
    return density_chart(there, means, title=title, x_title=x_title, of="")


def _mean_of(curve: Curve) -> float:
    heights = np.array([point.y for point in curve.points])
    return float((heights * [point.x for point in curve.points]).sum() / (heights.sum() or 1.0))


def _mixed(study: Study, figure: str, series: str, name: str) -> Curve | None:
    """The density over all seeds, each with as much weight as it has captions; None where no seed has one."""
    found: list[list[Point]] = []
    for seed in study.seeds:
        path = study.directory / f"seed-{seed}" / "ablation" / "points.parquet"
        mine = [p for p in read_rows(path, Point) if (p.figure, p.series) == (figure, series)]
        found += [sorted(mine, key=lambda p: p.x)] if mine else []
    if not found:
        return None
    places = np.linspace(min(one[0].x for one in found), max(one[-1].x for one in found), 128)
    weights = np.array([one[0].items for one in found], dtype=np.float64)
    heights = [np.interp(places, [p.x for p in one], [p.y for p in one], left=0.0, right=0.0) for one in found]  # fmt: skip
    mixed = weights @ np.array(heights) / weights.sum()
    items = int(weights.sum())
    return Curve(name, tuple(Point(figure, name, float(x), float(y), None, None, items) for x, y in zip(places, mixed, strict=True)))  # fmt: skip


def scene_bars(study: Study, scores: Mapping[str, Mapping[int, float]], *, title: str) -> Markup | None:
    """F1 of scenes as bars with intervals over seeds, in the order given; None where nobody measured it."""
    bars = [
        Bar(scene, mean.value, mean.low, mean.high)
        for scene, values in scores.items()
        if (mean := over_seeds(values)) is not None
    ]
    return bar_chart(bars, title=title) if bars else None


def confusion(study: Study, probe: Probe, scenes: Sequence[str]) -> Matrix | None:
    """Shares of a scene's test images taken for each scene, all seeds together; None where there are none."""
    counts = np.zeros((len(scenes), len(scenes)))
    wanted = [("trained_on", probe.trained_on), ("tested_on", probe.tested_on), ("images", probe.images)]
    wanted += [("classifier", probe.classifier), ("task", probe.task)]
    for seed in study.seeds:
        path = study.directory / f"seed-{seed}" / "scenes" / "cells.parquet"
        for one in read_parquet(path, SceneProbeCell) if path.exists() else ():
            if one.split == probe.split and all(getattr(one, name) == value for name, value in wanted):
                counts[scenes.index(one.scene), scenes.index(one.predicted)] += one.count
    if not counts.any():
        return None
    totals = counts.sum(axis=1, keepdims=True)
    return Matrix(tuple(scenes), tuple(scenes), counts / np.where(totals > 0, totals, 1.0))
