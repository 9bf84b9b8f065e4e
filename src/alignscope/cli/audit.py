"""`alignscope audit`: where does a model stop hearing?"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer


def audit(
    model: Annotated[str, typer.Argument(help="a name (tiny-clip), a local directory or a hub id")],
    pairs: Annotated[
        Path | None, typer.Option(help="pairs.jsonl with image, caption, foils; without it: the world")
    ] = None,
    images: Annotated[Path | None, typer.Option(help="folder of the images that --pairs names")] = None,
    out: Annotated[Path, typer.Option(help="directory for run.json, records and report.html")] = Path(
        "runs/audit"
    ),
    size: Annotated[int, typer.Option(help="scenes of the world's test split", min=2)] = 1000,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...")] = "cpu",
    dtype: Annotated[
        str, typer.Option(help="float32, bfloat16 or float16, of the model's arithmetic")
    ] = "float32",
    batch_size: Annotated[int, typer.Option(help="images or captions at a time", min=1)] = 64,
    seed: Annotated[int, typer.Option(help="of edits and intervals")] = 0,
    layers: Annotated[str, typer.Option(help="of attention and gradcam: all, last or FIRST:STOP")] = "all",
    checked: Annotated[
        int, typer.Option(help="captions, about, on which word attributions are checked", min=0)
    ] = 200,
    resume: Annotated[bool, typer.Option(help="go on with the same run in --out")] = False,
    overwrite: Annotated[bool, typer.Option(help="delete the run in --out first")] = False,
) -> None:
    """Audit MODEL: accuracy by kind of foil, word attribution by class, sensitivity, retrieval."""
    import alignscope
    from alignscope.attribution.options import Options, layers_of
    from alignscope.cli.progress import bars
    from alignscope.reporting.tables import text_table

    with bars() as progress:
        result = alignscope.audit(
            model,
            pairs=pairs,
            images=images,
            out=out,
            size=size,
            device=device,
            dtype=dtype,
            batch_size=batch_size,
            seed=seed,
            options=Options(layers=layers_of(layers), seed=seed),
            checked=checked,
            resume=resume,
            overwrite=overwrite,
            command=shlex.join(["alignscope", *sys.argv[1:]]),
            progress=progress,
        )
    typer.echo(text_table(result.measurements))
    typer.echo(f"{len(result.problems)} problems, listed in {result.directory / 'problems.jsonl'}")
    typer.echo(f"report: {result.report.resolve()}")
