"""Numbers of captions as tables for a terminal: a column per captioner or per model."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from alignscope.records import GramCount, Measurement, MinedPattern
from alignscope.reporting.wording import interval_in_words, is_number, value_in_words

LABEL, CELL = 44, 26  # characters of a row's name, and of a column


def columns_text(measurements: Sequence[Measurement], *, first: Sequence[str] = ()) -> str:
    """A row per measure and part, a column per first part of the groups; unscored cells tell why below.

    `first` are the columns that come first, in their order. The unit of a column's scores stands in its head.

    >>> print(columns_text([]))
    nothing was measured
    """
    if not measurements:
        return "nothing was measured"
    rows: dict[tuple[str, str], dict[str, Measurement]] = {}
    units: dict[str, dict[str, None]] = {name: {} for name in first}
    for one in measurements:
        column, _, part = one.group.partition(" | ")
        units.setdefault(column, {}).update({one.unit: None} if _is_told(one.unit) else {})
        rows.setdefault((one.measure, part), {})[column] = one
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("measure", overflow="fold", width=LABEL)
    for column, own in units.items():
        head = Text(_plain(column) + "".join(f"\n{unit}" for unit in own))
        table.add_column(head, justify="right", overflow="fold", min_width=8)
    reasons: dict[str, int] = {}
    for (measure, part), row in rows.items():
        label = measure if part in ("", "all") else f"{measure}: {part}"
        cells = [_cell(row.get(column), reasons) for column in units]
        table.add_row(Text(_plain(label)), *map(Text, cells))
    notes = [f"({number}) {_plain(reason)}" for reason, number in reasons.items()]
    return "\n".join([_drawn(table, LABEL + CELL * len(units)), *notes])


def captions_text(measurements: Sequence[Measurement], path: Path) -> str:
    """As `columns_text`, of patterns the narrowest reading and the relaxed one; `path` holds the others.

    Mined patterns are of one captioner each, so that they make no row.
    """
    shown = [
        one
        for one in measurements
        if not one.measure.endswith((", truncated", ", opening")) and " | mined " not in one.group
    ]
    more = len(measurements) - len(shown)
    note = f"\n{more} more, of mined patterns and other readings, in {path}" if more else ""
    return columns_text(shown) + note


def words_text(words: Mapping[str, Sequence[GramCount]], mined: Mapping[str, Sequence[MinedPattern]]) -> str:
    """The most frequent words with their share of all words, and the patterns most captions are closest to."""
    lines = []
    for name, grams in words.items():
        said = ", ".join(f"{_plain(one.gram)} {100 * one.share:.1f} %" for one in grams)
        lines.append(f"{_plain(name)}: most frequent words: {said or 'none'}")
        lines += [
            f"  {100 * one.share:5.1f} %  {f'{one.prefix} {one.body}'.strip()}   e.g. {_plain(one.example)}"
            for one in mined.get(name, ())
        ]
    return "\n".join(lines)


def _is_told(unit: str) -> bool:
    """Whether a unit has to be said: shares are in percent, a perplexity has none."""
    return unit not in ("share", "score", "words", "nouns")


def _cell(one: Measurement | None, reasons: dict[str, int]) -> str:
    if one is None:
        return ""
    missing = f"{one.missing} missing" if one.missing else ""
    if not is_number(one.value):
        lines = [f"unscored ({reasons.setdefault(one.reason, len(reasons) + 1)})", missing]
    else:
        ties = f"{one.ties} ties" if one.ties else ""
        lines = [value_in_words(one), interval_in_words(one), ties, missing]
    return "\n".join(filter(None, lines))


def _plain(text: str) -> str:
    """One line that moves no cursor."""
    return "".join(sign if sign.isprintable() else "�" for sign in text)


def _drawn(table: Table, width: int) -> str:
    out = io.StringIO()
    Console(file=out, width=width, color_system=None, force_terminal=False).print(table)
    return "\n".join(line.rstrip() for line in out.getvalue().rstrip().splitlines())
