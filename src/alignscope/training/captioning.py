"""Training of captioners by recipe: cross-entropy, then self-critical; one loop, read top to bottom.

As self-critical.pytorch trains the FC captioner (sheet A.3): Adam without weight decay, gradients clipped by
value, validation by the CIDEr-D of greedy captions. Differs: images are gone through pass after pass without
a short last batch; Adam begins anew with each stage.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, final

import torch
from torch.nn import Parameter
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

from alignscope.errors import BadInput
from alignscope.evaluation.cider import Cider
from alignscope.files import sha_of, write_json, write_jsonl
from alignscope.language import ngrams
from alignscope.models.captioners.autoregressive import AutoregressiveCaptioner
from alignscope.models.captioners.captioner_loading import open_captioner, save_captioner
from alignscope.models.captioners.protocol import Captioner
from alignscope.models.captioners.vocabulary import words_of
from alignscope.training import checkpoints
from alignscope.training.captioners import first_captioner, speak
from alignscope.training.captioning_material import Material, Part, material
from alignscope.training.captioning_reward import Paying, payment, scorers_of
from alignscope.training.captioning_steps import (
    CrossEntropySteps,
    Place,
    SelfCriticalSteps,
    Stepped,
    is_due,
    rate_of,
    steps_of,
)
from alignscope.training.checkpoints import Best, Checkpoint, Position
from alignscope.training.engine import Engine, engine_on
from alignscope.training.masked_captioning import MaskedSteps, adamw, each_caption
from alignscope.training.metrics import Journal, Seen, Watch, diverged, flat, nobody
from alignscope.training.recipe import Captioning, CaptionStage, CrossEntropy, MaskedCaption, SelfCritical
from alignscope.training.wording import wording

VALIDATION = "validation"
"""Folder of what is said of the validation images."""


class At(NamedTuple):
    """A stage, and how many of its steps are taken."""

    stage: int
    step: int


@final
@dataclass(frozen=True)
class Run:
    """What stays as it is over all stages."""

    recipe: Captioning
    data: Material
    identity: str  # hash of data, of the captioner at the start and of the scorers
    out: Path
    engine: Engine
    language_model: ngrams.Model
    cider: Cider  # of the validation's references
    journal: Journal | None  # of the first process
    began: float
    watch: Watch

    def entries(self, stage: int) -> int:
        """How many images a pass goes through; of masked-caption training, captions."""
        train = self.data.train
        is_masked = isinstance(self.recipe.stages[stage], MaskedCaption)
        return sum(map(len, train.captions)) if is_masked else len(train)

    def steps(self, stage: int) -> int:
        return steps_of(self.recipe.stages[stage], self.entries(stage))

    def before(self, stage: int) -> int:
        """Steps of all earlier stages."""
        return sum(map(self.steps, range(stage)))

    def place_of(self, step: int) -> At:
        """The stage and its step after so many steps of all; where one ends, it is that one's end."""
        if not self.recipe.stages:
            return At(0, 0)
        for number in range(len(self.recipe.stages)):
            if step <= self.before(number + 1):
                return At(number, step - self.before(number))
        raise BadInput(f"got a checkpoint after step {step}, the recipe ends before it: begin anew")


@dataclass
class Standing:
    """What changes within a stage beside weights and optimizer."""

    best: Best | None = None
    is_over: bool = False  # an alarm has ended it


def train(
    recipe: Captioning,
    out: Path,
    *,
    device: str = "cpu",
    tensorboard: bool = False,
    resume: bool = False,
    watch: Watch = nobody,
) -> Path:
    """Run a recipe and save the captioner as `out/model`, a directory that `open_captioner` takes.

    `out/stages` has the captioner after each stage, `out/captions.jsonl` greedy captions of the test images and
    `out/metrics.jsonl` a row per `log_every` steps and per validation. With `resume` a stopped run goes on
    from its last checkpoint and ends in the same weights, bit for bit on one machine, CPU and thread count.
    Processes that torchrun starts share the images of a step; rows tell of the first one's samples.
    Raises `Diverged` when the loss stops being finite.
    """
    torch.set_num_threads(recipe.threads)
    engine = engine_for(recipe, device)
    watch, place = watch if engine.rank == 0 else nobody, str(engine.device)
    out.mkdir(parents=True, exist_ok=True)
    data = material(recipe.data, watch)
    scorers = scorers_of(recipe, device=place)
    fingerprints = {name: model.fingerprint for name, model in scorers.items()}
    start_from = first_captioner(recipe, data, device=place).fingerprint
    identity = sha_of([data.sha, start_from, fingerprints])
    kept, found = engine.first(lambda: checkpoints.begin(out, resume=resume)), None
    if kept is not None:
        found = checkpoints.load(kept, recipe=asdict(recipe), data=identity)
    run = Run(
        recipe,
        data,
        identity,
        out,
        engine,
        ngrams.train(text for said in data.train.captions for text in said),
        Cider.of([_words(said) for said in data.validation.captions]),
        Journal(out, step=found.position.step if found else 0, tensorboard=tensorboard)
        if engine.rank == 0
        else None,
        time.monotonic() - (found.position.seconds if found else 0.0),
        watch,
    )
    engine.first(lambda: write_references(out / VALIDATION / "references.jsonl", data.validation))
    start = run.place_of(found.position.step if found else 0)
    paying = [
        payment(stage, data, scorers, longest=recipe.longest, watch=watch)
        if isinstance(stage, SelfCritical) and number >= start.stage
        else None
        for number, stage in enumerate(recipe.stages)
    ]
    captioner = None
    for number in range(start.stage, len(recipe.stages)):
        held = found if number == start.stage else None
        captioner = run_stage(run, At(number, start.step if held else 0), held, paying[number])
    if run.journal is not None:
        run.journal.close()
    last = captioner or first_captioner(recipe, data, device=place)
    return engine.first(lambda: finish(run, last, fingerprints))


def engine_for(recipe: Captioning, device: str) -> Engine:
    """One or many processes, each with images of every step."""
    engine = engine_on(device)
    fewest = min((stage.images for stage in recipe.stages), default=engine.world)
    if fewest < engine.world:
        raise BadInput(f"got {engine.world} processes for {fewest} images a step, wanted an image for each")
    return engine


def run_stage(run: Run, at: At, found: Checkpoint | None, paying: Paying | None) -> AutoregressiveCaptioner:
    """Take the steps of a stage that are left; returns the captioner that it keeps."""
    number, stage, recipe = at.stage, run.recipe.stages[at.stage], run.recipe
    captioner, standing = beginning(run, number), Standing()
    optimizer = optimizer_of(captioner, stage)
    if found is not None:
        captioner.model.load_state_dict(found.weights)
        optimizer.load_state_dict(found.rest["optimizer"])
        standing = Standing(found.position.best, found.rest["is_over"])
    update = _steps(run, number, captioner, paying)
    before, total, entries = run.before(number), run.steps(number), run.entries(number)
    for step in range(at.step, total):
        if standing.is_over:
            break
        row: dict[str, Any] = {}
        if step == 0 and isinstance(stage, SelfCritical):
            assert paying is not None  # `train` makes it for such a stage
            row |= {"paid_by": paying.train.name, "before": validate(run, captioner, paying, before)}
        stepped = update(Place(recipe.seed, number, step, run.engine.rank, run.engine.world))
        shared = share(run.engine, stepped)
        loss, rate = shared.value, rate_of(stage, step, total, entries)
        if not math.isfinite(loss):
            raise diverged(f"loss {loss} in step {step} of stage {number}", checkpoints.newest(run.out))
        clip = clip_grad_norm_ if isinstance(stage, MaskedCaption) else clip_grad_value_
        move(run.engine, optimizer, shared.loss, rate, most=stage.most_gradient, clip=clip)
        if step % recipe.log_every == 0 or step + 1 == total:
            row |= {"loss": loss, "learning_rate": rate, **run.engine.first(stepped.numbers)}
            standing.is_over = isinstance(stage, SelfCritical) and stage.stop_at_alarm and bool(row["alarms"])
        is_end = step + 1 == total or standing.is_over
        is_best = False
        if is_end or is_due(stage, step, entries):
            row["validation"] = validate(run, captioner, paying, before + step + 1)
            cider = row["validation"]["cider"]
            is_best = standing.best is None or cider > standing.best.value
            standing.best = Best(before + step + 1, cider) if is_best else standing.best
        if row and run.journal is not None:
            seconds = time.monotonic() - run.began
            run.journal.write(before + step + 1, {"stage": number, **row, "seconds": seconds})
        if (step + 1) % recipe.save_every == 0 or is_end or is_best:
            save(run, before + step + 1, captioner, optimizer, standing)
        run.watch(Seen(f"{number + 1}. {stage.kind}", step + 1, total, _told(row)))
    return close(run, number, captioner, standing)


def optimizer_of(captioner: AutoregressiveCaptioner, stage: CaptionStage) -> torch.optim.Optimizer:
    """Of a stage, over what it moves."""
    if isinstance(stage, MaskedCaption):
        return adamw(captioner, stage)
    return torch.optim.Adam(captioner.model.parameters(), lr=stage.learning_rate, eps=1e-8)


def _told(row: dict[str, Any]) -> dict[str, float]:
    """The numbers of a row that are looked at while a run goes on; all are in metrics.jsonl."""
    names = {"cider", "reward", "length", "repetition"}
    short = {
        name: {key: number for key, number in value.items() if key in names}
        if isinstance(value, dict)
        else value
        for name, value in row.items()
        if name != "before"
    }
    return flat(short)


def _steps(
    run: Run, number: int, captioner: AutoregressiveCaptioner, paying: Paying | None
) -> CrossEntropySteps | MaskedSteps | SelfCriticalSteps:
    stage, part = run.recipe.stages[number], run.data.train
    if isinstance(stage, MaskedCaption):
        return MaskedSteps(captioner, each_caption(part), stage, run.recipe.words_read)
    if isinstance(stage, CrossEntropy):
        return CrossEntropySteps(captioner, part, stage, run.recipe.words_read)
    assert paying is not None  # `train` makes it for such a stage
    return SelfCriticalSteps(
        captioner,
        beginning(run, number),
        part,
        stage,
        paying.train,
        run.recipe.longest,
        run.data.nouns,
        run.language_model,
    )


class Shared(NamedTuple):
    """A process's part of a step's loss, such that the mean of all parts is the loss; and that mean."""

    loss: torch.Tensor
    value: float


def share(engine: Engine, stepped: Stepped) -> Shared:
    """The mean over the tokens of all processes."""
    tokens = engine.total(torch.tensor(float(stepped.tokens), device=engine.device)).item()
    part = stepped.loss * (stepped.tokens / tokens * engine.world)
    return Shared(part, engine.total(part).item() / engine.world)


def move(
    engine: Engine,
    optimizer: torch.optim.Optimizer,
    loss: torch.Tensor,
    rate: float,
    *,
    most: float,
    clip: Callable[[list[Parameter], float], Any] = clip_grad_value_,
) -> None:
    """Backward, mean over processes, clip by value or norm, one step of the optimizer."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    engine.average(parameters)
    clip(parameters, most)
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()


def save(
    run: Run, step: int, captioner: Captioner, optimizer: torch.optim.Optimizer, standing: Standing
) -> None:
    """A checkpoint after so many steps of all stages."""
    position = Position(
        step, asdict(run.recipe), run.identity, seconds=time.monotonic() - run.began, best=standing.best
    )
    rest = {"optimizer": optimizer.state_dict(), "is_over": standing.is_over}
    run.engine.first(lambda: checkpoints.save(run.out, captioner.model.state_dict(), rest, position))


def beginning(run: Run, stage: int) -> AutoregressiveCaptioner:
    """The captioner as it is before a stage: that which the stage before kept, or the recipe's."""
    if stage > 0:
        return open_captioner(stage_directory(run, stage - 1), device=str(run.engine.device))
    return first_captioner(run.recipe, run.data, device=str(run.engine.device))


def validate(run: Run, captioner: Captioner, paying: Paying | None, step: int) -> dict[str, Any]:
    """Greedy captions of the validation images: CIDEr-D (of words without punctuation), reward, and how they read.

    `out/validation/STEP.jsonl` keeps them and references.jsonl those of people: `alignscope probe texts` makes all
    other metrics of them (paper C's Table 1).
    """
    return run.engine.first(lambda: _validated(run, captioner, paying, step))


def _validated(run: Run, captioner: Captioner, paying: Paying | None, step: int) -> dict[str, Any]:
    part = run.data.validation
    said = speak(captioner, part.sights, longest=run.recipe.longest)
    write_said(run.out / VALIDATION / f"{step:06d}.jsonl", part, said.texts)
    references = [_words(texts) for texts in part.captions]
    found: dict[str, Any] = {"cider": run.cider.scores(_words(said.texts), references).mean().item()}
    if paying is not None:
        found["reward"] = paying.validation(range(len(part)), said.texts).mean().item()
    reads = wording(said.texts, cut=said.cut, nouns=run.data.nouns, model=run.language_model)
    return {**found, **vars(reads)}


def _words(texts: Sequence[str]) -> list[list[str]]:
    return [words_of(text) for text in texts]


def stage_directory(run: Run, stage: int) -> Path:
    """Where the captioner lies that a stage kept."""
    return run.out / "stages" / f"{stage + 1}-{run.recipe.stages[stage].kind}"


def close(
    run: Run, number: int, captioner: AutoregressiveCaptioner, standing: Standing
) -> AutoregressiveCaptioner:
    """The captioner that a stage keeps, saved; doing it again changes nothing."""
    if run.recipe.stages[number].keep == "best" and standing.best is not None:
        place = checkpoints.at(run.out, standing.best.step)
        best = checkpoints.load(place, recipe=asdict(run.recipe), data=run.identity)
        captioner.model.load_state_dict(best.weights)
    captioner.model.eval()
    run.engine.first(lambda: save_captioner(captioner, stage_directory(run, number)))
    return captioner


def write_said(path: Path, part: Part, texts: Sequence[str]) -> None:
    """A caption for each image, as `alignscope` reads them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_jsonl(path, ({"image": key, "caption": text} for key, text in zip(part.keys, texts, strict=True)))


def write_references(path: Path, part: Part) -> None:
    """All captions of each image, one a row."""
    path.parent.mkdir(parents=True, exist_ok=True)
    texts = zip(part.keys, part.captions, strict=True)
    write_jsonl(path, ({"image": key, "caption": text} for key, said in texts for text in said))


def finish(run: Run, captioner: AutoregressiveCaptioner, scorers: Mapping[str, str]) -> Path:
    """Save the captioner in its final form, how it was made, and what it says of the test images."""
    directory, test = run.out / "model", run.data.test
    save_captioner(captioner, directory)
    said = speak(captioner, test.sights, longest=run.recipe.longest)
    write_said(run.out / "captions.jsonl", test, said.texts)
    made = {
        "recipe": asdict(run.recipe),
        "recipe_sha": sha_of(run.recipe),
        "data": run.data.sha,
        "scorers": dict(scorers),  # and their fingerprints
        "images_without_captions": run.data.left_out,
        "seconds": round(time.monotonic() - run.began, 1),
        "torch": torch.__version__,
        "threads": run.recipe.threads,
        "processes": run.engine.world,
        "device": run.engine.device.type,
    }
    write_json(directory / "training.json", made)
    return directory
