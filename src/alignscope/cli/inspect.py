"""`alignscope inspect`: one image and caption under one or several models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def inspect(
    models: Annotated[list[str], typer.Argument(help="names, local directories or hub ids; up to five")],
    image: Annotated[Path, typer.Option(help="an image file")],
    caption: Annotated[str, typer.Option(help="what to say of it")],
    out: Annotated[Path, typer.Option(help="directory for records and report.html")] = Path("runs/inspect"),
    layers: Annotated[str, typer.Option(help="of attention and gradcam: all, last or FIRST:STOP")] = "all",
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...")] = "cpu",
    dtype: Annotated[
        str, typer.Option(help="float32, bfloat16 or float16, of the model's arithmetic")
    ] = "float32",
    overwrite: Annotated[bool, typer.Option(help="delete the run in --out first")] = False,
) -> None:
    """Score one --image with one --caption, word heats and image maps of every model side by side."""
    from alignscope.attribution.options import Options, layers_of
    from alignscope.studies.public import inspect as run

    report = run(
        models,
        image,
        caption,
        out,
        options=Options(layers=layers_of(layers), variant="leave-one-out"),
        device=device,
        dtype=dtype,
        overwrite=overwrite,
    )
    typer.echo(f"report: {report.resolve()}")
