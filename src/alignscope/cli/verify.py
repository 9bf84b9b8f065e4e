"""`alignscope verify`: a run's numbers beside published ones."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def verify(
    run: Annotated[Path, typer.Argument(help="the --out of `alignscope evaluate`")],
    model: Annotated[str, typer.Option("--as", help="the model's name in the published table")],
) -> None:
    """Print the gap between RUN and what was published of a model, with the known reasons."""
    from alignscope.studies.verification import verification

    typer.echo(verification(run, model))
