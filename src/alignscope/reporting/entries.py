"""Cells of a paper's tables beside a study's numbers: means with intervals and differences, and how they are written."""

from __future__ import annotations

from dataclasses import dataclass

from alignscope.reporting.grids import Cell, Grid

SIGNS = {1: "above", -1: "below", 0: ""}


@dataclass(frozen=True)
class Entry:
    """What stands in a table's cell: a mean over seeds with its intervals, or a text.

    Shares and CIDEr are times 100; `text` beside a value is how it is written. `reading` is "above" or "below" where an interval leaves 0 out.
    """

    text: str = ""
    value: float | None = None
    low: float | None = None
    high: float | None = None
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None
    seeds: int = 0
    above: int = 0
    unit: str = ""
    reading: str = ""
    paper: str = ""
    reason: str = ""
    signature: str = ""


@dataclass(frozen=True)
class Table:
    """A table or figure of the paper with this study's numbers; `stem` names its files."""

    stem: str
    title: str
    first: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Entry, ...]], ...]


def side(low: float | None, high: float | None) -> int:
    """1 or -1 where an interval leaves zero out on one side.

    >>> side(0.1, 0.4), side(-2.0, -1.0), side(-0.1, 0.2), side(None, None)
    (1, -1, 0, 0)
    """
    return 0 if low is None or high is None else (low > 0) - (high < 0)


def plain(value: float) -> str:
    """A number with a sign that cannot be taken for a hyphen.

    >>> plain(-12.345), plain(3.14159), plain(0.0213), plain(151.0), plain(-0.001)
    ('−12.3', '3.14', '0.02', '151.0', '0.00')
    """
    text = f"{abs(value):.1f}" if abs(value) >= 9.995 else f"{abs(value):.2f}"
    return f"−{text}" if value < 0 and float(text) else text


def half(low: float | None, high: float | None) -> str:
    """Half an interval, "" where there is none.

    >>> half(1.0, 2.0), half(None, None)
    (' ± 0.50', '')
    """
    return "" if low is None or high is None else f" ± {plain((high - low) / 2)}"


def gap(value: float, low: float | None, high: float | None) -> str:
    """A difference with its sign and half its interval.

    >>> gap(3.14, 2.0, 4.28), gap(-0.5, None, None)
    ('+3.14 ± 1.14', '−0.50')
    """
    return f"{'' if plain(value).startswith('−') else '+'}{plain(value)}{half(low, high)}"


def grid_of(table: Table) -> Grid:
    """A table as the page draws it; the paper's number is the small print."""
    return Grid(
        table.title,
        table.first,
        table.columns,
        tuple((name, tuple(map(cell_of, entries))) for name, entries in table.rows),
    )


def cell_of(entry: Entry) -> Cell:
    """A cell's number, below it the difference (or its own interval), and what the paper prints."""
    printed = f"paper {entry.paper}" if entry.paper else ""
    if entry.value is None:
        if entry.text:
            return Cell(entry.text, note=printed)
        return Cell(" · ".join(filter(None, [entry.reason, printed])), is_scored=False)
    percent = " %" if entry.unit == "percent" else ""
    below = half(entry.low, entry.high).strip()
    if entry.difference is not None:
        below = gap(entry.difference, entry.difference_low, entry.difference_high)
    return Cell(f"{entry.text or plain(entry.value)}{percent}", below, printed, entry.reading)


def signatures_in(table: Table) -> list[str]:
    """Signatures of a table's numbers, those that differ in the captioner alone as one."""
    shared: dict[tuple[str, str], list[str]] = {}
    for _, entries in table.rows:
        for entry in entries:
            head, found, tail = entry.signature.partition("|variant:")
            if entry.signature:
                variant, _, rest = tail.partition("|")
                names = shared.setdefault((head, rest), [])
                names += [variant] if found and variant not in names else []
    return [
        "|".join(filter(None, [head, f"variant:{','.join(names)}" if names else "", rest]))
        for (head, rest), names in shared.items()
    ]
