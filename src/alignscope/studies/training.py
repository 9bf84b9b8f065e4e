"""A recipe by name, trained into a claimed directory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from accelerate import PartialState

from alignscope.errors import AlignscopeError, BadInput
from alignscope.files import write_json
from alignscope.processes import PATIENCE, Processes, processes
from alignscope.studies.output import RUN, alone, claim, release
from alignscope.training import captioning, contrastive, matching
from alignscope.training.finetune import finetune
from alignscope.training.metrics import Seen, Watch, nobody
from alignscope.training.reading import find, read
from alignscope.training.recipe import Captioning, Matching, Recipe
from alignscope.training.settings import FineTuning


def train_recipe(
    name: str,
    out: Path | None = None,
    *,
    device: str = "cpu",
    changes: Sequence[str] = (),
    workers: int = 0,
    tensorboard: bool = False,
    resume: bool = False,
    overwrite: bool = False,
    command: str = "",
    watch: Watch = nobody,
) -> Path:
    """Train the recipe found as `name` with `changes` such as `seed=3`; returns the finished model's directory.

    Only one training works in `out` (default runs/NAME) at a time, and goes on from another's checkpoint only
    where all that decides the weights is the same. `workers` processes read images. Under torchrun every process calls
    this, and the first one claims `out`.
    """
    group = _processes(device)
    recipe = group.first(lambda: read(find(name), changes))
    out = out or Path("runs") / recipe.name
    is_from_scratch = isinstance(recipe, Recipe | Matching)
    if is_from_scratch and (device != "cpu" or workers or tensorboard or group.world > 1):
        raise BadInput(
            f"'{recipe.name}' trains from scratch, which takes one process on the CPU: leave out --device, "
            "--workers, --tensorboard and torchrun"
        )
    if isinstance(recipe, Captioning) and workers:
        raise BadInput(
            f"'{recipe.name}' trains a captioner, whose features are read as they are: leave out --workers"
        )
    decisive = recipe.decisive if isinstance(recipe, FineTuning) else asdict(recipe)
    identity = {"kind": "train", "recipe": decisive}
    with ExitStack() as held:

        def claim_it() -> None:
            held.enter_context(alone(out))
            claim(out, identity, resume=resume, overwrite=overwrite)

        group.first(claim_it)

        try:
            directory = _trained(
                recipe,
                out,
                device=device,
                workers=workers,
                tensorboard=tensorboard,
                resume=resume,
                watch=watch,
            )
        except AlignscopeError:
            if group.rank == 0:  # where data are missing nothing stands in the way of another try
                release(out)
            raise
        run = {**identity, "identity": identity, "finished": True, "command": command}
        group.first(lambda: write_json(out / RUN, run))
    return directory


def _trained(
    recipe: Recipe | Matching | Captioning | FineTuning,
    out: Path,
    *,
    device: str,
    workers: int,
    tensorboard: bool,
    resume: bool,
    watch: Watch,
) -> Path:
    """Run the loop that a recipe is for."""

    def tell(stage: str, done: int, total: int) -> None:
        watch(Seen(stage, done, total, {}))

    if isinstance(recipe, Recipe):
        return contrastive.train(recipe, out, resume=resume, progress=tell)
    if isinstance(recipe, Matching):
        return matching.train(recipe, out, resume=resume, progress=tell)
    if isinstance(recipe, Captioning):
        return captioning.train(
            recipe, out, device=device, tensorboard=tensorboard, resume=resume, watch=watch
        )
    return finetune(
        recipe,
        out,
        device=device,
        workers=workers,
        resume=resume,
        tensorboard=tensorboard,
        watch=watch,
    )


def _processes(device: str) -> Processes:
    """The processes of this training: where they hold GPUs they meet over nccl, which gradients take too."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        PartialState(cpu=device == "cpu", timeout=PATIENCE)
    return processes()
