"""`alignscope report`: the page of a run, made again from its records."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    directory: Annotated[Path, typer.Argument(help="the --out of an audit, attribute or inspect")],
) -> None:
    """Rebuild report.html from the records in DIRECTORY; needs no model and no torch."""
    from alignscope.reporting.pages import page

    typer.echo(f"report: {page(directory).resolve()}")
