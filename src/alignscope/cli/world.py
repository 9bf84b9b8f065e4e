"""`alignscope world`: the built-in world as files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from alignscope.cli import options as shared
from alignscope.cli.terminal import tell

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def world() -> None:
    """The built-in world."""


@app.command()
def export(
    directory: Annotated[Path, typer.Argument(help="where to write")],
    split: Annotated[str, typer.Option(help="train, val or test")] = "test",
    size: Annotated[int, typer.Option(help="number of scenes", min=1, max=shared.MOST_SCENES)] = 500,
    seed: Annotated[int, typer.Option(help="of the scenes")] = 0,
    width: Annotated[
        int, typer.Option(help="of region features; tiny-uniter and its kin read 256", min=1)
    ] = 2048,
    overwrite: Annotated[bool, typer.Option(help="write into a non-empty directory")] = False,
    as_json: shared.Json = False,
) -> None:
    """Write images, COCO-style JSON, audit pairs and region TSV to DIRECTORY."""
    from alignscope.cli.machine import say
    from alignscope.data.world.export import export as write
    from alignscope.data.world.world import World

    write(World(split, size=size, seed=seed), directory, overwrite=overwrite, region_width=width)
    if as_json:
        say(directory=directory.resolve(), scenes=size)
        return
    tell(f"{size} scenes: {directory.resolve()}")
    tell(f"alignscope audit MODEL --pairs {directory / 'pairs.jsonl'} --images {directory / 'images'}")
    tell(
        f"of a model that takes regions {width} wide also: --regions {directory / 'regions' / 'regions.tsv'}"
    )
