"""`alignscope audit`: where does a model stop hearing?"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from alignscope.cli import options as shared
from alignscope.cli.terminal import tell


def audit(
    model: shared.Model,
    pairs: shared.Pairs = None,
    images: shared.Images = None,
    regions: shared.Regions = None,
    out: Annotated[Path, typer.Option(help="directory for run.json, records and report.html")] = Path(
        "runs/audit"
    ),
    size: shared.Size = 1000,
    layers: shared.Layers = "all",
    checked: shared.Checked = 200,
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
    """Audit MODEL: accuracy by kind of foil, word attribution by class, sensitivity, retrieval."""
    import alignscope
    from alignscope.attribution.options import Options, layers_of
    from alignscope.cli.machine import say
    from alignscope.cli.progress import bars
    from alignscope.reporting.tables import summary_text
    from alignscope.reporting.wording import counted

    how: dict[str, Any] = {"device": device, "dtype": dtype, "activation": activation}
    how |= {"tokenizer": tokenizer, "match_index": match_index, "scoring": scoring}
    with bars() as progress:
        result = alignscope.audit(
            alignscope.model(model, **how),
            pairs=pairs,
            images=images,
            regions=regions,
            calibrate=calibration,
            out=out,
            size=size,
            options=Options(layers=layers_of(layers), seed=seed),
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
            problems=len(result.problems),
        )
        return
    tell(summary_text(result.measurements, result.directory / "measurements.parquet"))
    tell(f"{counted(len(result.problems), 'problem')}, listed in {result.directory / 'problems.jsonl'}")
    tell(f"report: {result.report.resolve()}")
