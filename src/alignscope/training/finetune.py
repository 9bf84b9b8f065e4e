"""Fine-tuning of a dual encoder from a frozen recipe: one loop, read top to bottom (paper B, section 4.1).

Every random draw is a function of seed, step and process, so a run that was killed goes on to the same
weights, bit for bit on one process of one machine.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
import transformers
from safetensors import SafetensorError
from torch import Tensor
from transformers import CLIPModel

from alignscope.errors import BadInput, CheckpointMismatch, Unsupported, UnwritableOutput
from alignscope.files import write_json
from alignscope.models.dual import fresh
from alignscope.models.dual.encoder import TransformersDualEncoder
from alignscope.models.dual.loading import quiet
from alignscope.models.zoo import open_dual
from alignscope.records import Caption
from alignscope.training import checkpoints, parameters
from alignscope.training.cae import matched_weight
from alignscope.training.checkpoints import Best, Position
from alignscope.training.distillation import Teacher, teacher
from alignscope.training.engine import Engine, engine_on
from alignscope.training.frozen import frozen_images
from alignscope.training.loading import Quarantine
from alignscope.training.lora import merged, with_adapters
from alignscope.training.metrics import Hope, Watch, diverged, nobody
from alignscope.training.pairs import Pairs, open_pairs
from alignscope.training.places import PlacedSamples
from alignscope.training.plans import Distillation, StepPlan, step_plan
from alignscope.training.samples import Batch
from alignscope.training.settings import FineTuning
from alignscope.training.step import Taken, backward, gradient_norms
from alignscope.training.telling import Log, told
from alignscope.training.validation import validate

SMALLEST_LOSS_SCALE = 1.0
"""Of fp16: a gradient that overflows below it is not finite in any format."""


@dataclass(frozen=True)
class Run:
    """What a fine-tuning holds from its first step to its last."""

    recipe: FineTuning
    out: Path
    engine: Engine
    encoder: TransformersDualEncoder
    pairs: Pairs
    plan: StepPlan  # lambda aside, which may be matched on the way
    guide: Teacher | None
    optimizer: torch.optim.AdamW
    bounds: parameters.ScaleBounds
    watch: Watch

    @property
    def steps(self) -> int:
        return self.pairs.source.steps

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that writes."""
        return self.engine.rank == 0

    def is_due(self, every: int, done: int) -> bool:
        """Whether what comes so often comes after this many steps; everything comes after the last."""
        return done % every == 0 or done == self.steps


def finetune(
    recipe: FineTuning,
    out: Path,
    *,
    device: str = "cpu",
    workers: int = 0,
    resume: bool = False,
    tensorboard: bool = False,
    watch: Watch = nobody,
) -> Path:
    """Run a recipe and save the model under `out`; `out/model` loads with transformers and `open_model`.

    The run is kept in `out/checkpoints`; with `resume` it goes on from the newest. `out/metrics.jsonl` has a
    row per `log_every` steps and per validation, `out/coverage.json` says what the attribution loss can use,
    `out/quarantine.jsonl` what could not be read. Where a validation before the last was the best,
    `out/best/model` is the model it saw. Under torchrun every process calls this, and the first one writes.
    """
    kept = checkpoints.begin(out, resume=resume)
    run = prepared(recipe, out, device=device, workers=workers, watch=watch)
    position = restored(run, kept)
    began = time.monotonic() - position.seconds
    log, quarantine = log_of(run, position, tensorboard=tensorboard), quarantine_of(run, position)
    hope = Hope(run.plan.loss)
    for step, batch in enumerate(run.pairs.source(position.step), start=position.step):
        counted(run, quarantine, batch, step)
        if position.weight is None and step >= recipe.warmup:
            position = replace(position, weight=matched(run, step, log))
        seed_chance(run, step)
        rate = parameters.learning_rate(
            step, peak=recipe.learning_rate, warmup=recipe.warmup, steps=run.steps
        )
        for group in run.optimizer.param_groups:
            group["lr"] = rate
        plan = run.plan.at(step, weight=position.weight or 0.0)
        taken = backward(run.encoder, batch, plan, run.engine)
        refuse(run, step, math.isfinite(taken.loss), f"a loss of {taken.loss}")
        norm = run.engine.update(run.optimizer, max_norm=recipe.max_norm)
        is_well = math.isfinite(norm) or run.engine.loss_scale > SMALLEST_LOSS_SCALE
        refuse(run, step, is_well, f"a gradient of norm {norm}")
        run.bounds.clamp(run.encoder.model)
        position = advanced(position, seconds=time.monotonic() - began, quarantine=quarantine)
        if log.step(position, taken, numbers_of(run, position, taken, rate=rate, norm=norm)):
            is_well = recipe.contrastive == 0 or hope.look(taken.contrastive, texts=taken.texts)
            refuse(run, step, is_well, f"a contrastive loss of {taken.contrastive:.4g}, worse than guessing,")
        best = position.best
        if recipe.validation and run.is_due(recipe.validation.every, position.step):
            position = validated(run, position, log)
        if run.is_due(recipe.save_every, position.step) or position.best != best:
            saved(run, position)
    log.close()
    run.engine.first(lambda: finished(run, position))
    return out / "model"


def prepared(recipe: FineTuning, out: Path, *, device: str, workers: int, watch: Watch) -> Run:
    """Model, data and optimizer as they are before the first step."""
    engine = engine_on(device, precision=recipe.precision)
    watch = watch if engine.rank == 0 else nobody
    encoder = opened(recipe, engine)
    model = encoder.model
    pairs = open_pairs(recipe, encoder.image_transform, engine, workers=workers, watch=watch)
    engine.first(lambda: told(recipe, pairs, out, watch))
    trained = dict(parameters.moving(model, recipe.trains))
    if recipe.lora:
        with_adapters(encoder, recipe.lora, trains=recipe.trains, seed=recipe.seed)
        trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    guide = None
    if recipe.distillation:
        guide = teacher(recipe.distillation, encoder, engine.device, seed=recipe.seed)
        trained |= {f"teacher.{name}": parameter for name, parameter in guide.named_parameters()}
    parameters.training_mode(model, recipe.trains)
    if recipe.gradient_checkpointing:
        methods = recipe.attribution.methods if recipe.attribution else ()
        reads_maps = bool(set(methods) - {"perturbation"})
        parameters.checkpoint_gradients(model, recipe.trains, reads_maps=reads_maps)
    plan = step_plan(
        recipe, encoder, candidates=pairs.candidates, distillation=guide and distillation_of(guide)
    )
    plan = replace(plan, frozen=frozen_of(recipe, encoder, pairs, engine, watch))
    optimizer = parameters.adamw(
        trained, learning_rate=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    bounds = parameters.scale_bounds(model)
    return Run(recipe, out, engine, encoder, pairs, plan, guide, optimizer, bounds, watch)


def frozen_of(
    recipe: FineTuning, encoder: TransformersDualEncoder, pairs: Pairs, engine: Engine, watch: Watch
) -> Mapping[str, Tensor] | None:
    """Embeddings of all images, where none of them changes and they are seen twice or more."""
    samples, steps = pairs.samples, pairs.source.steps
    if recipe.trains != "text" or recipe.augmentation or not isinstance(samples, PlacedSamples):
        return None
    if steps * recipe.batch < 2 * len(samples):
        return None
    return frozen_images(encoder, samples, engine, watch=watch)


def opened(recipe: FineTuning, engine: Engine) -> TransformersDualEncoder:
    """The model of a recipe on this process's device, its text tower anew where the recipe says so."""
    encoder = open_dual(recipe.model, device=str(engine.device), activation=recipe.activation or None)
    if not isinstance(encoder, TransformersDualEncoder):
        raise Unsupported(f"{recipe.model} is no model of transformers, which alone are fine-tuned here")
    if recipe.fresh_text:
        if not isinstance(encoder.model, CLIPModel):
            raise Unsupported(f"{recipe.model} is no CLIPModel: only of these a new text tower can be made")
        fresh.fresh_text_tower(encoder.model, seed=recipe.seed)
    return encoder


def distillation_of(guide: Teacher) -> Distillation:
    """The teacher as a step calls it; its noise comes from the step's own chance."""

    def loss(images: Tensor, captions: Sequence[Caption]) -> Tensor:
        seed = int(torch.randint(2**31, ()).item())
        return guide(images, [caption.text for caption in captions], seed=seed)

    return loss


def restored(run: Run, path: Path | None) -> Position:
    """Where the run begins: at its first step, or where a checkpoint was written."""
    plan = run.recipe.attribution
    weight = None if plan and plan.weight == "matched" else float(plan.weight) if plan else 0.0
    if path is None:
        return Position(0, run.recipe.decisive, run.pairs.shas, weight=weight)
    found = checkpoints.load(path, recipe=run.recipe.decisive, data=run.pairs.shas)
    put(run, found.weights, path)
    run.optimizer.load_state_dict(found.rest["optimizer"])
    run.engine.restore(found.rest["engine"])
    if run.guide is not None:
        run.guide.load_state_dict(found.rest["teacher"])
    return found.position


def put(run: Run, weights: Mapping[str, Tensor], path: Path) -> None:
    """Put a checkpoint's weights into the model."""
    try:
        run.encoder.model.load_state_dict(weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckpointMismatch(f"{path} does not fit {run.recipe.model}: {reason}") from None


def seed_chance(run: Run, step: int) -> None:
    """Dropout and the like follow from seed, step and process."""
    state = np.random.SeedSequence([run.recipe.seed, step, run.engine.rank]).generate_state(1, np.uint64)
    torch.manual_seed(int(state[0] >> 1))


def log_of(run: Run, position: Position, *, tensorboard: bool) -> Log:
    """The first process writes, from where the run stands."""
    return Log(
        run.out if run.is_first else None,
        begins=position.step,
        steps=run.steps,
        every=run.recipe.log_every,
        tensorboard=tensorboard,
        watch=run.watch,
    )


def quarantine_of(run: Run, position: Position) -> Quarantine:
    """The unreadable images of the run so far."""
    return Quarantine(
        run.out / "quarantine.jsonl" if run.is_first else None,
        limit=run.recipe.unreadable,
        at_least=min(1000, run.pairs.count or 1000),
        step=position.step,
        tried=position.tried,
        unreadable=position.unreadable,
    )


def advanced(position: Position, *, seconds: float, quarantine: Quarantine) -> Position:
    """One step further."""
    step, tried, failed = position.step + 1, quarantine.tried, quarantine.unreadable
    return replace(position, step=step, seconds=seconds, tried=tried, unreadable=failed)


def numbers_of(
    run: Run, position: Position, taken: Taken, *, rate: float, norm: float
) -> dict[str, float | None]:
    """What a row says beside the losses."""
    count = run.pairs.count
    per_epoch = count // run.recipe.batch if count else None
    return {
        "foils_per_pair": taken.foils / taken.pairs if run.recipe.negatives else None,
        "epoch": position.step / per_epoch if per_epoch else None,
        "learning_rate": rate,
        "scale": run.encoder.traits.scale,
        "gradient_norm": norm,
    }


def matched(run: Run, step: int, log: Log) -> float:
    """Lambda by the gradient norms of the batches from this step on, which are trained on afterwards."""
    plan = run.recipe.attribution
    assert plan is not None
    norms = []
    for number, batch in enumerate(islice(run.pairs.source(step), plan.batches)):
        seed_chance(run, step + number)
        at = run.plan.at(step + number, weight=0.0)
        norms.append(gradient_norms(run.encoder, batch, at, run.engine))
    contrastive, attribution = [n.contrastive for n in norms], [n.attribution for n in norms]
    means = sum(contrastive) / len(norms), sum(attribution) / len(norms)
    refuse(run, step, all(map(math.isfinite, means)), f"gradients of norms {means[0]} and {means[1]}")
    try:
        weight = run.recipe.contrastive * matched_weight(contrastive, attribution, ratio=plan.ratio)
    except BadInput as error:
        raise BadInput(f"after step {step}, on {len(norms)} batches of {run.recipe.batch}: {error}") from None
    log.weight(step + 1, weight, *means)
    return weight


def counted(run: Run, quarantine: Quarantine, batch: Batch, step: int) -> None:
    """Count what all processes could not read, in each of them, so that they stop together."""
    here = torch.tensor([batch.tried, len(batch.problems)], dtype=torch.float64).to(run.engine.device)
    tried, failed = (int(number) for number in run.engine.total(here).tolist())
    quarantine.add(run.engine.everyone(batch.problems) if failed else [], tried, step=step)


def refuse(run: Run, step: int, is_well: bool, what: str) -> None:
    """Stop a run that has diverged; nothing of it was saved since."""
    if not is_well:
        raise diverged(f"{what} at step {step}", checkpoints.newest(run.out))


def validated(run: Run, position: Position, log: Log) -> Position:
    """Look at the held-out pairs, in the first process; the earlier of equals stays the best."""

    def looked() -> Position:
        assert run.pairs.held is not None
        found = validate(run.encoder, run.pairs.held, run.plan, batch=run.recipe.batch, watch=run.watch)
        log.validation(position.step, found)
        if position.best is None or found.value > position.best.value:
            return replace(position, best=Best(position.step, found.value))
        return position

    return run.engine.first(looked)


def saved(run: Run, position: Position) -> None:
    """Write a checkpoint of where the run stands."""
    rest = {"optimizer": run.optimizer.state_dict(), "engine": run.engine.state()}
    if run.guide is not None:
        rest["teacher"] = run.guide.state_dict()
    run.engine.first(lambda: checkpoints.save(run.out, run.encoder.model.state_dict(), rest, position))


def finished(run: Run, position: Position) -> None:
    """Write the model, and the best one where that is another, each with how it was made beside it."""
    exported(run, run.out / "model", position, position.step)
    if position.best is not None and position.best.step != position.step:
        path = checkpoints.at(run.out, position.best.step)
        put(run, checkpoints.load(path, recipe=run.recipe.decisive, data=run.pairs.shas).weights, path)
        exported(run, run.out / "best" / "model", position, position.best.step)


def exported(run: Run, directory: Path, position: Position, step: int) -> None:
    """Write the model as transformers does, whole or not at all."""
    half = directory.with_name(directory.name + ".part")
    encoder = merged(run.encoder) if run.recipe.lora else run.encoder
    for parameter in encoder.model.parameters():
        parameter.requires_grad_(True)
    made = {
        "recipe": asdict(run.recipe),
        "recipe_sha": run.recipe.sha,
        "data": {"name": run.pairs.name, "sha": run.pairs.sha, "validation_sha": run.pairs.held_sha},
        "coverage": run.pairs.coverage and asdict(run.pairs.coverage),
        "lambda": position.weight,
        "step": step,
        "steps": position.step,
        "best": position.best and asdict(position.best),
        "seconds": round(position.seconds, 1),
        "processes": run.engine.world,
        "device": run.engine.device.type,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    try:
        shutil.rmtree(half, ignore_errors=True)
        with quiet():
            fresh.save(encoder.model.eval(), encoder.tokenizer, encoder.image_processor, half)
        write_json(half / "training.json", made)
        shutil.rmtree(directory, ignore_errors=True)
        half.rename(directory)
    except (OSError, SafetensorError) as error:
        kept = checkpoints.newest(run.out)
        raise UnwritableOutput(
            f"{directory} cannot be written ({error}): the run is in {kept}; make room and give --resume"
        ) from None
