"""Contrastive training of a dual encoder from a frozen recipe: one loop, read top to bottom."""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from alignscope.data.world.grammar import GRAMMAR_WORDS
from alignscope.data.world.world import World
from alignscope.files import write_json, write_jsonl
from alignscope.models.dual import fresh
from alignscope.training import checkpoints
from alignscope.training.batches import Batches
from alignscope.training.checkpoints import Position
from alignscope.training.corpus import Corpus, corpus, draw, keys, pixels, texts
from alignscope.training.losses import contrastive_loss
from alignscope.training.metrics import FILE, Progress, diverged, rows
from alignscope.training.parameters import MAX_LOG_SCALE, adamw, learning_rate, moving
from alignscope.training.recipe import Recipe, Stage


@dataclass(frozen=True)
class StageData:
    """What one stage reads, ready for the loop."""

    corpus: Corpus
    batches: Batches
    images: Float[Tensor, "image dim"] | UInt8[Tensor, "image channel height width"]
    is_embedded: bool  # `images` are embeddings of a frozen tower


class At(NamedTuple):
    """A step of a stage, the next to take."""

    stage: int
    step: int


def place_of(recipe: Recipe, step: int) -> At:
    """The stage and its step after so many steps of all stages; where one ends the next begins."""
    for number, stage in enumerate(recipe.stages):
        if step < stage.steps:
            return At(number, step)
        step -= stage.steps
    return At(len(recipe.stages), 0)


def rate(stage: Stage, step: int) -> float:
    """The learning rate of one step of a stage."""
    return learning_rate(step, peak=stage.learning_rate, warmup=stage.warmup, steps=stage.steps)


def prepare(recipe: Recipe, number: int, world: World, model: Any, tokenizer: Any) -> StageData:
    """Captions, token ids, batches and, where the image tower stands still, image embeddings."""
    stage = recipe.stages[number]
    said, wrong = texts(world, recipe.data, stage.register, foils_each=stage.foils, kinds=stage.foil_kinds)
    batches = Batches(
        keys(world), batch=stage.batch, grouped=stage.grouped, group=stage.group, seed=recipe.seed
    )
    images = pixels(world)
    is_embedded = stage.trains == "text"
    if is_embedded:
        with torch.no_grad():
            images = torch.cat([fresh.embed_pixels(model, part) for part in images.split(256)])
    table = corpus(said, wrong, lambda t: fresh.token_ids(tokenizer, t))
    return StageData(table, batches, images, is_embedded)


def stage_loss(
    model: Any,
    data: StageData,
    images: np.ndarray,
    captions: Int[Tensor, " batch"],
    foils: Int[Tensor, " foil"],
) -> Float[Tensor, ""]:
    """The contrastive loss of one batch; captions and foils go through the text tower together."""
    taken = data.images[torch.from_numpy(images)]
    image_side = taken if data.is_embedded else fresh.embed_pixels(model, taken)
    rows = torch.cat([captions, foils])
    longest = int(data.corpus.lengths[rows].max())
    text_side = fresh.embed_ids(model, data.corpus.ids[rows, :longest])
    right, wrong = text_side[: len(captions)], text_side[len(captions) :]
    return contrastive_loss(image_side, right, model.logit_scale.exp(), wrong if len(foils) else None)


def train(recipe: Recipe, out: Path, *, resume: bool = False, progress: Progress | None = None) -> Path:
    """Run a recipe and save the model under `out`; `out/model` loads with `CLIPModel.from_pretrained`.

    Every `save_every` steps the run is saved in `out/checkpoints`; with `resume` it goes on from there
    and ends in the same weights, bit for bit on one machine and thread count. `out/metrics.jsonl` has a
    line per `check_every` steps. Raises `Diverged` when the loss stops being finite.
    """
    torch.set_num_threads(recipe.threads)
    out.mkdir(parents=True, exist_ok=True)
    world = World("train", size=recipe.data.images, seed=recipe.data.seed)
    shape = recipe.architecture
    model, tokenizer, processor = fresh.fresh_clip(
        **{**asdict(shape), "words": GRAMMAR_WORDS, "seed": recipe.seed}
    )
    found, start = None, At(0, 0)
    kept = checkpoints.begin(out, resume=resume)
    if kept is not None:
        found = checkpoints.load(kept, recipe=asdict(recipe))
        model.load_state_dict(found.weights)
        start = place_of(recipe, found.position.step)
    logged = rows(out) if found else []
    write_jsonl(out / FILE, [row for row in logged if (row["stage"], row["step"]) < start])
    began = time.monotonic() - (found.position.seconds if found else 0.0)
    for number in range(start.stage, len(recipe.stages)):
        stage, first = recipe.stages[number], start.step if number == start.stage else 0
        if stage.fresh_text and first == 0:
            fresh.fresh_text_tower(model, seed=recipe.seed + 1000 * (number + 1))
        data = prepare(recipe, number, world, model, tokenizer)
        optimizer = adamw(
            moving(model, stage.trains), learning_rate=stage.learning_rate, weight_decay=stage.weight_decay
        )
        if found is not None and first > 0:
            optimizer.load_state_dict(found.rest["optimizer"])
        model.train()
        before = sum(earlier.steps for earlier in recipe.stages[:number])
        for step in range(first, stage.steps):
            loss, norm = update(model, optimizer, data, stage, At(number, step), recipe.seed)
            if not math.isfinite(loss):
                raise diverged(f"loss {loss} in stage '{stage.name}', step {step}", kept)
            if step % recipe.check_every == 0 or step == stage.steps - 1:
                row = {"stage": number, "step": step, "loss": loss, "gradient_norm": norm,
                       "learning_rate": rate(stage, step),
                       "scale": model.logit_scale.exp().item(), "seconds": time.monotonic() - began}  # fmt: skip
                with (out / FILE).open("a") as file:
                    file.write(json.dumps(row) + "\n")
            if (step + 1) % recipe.save_every == 0 or step + 1 == stage.steps:
                position = Position(before + step + 1, asdict(recipe), seconds=time.monotonic() - began)
                rest = {"optimizer": optimizer.state_dict()}
                kept = checkpoints.save(out, model.state_dict(), rest, position)
            if progress:
                progress(stage.name, step + 1, stage.steps)
    return finish(recipe, out, model, tokenizer, processor, time.monotonic() - began)


def update(
    model: Any, optimizer: torch.optim.Optimizer, data: StageData, stage: Stage, at: At, seed: int
) -> tuple[float, float]:
    """One step: draw, loss, clip, move; returns the loss and the gradient norm before clipping."""
    images = data.batches(at.stage, at.step)
    rng = np.random.default_rng([seed, at.stage, at.step, 1])
    captions, foils = draw(data.corpus, images, rng)
    loss = stage_loss(model, data, images, captions, foils)
    for group in optimizer.param_groups:
        group["lr"] = rate(stage, at.step)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    moving = [p for group in optimizer.param_groups for p in group["params"]]
    norm = torch.nn.utils.clip_grad_norm_(moving, stage.max_norm)
    optimizer.step()
    with torch.no_grad():
        model.logit_scale.clamp_(0.0, MAX_LOG_SCALE)
    return loss.item(), norm.item()


def finish(recipe: Recipe, out: Path, model: Any, tokenizer: Any, processor: Any, seconds: float) -> Path:
    """Save the model in its final form, with how it was made beside it."""
    directory = out / "model"
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    fresh.save(model.eval(), tokenizer, processor, directory)
    made = {"recipe": asdict(recipe), "recipe_sha": recipe.sha, "seconds": round(seconds, 1)}
    write_json(directory / "training.json", {**made, "torch": torch.__version__, "threads": recipe.threads})
    return directory
