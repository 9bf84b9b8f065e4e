"""`alignscope train`: a model from a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def train(
    recipe: Annotated[str, typer.Argument(help="a TOML file, or the name of one in ./recipes")],
    out: Annotated[Path | None, typer.Option(help="directory of the run; default runs/NAME")] = None,
    resume: Annotated[bool, typer.Option(help="go on from the last checkpoint in --out")] = False,
    overwrite: Annotated[bool, typer.Option(help="delete the run in --out first")] = False,
) -> None:
    """Train the model of RECIPE; the result in OUT/model loads with transformers and `alignscope audit`."""
    from alignscope.cli.progress import bars
    from alignscope.studies.training import train_recipe

    with bars() as progress:
        directory = train_recipe(recipe, out, resume=resume, overwrite=overwrite, progress=progress)
    typer.echo(f"model: {directory.resolve()}")
