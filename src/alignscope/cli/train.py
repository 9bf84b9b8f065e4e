"""`alignscope train`: a model from a recipe."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from alignscope.cli import options as shared
from alignscope.cli.terminal import tell

Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="another value for an entry of the recipe, in TOML: seed=3, attribution.weight=2.0, "
        "model=runs/x/model; may be given again",
    ),
]


def train(
    recipe: Annotated[
        str,
        typer.Argument(
            help="a TOML file, or a name in ./recipes or among alignscope's own, such as paper-b/ft"
        ),
    ],
    out: Annotated[Path | None, typer.Option(help="directory of the run; default runs/NAME")] = None,
    changes: Changes = None,
    device: shared.Device = "cpu",
    workers: Annotated[int, typer.Option(help="processes that read images beside the training", min=0)] = 0,
    tensorboard: Annotated[bool, typer.Option(help="curves for TensorBoard in OUT/tensorboard")] = False,
    resume: Annotated[bool, typer.Option(help="go on from the last checkpoint in --out")] = False,
    overwrite: shared.Overwrite = False,
    as_json: shared.Json = False,
) -> None:
    """Train the model of RECIPE; the result in OUT/model loads with transformers and `alignscope audit`.

    A recipe with `model` fine-tunes that model; one with `architecture` or `scorer` trains a new dual encoder
    or a new scorer of regions on the built-in world; one with `captioner` trains a captioner, on captions
    and then by what a scorer pays for its words (recipes/world-captioner.toml, recipes/paper-a/*). Paths
    in RECIPE are relative to the current directory. Several processes share a fine-tuning or a captioner:
    `torchrun --nproc-per-node 2 --no-python alignscope train RECIPE`.
    """
    from alignscope.cli.machine import say
    from alignscope.cli.progress import training_bars
    from alignscope.studies.training import train_recipe

    is_first = os.environ.get("RANK", "0") == "0"
    with training_bars(shown=is_first) as watch:
        directory = train_recipe(
            recipe,
            out,
            device=device,
            changes=changes or (),
            workers=workers,
            tensorboard=tensorboard,
            resume=resume,
            overwrite=overwrite,
            command=shlex.join(["alignscope", *sys.argv[1:]]),
            watch=watch,
        )
    if is_first and as_json:
        say(model=directory.resolve())
    elif is_first:
        tell(f"model: {directory.resolve()}")
