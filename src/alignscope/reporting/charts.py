"""Small inline SVG: a value with its interval on a fixed axis, scaled by the browser, no scripts."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from alignscope.records import Measurement
from alignscope.reporting.wording import interval_in_words, is_number, value_in_words


@dataclass(frozen=True)
class Axis:
    """The range a chart spans, and a reference line across it (chance, or zero)."""

    low: float
    high: float
    reference: float | None = None

    def place(self, value: float) -> float:
        """Position in percent of the chart's width, with room for the dot at both ends.

        >>> Axis(0.0, 1.0).place(0.5), Axis(0.0, 1.0).place(7.0)
        (50.0, 97.0)
        """
        share = (value - self.low) / ((self.high - self.low) or 1.0)
        return round(3 + 94 * min(max(share, 0.0), 1.0), 2)


SHARES = Axis(0.0, 1.0, reference=0.5)
WHOLE = Axis(0.0, 1.0)


def axis_of(measurements: list[Measurement]) -> Axis:
    """An axis that holds zero and every interval, with the line at zero."""
    ends = [
        end for m in measurements for end in (m.value, m.low, m.high) if end is not None and is_number(end)
    ]
    return Axis(min([0.0, *ends]), max([0.0, *ends]), reference=0.0)


def interval_chart(measurement: Measurement, axis: Axis, *, bar: bool = False) -> Markup:
    """One row's drawing: reference line, interval as a line with ends, value as a dot (or bar)."""
    value = measurement.value
    if value is None or not is_number(value):
        return Markup("")
    label = f"{value_in_words(measurement)}, interval {interval_in_words(measurement) or 'not known'}"
    parts = [Markup('<line class="track" x1="3%" x2="97%" y1="11" y2="11"/>')]
    if axis.reference is not None:
        place = axis.place(axis.reference)
        parts.append(Markup('<line class="reference" x1="{0}%" x2="{0}%" y1="0" y2="22"/>').format(place))
    if bar:
        left, right = sorted([axis.place(0.0), axis.place(value)])
        width = round(right - left, 2)
        parts.append(Markup('<rect class="bar" x="{}%" width="{}%" y="5" height="12"/>').format(left, width))
    low, high = measurement.low, measurement.high
    if low is not None and high is not None and is_number(low) and is_number(high):
        left, right = axis.place(low), axis.place(high)
        parts.append(Markup('<line class="interval" x1="{}%" x2="{}%" y1="11" y2="11"/>').format(left, right))
        tick = Markup('<line class="interval" x1="{0}%" x2="{0}%" y1="7" y2="15"/>')
        parts.extend(tick.format(end) for end in (left, right))
    if not bar:
        parts.append(Markup('<circle class="dot" cx="{}%" cy="11" r="4.5"/>').format(axis.place(value)))
    return Markup('<svg class="chart" role="img" aria-label="{}" width="100%" height="22">{}</svg>').format(
        label, Markup("").join(parts)
    )
