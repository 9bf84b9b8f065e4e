"""`alignscope reproduce`: the studies behind the papers, each one command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from alignscope.cli.options import Overwrite, Resume

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def studies() -> None:
    """The papers' studies, on the built-in world."""


@app.command()
def composition(
    study: Annotated[Path, typer.Option(help="TOML of the variants and what they share")] = Path(
        "recipes/studies/composition.toml"
    ),
    out: Annotated[Path, typer.Option(help="directory of the study")] = Path("runs/composition"),
    processes: Annotated[int, typer.Option(help="trainings side by side, of one thread each", min=1)] = 2,
    resume: Resume = False,
    overwrite: Overwrite = False,
) -> None:
    """Paper B: fine-tune with and without its losses, over seeds, and audit each model before and after."""
    from alignscope.cli.progress import bars
    from alignscope.studies.variants import compare_variants, read_study

    with bars() as progress:
        found = compare_variants(
            read_study(study),
            out,
            processes=processes,
            resume=resume,
            overwrite=overwrite,
            command=f"alignscope reproduce composition --study {study}",
            progress=progress,
        )
    typer.echo(f"report: {found.report.resolve()}")
