"""`alignscope export`: a model in another library's form."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from alignscope.cli import options as shared
from alignscope.cli.terminal import tell


def export(
    model: shared.Model,
    out: Annotated[Path, typer.Option(help="directory to write")],
    form: Annotated[
        Literal["open_clip", "transformers"], typer.Option(help="which library is to read it")
    ] = "open_clip",
    activation: shared.Activation = None,
    tokenizer: shared.Tokenizer = None,
    overwrite: shared.Overwrite = False,
    as_json: shared.Json = False,
) -> None:
    """Write MODEL to --out as open_clip or transformers read it, open the copy and compare scores."""
    from alignscope.cli.machine import say
    from alignscope.models.zoo import open_dual
    from alignscope.studies.export import export as write

    opened = open_dual(model, activation=activation, tokenizer=tokenizer)
    found = write(opened, out, form=form, overwrite=overwrite)
    if as_json:
        say(directory=found.directory.resolve(), difference=found.difference)
        return
    tell(f"{found.directory.resolve()}: scores differ by {found.difference:.1e} at most")
