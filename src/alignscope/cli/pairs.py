"""`alignscope pairs`: audit pairs from a public benchmark's annotations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from alignscope.cli import options as shared
from alignscope.cli.terminal import tell


def pairs(
    benchmark: Annotated[str, typer.Argument(help="one that asks for the right caption, such as sugarcrepe")],
    annotations: Annotated[Path, typer.Option(help="its folder or file of annotations")],
    images: Annotated[Path, typer.Option(help="folder of its images")],
    out: Annotated[Path, typer.Option(help="the pairs.jsonl to write")],
    overwrite: shared.Replace = False,
    as_json: shared.Json = False,
) -> None:
    """Write a benchmark's items as pairs for `alignscope audit --pairs`."""
    from collections import Counter

    from alignscope.cli.machine import say
    from alignscope.data.benchmarks.as_pairs import as_pairs
    from alignscope.data.benchmarks.table import BENCHMARKS
    from alignscope.data.images import ImageFolder
    from alignscope.data.items import FolderItems
    from alignscope.data.pairs import write_pairs
    from alignscope.errors import OutputExists

    if out.exists() and not overwrite:
        raise OutputExists(f"{out} exists: give --overwrite or another --out")
    found = as_pairs(BENCHMARKS[benchmark], annotations)
    source = FolderItems(found.items, ImageFolder(images), problems=found.problems)
    write_pairs(out, source.items)
    if as_json:
        say(file=out.resolve(), pairs=len(source.items), problems=source.problems)
        return
    reasons = Counter(problem.what for problem in source.problems)
    for what, count in reasons.most_common(10):
        tell(f"noted: {count} x {what}", err=True)
    if len(reasons) > 10:
        tell(f"noted in all: {reasons.total()} problems for {len(reasons)} reasons", err=True)
    tell(f"{len(source.items)} pairs: {out.resolve()}")
