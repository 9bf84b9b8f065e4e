"""A recipe by name, trained into a claimed directory."""

from __future__ import annotations

from pathlib import Path

from alignscope.studies.embeddings import Progress
from alignscope.studies.output import claim
from alignscope.training import recipe as recipes
from alignscope.training.contrastive import train


def train_recipe(
    name: str,
    out: Path | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress = lambda stage, done, total: None,
) -> Path:
    """Train the recipe found as `name`; returns the directory of the finished model."""
    recipe = recipes.read(recipes.find(name))
    out = out or Path("runs") / recipe.name
    claim(out, {"kind": "train", "recipe": recipe.sha}, resume=resume, overwrite=overwrite)
    return train(recipe, out, resume=resume, progress=progress)
