"""Records to files and back: JSONL for what people read, Parquet for tables of numbers, whole or not at all.

Both open in pandas, polars and duckdb; nothing here knows which records there are.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import json
import os
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from alignscope.errors import BadData, UnwritableOutput

Record = TypeVar("Record")
_ABSENT: Any = object()


def as_row(record: Any) -> dict[str, Any]:
    """A dataclass as a plain dictionary, nested records included."""
    return dataclasses.asdict(record)


def sha_of(value: Any) -> str:
    """Twelve hexadecimal digits that identify a JSON-able value.

    >>> sha_of({"b": 1, "a": 2}) == sha_of({"a": 2, "b": 1})
    True
    """
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=as_row)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:12]


def differences(found: Mapping[str, Any], wanted: Mapping[str, Any], place: str = "") -> Iterator[str]:
    """What is not the same in two nested tables of JSON, entry by entry.

    >>> list(differences({"seed": 1, "heats": {"margin": 0.0}}, {"seed": 1, "heats": {"margin": 0.1}, "old": None}))
    ['heats.margin: was 0.0, now 0.1', 'old: was absent, now null']
    """
    for name in sorted({*found, *wanted}):
        was, now = found.get(name, _ABSENT), wanted.get(name, _ABSENT)
        if isinstance(was, Mapping) and isinstance(now, Mapping):
            yield from differences(was, now, f"{place}{name}.")
        elif was != now:
            told = [
                "absent" if each is _ABSENT else json.dumps(each, ensure_ascii=False) for each in (was, now)
            ]
            yield f"{place}{name}: was {told[0]}, now {told[1]}"


def write_jsonl(path: Path, rows: Iterable[Any]) -> int:
    """Write records one per line, whole or not at all; returns how many.

    A number that is not finite is a ValueError, for no JSON reader takes it: unmeasured is None.
    """
    count = 0
    # backslashreplace: half of a surrogate pair becomes the JSON escape it was read from
    with whole(path) as half, half.open("w", encoding="utf-8", errors="backslashreplace") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False, default=as_row, allow_nan=False) + "\n")
            count += 1
    return count


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """Rows of a JSONL file; a broken line is an error that names it."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
                row = json.loads(text or "{}")
            except (ValueError, RecursionError) as error:  # of the bytes, of the JSON or of its depth
                raise BadData(f"{path}:{number}: not JSON in UTF-8 ({error}): {line[:60]!r}") from None
            if not isinstance(row, dict):
                raise BadData(f"{path}:{number}: not an object with named fields: {text[:60]!r}")
            if text:
                yield row


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write lines of text, whole or not at all."""
    with whole(path) as half, half.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{line}\n" for line in lines)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file's content, whole or not at all."""
    with whole(path) as half:
        half.write_bytes(content)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write one readable JSON document, whole or not at all."""
    text = json.dumps(value, indent=2, ensure_ascii=False, default=as_row, allow_nan=False)
    with whole(path) as half:
        half.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")


def write_parquet(path: Path, rows: Sequence[Any], record: type) -> None:
    """Write flat records as one Parquet file, whole or not at all; columns come from `record`."""
    import pyarrow as pa

    write_table(path, pa.Table.from_pylist([as_row(row) for row in rows], schema=_schema(record)))


def write_table(path: Path, table: Any) -> None:
    """Write an Arrow table as one Parquet file, whole or not at all."""
    import pyarrow.parquet as pq

    with whole(path) as half, half.open("wb") as file:
        pq.write_table(table, file)


def merge_parquet(path: Path, parts: Sequence[Path], record: type) -> int:
    """Write the rows of several Parquet files as one, part by part; returns how many rows."""
    import pyarrow.parquet as pq

    schema, rows = _schema(record), 0
    with whole(path) as half, pq.ParquetWriter(half, schema) as writer:
        for part in parts:
            with _reading(part, record):
                table = pq.read_table(part, schema=schema)
            writer.write_table(table)
            rows += table.num_rows
    return rows


def read_parquet(path: Path, record: type[Record]) -> list[Record]:
    """Records of a Parquet file written by `write_parquet`."""
    return list(stream_parquet(path, record))


def stream_parquet(path: Path, record: type[Record]) -> Iterator[Record]:
    """As `read_parquet`, a few thousand records at a time."""
    import pyarrow.parquet as pq

    with _reading(path, record), pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=4096):
            yield from (record(**row) for row in batch.to_pylist())


@contextlib.contextmanager
def _reading(path: Path, record: type) -> Iterator[None]:
    """Whatever pyarrow raises of what a file holds is a `BadData` that names the file."""
    import pyarrow as pa

    try:
        yield
    except FileNotFoundError:  # in which pyarrow tells the name or the number, never both
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path)) from None
    except (pa.ArrowException, OSError, TypeError, UnicodeDecodeError) as error:
        raise BadData(f"{path}: not a Parquet file of {record.__name__} records: {error}") from None


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A temporary neighbour of `path` that takes its place at the end and is gone after an error."""
    half = path.parent / f"{path.name}.part"
    try:
        yield half
        os.replace(half, path)
    except OSError as error:
        if error.filename not in (None, str(half)):  # another file's trouble
            raise
        raise UnwritableOutput(f"{path} cannot be written ({error.strerror}): name another place") from error
    finally:
        with contextlib.suppress(OSError):
            half.unlink()


def _schema(record: type) -> Any:
    import pyarrow as pa

    kinds = {float: pa.float64(), int: pa.int64(), bool: pa.bool_(), str: pa.string()}
    columns = []
    for name, hint in typing.get_type_hints(record).items():
        plain = str if typing.get_origin(hint) is Literal else hint
        kind = next((kinds[each] for each in kinds if plain in (each, each | None)), None)
        if kind is None:
            raise TypeError(
                f"{record.__name__}.{name} is {hint}: Parquet takes flat records, JSONL the others"
            )
        columns.append(pa.field(name, kind))
    return pa.schema(columns)
