"""Output directories: claimed before work starts, never overwritten by accident."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alignscope.errors import OutputExists, UnwritableOutput
from alignscope.files import write_json

RUN = "run.json"


def claim(
    directory: Path, identity: Mapping[str, Any], *, resume: bool = False, overwrite: bool = False
) -> None:
    """Make `directory` ours for one run, described by `identity` in its `run.json`.

    A non-empty directory is refused, unless `resume` (and its run has the same identity) or
    `overwrite` (and it is a run of ours, which is then deleted).
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        probe = directory / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UnwritableOutput(
            f"cannot write to {directory} ({error.strerror}): give another --out"
        ) from None
    wanted = json.loads(json.dumps(dict(identity)))
    if any(directory.iterdir()):
        found = _identity(directory)
        if overwrite:
            _clear(directory, found)
        elif not resume:
            raise OutputExists(f"{directory} is not empty: give --resume, --overwrite or another --out")
        elif found is not None and found != wanted:
            different = sorted(k for k in {*found, *wanted} if found.get(k) != wanted.get(k))
            raise OutputExists(
                f"{directory} holds another run (different {', '.join(different)}): "
                "resume with the same inputs, or give --overwrite or another --out"
            )
        elif found is None:
            raise OutputExists(f"{directory} holds no run to resume (no {RUN}): give another --out")
    if not (directory / RUN).exists():
        write_json(directory / RUN, {"identity": wanted, "finished": False})


def _identity(directory: Path) -> dict[str, Any] | None:
    try:
        return json.loads((directory / RUN).read_text(encoding="utf-8"))["identity"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _clear(directory: Path, found: dict[str, Any] | None) -> None:
    if found is None:
        raise OutputExists(
            f"{directory} is not empty and holds no alignscope run ({RUN}): nothing there is deleted; "
            "give another --out"
        )
    for entry in directory.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
