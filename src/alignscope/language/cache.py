"""Word classes on disk: a JSONL file that only grows, keyed by text, parser and rules.

A line is `{"key": ..., "words": [[start, end, class], ...]}`. A torn last line (a killed process) is
passed over, computed again and never glued to the next one.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alignscope.errors import UnwritableOutput
from alignscope.records import WORD_CLASSES, Caption, Word

FILE = "word_classes.jsonl"


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
    path = directory / FILE
    if not path.exists():
        return {}
    wanted = {key_of(text, signature): text for text in texts}
    found = {}
    with path.open("rb") as file:
        for line in file:
            row = _row(line)
            if row is not None and row["key"] in wanted:
                text = wanted[row["key"]]
                words = tuple(Word(text[start:end], start, end, kind) for start, end, kind in row["words"])
                found[text] = Caption(text, words)
    return found


def append(directory: Path, signature: str, captions: Sequence[Caption]) -> None:
    """Add captions in one write; a torn line left by another process is first ended."""
    lines = [
        json.dumps(
            {
                "key": key_of(caption.text, signature),
                "words": [[word.start, word.end, word.word_class] for word in caption.words],
            }
        )
        for caption in captions
    ]
    path = directory / FILE
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with path.open("ab+") as file:
            torn = b"\n" if file.tell() and _last_byte(file) != b"\n" else b""
            file.write(torn + "".join(line + "\n" for line in lines).encode())
    except OSError as error:
        raise UnwritableOutput(
            f"cannot write the cache {path} ({error.strerror}): set ALIGNSCOPE_CACHE to a directory you own"
        ) from error


def _last_byte(file: Any) -> bytes:
    file.seek(-1, os.SEEK_END)
    return bytes(file.read(1))


def _row(line: bytes) -> dict[str, Any] | None:
    """The row of a line, or None where the line is torn."""
    try:
        row = json.loads(line)
        is_whole = isinstance(row["key"], str) and all(
            isinstance(start, int) and isinstance(end, int) and kind in WORD_CLASSES
            for start, end, kind in row["words"]
        )
    except (ValueError, TypeError, KeyError):
        return None
    return row if is_whole else None
