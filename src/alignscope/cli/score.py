"""`alignscope score`: how well does each caption of a web-scale data set fit its image?"""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from alignscope.cli import options as shared
from alignscope.cli.terminal import tell

Shards = Annotated[
    list[str],
    typer.Option(
        help="webdataset tar files: paths or patterns such as 'cc12m-{00000..01242}.tar'; may be given again"
    ),
]
Captions = Annotated[str, typer.Option(help="ending of the caption's member: txt, or json with a `caption`")]
Unscored = Annotated[
    float,
    typer.Option(help="share of samples that may go without a score before the run stops", min=0, max=1),
]
Part = Annotated[
    str | None,
    typer.Option(
        metavar="K/N",
        help="the K-th of N parts of the shards; torchrun's processes take theirs by themselves",
    ),
]
Ray = Annotated[
    str | None,
    typer.Option(metavar="ADDRESS", help="score on the Ray cluster of this address, or on a `local` one"),
]
Workers = Annotated[int, typer.Option(help="of --ray, each with the model and one thread", min=1)]


def score(
    model: shared.Model,
    shards: Shards,
    captions: Captions = "txt",
    out: Annotated[Path, typer.Option(help="directory for scores/, numbers and problems")] = Path(
        "runs/score"
    ),
    unscored: Unscored = 0.01,
    part: Part = None,
    ray: Ray = None,
    workers: Workers = 1,
    device: shared.Device = "cpu",
    dtype: shared.Dtype = "float32",
    activation: shared.Activation = None,
    tokenizer: shared.Tokenizer = None,
    match_index: shared.MatchIndex = None,
    scoring: shared.Scoring = None,
    batch_size: shared.BatchSize = 64,
    resume: shared.Resume = False,
    overwrite: shared.Overwrite = False,
    as_json: shared.Json = False,
) -> None:
    """Score every caption of --shards with its image under MODEL, as CLIPScore filters do, shard by shard.

    Each shard becomes OUT/scores/NAME.parquet (key, caption_sha, score, cosine, problem, note) and NAME.json, its
    signature. A finished shard is not scored again. Several processes share the shards: start the same command
    under `torchrun --nproc-per-node 8 --no-python`, or with --part 1/8 to 8/8, or with --ray.
    """
    import alignscope
    from alignscope.cli.machine import say
    from alignscope.cli.progress import bars
    from alignscope.reporting.tables import text_table
    from alignscope.reporting.wording import counted

    how: dict[str, Any] = {"activation": activation, "tokenizer": tokenizer, "match_index": match_index}
    how |= {"scoring": scoring, "device": device, "dtype": dtype, "batch_size": batch_size}
    with bars() as progress:
        result = alignscope.score(
            model,
            shards,
            out,
            captions=captions,
            unscored=unscored,
            part=_part(part),
            ray=ray,
            workers=workers,
            resume=resume,
            overwrite=overwrite,
            command=shlex.join(["alignscope", *sys.argv[1:]]),
            progress=progress,
            **how,
        )
    directory = result.directory.resolve()
    if as_json:
        say(
            directory=directory,
            shards=result.shards,
            waiting=result.waiting,
            measurements=result.measurements,
            problems=result.problems,
        )
        return
    if result.waiting:
        tell(
            f"this part is done; of {result.shards} shards, {result.waiting} wait for other parts: {directory}"
        )
        return
    tell(text_table(result.measurements))
    tell(f"{counted(result.problems, 'problem')}, listed in {directory / 'problems.jsonl'}")
    tell(f"scores of {counted(result.shards, 'shard')}: {directory / 'scores'}")


def _part(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if found is None:
        raise typer.BadParameter(f"got {text!r}, wanted K/N such as 2/8", param_hint="--part")
    return int(found[1]), int(found[2])
