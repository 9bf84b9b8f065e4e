"""`alignscope inspect`: one image and caption under one or several models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from alignscope.cli import options as shared
from alignscope.cli.terminal import tell


def inspect(
    models: Annotated[list[str], typer.Argument(help="names, local directories or hub ids; up to five")],
    image: Annotated[Path, typer.Option(help="an image file")],
    caption: Annotated[str, typer.Option(help="what to say of it")],
    regions: shared.Regions = None,
    out: Annotated[Path, typer.Option(help="directory for records and report.html")] = Path("runs/inspect"),
    layers: shared.Layers = "all",
    device: shared.Device = "cpu",
    dtype: shared.Dtype = "float32",
    activation: shared.Activation = None,
    tokenizer: shared.Tokenizer = None,
    match_index: shared.MatchIndex = None,
    scoring: shared.Scoring = None,
    overwrite: shared.Overwrite = False,
    as_json: shared.Json = False,
) -> None:
    """Score one --image with one --caption, word heats and image maps of every model side by side.

    --activation, --tokenizer, --match-index and --scoring go to every model that takes them.
    """
    from alignscope.attribution.options import Options, layers_of
    from alignscope.cli.machine import say
    from alignscope.models.zoo import open_models
    from alignscope.studies.public import inspect as run

    choices = {
        "activation": activation,
        "tokenizer": tokenizer,
        "match_index": match_index,
        "scoring": scoring,
    }
    report = run(
        open_models(models, device=device, dtype=dtype, **choices),
        image,
        caption,
        out,
        regions=regions,
        options=Options(layers=layers_of(layers), variant="leave-one-out"),
        dtype=dtype,
        overwrite=overwrite,
    )
    if as_json:
        say(directory=out.resolve(), report=report.resolve())
        return
    tell(f"report: {report.resolve()}")
