"""Embeddings on disk by content: safetensors shards, and an SQLite index that says where each row is.

A shard is written whole before its rows enter the index, so that a stopped run loses the shard it was
making and nothing else. Memory holds the rows that are asked for, however many are kept.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TypeVar, final

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from alignscope.errors import BadData, LengthMismatch, UnwritableOutput

Thing = TypeVar("Thing")

_KEYS = 500  # looked up at a time; SQLite takes at least 999
_WAIT = 60.0  # seconds for another process to finish writing
_NO_PLACE = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY})
_TABLE = """CREATE TABLE IF NOT EXISTS vector
(key BLOB PRIMARY KEY, shard TEXT NOT NULL, place INTEGER NOT NULL, notes TEXT NOT NULL) WITHOUT ROWID"""


def batches(things: Iterable[Thing], size: int) -> Iterator[list[Thing]]:
    """Things in their order, so many at a time; the last batch may be smaller.

    >>> list(batches("abc", 2))
    [['a', 'b'], ['c']]
    """
    rest = iter(things)
    return iter(lambda: list(islice(rest, size)), [])


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """An SQLite file for as long as the `with` lasts; what cannot be written or read is said."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = sqlite3.connect(path, timeout=_WAIT)
    except (OSError, sqlite3.Error) as error:
        raise UnwritableOutput(f"{path} cannot be opened ({error}): name another place") from None
    try:
        yield file
        file.commit()
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in _NO_PLACE:  # the rest of the code says how
            raise UnwritableOutput(
                f"{path} cannot be written ({error}): make room and give --resume"
            ) from None
        raise BadData(f"{path}: {error}; delete this file and its folder, they are made anew") from error
    finally:
        file.close()


def found(
    file: sqlite3.Connection, table: str, column: str, wanted: str, keys: Iterable[bytes | str]
) -> Iterator[tuple]:
    """Rows (`column` and those of `wanted`) whose `column` is one of `keys`, each row once."""
    for some in batches(dict.fromkeys(keys), _KEYS):
        marks = ",".join("?" * len(some))
        yield from file.execute(f"SELECT {column}, {wanted} FROM {table} WHERE {column} IN ({marks})", some)


@final
class EmbeddingStore:
    """Vectors by key (a digest of what they are of), in `directory`; several processes may write at once.

    The vector that came first stays. `notes` are remarks kept beside a vector.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        with opened(self._index) as file:
            file.execute(_TABLE)

    @property
    def _index(self) -> Path:
        return self.directory / "index.sqlite"

    def held(self, keys: Sequence[bytes]) -> set[bytes]:
        """Those of the keys that have a vector."""
        with opened(self._index) as file:
            return {key for key, _ in found(file, "vector", "key", "place", keys)}

    def notes(self, keys: Sequence[bytes]) -> dict[bytes, tuple[str, ...]]:
        """The remarks kept with those of the keys that have any."""
        with opened(self._index) as file:
            rows = list(found(file, "vector", "key", "notes", keys))
        return {key: tuple(json.loads(notes)) for key, notes in rows if notes != "[]"}

    def add(
        self,
        keys: Sequence[bytes],
        vectors: Float[Tensor, "key dim"],
        notes: Sequence[Sequence[str]] | None = None,
    ) -> None:
        """Keep a shard of vectors, or nothing of it."""
        if len(keys) != len(vectors):
            raise LengthMismatch(f"{len(vectors)} vectors for {len(keys)} keys: give one for each")
        shard = hashlib.sha256(b"".join(keys)).hexdigest()[:24] + ".safetensors"
        half = self.directory / f"{shard}.{os.getpid()}.part"
        try:
            save_file({"vectors": vectors.contiguous()}, half)
            os.replace(half, self.directory / shard)
        except (OSError, SafetensorError) as error:
            half.unlink(missing_ok=True)
            raise UnwritableOutput(f"{self.directory} cannot be written ({error}): name another") from None
        remarks = notes or [()] * len(keys)
        rows = [(key, shard, place, json.dumps(remarks[place])) for place, key in enumerate(keys)]
        with opened(self._index) as file:
            file.executemany("INSERT OR IGNORE INTO vector VALUES (?, ?, ?, ?)", rows)

    def read(self, keys: Sequence[bytes]) -> Float[Tensor, "key dim"]:
        """The vectors of these keys, in their order; a key without one is an error."""
        shards: dict[str, list[tuple[bytes, int]]] = {}
        with opened(self._index) as file:
            for key, shard, place in found(file, "vector", "key", "shard, place", keys):
                shards.setdefault(shard, []).append((key, place))
        rows: dict[bytes, int] = {}
        parts = []
        for shard, places in shards.items():
            rows |= {key: len(rows) + row for row, (key, _) in enumerate(places)}
            parts.append(self._shard(shard, [place for _, place in places]))
        absent = [key for key in keys if key not in rows]
        if absent:
            raise BadData(
                f"{self.directory} lacks {len(absent)} of {len(keys)} embeddings: encode them first"
            )
        return torch.cat(parts)[[rows[key] for key in keys]] if parts else torch.empty(0, 0)

    def _shard(self, name: str, places: Sequence[int]) -> Float[Tensor, "row dim"]:
        """Some rows of a shard; the file is mapped, not read, and let go."""
        path = self.directory / name
        try:
            with safe_open(path, framework="pt") as file:
                return file.get_tensor("vectors")[places]
        except (OSError, SafetensorError) as error:
            raise BadData(
                f"{path}: got no whole shard of embeddings ({error}); delete {self.directory}, it is made anew"
            ) from None
