"""`alignscope attribute`: which words does the score listen to?"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer


def attribute(
    model: Annotated[str, typer.Argument(help="a name (tiny-clip), a local directory or a hub id")],
    pairs: Annotated[
        Path | None, typer.Option(help="pairs.jsonl with image and caption; without it: the world")
    ] = None,
    images: Annotated[Path | None, typer.Option(help="folder of the images that --pairs names")] = None,
    out: Annotated[Path, typer.Option(help="directory for heats.parquet, other records, report.html")] = Path(
        "runs/attribute"
    ),
    method: Annotated[
        list[str] | None,
        typer.Option(help="attention, gradcam, gradient, perturbation; may be given again; all without it"),
    ] = None,
    layers: Annotated[str, typer.Option(help="of attention and gradcam: all, last or FIRST:STOP")] = "all",
    tokens: Annotated[
        Literal["spelled", "real"], typer.Option(help="tokens under the softmax of gradient")
    ] = "spelled",
    temperature: Annotated[float, typer.Option(help="of the softmax of gradient")] = 1.0,
    variant: Annotated[Literal["replace", "leave-one-out"], typer.Option(help="of perturbation")] = "replace",
    replacements: Annotated[int, typer.Option(help="per word, of perturbation", min=1)] = 3,
    normalize: Annotated[
        Literal["method", "sum", "none"],
        typer.Option(help="heats of a caption add up to 1 (sum), stay (none), or as each method does"),
    ] = "method",
    checked: Annotated[int, typer.Option(help="captions, about, on which maps are checked", min=0)] = 200,
    size: Annotated[int, typer.Option(help="scenes of the world's test split", min=2)] = 1000,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...")] = "cpu",
    dtype: Annotated[
        str, typer.Option(help="float32, bfloat16 or float16, of the model's arithmetic")
    ] = "float32",
    batch_size: Annotated[int, typer.Option(help="images or captions at a time", min=1)] = 64,
    seed: Annotated[int, typer.Option(help="of replacements, random orders and intervals")] = 0,
    resume: Annotated[bool, typer.Option(help="go on with the same run in --out")] = False,
    overwrite: Annotated[bool, typer.Option(help="delete the run in --out first")] = False,
) -> None:
    """Attribute the score of every caption of --pairs to its words, and check the attributions."""
    from alignscope.attribution.options import Options, layers_of
    from alignscope.cli.progress import bars
    from alignscope.reporting.tables import text_table
    from alignscope.studies.public import attribute_to

    options = Options(
        layers=layers_of(layers),
        tokens=tokens,
        temperature=temperature,
        variant=variant,
        draws=replacements,
        normalize=normalize,
        seed=seed,
    )
    with bars() as progress:
        result = attribute_to(
            model,
            out,
            pairs=pairs,
            images=images,
            size=size,
            methods=method,
            options=options,
            checked=checked,
            device=device,
            dtype=dtype,
            batch_size=batch_size,
            seed=seed,
            resume=resume,
            overwrite=overwrite,
            command=shlex.join(["alignscope", *sys.argv[1:]]),
            progress=progress,
        )
    typer.echo(text_table(result.measurements))
    typer.echo(f"{result.problems} problems, listed in {result.directory / 'problems.jsonl'}")
    typer.echo(f"report: {result.report.resolve()}")
