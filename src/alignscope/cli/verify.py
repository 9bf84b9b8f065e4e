"""`alignscope verify`: a run's numbers beside published ones."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from alignscope.cli import options as shared
from alignscope.cli.terminal import tell


def verify(
    run: Annotated[Path, typer.Argument(help="the --out of `alignscope evaluate`")],
    model: Annotated[str, typer.Option("--as", help="the model's name in the published table")],
    as_json: shared.Json = False,
) -> None:
    """Print the gap between RUN and what was published of a model, with the known reasons."""
    from alignscope.cli.machine import say
    from alignscope.evaluation.published import verdict
    from alignscope.studies.benchmarking.verification import verified

    found = verified(run, model)
    if as_json:
        say(benchmarks=found)
    else:
        tell("\n\n".join(verdict(name, model, lines) for name, lines in found.items()))
