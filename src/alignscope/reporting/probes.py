"""Numbers of captions as tables for a terminal: a column per captioner or per model."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rich import box
from rich.table import Table
from rich.text import Text

from alignscope.records import GramCount, Measurement, MinedPattern, Problem
from alignscope.reporting.tables import WIDTH, drawn, inert
from alignscope.reporting.wording import counted, interval_in_words, is_number, value_in_words

LABEL, CELL = 44, 26  # characters of a row's name, and of a column
KINDS, WHAT = 4, 90  # of problems that are told, and characters of one
MOST = 3  # columns of a table that fit a terminal


def columns_text(measurements: Sequence[Measurement], *, first: Sequence[str] = ()) -> str:
    """A row per measure and part, a column per first part of the groups; unscored cells tell why below.

    `first` are the columns that come first, in their order. The unit of a column's scores stands in its head; columns
    that do not fit a terminal make tables of their own, one below the other.

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
    reasons: dict[str, int] = {}
    names = list(units)
    tables = [
        _columns({name: units[name] for name in names[start : start + MOST]}, rows, reasons)
        for start in range(0, len(names), MOST)
    ]
    notes = [f"({number}) {inert(reason)}" for reason, number in reasons.items()]
    return "\n".join(["\n\n".join(tables), *notes, *_images(measurements)])


def _images(measurements: Sequence[Measurement]) -> list[str]:
    """Of how many images the numbers are, in a line.

    >>> _images([Measurement("a", "m", .5, .4, .6, 9, 7), Measurement("b", "m", .5, .4, .6, 9, 8)])
    ['each number is of 7 to 8 images']
    """
    counts = {one.images for one in measurements if is_number(one.value)} - {0}
    ends = " to ".join(map(str, sorted({min(counts), max(counts)}))) if counts else ""
    return [f"each number is of {ends} images"] if counts else []


def _columns(
    units: Mapping[str, Iterable[str]],
    rows: Mapping[tuple[str, str], Mapping[str, Measurement]],
    reasons: dict[str, int],
) -> str:
    """One table; rows that none of its columns has are left out."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("measure", overflow="fold", width=LABEL)
    for column, own in units.items():
        head = Text(inert(column) + "".join(f"\n{unit}" for unit in own))
        table.add_column(head, justify="right", overflow="fold", min_width=8)
    for (measure, part), row in rows.items():
        if any(column in row for column in units):
            label = measure if part in ("", "all") else f"{measure}: {part}"
            cells = [_cell(row.get(column), reasons) for column in units]
            table.add_row(Text(inert(label)), *map(Text, cells))
    return drawn(table, width=min(WIDTH, LABEL + CELL * len(units)))


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
        said = ", ".join(f"{inert(one.gram)} {100 * one.share:.1f} %" for one in grams)
        lines.append(f"{inert(name)}: most frequent words: {said or 'none'}")
        lines += [
            f"  {100 * one.share:5.1f} %  {f'{one.prefix} {one.body}'.strip()}   e.g. {inert(one.example)}"
            for one in mined.get(name, ())
        ]
    return "\n".join(lines)


def problems_text(problems: Sequence[Problem], path: Path) -> str:
    """How many problems there are and where, and the most frequent kinds: those that differ in their numbers alone are one.

    >>> print(problems_text([], Path("run/problems.jsonl")))
    0 problems, listed in run/problems.jsonl
    """
    kinds: dict[str, list[str]] = {}
    for one in problems:
        kinds.setdefault(re.sub(r"[\d.]+", "#", one.what), []).append(one.what)
    most = sorted(kinds.values(), key=len, reverse=True)
    lines = [f"{counted(len(problems), 'problem')}, listed in {path}"]
    for same in most[:KINDS]:
        text = ("e.g. " if len({*same}) > 1 else "") + inert(same[0])
        lines.append(f"  {len(same):5}  " + (text if len(text) <= WHAT else f"{text[: WHAT - 1]}…"))
    if len(most) > KINDS:
        lines.append(f"  {sum(map(len, most[KINDS:])):5}  of {counted(len(most) - KINDS, 'other kind')}")
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
        ties = counted(one.ties, "tie") if one.ties else ""
        lines = [value_in_words(one), interval_in_words(one), ties, missing]
    return "\n".join(filter(None, lines))
