"""`alignscope attribute`: which words does the score listen to?"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from alignscope.cli import options as shared
from alignscope.cli.terminal import tell

Methods = Annotated[
    list[str] | None,
    typer.Option(help="attention, gradcam, gradient, perturbation; may be given again; all without it"),
]
SoftmaxTokens = Annotated[Literal["spelled", "real"], typer.Option(help="under the softmax of gradient")]
Temperature = Annotated[float, typer.Option(help="of the softmax of gradient")]
Variant = Annotated[Literal["replace", "leave-one-out"], typer.Option(help="of perturbation")]
Replacements = Annotated[int, typer.Option(help="per word, of perturbation", min=1)]
Normalize = Annotated[
    Literal["method", "sum", "none"],
    typer.Option(help="word heats of a caption add up to 1 (sum), stay (none), or as each method does"),
]


def attribute(
    model: shared.Model,
    pairs: shared.Pairs = None,
    images: shared.Images = None,
    regions: shared.Regions = None,
    out: Annotated[Path, typer.Option(help="directory for heats.parquet, other records, report.html")] = Path(
        "runs/attribute"
    ),
    method: Methods = None,
    layers: shared.Layers = "all",
    tokens: SoftmaxTokens = "spelled",
    temperature: Temperature = 1.0,
    variant: Variant = "replace",
    replacements: Replacements = 3,
    normalize: Normalize = "method",
    checked: shared.Checked = 200,
    size: shared.Size = 1000,
    device: shared.Device = "cpu",
    dtype: shared.Dtype = "float32",
    activation: shared.Activation = None,
    tokenizer: shared.Tokenizer = None,
    match_index: shared.MatchIndex = None,
    scoring: shared.Scoring = None,
    calibration: shared.Calibration = True,
    batch_size: shared.BatchSize = 64,
    seed: shared.Seed = 0,
    resume: shared.Resume = False,
    overwrite: shared.Overwrite = False,
    as_json: shared.Json = False,
) -> None:
    """Attribute the score of every caption of --pairs to its words, and check the attributions."""
    from alignscope.attribution.options import Options, layers_of
    from alignscope.cli.machine import say
    from alignscope.cli.progress import bars
    from alignscope.models.zoo import open_model
    from alignscope.reporting.tables import summary_text
    from alignscope.reporting.wording import counted
    from alignscope.studies.public import attribute_to

    options = Options(
        layers_of(layers), tokens, temperature, variant, draws=replacements, normalize=normalize, seed=seed
    )
    how: dict[str, Any] = {"device": device, "dtype": dtype, "activation": activation}
    how |= {"tokenizer": tokenizer, "match_index": match_index, "scoring": scoring}
    with bars() as progress:
        result = attribute_to(
            open_model(model, **how),
            out,
            pairs=pairs,
            images=images,
            regions=regions,
            calibrate=calibration,
            size=size,
            methods=method,
            options=options,
            checked=checked,
            dtype=dtype,
            batch_size=batch_size,
            seed=seed,
            resume=resume,
            overwrite=overwrite,
            command=shlex.join(["alignscope", *sys.argv[1:]]),
            progress=progress,
        )
    if as_json:
        say(
            directory=result.directory.resolve(),
            report=result.report.resolve(),
            measurements=result.measurements,
            problems=result.problems,
        )
        return
    tell(summary_text(result.measurements, result.directory / "measurements.parquet"))
    tell(f"{counted(result.problems, 'problem')}, listed in {result.directory / 'problems.jsonl'}")
    tell(f"report: {result.report.resolve()}")
