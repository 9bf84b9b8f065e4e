"""The command line: one file per verb; a command parses, calls one function and writes."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

import alignscope
from alignscope.cli.attribute import attribute
from alignscope.cli.audit import audit
from alignscope.cli.calibrate import calibrate
from alignscope.cli.compare import compare
from alignscope.cli.data import app as data
from alignscope.cli.doctor import doctor
from alignscope.cli.evaluate import evaluate
from alignscope.cli.explore import explore
from alignscope.cli.export import export
from alignscope.cli.inspect import inspect
from alignscope.cli.leaks import leaks
from alignscope.cli.list import app as listing
from alignscope.cli.pairs import pairs
from alignscope.cli.probe import app as probe
from alignscope.cli.probe_ablation import ablation, scenes
from alignscope.cli.probe_attention import attention, diagnosticity
from alignscope.cli.regions import app as regions
from alignscope.cli.report import report
from alignscope.cli.reproduce import app as reproduce
from alignscope.cli.score import score
from alignscope.cli.terminal import tell
from alignscope.cli.train import train
from alignscope.cli.verify import verify
from alignscope.cli.world import app as world
from alignscope.errors import AlignscopeError

INTERRUPTED = 130  # 128 and the number of SIGINT, as shells count
app = typer.Typer(
    name="alignscope",
    help="Does a vision-language model hear whole meaning, or only nouns?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _say_version(is_wanted: bool) -> bool:
    if is_wanted:
        tell(f"alignscope {alignscope.__version__}")
        raise typer.Exit
    return is_wanted


@app.callback()
def program(
    version: Annotated[
        bool, typer.Option("--version", help="say it and end", callback=_say_version, is_eager=True)
    ] = False,
) -> None:
    """What all verbs have."""


app.command()(audit)
app.command()(attribute)
app.command()(inspect)
app.command()(explore)
app.command()(calibrate)
app.command()(evaluate)
app.command()(score)
app.command()(train)
app.command()(export)
app.command()(pairs)
app.command()(leaks)
app.command()(compare)
app.command()(verify)
app.command()(report)
app.command()(doctor)
probe.command()(attention)
probe.command()(diagnosticity)
probe.command()(ablation)
probe.command()(scenes)
app.add_typer(
    probe,
    name="probe",
    help="What captions are like, what in them a model loves, and where and how captioners see objects and scenes.",
)
app.add_typer(reproduce, name="reproduce", help="The studies of the papers, each one command.")
app.add_typer(listing, name="list", help="What there is to choose from.")
app.add_typer(data, name="data", help="Benchmarks and their files.")
app.add_typer(regions, name="regions", help="Region features of detectors.")
app.add_typer(world, name="world", help="The built-in world.")


def main() -> None:
    """Run a command: exit code 1 after an error said in one message, 2 for its usage, 130 after Ctrl-C."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # idle threads yield: cores are often shared
    try:
        app()
    except AlignscopeError as error:
        tell(f"alignscope: {error}", err=True)
        sys.exit(1)
    except OSError as error:  # of a file that no reader or writer spoke of
        if error.filename is None:
            raise
        tell(f"alignscope: {error.filename}: {error.strerror}; check the path and its rights", err=True)
        sys.exit(1)
    except SystemExit as ended:
        if ended.code == INTERRUPTED:
            tell(f"alignscope: interrupted; {how_to_go_on(sys.argv[1:])}", err=True)
        raise


def how_to_go_on(words: Sequence[str]) -> str:
    """What to type after Ctrl-C, by whether the command resumes.

    >>> how_to_go_on(["train", "recipe.toml", "--overwrite"])
    'what is done is kept; go on with: alignscope train recipe.toml --resume'
    >>> how_to_go_on(["verify", "runs/x"])
    'run it again'
    """
    command = typer.main.get_command(app)
    for word in words:
        command = getattr(command, "commands", {}).get(word, command)
    if not any("--resume" in option.opts for option in command.params):
        return "run it again"
    kept = [word for word in words if word not in ("--overwrite", "--resume")]
    return f"what is done is kept; go on with: {shlex.join(['alignscope', *kept, '--resume'])}"
