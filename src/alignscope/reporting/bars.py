"""Horizontal bars as inline SVG, each with its name, its interval and its value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from alignscope.reporting.charts import Axis
from alignscope.reporting.entries import plain

WIDTH, STEP, LEFT, RIGHT = 360, 20, 126, 44


@dataclass(frozen=True)
class Bar:
    """One bar with its interval; `is_marked` tells two kinds of bars apart."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    is_marked: bool = True


def bar_chart(bars: Sequence[Bar], *, title: str, unit: str = "") -> Markup:
    """Horizontal bars from zero, each with its name before and its value behind it."""
    ends = [end for bar in bars for end in (bar.value, bar.low, bar.high) if end is not None]
    axis = Axis(min([0.0, *ends]), max([0.0, *ends]))

    def across(value: float) -> float:
        return round(LEFT + (axis.place(value) - 3) / 94 * (WIDTH - LEFT - RIGHT), 2)

    parts = [
        Markup('<line class="foot" x1="{0}" x2="{0}" y1="0" y2="{1}"/>').format(across(0.0), STEP * len(bars))
    ]
    for row, bar in enumerate(bars):
        middle = row * STEP + STEP / 2
        left, right = sorted([across(0.0), across(bar.value)])
        parts.append(
            Markup('<text x="{}" y="{}" text-anchor="end">{}</text>').format(LEFT - 6, middle + 4, bar.name)
        )
        parts.append(
            Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}"/>').format(
                "bar" if bar.is_marked else "bar plain", left, middle - 6, round(right - left, 2), 12
            )
        )
        if bar.low is not None and bar.high is not None:
            parts.append(
                Markup('<line class="interval" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(
                    across(bar.low), across(bar.high), middle, middle
                )
            )
        end = max(right, across(bar.high) if bar.high is not None else right)
        parts.append(Markup('<text x="{}" y="{}">{}</text>').format(end + 4, middle + 4, plain(bar.value)))
    said = "; ".join(f"{bar.name} {plain(bar.value)}{unit}" for bar in bars)
    return Markup('<svg class="curves" role="img" aria-label="{}: {}" viewBox="0 0 {} {}">{}</svg>').format(
        title, said, WIDTH, STEP * len(bars) + 2, Markup("").join(parts)
    )
