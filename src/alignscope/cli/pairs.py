"""`alignscope pairs`: audit pairs from a public benchmark's annotations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def pairs(
    annotations: Annotated[Path, typer.Argument(help="SugarCrepe's folder of JSON files, or one of them")],
    images: Annotated[Path, typer.Option(help="folder of the COCO val2017 images")],
    out: Annotated[Path, typer.Option(help="the pairs.jsonl to write")],
    overwrite: Annotated[bool, typer.Option(help="replace an existing file")] = False,
) -> None:
    """Write SugarCrepe records as pairs for `alignscope audit --pairs`."""
    from collections import Counter

    from alignscope.data.benchmarks.sugarcrepe import SugarCrepe
    from alignscope.data.pairs import write_pairs
    from alignscope.errors import OutputExists

    if out.exists() and not overwrite:
        raise OutputExists(f"{out} exists: give --overwrite or another --out")
    source = SugarCrepe(annotations, images)
    write_pairs(out, source.items)
    reasons = Counter(problem.what for problem in source.problems)
    for what, count in reasons.most_common(10):
        typer.echo(f"left out: {count} x {what}", err=True)
    if len(reasons) > 10:
        typer.echo(f"left out in all: {reasons.total()} records for {len(reasons)} reasons", err=True)
    typer.echo(f"{len(source.items)} pairs: {out.resolve()}")
