"""What the readers of benchmarks share: the files of subsets, and records checked one by one.

A reader of this room goes `subset_files` -> `object_records`, `list_records`, `line_records` or
`table_records` -> `usable`, and makes questions of what is left; every fault is a `Problem` of its item.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from alignscope.data.items import cannot_read, fault_of_text, kind_of, parse_json, read_json
from alignscope.data.regular import regular
from alignscope.errors import BadData
from alignscope.records import Problem, Question
from alignscope.registry import did_you_mean


@dataclass(frozen=True)
class Record:
    """One record of a file: `id` as its question will have it, `subject` where it stands.

    `note` tells of a name that had to be made up.
    """

    id: str
    subject: str
    value: Any
    note: str = ""

    def problem(self, what: str, action: Literal["unscored", "handled"] = "unscored") -> Problem:
        """What is wrong with this record."""
        return Problem(self.id, self.subject, what, action)


def subset_files(annotations: Path, subsets: Collection[str], *, wanted: str) -> dict[str, Path]:
    """The files `<subset>.json` of a folder, or the one file given, in the order of `subsets`."""
    if annotations.is_file():
        if annotations.name.removesuffix(".json") not in subsets:
            raise BadData(
                f"{annotations}: the file name tells the subset; got '{annotations.name}', "
                f"wanted one of {', '.join(f'{name}.json' for name in subsets)}; rename the file"
            )
        return {annotations.stem: annotations}
    files = {subset: annotations / f"{subset}.json" for subset in subsets}
    files = {subset: path for subset, path in files.items() if path.is_file()}
    if not files:
        raise BadData(
            f"{annotations}: got no {', '.join(f'{name}.json' for name in subsets)}, "
            f"wanted a folder of {wanted}; check the path"
        )
    return files


def absent_files(annotations: Path, subsets: Iterable[str], files: Collection[str]) -> Iterator[Problem]:
    """A problem for every subset that a folder has no file of; none where one file was asked for."""
    if annotations.is_dir():
        for subset in subsets:
            if subset not in files:
                yield Problem(subset, str(annotations), f"no file {subset}.json", "unscored")


def object_records(path: Path, *, wanted: str, subset: str = "") -> Iterator[Record]:
    """The records of a JSON object, each under its own key; the file is loaded whole."""
    whole = read_json(path, wanted=wanted)
    if not isinstance(whole, dict):
        raise BadData(f"{path}: got {kind_of(whole)}, wanted {wanted}; check the file")
    for key, value in whole.items():
        yield Record(_id(subset, key), f"{path.name}: {key}", value)


def list_records(path: Path, *, wanted: str, subset: str = "", key: str = "") -> Iterator[Record]:
    """The records of a JSON list, each under its field `key`, or its place from 0; loaded whole."""
    whole = read_json(path, wanted=wanted)
    if not isinstance(whole, list):
        raise BadData(f"{path}: got {kind_of(whole)}, wanted {wanted}; check the file")
    for place, value in enumerate(whole):
        yield _keyed(value, f"{path.name}: record {place}", subset, key, place)


def line_records(path: Path, *, wanted: str, key: str = "") -> Iterator[Record | Problem]:
    """The records of a JSONL file, each under its field `key`, or its place from 0; streams.

    A line that is no JSON is a problem of that line.
    """
    try:
        with regular(path).open("rb") as file:
            for place, line in enumerate(file):
                subject = f"{path.name}:{place + 1}"
                if not line.strip():
                    continue
                try:
                    value = parse_json(line.decode("utf-8-sig" if place == 0 else "utf-8"))
                except ValueError as error:
                    what = f"not JSON in UTF-8 ({error}): {line[:60]!r}"
                    yield Problem(f"line-{place + 1}", subject, what, "unscored")
                    continue
                yield _keyed(value, subject, "", key, place)
    except OSError as error:
        raise cannot_read(path, error, wanted=wanted) from None


def table_records(path: Path, columns: Collection[str], *, wanted: str, key: str = "") -> Iterator[Record]:
    """The rows of a CSV file with a header that has `columns` in any order; streams; values are texts.

    Each row goes by its column `key`, or its place from 0. A row too short lacks its last fields.
    """
    try:
        with regular(path).open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file, strict=True)
            header = next(rows, [])
            _check_header(path, header, columns, wanted)
            place = 0
            for row in rows:
                if not row:  # a blank line
                    continue
                fields: Any = dict(zip(header, row, strict=False))
                if len(row) > len(header):
                    fields = row  # no telling which is which; `usable` says that this is no object
                yield _keyed(fields, f"{path.name}:{rows.line_num}", "", key, place)
                place += 1
    except OSError as error:
        raise cannot_read(path, error, wanted=wanted) from None
    except (csv.Error, UnicodeDecodeError) as error:
        where = f"{path}:{rows.line_num}" if isinstance(error, csv.Error) else str(path)
        raise BadData(
            f"{where}: got no valid CSV in UTF-8 ({error}), wanted {wanted}; replace the file by a whole copy"
        ) from None


def usable(
    records: Iterable[Record | Problem], *, texts: Collection[str], others: Collection[str] = ()
) -> Iterator[Record | Problem]:
    """The records that are objects with all fields of `texts` filled; a problem for each of the others.

    A record whose id came before is a problem, so that nothing is counted twice. Fields in neither
    `texts` nor `others` are told of once.
    """
    taken: set[str] = set()
    known = {*texts, *others}
    for record in records:
        if isinstance(record, Problem):
            yield record
            continue
        fault = _fault(record.value, texts)
        if fault is None and record.id in taken:
            fault = f"the id {record.id!r} came before"
        taken.add(record.id)
        if fault is not None:
            yield record.problem(fault)
            continue
        if record.note:
            yield record.problem(record.note, "handled")
        for name in record.value:
            if name not in known:
                known.add(name)
                hint = did_you_mean(str(name), [*texts, *others])
                what = f"unknown field {name!r} passed over here and further on: {hint}"
                yield Problem("", record.subject, what, "handled")
        yield record


def at_least_one(
    found: Iterable[Question | Problem], annotations: Path, *, wanted: str
) -> Iterator[Question | Problem]:
    """The same, and an error at the end if there was no question."""
    first, is_any = "no record at all", False
    for one in found:
        if isinstance(one, Question):
            is_any = True
        elif one.action == "unscored" and first == "no record at all":
            first = f"{one.subject}: {one.what}"
        yield one
    if not is_any:
        raise BadData(f"{annotations}: got no usable record ({first}), wanted {wanted}; check the files")


def _id(subset: str, key: str) -> str:
    return f"{subset}/{key}" if subset else key


def _keyed(value: Any, subject: str, subset: str, field: str, place: int) -> Record:
    """A record under its field; one without a usable name there goes by its place, with a note."""
    if not field:
        return Record(_id(subset, str(place)), subject, value)
    key = value.get(field) if isinstance(value, dict) else None
    if (isinstance(key, int) and not isinstance(key, bool)) or fault_of_text(key) is None:
        return Record(_id(subset, str(key).strip()), subject, value)
    own = _id(subset, f"record-{place}")
    fault = fault_of_text(key) if isinstance(value, dict) and field in value else "is missing"
    return Record(own, subject, value, f"`{field}` {fault}; the item is called {own!r}")


def _fault(value: Any, texts: Collection[str]) -> str | None:
    if not isinstance(value, dict):
        return f"the record is {kind_of(value)}, not an object with {', '.join(texts)}"
    for name in texts:
        fault = fault_of_text(value[name]) if name in value else "is missing"
        if fault:
            return f"`{name}` {fault}"
    return None


def _check_header(path: Path, header: list[str], columns: Collection[str], wanted: str) -> None:
    absent = [name for name in columns if name not in header]
    if absent:
        raise BadData(
            f"{path}: got a first line without {', '.join(absent)} ({', '.join(header)[:80]!r}), "
            f"wanted {wanted}; check the file"
        )
    twice = [name for name in columns if header.count(name) > 1]
    if twice:
        raise BadData(f"{path}: got the column {twice[0]} twice, wanted it once; correct the first line")
