"""Measurements as a plain table for a terminal."""

from __future__ import annotations

import io
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from alignscope.records import Measurement
from alignscope.reporting.wording import interval_in_words, value_in_words


def text_table(measurements: Sequence[Measurement], *, width: int = 110) -> str:
    """One line per measurement in the order given, its method where any has one; what is unscored says why.

    >>> print(text_table([]))
    nothing was measured
    """
    if not measurements:
        return "nothing was measured"
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    levels = sorted({f"{100 * m.level:g} %" for m in measurements})
    has_methods = any(m.method for m in measurements)
    for name in ("measure", *(("method",) if has_methods else ()), "group"):
        table.add_column(name, overflow="fold")
    for name in ("value", f"{' / '.join(levels)} interval", "n", "images", "ties", "missing"):
        table.add_column(name, justify="right", overflow="fold")
    previous = ""
    for m in measurements:
        measure = "" if m.measure == previous else m.measure
        previous = m.measure
        counts = [str(count) for count in (m.items, m.images, m.ties, m.missing)]
        names = [measure, *([m.method] if has_methods else []), m.group]
        cells = [*names, value_in_words(m), interval_in_words(m), *counts]
        table.add_row(*(Text(_visible(cell)) for cell in cells))
    out = io.StringIO()
    Console(file=out, width=width, color_system=None, force_terminal=False).print(table)
    return "\n".join(line.rstrip() for line in out.getvalue().rstrip().splitlines())


def _visible(text: str) -> str:
    return "".join(c if c.isprintable() else "�" for c in text)
