"""`alignscope evaluate`: a model, or scores made elsewhere, on public benchmarks."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from alignscope.cli import options as shared
from alignscope.cli.terminal import tell

if TYPE_CHECKING:
    from alignscope.studies.benchmarking.suite import Evaluation

Benchmarks = Annotated[
    list[str], typer.Argument(help="names (`alignscope data list` tells them) or the suite `composition`")
]
ModelOption = Annotated[
    str | None, typer.Option(help="a name (tiny-clip), a local directory or file, or a hub id")
]
Annotations = Annotated[
    Path | None,
    typer.Option(help="the benchmark's files; for several benchmarks a folder with one per name"),
]
Images = Annotated[Path | None, typer.Option(help="folder of the images; for several as --annotations")]
Scores = Annotated[
    Path | None, typer.Option(help="scores made elsewhere (JSONL; rank arrays), instead of --model")
]
Probabilities = Annotated[bool, typer.Option(help="--scores are probabilities of a match (VALSE's p_c, p_f)")]
Captions = Annotated[
    Path | None,
    typer.Option(help="captions (COCO JSON, JSONL, TSV) for the baseline of what texts alone tell"),
]
AllowMissing = Annotated[
    bool, typer.Option(help="score what there is; every signature says how much is missing")
]
Hub = Annotated[bool, typer.Option(help="copies on the hub instead of files; downloads them")]
Cache = Annotated[Path | None, typer.Option(help="folder that keeps embeddings for other runs")]


def evaluate(
    benchmarks: Benchmarks,
    model: ModelOption = None,
    annotations: Annotations = None,
    images: Images = None,
    out: Annotated[Path, typer.Option(help="directory for records and report.html")] = Path("runs/evaluate"),
    regions: shared.Regions = None,
    scores: Scores = None,
    probabilities: Probabilities = False,
    captions: Captions = None,
    hub: Hub = False,
    allow_missing: AllowMissing = False,
    cache: Cache = None,
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
    """Evaluate --model, or --scores made elsewhere, on BENCHMARKS by their authors' rules and ours."""
    import alignscope
    from alignscope.cli.progress import bars

    opened = None
    if model is not None:
        how: dict[str, Any] = {"device": device, "dtype": dtype, "activation": activation}
        how |= {"tokenizer": tokenizer, "match_index": match_index, "scoring": scoring}
        opened = alignscope.model(model, **how)
    with bars() as progress:
        found = alignscope.evaluate(
            opened,
            benchmarks,
            annotations,
            images,
            out=out,
            regions=regions,
            calibrate=calibration,
            scores=scores,
            probabilities=probabilities,
            captions=captions,
            hub=hub,
            allow_missing=allow_missing,
            cache=cache,
            dtype=dtype,
            batch_size=batch_size,
            seed=seed,
            resume=resume,
            overwrite=overwrite,
            command=shlex.join(["alignscope", *sys.argv[1:]]),
            progress=progress,
        )
    if os.environ.get("RANK", "0") == "0":
        _tell_machines(found) if as_json else _tell(found)


def _tell(found: Evaluation) -> None:
    """The numbers of each benchmark, and where everything lies."""
    from alignscope.reporting.tables import evaluation_text
    from alignscope.reporting.wording import counted

    for name, result in found.runs.items():
        tell(f"{name}\n{evaluation_text(result.measurements, result.directory)}")
        tell(f"{counted(result.problems, 'problem')}, listed in {result.directory / 'problems.jsonl'}")
    tell(f"report: {found.report.resolve()}")


def _tell_machines(found: Evaluation) -> None:
    from alignscope.cli.machine import say

    runs = {
        name: {
            "directory": result.directory.resolve(),
            "measurements": result.measurements,
            "problems": result.problems,
        }
        for name, result in found.runs.items()
    }
    say(directory=found.directory.resolve(), report=found.report.resolve(), runs=runs)
