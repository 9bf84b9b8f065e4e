"""Importing is light: torch loads with the first model, and never for a report."""

from __future__ import annotations

import json
import pkgutil
import subprocess
import sys

import pytest
import typer

import alignscope

HEAVY = {"torch", "transformers", "tokenizers", "spacy", "numpy", "pandas", "pyarrow"}
TELL = "import json, sys; json.dump([sorted(sys.modules)], sys.stdout)"


def loaded_by(code: str, *arguments: str) -> set[str]:
    """Names of the modules that a fresh interpreter has after `code`; what the code prints is dropped."""
    text = f"import contextlib, io\nwith contextlib.redirect_stdout(io.StringIO()):\n    {code}\n{TELL}"
    told = subprocess.run(
        [sys.executable, "-c", text, *arguments], capture_output=True, text=True, timeout=120
    )
    assert told.returncode == 0, told.stderr
    (names,) = json.loads(told.stdout)
    return set(names)


def test_importing_the_package_is_light():
    names = loaded_by("import alignscope")
    assert "alignscope" in names
    assert names & HEAVY == set()


def test_this_check_sees_what_is_heavy():
    assert {"numpy", "torch"} <= loaded_by("import torch") & HEAVY


def test_a_report_never_needs_torch():
    import alignscope.reporting as reporting

    rooms = [m.name for m in pkgutil.walk_packages(reporting.__path__, "alignscope.reporting.")]
    assert len(rooms) >= 3, "found too few: nothing was checked"
    names = loaded_by(f"import {', '.join(rooms)}, alignscope.records, alignscope.registry")
    assert set(rooms) <= names
    assert names & {"torch", "transformers", "spacy"} == set()


def _verbs() -> list[tuple[str, ...]]:
    """Every command line that can be followed by --help."""

    def below(command: object, path: tuple[str, ...]) -> list[tuple[str, ...]]:
        children = getattr(command, "commands", {})
        return [path, *(each for name, child in children.items() for each in below(child, (*path, name)))]

    from alignscope.cli import app

    return below(typer.main.get_command(app), ())


def test_help_of_every_command_is_light():
    verbs = _verbs()
    assert {(), ("audit",), ("train",)} <= set(verbs)
    code = (
        "import alignscope.cli, contextlib\n    with contextlib.suppress(SystemExit): alignscope.cli.main()"
    )
    for verb in verbs:
        assert loaded_by(code, *verb, "--help") & {"torch", "transformers", "spacy"} == set(), verb


@pytest.mark.parametrize("name", ["__version__", "__doc__"])
def test_the_package_says_what_it_is(name: str):
    assert getattr(alignscope, name)
