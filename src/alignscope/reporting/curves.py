"""Curves as inline SVG: lines with interval bands, and densities with their means; no scripts.

Drawn on a plane as wide as a phone, so that a page can set several side by side and letters stay legible.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

from alignscope.records import WORD_CLASSES, Point
from alignscope.reporting.wording import METHODS, is_number, number

WIDTH = 360
LINE = 13  # height of a line of letters
KNOWN = {*METHODS, *WORD_CLASSES, "random"}


@dataclass(frozen=True)
class Curve:
    """A named curve; points without finite x and y are left out. `style` is that of another name's, its own without."""

    name: str
    points: tuple[Point, ...]
    style: str = ""


@dataclass(frozen=True)
class Mean:
    """Where a curve's mean lies, to be marked on its axis."""

    name: str
    value: float
    style: str = ""


@dataclass(frozen=True)
class Plane:
    """Data ranges, and the rectangle of the drawing onto which they are laid."""

    x: tuple[float, float]
    y: tuple[float, float]
    left: float
    right: float
    top: float
    bottom: float

    def across(self, x: float) -> float:
        """Horizontal place of a value.

        >>> Plane((0, 1), (0, 1), 40, 240, 10, 110).across(0.5)
        140.0
        """
        return round(self.left + (x - self.x[0]) / (self.x[1] - self.x[0]) * (self.right - self.left), 2)

    def down(self, y: float) -> float:
        """Vertical place of a value; more is higher up.

        >>> Plane((0, 1), (0, 1), 40, 240, 10, 110).down(0.75)
        35.0
        """
        return round(self.bottom - (y - self.y[0]) / (self.y[1] - self.y[0]) * (self.bottom - self.top), 2)


def curves_of(points: Sequence[Point], figure: str, *, under: str = "") -> list[Curve]:
    """A figure's curves in the order of their first points, those of `under/...` alone where it is given."""
    found: dict[str, list[Point]] = {}
    for point in points:
        if point.figure == figure and point.series.startswith(under) and is_number(point.x + point.y):
            found.setdefault(point.series.removeprefix(under), []).append(point)
    return [Curve(name, tuple(sorted(points, key=lambda p: p.x))) for name, points in found.items()]


def line_chart(
    curves: Sequence[Curve],
    *,
    title: str,
    x_title: str,
    unit: str = "",
    is_logarithmic: bool = False,
) -> Markup:
    """Curves with bands for their intervals and their names beside their ends; x may be in powers of ten.

    Where x counts something the axis has whole numbers alone.
    """
    is_count = not is_logarithmic and all(p.x.is_integer() for c in curves for p in c.points)
    said = "; ".join(_said(curve, unit) for curve in curves)
    if is_logarithmic:
        curves = [Curve(c.name, tuple(replace(p, x=math.log10(p.x)) for p in c.points)) for c in curves]
    ends = [
        y for c in curves for p in c.points for y in (p.y, p.low, p.high) if y is not None and is_number(y)
    ]
    plane = Plane(
        x=_span([p.x for c in curves for p in c.points]),
        y=_span(ends),
        left=42,
        right=WIDTH - (102 if len(curves) > 1 else 12),
        top=10,
        bottom=194,
    )
    parts = [*_grid(plane, unit), *_x_axis(plane, x_title, is_logarithmic=is_logarithmic, is_count=is_count)]
    parts += [_band(curve, plane) for curve in curves]
    parts += [_line(curve, plane) for curve in curves]
    parts += _names(curves, plane) if len(curves) > 1 else []
    return drawing(title, said, parts, height=232)


def density_chart(
    curves: Sequence[Curve], means: Sequence[Mean], *, title: str, x_title: str, of: str = " words"
) -> Markup:
    """Densities over one axis, each with its mean marked, named and printed above them; `of` follows the names in what is read aloud."""
    xs = [p.x for c in curves for p in c.points] + [mean.value for mean in means]
    top = 10 + LINE * len(means)
    plane = Plane(
        x=_span(xs),
        y=(0.0, max([p.y for c in curves for p in c.points], default=0.0) or 1.0),
        left=12,
        right=WIDTH - 12,
        top=top,
        bottom=top + 120,
    )
    parts = _x_axis(plane, x_title)
    for curve in curves:
        outline = [(plane.across(p.x), plane.down(p.y)) for p in curve.points]
        feet = [(outline[-1][0], plane.bottom), (outline[0][0], plane.bottom)]
        parts.append(
            Markup('<polygon class="fill s-{}" points="{}"/>').format(_style(curve), _at(outline + feet))
        )
        parts.append(_line(curve, plane))
    for i, mean in enumerate(sorted(means, key=lambda mean: -mean.value)):
        parts += _mean(mean, plane, 8 + LINE * (i + 0.5))
    said = "; ".join(f"mean of {mean.name}{of} {number(mean.value, 'heat')}" for mean in means)
    return drawing(title, said, parts, height=plane.bottom + 38)


def _mean(mean: Mean, plane: Plane, at: float) -> list[Markup]:
    x = plane.across(mean.value)
    is_right = x > WIDTH * 0.6
    return [
        Markup('<line class="mean s-{}" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(
            _style(mean), x, x, at, plane.bottom
        ),
        Markup('<text class="name s-{}" x="{}" y="{}" text-anchor="{}">{} {}</text>').format(
            _style(mean),
            x + (-4 if is_right else 4),
            at + 3,
            "end" if is_right else "start",
            mean.name,
            number(mean.value, "heat"),
        ),
    ]


def _names(curves: Sequence[Curve], plane: Plane) -> list[Markup]:
    """Names right of the curves' ends with a piece of each line, pushed apart where ends are close."""
    order = sorted(
        (curve for curve in curves if curve.points),
        key=lambda c: (plane.down(c.points[-1].y) // LINE, -sum(p.y for p in c.points) / len(c.points)),
    )
    places: list[float] = []
    for curve in order:
        places.append(
            max(plane.down(curve.points[-1].y), *(place + LINE for place in places[-1:]), plane.top)
        )
    for i in range(len(places) - 1, -1, -1):  # nothing below the plane
        places[i] = min(places[i], plane.bottom - LINE * (len(places) - 1 - i))
    parts = []
    for curve, place in zip(order, places, strict=True):
        style, x = _style(curve), plane.right + 5
        parts.append(
            Markup('<line class="curve s-{}" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(
                style, x, x + 18, place, place
            )
        )
        parts.append(
            Markup('<text class="name s-{}" x="{}" y="{}">{}</text>').format(
                style, x + 22, place + 4, curve.name
            )
        )
    return parts


def _line(curve: Curve, plane: Plane) -> Markup:
    points = [(plane.across(p.x), plane.down(p.y)) for p in curve.points]
    return Markup('<polyline class="curve s-{}" points="{}"/>').format(_style(curve), _at(points))


def _band(curve: Curve, plane: Plane) -> Markup:
    held = [p for p in curve.points if is_number(p.low) and is_number(p.high)]
    above = [(plane.across(p.x), plane.down(p.high)) for p in held]  # type: ignore[arg-type]
    below = [(plane.across(p.x), plane.down(p.low)) for p in reversed(held)]  # type: ignore[arg-type]
    return Markup('<polygon class="fill s-{}" points="{}"/>').format(_style(curve), _at(above + below))


def _at(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:g},{y:g}" for x, y in points)


def _grid(plane: Plane, unit: str) -> list[Markup]:
    parts = []
    for y in ticks(*plane.y):
        at = plane.down(y)
        parts.append(
            Markup('<line class="track" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(
                plane.left, plane.right, at, at
            )
        )
        text = f"{100 * y:g} %" if unit == "share" else f"{y:g}"
        parts.append(
            Markup('<text x="{}" y="{}" text-anchor="end">{}</text>').format(plane.left - 5, at + 4, text)
        )
    return parts


def _x_axis(
    plane: Plane, x_title: str, *, is_logarithmic: bool = False, is_count: bool = False
) -> list[Markup]:
    parts = [
        Markup('<line class="foot" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(
            plane.left, plane.right, plane.bottom, plane.bottom
        )
    ]
    number_at = Markup('<text x="{}" y="{}" text-anchor="middle">{:g}</text>')
    for x in (x for x in ticks(*plane.x) if x.is_integer() or not is_count):
        shown = 10**x if is_logarithmic else x
        parts += [number_at.format(plane.across(x), plane.bottom + 15, shown)]
    middle = (plane.left + plane.right) / 2
    parts.append(
        Markup('<text x="{}" y="{}" text-anchor="middle">{}</text>').format(
            middle, plane.bottom + 31, x_title
        )
    )
    return parts


def frame(plane: Plane, x_title: str) -> list[Markup]:
    """Both axes of a plane, with lines across it."""
    return [*_grid(plane, ""), *_x_axis(plane, x_title)]


def ticks(low: float, high: float) -> list[float]:
    """About four round numbers within a range.

    >>> ticks(0.0, 1.0), ticks(-0.013, 0.048)
    ([0.0, 0.25, 0.5, 0.75, 1.0], [0.0, 0.02, 0.04])
    """
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(s * power for s in (1, 2, 2.5, 5, 10) if s * power >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(i * step, 12) + 0.0 for i in range(first, last + 1)]


def _span(values: Sequence[float]) -> tuple[float, float]:
    """Smallest and largest value, kept apart."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _said(curve: Curve, unit: str) -> str:
    """A curve in words: its start, middle and end."""
    if not curve.points:
        return f"{curve.name}: no points"
    picked = dict.fromkeys((curve.points[0], curve.points[len(curve.points) // 2], curve.points[-1]))
    return f"{curve.name}: " + ", ".join(f"{number(p.y, unit)} at {p.x:.3g}" for p in picked)


def _style(one: Curve | Mean) -> str:
    name = one.style or one.name
    return name if name in KNOWN else "unknown"


def drawing(title: str, said: str, parts: Sequence[Markup], *, height: float) -> Markup:
    """A figure of some parts, with what it says in words."""
    name = re.sub(r"\W+", "-", f"figure-{title}").lower()
    return Markup(
        '<svg class="curves" role="img" aria-labelledby="{0}-t {0}-d" viewBox="0 0 {1} {2:g}">'
        '<title id="{0}-t">{3}</title><desc id="{0}-d">{4}</desc>{5}</svg>'
    ).format(name, WIDTH, height, title, said, Markup("").join(parts))
