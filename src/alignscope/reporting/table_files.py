"""Tables of a study as files: CSV with every number of a cell in a row of its own, and LaTeX as a page has it."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path

from alignscope.files import write_lines
from alignscope.reporting.entries import Entry, Table, gap, half, plain

TABLES = "tables"
ESCAPES = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "[": "{[}", "*": "{*}", "×": r"$\times$", "−": "$-$", "±": r"$\pm$", "↑": r"$\uparrow$", "·": r"$\cdot$",
    "“": "``", "”": "''", "’": "'",
}  # fmt: skip
LEGEND = (
    "( ): the difference to {} ± half its 95 % interval, or half that of the number itself; "
    "[ ]: as printed in the paper"
)
SIGNED = re.compile(r"[+-]\d+(\.\d+)?↑?")
ARROWS = {"above": r" $\uparrow$", "below": r" $\downarrow$"}


def write_tables(tables: Iterable[Table], directory: Path, *, against: str) -> list[str]:
    """Write directory/tables/STEM.csv and .tex of every table; returns the stems. Differences are `against` that."""
    folder = directory / TABLES
    folder.mkdir(parents=True, exist_ok=True)
    stems = []
    for table in tables:
        write_lines(folder / f"{table.stem}.csv", csv_of(table).splitlines())
        write_lines(folder / f"{table.stem}.tex", latex_of(table, against=against).splitlines())
        stems.append(table.stem)
    return stems


def csv_of(table: Table) -> str:
    """One line per cell: its row, its column, and all that is known of it."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = [field.name for field in fields(Entry)]
    writer.writerow([table.first, "column", *names])
    for name, entries in table.rows:
        for column, entry in zip(table.columns, entries, strict=True):
            cells = [getattr(entry, field) for field in names]
            texts = ["" if one is None else one for one in (name, column, *cells)]
            writer.writerow([_inert(one) if isinstance(one, str) else one for one in texts])
    return out.getvalue()


def _inert(text: str) -> str:
    """Text on one line, which a spreadsheet does not run: before what begins like a formula stands an apostrophe.

    >>> _inert("=cmd()"), _inert("@a"), _inert("+8.9"), _inert("a =b")
    ("'=cmd()", "'@a", '+8.9', 'a =b')
    """
    line = " ".join(text.split())
    is_formula = line.startswith(("=", "+", "-", "@")) and not SIGNED.fullmatch(line)
    return f"'{line}" if is_formula else line


def latex_of(table: Table, *, against: str) -> str:
    """A tabular inside a table; no package is needed."""
    lines = [
        r"\begin{table}",
        rf"\caption{{{tex(f'{table.title}. {LEGEND.format(against)}')}}}",
        rf"\begin{{tabular}}{{l{'r' * len(table.columns)}}}",
        r"\hline",
        " & ".join(map(tex, (table.first, *table.columns))) + r" \\",
        r"\hline",
    ]
    for name, entries in table.rows:
        lines.append(" & ".join([tex(name), *map(_cell, entries)]) + r" \\")
    return "\n".join([*lines, r"\hline", r"\end{tabular}", r"\end{table}"]) + "\n"


def tex(text: str) -> str:
    r"""Text on one line that LaTeX prints as it stands.

    >>> print(tex("50 % of a_b & {c}"), tex("2 × k"))
    50 \% of a\_b \& \{c\} 2 $\times$ k
    """
    return "".join(ESCAPES.get(sign, sign) for sign in " ".join(text.split()))


def _cell(entry: Entry) -> str:
    printed = f" [{tex(entry.paper)}]" if entry.paper else ""
    if entry.value is None:
        return tex(entry.text or f"({entry.reason})") + printed
    below = half(entry.low, entry.high).strip()
    if entry.difference is not None:
        below = gap(entry.difference, entry.difference_low, entry.difference_high)
    told = f" ({tex(below)})" if below else ""
    return f"{tex(entry.text or plain(entry.value))}{told}{ARROWS.get(entry.reading, '')}{printed}"
