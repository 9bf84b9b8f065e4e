"""`alignscope reproduce`: the studies behind the papers, each one command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from alignscope.cli.options import Device, Overwrite, Resume

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


@app.command()
def captions(
    study: Annotated[Path, typer.Option(help="TOML of captioners, scorers and rewards")] = Path(
        "recipes/studies/captions.toml"
    ),
    out: Annotated[Path, typer.Option(help="directory of the study")] = Path("runs/captions"),
    processes: Annotated[int, typer.Option(help="jobs side by side, of one thread each", min=1)] = 2,
    device: Device = "cpu",
    resume: Resume = False,
    overwrite: Overwrite = False,
) -> None:
    """Paper A: train captioners with each model's score as reward, and see what captions each model loves."""
    from alignscope.cli.progress import bars
    from alignscope.reporting.guided import findings_of
    from alignscope.studies.guided import guide
    from alignscope.studies.guided_plan import read_guided

    with bars() as progress:
        found = guide(
            read_guided(study),
            out,
            processes=processes,
            device=device,
            resume=resume,
            overwrite=overwrite,
            command=f"alignscope reproduce captions --study {study}",
            progress=progress,
        )
    for sentence in findings_of(found.directory):
        typer.echo(sentence)
    typer.echo(f"report: {found.report.resolve()}")


@app.command()
def scenes(
    study: Annotated[Path, typer.Option(help="TOML of captioners, images and analyses")] = Path(
        "recipes/studies/scenes.toml"
    ),
    out: Annotated[Path, typer.Option(help="directory of the study")] = Path("runs/scenes"),
    processes: Annotated[int, typer.Option(help="jobs side by side, of one thread each", min=1)] = 2,
    device: Device = "cpu",
    resume: Resume = False,
    overwrite: Overwrite = False,
) -> None:
    """Paper C: a captioner of objects learns scenes; see what changes in its attention, captions and states."""
    from alignscope.cli.progress import bars
    from alignscope.reporting.scenes import findings_of
    from alignscope.studies.scene_captioners import captioners_of_scenes, read_scenes

    with bars() as progress:
        found = captioners_of_scenes(
            read_scenes(study),
            out,
            processes=processes,
            device=device,
            resume=resume,
            overwrite=overwrite,
            command=f"alignscope reproduce scenes --study {study}",
            progress=progress,
        )
    for sentence in findings_of(found.directory):
        typer.echo(sentence)
    typer.echo(f"report: {found.report.resolve()}")
