"""What a verb found, for machines: one JSON object on stdout, and nothing else there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

import typer

from alignscope.files import as_row


def say(**found: Any) -> None:
    """Print records as one line of JSON, in ASCII; a number that is not finite is a ValueError, as in files."""
    typer.echo(json.dumps(found, default=_plain, allow_nan=False))


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    if is_dataclass(value):
        return as_row(value)
    raise TypeError(f"got {type(value).__name__}, wanted records, mappings, paths or what JSON has")
