"""Java programs that come with `pycocoevalcap`, run on text; what fails is a reason, never an exception."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from alignscope.errors import MissingExtra

NO_JAVA = "no `java` on the PATH: install a Java runtime"


@dataclass(frozen=True)
class JavaRun:
    """What a program wrote; where `reason` says why it did not, nothing."""

    output: str
    reason: str = ""


def jars() -> Path:
    """The folder of pycocoevalcap, found without importing it: its SPICE downloads when it is made."""
    found = importlib.util.find_spec("pycocoevalcap")
    if found is None or not found.submodule_search_locations:
        raise MissingExtra("caption metrics", "pip install 'alignscope[caption]'")
    return Path(next(iter(found.submodule_search_locations)))


def has_java() -> bool:
    """Whether there is a `java` to run."""
    return shutil.which("java") is not None


def run_java(arguments: Sequence[str], *, folder: Path, text: str = "") -> JavaRun:
    """Run one program in a folder with a text as its input, in UTF-8 whatever the locale."""
    java = shutil.which("java")
    if java is None:
        return JavaRun("", NO_JAVA)
    command = [java, "-Dfile.encoding=UTF-8", *arguments]
    try:
        done = subprocess.run(command, input=text.encode(), capture_output=True, cwd=folder, check=False)
    except OSError as error:
        return JavaRun("", f"`{java}` does not start: {error.strerror}")
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        return JavaRun("", f"`java` ended with code {done.returncode}: {said[0] if said else 'no message'}")
    return JavaRun(done.stdout.decode(errors="replace"))


def java_version() -> JavaRun:
    """What `java -version` says first, or why it says nothing."""
    java = shutil.which("java")
    if java is None:
        return JavaRun("", NO_JAVA)
    try:
        done = subprocess.run(
            [java, "-version"], capture_output=True, text=True, errors="replace", check=False
        )
    except OSError as error:
        return JavaRun("", f"`{java}` does not start: {error.strerror}")
    said = next(iter(done.stderr.strip().splitlines()), "no message")  # where all Javas since 1.0 say it
    if done.returncode:
        return JavaRun("", f"`{java}` ended with code {done.returncode}: {said}")
    return JavaRun(said)
