"""Paper B's tables with a study's numbers beside those that are printed (reporting/papers/b.json)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from alignscope.records import Effect
from alignscope.reporting.entries import Entry, Table
from alignscope.reporting.guided_numbers import entry_of
from alignscope.reporting.page import ROOM
from alignscope.reporting.wording import kind_in_words

Key = tuple[str, str, str]  # measure, method, group
TABLES = ("table-1", "table-2", "table-3", "table-4", "table-5")
KINDS = {
    "ARO relation": "swap_relation",
    "ARO attribute": "swap_attribute",
    "SugarCrepe relation": "replace_relation",
    "SugarCrepe attribute": "replace_attribute",
    "VL-CheckList relation": "replace_relation",
    "VL-CheckList attribute": "replace_attribute",
}
"""Columns of benchmarks and the kind of foil that the world makes in their way."""
KEYS: Mapping[str, Key] = {
    **{column: ("accuracy", "", kind) for column, kind in KINDS.items()},
    "Avg.": ("accuracy", "", "all kinds (macro)"),
    **{
        f"{short} R@{k}": (f"recall@{k}", "", direction)
        for k in (1, 5)
        for short, direction in (("T2I", "text to image"), ("I2T", "image to text"))
    },
    "Spearman": ("paraphrase spearman", "", "all"),
}
SHARED = ("start", "ft")
"""Rows that any study may have: a table is shown where it has another of its rows too."""


def printed_in_paper() -> Mapping[str, Any]:
    """Tables of paper B as they are printed, notes on them, and where the paper contradicts itself."""
    found: Mapping[str, Any] = json.loads((ROOM / "papers" / "b.json").read_text(encoding="utf-8"))
    return found


def tables_of(look: Mapping[tuple[str, Key], Effect], paper: Mapping[str, Any]) -> dict[str, Table]:
    """The paper's tables that a study has rows of, by the name of their files; every printed cell is there."""
    measured = {variant for variant, _ in look} - {*SHARED}
    found = {}
    for stem in TABLES:
        printed = paper[stem]
        if any(row["variant"] in measured for row in printed["rows"]):
            columns = tuple(map(_head, printed["columns"]))
            rows = tuple((row["says"], _cells(row, printed["columns"], look)) for row in printed["rows"])
            found[stem] = Table(stem, title_of(stem, paper), "model", columns, rows)
    return found


def title_of(stem: str, paper: Mapping[str, Any]) -> str:
    """A table's number and what it is about.

    >>> title_of("table-3", {"table-3": {"title": "Retrieval"}})
    'Table 3. Retrieval'
    """
    return f"{stem.replace('-', ' ').capitalize()}. {paper[stem]['title']}"


def _head(column: str) -> str:
    return f"{column} ({kind_in_words(KINDS[column])})" if column in KINDS else column


def _cells(
    row: Mapping[str, Any], columns: tuple[str, ...] | list[str], look: Mapping[tuple[str, Key], Effect]
) -> tuple[Entry, ...]:
    cells = []
    for column, paper in zip(columns, row["cells"], strict=True):
        effect = look.get((row["variant"], KEYS[column])) if column in KEYS else None
        reason = "not in this study" if column in KEYS else "not in the world"
        cells.append(entry_of(effect, paper, "" if effect is not None else reason))
    return tuple(cells)
