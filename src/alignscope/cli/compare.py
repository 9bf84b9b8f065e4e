"""`alignscope compare`: two runs on the same items."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from alignscope.cli import options as shared
from alignscope.cli.terminal import tell


def compare(
    first: Annotated[Path, typer.Argument(help="the --out of an evaluate or audit: A")],
    second: Annotated[Path, typer.Argument(help="the --out of another: B")],
    out: Annotated[
        Path | None, typer.Option(help="directory for comparison.parquet, measurements.parquet")
    ] = None,
    draws: Annotated[int, typer.Option(help="of images, for the intervals", min=1)] = 2000,
    seed: Annotated[int, typer.Option(help="of these draws", min=0)] = 0,
    overwrite: Annotated[bool, typer.Option(help="replace the files in --out")] = False,
    as_json: shared.Json = False,
) -> None:
    """Compare SECOND with FIRST: accuracy differences, intervals, McNemar's test with Holm's correction."""
    from alignscope.cli.machine import say
    from alignscope.studies.benchmarking.comparison import compare as run

    found = run(first, second, out=out, overwrite=overwrite, draws=draws, seed=seed)
    say(**vars(found)) if as_json else tell(str(found))
