"""`alignscope report`: the page of a run, made again from its records; several audits side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from alignscope.cli import options as shared
from alignscope.cli.terminal import tell


def report(
    directories: Annotated[
        list[Path],
        typer.Argument(
            help="the --out of an audit, attribute or inspect; of two to five audits, for one page"
        ),
    ],
    out: Annotated[Path, typer.Option(help="the page of several audits")] = Path("compared.html"),
    as_json: shared.Json = False,
) -> None:
    """Rebuild report.html from the records in a directory, or set audits side by side; needs no model."""
    from alignscope.cli.machine import say
    from alignscope.reporting.compared import compared_page
    from alignscope.reporting.pages import page

    made = page(directories[0]) if len(directories) == 1 else compared_page(directories, out)
    if as_json:
        say(report=made.resolve())
        return
    tell(f"report: {made.resolve()}")
