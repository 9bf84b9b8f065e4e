"""`alignscope report`: the page of an audit, made again from its records."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(directory: Annotated[Path, typer.Argument(help="the --out of an audit")]) -> None:
    """Rebuild report.html from the records in DIRECTORY; needs no model and no torch."""
    from alignscope.reporting.audit import audit_page

    typer.echo(f"report: {audit_page(directory).resolve()}")
