"""Paper B's tables with a study's numbers beside those that are printed (reporting/papers/b.json)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
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
TABLE_1: Mapping[str, Key] = {
    "ARO relation": ("official accuracy", "", "aro-relation"),
    "ARO attribute": ("official accuracy", "", "aro-attribute"),
    "SugarCrepe relation": ("paper B accuracy", "", "sugarcrepe | Relation"),
    "SugarCrepe attribute": ("paper B accuracy", "", "sugarcrepe | Attribute"),
    "VL-CheckList relation": ("paper B accuracy", "", "vl-checklist | Relation"),
    "VL-CheckList attribute": ("paper B accuracy", "", "vl-checklist | Attribute"),
    "VALSE": ("paper B accuracy", "", "valse | Relation"),
    "SVO-Probes": ("paper B accuracy", "", "svo-probes | Relation"),
    "ComVG": ("paper B accuracy", "", "comvg | Relation"),
    "Winoground text": ("paper B accuracy", "", "winoground | text"),
    "Winoground image": ("paper B accuracy", "", "winoground | image"),
    "Winoground group": ("paper B accuracy", "", "winoground | group"),
}
"""Columns of Table 1 and what a study on the benchmarks themselves measured."""
MEAN = "mean of benchmarks"
MEANS: Mapping[str, tuple[Key, ...]] = {
    name: tuple(TABLE_1[f"{name} {kind}"] for kind in ("relation", "attribute"))
    for name in ("ARO", "SugarCrepe", "VL-CheckList")
}
"""Columns of Table 5 that are means of two of Table 1."""
ON_BENCHMARKS: Mapping[str, Key] = {
    **TABLE_1,
    **{name: (MEAN, "", name) for name in MEANS},
    "Avg.": (MEAN, "", "Table 5"),
    **{
        f"{data} {short} R@{k}": (f"recall@{k}", "", f"{benchmark} | {direction}")
        for data, benchmark in (("COCO", "coco-retrieval"), ("Flickr30k", "flickr-retrieval"))
        for short, direction in (("T2I", "text to image"), ("I2T", "image to text"))
        for k in (1, 5)
    },
    **{
        f"{data} {measure}": (measure.lower(), "", benchmark)
        for data, benchmark in (("SICK-R", "sick-r"), ("STS-B", "sts-b"))
        for measure in ("Spearman", "Pearson")
    },
}
"""Every column that the paper prints, where the study is on its benchmarks."""
SHARED = ("start", "ft")
"""Rows that any study may have: a table is shown where it has another of its rows too."""


def printed_in_paper() -> Mapping[str, Any]:
    """Tables of paper B as they are printed, notes on them, and where the paper contradicts itself."""
    found: Mapping[str, Any] = json.loads((ROOM / "papers" / "b.json").read_text(encoding="utf-8"))
    return found


def tables_of(
    look: Mapping[tuple[str, Key], Effect], paper: Mapping[str, Any], *, on_benchmarks: bool = False
) -> dict[str, Table]:
    """The paper's tables that a study has rows of, by the name of their files; every printed cell is there.

    On the benchmarks themselves a cell with numbers of two data sets is two cells.
    """
    measured = {variant for variant, _ in look} - {*SHARED}
    found = {}
    for stem in TABLES:
        printed = paper[stem]
        if any(row["variant"] in measured for row in printed["rows"]):
            columns, cells = printed["columns"], [row["cells"] for row in printed["rows"]]
            if on_benchmarks:
                columns, cells = apart(columns, cells)
            keys = ON_BENCHMARKS if on_benchmarks else KEYS
            rows = tuple(
                (row["says"], _cells(row["variant"], columns, own, look, keys))
                for row, own in zip(printed["rows"], cells, strict=True)
            )
            heads = tuple(columns if on_benchmarks else map(_head, columns))
            found[stem] = Table(stem, title_of(stem, paper), "model", heads, rows)
    return found


def apart(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[list[str], list[list[str]]]:
    """Columns whose cells name two data sets as one column for each.

    >>> apart(["R@1", "Avg."], [["COCO 30.2, Flickr30k 59.0", "1.0"], ["", "2.0"]])
    (['COCO R@1', 'Flickr30k R@1', 'Avg.'], [['30.2', '59.0', '1.0'], ['', '', '2.0']])
    """
    heads, found = list[str](), [list[str]() for _ in rows]
    for place, column in enumerate(columns):
        parts = [dict(_named(cell)) for cell in (row[place] for row in rows)]
        names = list(dict.fromkeys(name for part in parts for name in part)) or [""]
        heads += [f"{name} {column}".strip() for name in names]
        for own, part in zip(found, parts, strict=True):
            own += [part.get(name, "") for name in names]
    return heads, found


def _named(cell: str) -> Iterator[tuple[str, str]]:
    """The numbers of a cell by what stands before them, "" where nothing does."""
    for part in filter(None, cell.split(", ")):
        name, _, number = part.rpartition(" ")
        yield name, number


def title_of(stem: str, paper: Mapping[str, Any]) -> str:
    """A table's number and what it is about.

    >>> title_of("table-3", {"table-3": {"title": "Retrieval"}})
    'Table 3. Retrieval'
    """
    return f"{stem.replace('-', ' ').capitalize()}. {paper[stem]['title']}"


def _head(column: str) -> str:
    return f"{column} ({kind_in_words(KINDS[column])})" if column in KINDS else column


def _cells(
    variant: str,
    columns: Sequence[str],
    printed: Sequence[str],
    look: Mapping[tuple[str, Key], Effect],
    keys: Mapping[str, Key],
) -> tuple[Entry, ...]:
    cells = []
    for column, paper in zip(columns, printed, strict=True):
        effect = look.get((variant, keys[column])) if column in keys else None
        reason = "not in this study" if column in keys else "not in the world"
        cells.append(entry_of(effect, paper, "" if effect is not None else reason))
    return tuple(cells)
