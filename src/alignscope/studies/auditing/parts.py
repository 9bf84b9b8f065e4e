"""Records of a long run, kept chunk by chunk: a stopped run goes on where it was, to the same result."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from alignscope.files import as_row, merge_parquet, read_jsonl, write_jsonl, write_parquet
from alignscope.records import (
    Agreement,
    Faithfulness,
    PatchMap,
    PhraseSimilarity,
    Picture,
    Pointing,
    Problem,
    ScoreCurve,
    WordHeat,
)

TABLES: Mapping[str, type] = {
    "heats": WordHeat,
    "faithfulness": Faithfulness,
    "agreements": Agreement,
    "phrases": PhraseSimilarity,
    "pointings": Pointing,
}
"""Flat records by the name of their file."""
LISTS: Mapping[str, type] = {"maps": PatchMap, "pictures": Picture, "curves": ScoreCurve, "problems": Problem}
"""Records that go to JSONL."""
Found = Mapping[str, Sequence[Any]]
"""Records of a chunk by the names above; a name that is absent has none."""


def in_parts(work: Path, number: int, make: Callable[[], tuple[Found, Mapping[str, Any]]]) -> None:
    """Make a part and keep it, unless it is there; its facts are written last and say that it is whole."""
    if has_part(work, number):
        return
    found, facts = make()
    for name, record in TABLES.items():
        write_parquet(_path(work, name, number, "parquet"), found.get(name, ()), record)
    for name in LISTS:
        write_jsonl(_path(work, name, number, "jsonl"), found.get(name, ()))
    write_jsonl(_facts(work, number), [facts])


def has_part(work: Path, number: int) -> bool:
    """Whether a part is kept whole."""
    return _facts(work, number).exists()


def merged_parts(work: Path, out: Path, count: int, *, problems: Sequence[Problem] = ()) -> None:
    """All parts as one file per kind of record in `out`, in their order; `problems` come before theirs."""
    for name, record in TABLES.items():
        merge_parquet(
            out / f"{name}.parquet", [_path(work, name, n, "parquet") for n in range(count)], record
        )
    for name in LISTS:
        first = map(as_row, problems) if name == "problems" else ()
        write_jsonl(out / f"{name}.jsonl", chain(first, _rows(work, name, count)))


def _rows(work: Path, name: str, count: int) -> Iterator[dict[str, Any]]:
    for number in range(count):
        yield from read_jsonl(_path(work, name, number, "jsonl"))


def facts(work: Path, count: int) -> Iterator[dict[str, Any]]:
    """What each part said of itself."""
    for number in range(count):
        yield next(read_jsonl(_facts(work, number)))


def _path(work: Path, name: str, number: int, kind: str) -> Path:
    return work / f"{name}-{number:06d}.{kind}"


def _facts(work: Path, number: int) -> Path:
    return _path(work, "part", number, "jsonl")
