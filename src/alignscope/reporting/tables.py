"""Measurements as plain tables for a terminal."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from alignscope.records import Measurement
from alignscope.reporting.official import MANY, in_order, summed
from alignscope.reporting.wording import (
    group_in_words,
    interval_in_words,
    is_number,
    method_order,
    section_of,
    value_in_words,
)

WIDTH = 100  # of a terminal, in characters
COLUMNS = (
    ("heat of\nobject", "heat", "object"),
    ("\nattr.", "heat", "attribute"),
    ("\nrelation", "heat", "relation"),
    ("object\n- relation", "heat gap", "object-relation"),
    ("captions\nobject\nabove rel.", "object above relation", "all"),
    ("deletion\ngain", "deletion gain", "all"),
    ("insertion\ngain", "insertion gain", "all"),
    ("agreement\nscrambled", "agreement with scrambled", "all"),
    ("image\nhits", "pointing game", "all"),
)
"""Head, measure and group of the columns that every method of attribution has."""


def summary_text(measurements: Sequence[Measurement], path: Path) -> str:
    """The first numbers that a run's user looks for; `path` is the file that holds all of the measurements.

    >>> print(summary_text([], Path("run/measurements.parquet")))
    nothing was measured
    """
    rows = [
        m
        for part in ("calibration", "accuracy", "recall", "drop")
        for m in measurements
        if section_of(m.measure) == part
    ]
    attributed = [m for m in measurements if m.method and (m.measure, m.group) in {c[1:] for c in COLUMNS}]
    shown = [text_table(rows)] if rows or not measurements else []
    shown += [_method_table(attributed)] if attributed else []
    more = len(measurements) - len(rows) - len(attributed)
    if more:
        shown.append(f"{more} more, and all intervals, in {path} and the report")
    return "\n\n".join(shown)


def evaluation_text(measurements: Sequence[Measurement], path: Path) -> str:
    """A benchmark's numbers to two places: the official ones, ours, what needs no image; parts that are many are left out.

    >>> print(evaluation_text([], Path("run/measurements.parquet")))
    nothing was measured
    """
    numbers = in_order(measurements)
    tables = {
        f"By the authors’ rule{': ' if numbers.rule else ''}{numbers.rule}": numbers.official,
        "Ours: compared in float32; micro is over all items, macro the mean over parts": numbers.ours,
        "Without the image": summed(numbers.baselines),
        "Other measures": numbers.other if len(numbers.other) <= MANY else [],
    }
    shown = [
        f"{title}\n{text_table(list(map(_renamed, rows)), digits=2)}"
        for title, rows in tables.items()
        if rows
    ]
    more = len(measurements) - sum(map(len, tables.values()))
    if more:
        shown.append(f"{more} more in {path} and the report")
    return "\n\n".join(shown) or text_table([])


def _renamed(m: Measurement) -> Measurement:
    return replace(m, group=group_in_words(m.group, is_averaged=m.measure.startswith("official")))


def text_table(measurements: Sequence[Measurement], *, digits: int = 1) -> str:
    """One line per measurement in the order given, its method where any has one; what is unscored says why.

    Shares are in percent to `digits` places.

    >>> print(text_table([]))
    nothing was measured
    """
    if not measurements:
        return "nothing was measured"
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    has_methods = any(m.method for m in measurements)
    for name in ("measure", *(("method",) if has_methods else ()), "group"):
        table.add_column(name, overflow="fold")
    table.add_column("value", justify="right", overflow="fold")
    table.add_column(_interval(measurements), justify="right", no_wrap=True)
    for name in ("n", "images", "ties", "missing"):
        table.add_column(name, justify="right", no_wrap=True)
    previous = ""
    for m in measurements:
        measure = "" if m.measure == previous else m.measure
        previous = m.measure
        counts = [str(count) for count in (m.items, m.images, m.ties, m.missing)]
        names = [measure, *([m.method] if has_methods else []), m.group]
        _add(table, [*names, value_in_words(m, digits=digits), interval_in_words(m, digits=digits), *counts])
    return drawn(table)


def _method_table(measurements: Sequence[Measurement]) -> str:
    """One line per method of attribution, below it the interval of its gap."""
    found = {(m.method, m.measure, m.group): m for m in measurements}
    columns = [c for c in COLUMNS if any(c[1:] == key[1:] for key in found)]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=0)
    table.add_column("method", overflow="fold", vertical="bottom")
    for head, *_ in columns:
        table.add_column(head, justify="right", no_wrap=True)
    for method in sorted({m.method for m in measurements}, key=method_order):
        here = [(measure, found.get((method, measure, group))) for _, measure, group in columns]
        _add(table, [method, *(_value(m) for _, m in here)])
        gaps = [m for measure, m in here if measure == "heat gap" and m]
        if any(map(interval_in_words, gaps)):
            _add(
                table,
                ["", *(interval_in_words(m) if measure == "heat gap" and m else "" for measure, m in here)],
            )
    notes = {
        "heat gap": f"Below object - relation its {_interval(measurements)}.",
        "agreement with scrambled": "Agreement scrambled: with the map of the model after its weights were shuffled.",
        "pointing game": "Image hits: share of things named on which the hottest place lies.",
    }
    said = [note for measure, note in notes.items() if measure in {measure for _, measure, _ in columns}]
    return "\n".join([drawn(table), *said])


def _value(m: Measurement | None) -> str:
    return "" if m is None else value_in_words(m) if is_number(m.value) else "unscored"


def _interval(measurements: Sequence[Measurement]) -> str:
    levels = sorted({f"{100 * m.level:g} %" for m in measurements})
    return f"{' / '.join(levels)} interval"


def _add(table: Table, cells: Sequence[str]) -> None:
    """A row as it is, whatever its text: nothing is markup."""
    table.add_row(*(Text(inert(cell)) for cell in cells))


def inert(text: str) -> str:
    """Text on one line that moves no cursor."""
    return "".join(sign if sign.isprintable() else "�" for sign in text)


def drawn(table: Table, *, width: int = WIDTH) -> str:
    """A table as lines of a terminal."""
    out = io.StringIO()
    Console(file=out, width=width, color_system=None, force_terminal=False).print(table)
    return "\n".join(line.rstrip() for line in out.getvalue().rstrip().splitlines())
