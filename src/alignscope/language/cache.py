"""Word classes on disk: a small SQLite table keyed by text, parser and rules.

Looked up by key, so that a corpus read chunk by chunk costs what its texts cost, however much is kept.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from alignscope.errors import UnwritableOutput
from alignscope.records import Caption, Word

FILE = "word_classes.sqlite"
_KEYS = 500  # looked up at a time; SQLite takes at least 999
_WAIT = 60.0  # seconds for another process to finish writing


def default_directory() -> Path:
    """Where caches live unless the user says otherwise: $ALIGNSCOPE_CACHE or ~/.cache/alignscope."""
    chosen = os.environ.get("ALIGNSCOPE_CACHE")
    return Path(chosen) if chosen else Path.home() / ".cache" / "alignscope"


def key_of(text: str, signature: str) -> str:
    """Hash of all that decides a caption's word classes.

    >>> key_of("a dog", "rules-1") == key_of("a dog", "rules-2")
    False
    """
    return hashlib.sha256(f"{signature}\0{text}".encode("utf-8", "surrogatepass")).hexdigest()[:24]


def read(directory: Path, signature: str, texts: Sequence[str]) -> dict[str, Caption]:
    """Those of the texts that the cache holds for this parser and these rules."""
    if not (directory / FILE).exists():
        return {}
    wanted = {key_of(text, signature): text for text in texts}
    every = list(wanted)
    found = {}
    with _table(directory) as table:
        for start in range(0, len(every), _KEYS):
            keys = every[start : start + _KEYS]
            marks = ",".join("?" * len(keys))
            for key, words in table.execute(f"SELECT key, words FROM captions WHERE key IN ({marks})", keys):
                text = wanted[key]
                spans = json.loads(words)
                found[text] = Caption(text, tuple(Word(text[a:b], a, b, kind) for a, b, kind in spans))
    return found


def append(directory: Path, signature: str, captions: Sequence[Caption]) -> None:
    """Keep captions, all or none of them."""
    rows = [
        (key_of(caption.text, signature), json.dumps([[w.start, w.end, w.word_class] for w in caption.words]))
        for caption in captions
    ]
    with _table(directory) as table:
        table.executemany("INSERT OR REPLACE INTO captions VALUES (?, ?)", rows)


@contextmanager
def _table(directory: Path) -> Iterator[sqlite3.Connection]:
    """The table, made where it is not there; what is done inside is kept unless it fails."""
    path = directory / FILE
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(path, timeout=_WAIT)) as connection, connection:
            connection.execute("CREATE TABLE IF NOT EXISTS captions (key TEXT PRIMARY KEY, words TEXT)")
            yield connection
    except (OSError, sqlite3.Error) as error:
        raise UnwritableOutput(
            f"cannot use the cache {path} ({error}): delete it, or set ALIGNSCOPE_CACHE to a directory you own"
        ) from error
