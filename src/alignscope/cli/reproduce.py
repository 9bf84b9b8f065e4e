"""`alignscope reproduce`: the studies behind the papers, each one command."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from alignscope.cli.options import Device, Json, Overwrite, Resume
from alignscope.cli.terminal import tell

if TYPE_CHECKING:
    from alignscope.studies.reproducing.everything import Kind, Plan

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
Processes = Annotated[int, typer.Option(help="jobs side by side, of one thread each", min=1)]
Quick = Annotated[bool, typer.Option("--quick", help="minutes instead of hours: few seeds, so no claims")]
Config = Annotated[
    Path | None,
    typer.Option(help="your folders and checkpoints, as recipes/studies/real.toml names them: real data"),
]
Study = Annotated[
    Path | None,
    typer.Option(help="TOML of the study, a file or a name in recipes/studies, in place of its own"),
]
Out = Annotated[
    Path | None,
    typer.Option(
        help="directory; runs/NAME, runs/NAME-quick or runs/NAME-real without it (all: NAME papers)"
    ),
]
SAYS = {
    "captions": "Paper A: train captioners with each model's score as reward, and see what captions each model loves.",
    "composition": "Paper B: fine-tune with and without its losses, over seeds, and measure each model before and after.",
    "scenes": "Paper C: a captioner of objects learns scenes; see what changes in its attention, captions and states.",
}


@app.callback()
def studies() -> None:
    """The papers' studies, on the built-in world, or with --config on your data."""


def _command(name: str) -> None:
    """One paper's study as a command."""

    @app.command(name, help=SAYS[name])
    def run(
        study: Study = None,
        config: Config = None,
        quick: Quick = False,
        out: Out = None,
        processes: Processes = 2,
        device: Device = "cpu",
        resume: Resume = False,
        overwrite: Overwrite = False,
        as_json: Json = False,
    ) -> None:
        from alignscope.cli.machine import say
        from alignscope.cli.progress import bars
        from alignscope.errors import BadInput
        from alignscope.studies.reproducing.everything import VERBS

        kind = _kind(quick, config)
        (plan,) = _plans([name], kind, config, study)
        if plan.missing:
            raise BadInput("\n  ".join([f"{name} cannot run, it wants:", *plan.missing]))
        with bars() as progress:
            found = VERBS[name].run(
                plan.study,
                out or Path("runs") / _named(name, kind),
                processes=processes,
                device=device,
                resume=resume,
                overwrite=overwrite,
                command=_told(name, quick, config, study),
                progress=progress,
            )
        findings = VERBS[name].findings(found.directory)
        if as_json:
            say(
                directory=found.directory.resolve(),
                report=found.report.resolve(),
                findings=findings,
                effects=found.effects,
                left_out=plan.left_out,
            )
            return
        for sentence in findings:
            tell(sentence)
        if quick:
            tell("a quick run of few seeds: no claims")
        tell(f"report: {found.report.resolve()}")


for _name in SAYS:
    _command(_name)


@app.command(name="all")
def everything(
    config: Config = None,
    quick: Annotated[
        bool, typer.Option("--quick/--full", help="minutes and no claims, or all seeds, which takes hours")
    ] = False,
    out: Out = None,
    processes: Processes = 2,
    device: Device = "cpu",
    resume: Resume = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Papers A, B and C one after another, and one page of what was found; one that fails does not stop the rest."""
    from alignscope.cli.machine import say
    from alignscope.cli.progress import bars
    from alignscope.reporting.everything import summary_of
    from alignscope.studies.reproducing.everything import VERBS, reproduce

    kind = _kind(quick, config)
    place, plans = out or Path("runs") / _named("papers", kind), _plans(list(VERBS), kind, config)
    can_run = not all(plan.missing for plan in plans)  # else the error says why of each
    for plan in plans if can_run else ():
        for line in plan.missing:
            tell(f"{plan.name} cannot run, it wants {line}", err=True)
    with bars() as progress:
        told = reproduce(
            plans,
            place,
            processes=processes,
            device=device,
            resume=resume,
            overwrite=overwrite,
            command=_told("all", quick, config),
            progress=progress,
        )
    report = (place / "index.html").resolve()
    if as_json:
        say(directory=place.resolve(), report=report, studies=told)
    for line in () if as_json else (*summary_of(place), f"report: {report}"):
        tell(line)
    if failed := [one.name for one in told if one.problem]:
        tell(f"failed: {', '.join(failed)}; why is on the page, --resume goes on with them", err=True)
        raise typer.Exit(1)


def _kind(quick: bool, config: Path | None) -> Kind:
    """Which of a paper's studies is asked for."""
    from alignscope.errors import BadInput

    if quick and config is not None:
        raise BadInput(
            f"got --quick and --config {config}: the quick studies are of the world, give one of them"
        )
    return "quick" if quick else "real" if config is not None else "world"


def _plans(
    names: Sequence[str], kind: Kind, config: Path | None, study: Path | None = None
) -> tuple[Plan, ...]:
    """The studies as they can be made; what is left out of them is said."""
    from alignscope.errors import BadInput
    from alignscope.studies.reproducing.everything import plans_of, toml_of
    from alignscope.studies.reproducing.named import read_named

    if study is not None and kind == "quick":
        raise BadInput(f"got --study {study} and --quick, which is a study of its own: give one of them")
    named = None if config is None else read_named(config)
    plans = plans_of({name: study or toml_of(name, kind) for name in names}, named)
    for line in (f"{plan.name} leaves out {line}" for plan in plans for line in plan.left_out):
        tell(line, err=True)
    return plans


def _named(name: str, kind: Kind) -> str:
    return name if kind == "world" else f"{name}-{kind}"


def _told(name: str, quick: bool, config: Path | None, study: Path | None = None) -> str:
    """The command as it stands on pages."""
    given = {"--study": study, "--config": config}
    words = [str(word) for option, path in given.items() if path is not None for word in (option, path)]
    return shlex.join(["alignscope", "reproduce", name, *words, *["--quick"] * quick])
