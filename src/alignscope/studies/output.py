"""Output directories: claimed before work starts, never overwritten by accident."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alignscope.errors import AlignscopeError, OutputExists, UnwritableOutput
from alignscope.files import differences, write_json

RUN = "run.json"
_PROBE = ".writable"
_BEGUN = frozenset({_PROBE, f"{RUN}.part"})  # what a process leaves that was killed while it claimed


@contextmanager
def alone(directory: Path, *, patience: float = 0) -> Iterator[None]:
    """While the `with` lasts no other process works in `directory`; one that was killed holds nothing.

    patience: seconds for which another is waited for before this one is refused.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        held = os.open(directory, os.O_RDONLY)
    except OSError as error:
        raise _unwritable(directory, error) from None
    try:
        _lock(held, patience)
    except BlockingIOError:
        os.close(held)
        raise OutputExists(
            f"another process is at work in {directory}: wait until it ends, or give another --out"
        ) from None
    except OSError:
        pass  # a file system without locks
    try:
        yield
    finally:
        os.close(held)


def _lock(held: int, patience: float) -> None:
    """Lock an open directory where the system knows how (not on Windows)."""
    with contextlib.suppress(ImportError):
        import fcntl

        until = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() >= until:
                    raise
            time.sleep(0.05)


def claim(
    directory: Path, identity: Mapping[str, Any], *, resume: bool = False, overwrite: bool = False
) -> None:
    """Make `directory` ours for one run, described by `identity` in its `run.json`.

    A non-empty directory is refused, unless `resume` (and its run has the same identity) or
    `overwrite` (and it is a run of ours, which is then deleted).
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        probe = directory / _PROBE
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise _unwritable(directory, error) from None
    wanted = json.loads(json.dumps(dict(identity)))
    if any(entry.name not in _BEGUN for entry in directory.iterdir()):
        found = _identity(directory)
        if overwrite:
            _clear(directory, found)
        elif not resume:
            raise OutputExists(f"{directory} is not empty: give --resume, --overwrite or another --out")
        elif found is not None and found != wanted:
            different = sorted(k for k in {*found, *wanted} if found.get(k) != wanted.get(k))
            told = "".join(f"\n  {line}" for line in differences(found, wanted))
            raise OutputExists(
                f"{directory} holds another run (different {', '.join(different)}): "
                f"resume with the same inputs, or give --overwrite or another --out{told}"
            )
        elif found is None:
            raise OutputExists(f"{directory} holds no run to resume (no {RUN}): give another --out")
    if not (directory / RUN).exists():
        write_json(directory / RUN, {"identity": wanted, "finished": False})


@contextmanager
def claimed(directory: Path, identity: Mapping[str, Any], *, resume: bool, overwrite: bool) -> Iterator[Path]:
    """As `claim`, for one process at a time; gives a folder for unfinished work, which is gone once that
    is done without an error. What is refused before any work is kept leaves the directory as free as it was."""
    with alone(directory):
        claim(directory, identity, resume=resume, overwrite=overwrite)
        work = directory / "work"
        work.mkdir(exist_ok=True)
        try:
            yield work
        except AlignscopeError:
            if not any(work.iterdir()):
                release(directory, work.name)
            raise
        shutil.rmtree(work)


def release(directory: Path, *names: str) -> None:
    """Leave a claimed directory as free as it was, where it holds nothing but these names and its `run.json`."""
    if {path.name for path in directory.iterdir()} <= {RUN, *names}:
        for name in (*names, RUN):
            path = directory / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def _unwritable(directory: Path, error: OSError) -> UnwritableOutput:
    return UnwritableOutput(f"cannot write to {directory} ({error.strerror}): give another --out")


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
    write_json(
        directory / RUN, {"identity": found, "finished": False}
    )  # goes last, and tells no lie till then
    for entry in sorted(directory.iterdir(), key=lambda entry: entry.name == RUN):
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def is_finished(directory: Path) -> bool:
    """Whether a run lies here that came to its end."""
    try:
        return bool(json.loads((directory / RUN).read_text(encoding="utf-8"))["finished"])
    except (OSError, ValueError, KeyError):
        return False
