"""Options keep the library's number of draws, whose import would slow every start of the program."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from alignscope.cli import app
from alignscope.records import DRAWS


def options(command: Any) -> Iterator[Any]:
    for child in getattr(command, "commands", {}).values():
        yield from options(child)
    yield from command.params


def test_every_verb_draws_as_often() -> None:
    found = [option for option in options(typer.main.get_command(app)) if option.name == "draws"]
    assert len(found) > 8
    assert {option.default for option in found} == {DRAWS}
