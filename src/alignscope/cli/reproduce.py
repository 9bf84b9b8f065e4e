"""`alignscope reproduce`: the studies behind the papers, each one command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from alignscope.cli.options import Device, Overwrite, Resume

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
Processes = Annotated[int, typer.Option(help="jobs side by side, of one thread each", min=1)]
Quick = Annotated[bool, typer.Option("--quick", help="minutes instead of hours: few seeds, so no claims")]
Out = Annotated[
    Path | None, typer.Option(help="directory of the study; runs/NAME or runs/NAME-quick without it")
]


def _chosen(name: str, study: Path | None, out: Path | None, is_quick: bool) -> tuple[Path, Path, str]:
    """The study's TOML, where it goes, and the command that says so."""
    from alignscope.errors import BadInput
    from alignscope.studies.everything import toml_of

    if study is not None and is_quick:
        raise BadInput(f"got --study {study} and --quick, which is a study of its own: give one of them")
    told = "--quick" if is_quick else f"--study {study or toml_of(name)}"
    place = out or Path("runs") / (f"{name}-quick" if is_quick else name)
    return study or toml_of(name, quick=is_quick), place, f"alignscope reproduce {name} {told}"


@app.callback()
def studies() -> None:
    """The papers' studies, on the built-in world."""


@app.command()
def composition(
    study: Annotated[
        Path | None,
        typer.Option(
            help="TOML of the variants and what they share; recipes/studies/composition.toml without it"
        ),
    ] = None,
    quick: Quick = False,
    out: Out = None,
    processes: Processes = 2,
    device: Device = "cpu",
    resume: Resume = False,
    overwrite: Overwrite = False,
) -> None:
    """Paper B: fine-tune with and without its losses, over seeds, and audit each model before and after."""
    from alignscope.cli.progress import bars
    from alignscope.reporting.variants import findings_of
    from alignscope.studies.variants import compare_variants, read_study

    toml, place, command = _chosen("composition", study, out, quick)
    with bars() as progress:
        found = compare_variants(
            read_study(toml),
            place,
            processes=processes,
            device=device,
            resume=resume,
            overwrite=overwrite,
            command=command,
            progress=progress,
        )
    for sentence in findings_of(found.directory):
        typer.echo(sentence)
    if quick:
        typer.echo("a quick run of few seeds: no claims")
    typer.echo(f"report: {found.report.resolve()}")


@app.command()
def captions(
    study: Annotated[
        Path | None,
        typer.Option(
            help="TOML of captioners, scorers and rewards; recipes/studies/captions.toml without it"
        ),
    ] = None,
    quick: Quick = False,
    out: Out = None,
    processes: Processes = 2,
    device: Device = "cpu",
    resume: Resume = False,
    overwrite: Overwrite = False,
) -> None:
    """Paper A: train captioners with each model's score as reward, and see what captions each model loves."""
    from alignscope.cli.progress import bars
    from alignscope.reporting.guided import findings_of
    from alignscope.studies.guided import guide
    from alignscope.studies.guided_plan import read_guided

    toml, place, command = _chosen("captions", study, out, quick)
    with bars() as progress:
        found = guide(
            read_guided(toml),
            place,
            processes=processes,
            device=device,
            resume=resume,
            overwrite=overwrite,
            command=command,
            progress=progress,
        )
    for sentence in findings_of(found.directory):
        typer.echo(sentence)
    if quick:
        typer.echo("a quick run of few seeds: no claims")
    typer.echo(f"report: {found.report.resolve()}")


@app.command()
def scenes(
    study: Annotated[
        Path | None,
        typer.Option(help="TOML of captioners, images and analyses; recipes/studies/scenes.toml without it"),
    ] = None,
    quick: Quick = False,
    out: Out = None,
    processes: Processes = 2,
    device: Device = "cpu",
    resume: Resume = False,
    overwrite: Overwrite = False,
) -> None:
    """Paper C: a captioner of objects learns scenes; see what changes in its attention, captions and states."""
    from alignscope.cli.progress import bars
    from alignscope.reporting.scenes import findings_of
    from alignscope.studies.scene_captioners import captioners_of_scenes, read_scenes

    toml, place, command = _chosen("scenes", study, out, quick)
    with bars() as progress:
        found = captioners_of_scenes(
            read_scenes(toml),
            place,
            processes=processes,
            device=device,
            resume=resume,
            overwrite=overwrite,
            command=command,
            progress=progress,
        )
    for sentence in findings_of(found.directory):
        typer.echo(sentence)
    if quick:
        typer.echo("a quick run of few seeds: no claims")
    typer.echo(f"report: {found.report.resolve()}")


@app.command(name="all")
def everything(
    quick: Annotated[
        bool, typer.Option("--quick/--full", help="minutes and no claims, or all seeds, which takes hours")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="directory; runs/papers or runs/papers-quick")] = None,
    processes: Processes = 2,
    device: Device = "cpu",
    resume: Resume = False,
    overwrite: Overwrite = False,
) -> None:
    """Papers A, B and C one after another, and one page of what was found; one that fails does not stop the rest."""
    from alignscope.cli.progress import bars
    from alignscope.reporting.everything import summary_of
    from alignscope.studies.everything import VERBS, plans_of, reproduce, toml_of

    place = out or Path("runs/papers-quick" if quick else "runs/papers")
    plans = plans_of({name: toml_of(name, quick=quick) for name in VERBS})
    for line in (f"{plan.name} cannot run, it wants {line}" for plan in plans for line in plan.missing):
        typer.echo(line, err=True)
    with bars() as progress:
        told = reproduce(
            plans,
            place,
            processes=processes,
            device=device,
            resume=resume,
            overwrite=overwrite,
            command=f"alignscope reproduce all {'--quick' if quick else '--full'}",
            progress=progress,
        )
    for line in summary_of(place):
        typer.echo(line)
    typer.echo(f"report: {(place / 'index.html').resolve()}")
    if failed := [one.name for one in told if one.problem]:
        typer.echo(f"failed: {', '.join(failed)}; why is on the page, --resume goes on with them", err=True)
        raise typer.Exit(1)
