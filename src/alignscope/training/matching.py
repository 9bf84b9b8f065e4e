"""Training of a scorer of regions from scratch on matching, in the world: one loop, read top to bottom.

Image-text matching as UNITER, ViLBERT and LXMERT are pre-trained with: is this caption that of the image?
Differs: of their tasks it is the only one; wrong captions are those of other images and, beyond the papers,
captions that were changed in one word.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from alignscope.data.world.grammar import GRAMMAR_WORDS
from alignscope.data.world.world import World
from alignscope.files import sha_of, write_json, write_jsonl
from alignscope.models.cross.encoder import TransformersCrossEncoder
from alignscope.models.cross.fresh import fresh_scorer, save
from alignscope.records import Regions
from alignscope.training import checkpoints
from alignscope.training.checkpoints import Position
from alignscope.training.corpus import texts
from alignscope.training.metrics import FILE, Progress, diverged, rows
from alignscope.training.parameters import groups, learning_rate
from alignscope.training.recipe import Matching


@dataclass(frozen=True)
class Material:
    """What the loop reads: per image its regions, its captions, and foils per caption."""

    regions: Sequence[Regions]
    captions: Sequence[Sequence[str]]
    foils: Sequence[Sequence[Sequence[str]]]


class Pairs(NamedTuple):
    """A batch of pairs, and whether each belongs together."""

    regions: list[Regions]
    texts: list[str]
    is_match: list[bool]


def train(recipe: Matching, out: Path, *, resume: bool = False, progress: Progress | None = None) -> Path:
    """Run a recipe and save the model as `out/model`, a directory that `open_model` takes.

    Every `save_every` steps the run is saved in `out/checkpoints`; with `resume` it goes on from there and ends
    in the same weights, bit for bit on one machine and thread count. `out/metrics.jsonl` has a line per
    `check_every` steps. Raises `Diverged` when the loss stops being finite.
    """
    torch.set_num_threads(recipe.threads)
    out.mkdir(parents=True, exist_ok=True)
    model = fresh_scorer(**asdict(recipe.scorer), words=GRAMMAR_WORDS, seed=recipe.seed, name=recipe.name)
    optimizer = torch.optim.AdamW(
        groups(dict(model.model.named_parameters()), weight_decay=recipe.weight_decay),
        lr=recipe.learning_rate,
    )
    kept, first, seconds = checkpoints.begin(out, resume=resume), 0, 0.0
    if kept is not None:
        found = checkpoints.load(kept, recipe=asdict(recipe))
        model.model.load_state_dict(found.weights)
        optimizer.load_state_dict(found.rest["optimizer"])
        torch.set_rng_state(found.rest["random"])
        first, seconds = found.position.step, found.position.seconds
    else:
        torch.manual_seed(recipe.seed)  # of dropout
    logged = rows(out) if first else []
    write_jsonl(out / FILE, [row for row in logged if row["step"] < first])
    data = material(recipe, progress)
    began = time.monotonic() - seconds
    model.model.train()
    for step in range(first, recipe.steps):
        loss, right = update(model, optimizer, pairs(recipe, data, step), recipe, step)
        if not math.isfinite(loss):
            raise diverged(f"loss {loss} in step {step}", kept)
        if step % recipe.check_every == 0 or step == recipe.steps - 1:
            row = {"step": step, "loss": loss, "accuracy": right, "seconds": time.monotonic() - began}
            with (out / FILE).open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        if (step + 1) % recipe.save_every == 0 or step + 1 == recipe.steps:
            position = Position(step + 1, asdict(recipe), seconds=time.monotonic() - began)
            rest = {"optimizer": optimizer.state_dict(), "random": torch.get_rng_state()}
            kept = checkpoints.save(out, model.model.state_dict(), rest, position)
        if progress:
            progress("matching", step + 1, recipe.steps)
    return finish(recipe, out, model, time.monotonic() - began)


def material(recipe: Matching, progress: Progress | None = None) -> Material:
    """Regions, captions and foils of the recipe's scenes."""
    world = World("train", size=recipe.data.images, seed=recipe.data.seed)
    seen: list[Regions] = []
    for scene in world.scenes:
        seen.append(world.regions(scene.id, width=recipe.scorer.feature_width))
        if progress:
            progress("regions", len(seen), len(world.scenes))
    said, wrong = texts(world, recipe.data, recipe.register, foils_each=recipe.foils, kinds=recipe.foil_kinds)
    return Material(seen, said, wrong)


def pairs(recipe: Matching, data: Material, step: int) -> Pairs:
    """The pairs of one step, by seed and step alone."""
    rng = np.random.default_rng([recipe.seed, step])
    images = rng.choice(len(data.regions), size=recipe.batch, replace=False).tolist()
    places = [int(rng.integers(len(data.captions[image]))) for image in images]
    own = [data.captions[image][place] for image, place in zip(images, places, strict=True)]
    found = Pairs([], [], [])
    for row, (image, place) in enumerate(zip(images, places, strict=True)):
        others = [own[(row + turn) % len(own)] for turn in range(1, recipe.in_batch + 1)]
        wrong = [*(text for text in others if text != own[row]), *data.foils[image][place]]
        found.texts.extend([own[row], *wrong])
        found.is_match.extend([True, *[False] * len(wrong)])
        found.regions.extend([data.regions[image]] * (1 + len(wrong)))
    return found


def matching_loss(scores: Tensor, is_match: Tensor) -> Tensor:
    """Cross-entropy of "match or not", right and wrong pairs with equal weight.

    >>> round(matching_loss(torch.tensor([0.0, 0.0, 9.0]), torch.tensor([True, False, False])).item(), 3)
    2.77
    """
    losses = F.binary_cross_entropy_with_logits(scores, is_match.to(scores), reduction="none")
    return (losses[is_match].mean() + losses[~is_match].mean()) / 2


def update(
    model: TransformersCrossEncoder,
    optimizer: torch.optim.Optimizer,
    batch: Pairs,
    recipe: Matching,
    step: int,
) -> tuple[float, float]:
    """One step: loss, clip, move; returns the loss and the share of pairs told right."""
    scores, is_match = model.match(model.inputs(batch.regions, batch.texts)), torch.tensor(batch.is_match)
    loss = matching_loss(scores, is_match)
    rate = learning_rate(step, peak=recipe.learning_rate, warmup=recipe.warmup, steps=recipe.steps)
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.model.parameters(), recipe.max_norm)
    optimizer.step()
    return loss.item(), ((scores > 0) == is_match).float().mean().item()


def finish(recipe: Matching, out: Path, model: TransformersCrossEncoder, seconds: float) -> Path:
    """Save the model in its final form, with how it was made beside it."""
    directory = out / "model"
    model.model.eval()
    save(model, directory)
    made: dict[str, Any] = {
        "recipe": asdict(recipe),
        "recipe_sha": sha_of(recipe),
        "seconds": round(seconds, 1),
    }
    write_json(directory / "training.json", {**made, "torch": torch.__version__, "threads": recipe.threads})
    return directory
