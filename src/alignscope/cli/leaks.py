"""`alignscope leaks`: what of a benchmark was in the training data?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from alignscope.cli import options as shared
from alignscope.cli.terminal import tell


def leaks(
    benchmark: Annotated[str, typer.Argument(help="a name, such as sugarcrepe")],
    annotations: Annotated[Path, typer.Option(help="the benchmark's files, as its authors publish them")],
    training: Annotated[
        list[Path],
        typer.Option(help="JSONL, JSON, TSV, CSV or text with images, captions or both; may be given again"),
    ],
    out: Annotated[Path, typer.Option(help="the JSONL to write, a line per item")],
    run: Annotated[
        Path | None, typer.Option(help="the --out of an evaluation, to split its accuracy")
    ] = None,
    seed: shared.Seed = 0,
    overwrite: shared.Replace = False,
    as_json: shared.Json = False,
) -> None:
    """Find items of BENCHMARK whose image or captions are in the files of --training."""
    from alignscope.cli.machine import say
    from alignscope.reporting.tables import text_table
    from alignscope.studies.benchmarking.leakage import find_leaks, numbers_beside

    found = find_leaks(benchmark, annotations, training, out, run=run, seed=seed, overwrite=overwrite)
    seen = found.training
    if as_json:
        say(
            file=out.resolve(),
            items=len(found.items),
            unread=found.unread,
            training={
                "images": len(seen.images),
                "captions": len(seen.captions),
                "rows": seen.rows,
                "empty": seen.empty,
            },
            measurements=found.measurements,
        )
        return
    whole = [m for m in found.measurements if " | " not in m.group]
    tell(text_table(whole))
    tell(f"{len(found.measurements) - len(whole)} more, per subset: {numbers_beside(out).resolve()}")
    tell(
        f"training: {len(seen.images)} images and {len(seen.captions)} captions in {seen.rows} rows, "
        f"{seen.empty} rows without either"
    )
    if found.unread:
        tell(f"{found.unread} items of {benchmark} could not be read and are not compared", err=True)
    tell(f"{len(found.items)} items: {out.resolve()}")
