"""What a fine-tuning says: of its data before it begins, then its numbers as rows, curves and a live line."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, final

from alignscope.attribution.options import Method
from alignscope.errors import BadInput
from alignscope.files import write_json, write_jsonl
from alignscope.training.checkpoints import Position
from alignscope.training.metrics import Journal, Seen, Watch
from alignscope.training.pairs import Pairs
from alignscope.training.settings import FineTuning
from alignscope.training.step import Heard, Taken
from alignscope.training.validation import Validation

STAGE = "training"


def told(recipe: FineTuning, pairs: Pairs, out: Path, watch: Watch) -> None:
    """Write and tell what the data allow; a loss that could use no caption at all stops here."""
    out.mkdir(parents=True, exist_ok=True)
    write_jsonl(out / "problems.jsonl", pairs.problems)
    if pairs.problems:
        actions = Counter(problem.action for problem in pairs.problems)
        count = actions.total()
        numbers = {"left out": actions["unscored"], "handled": actions["handled"]}
        watch(Seen("problems.jsonl", count, count, numbers))
    if recipe.attribution is None or pairs.coverage is None:
        return
    if recipe.attribution.weight == "matched" and recipe.warmup >= pairs.source.steps:
        raise BadInput(
            f"attribution.weight is matched after a warm-up of {recipe.warmup} steps, and the run has "
            f"{pairs.source.steps}: give more epochs, a shorter warm-up or a number as weight"
        )
    found = pairs.coverage
    write_json(out / "coverage.json", asdict(found))
    watch(Seen("captions", found.captions, found.captions, found.shares()))
    if not found.with_both and (recipe.attribution.weight == "matched" or recipe.contrastive == 0):
        hence = "its weight cannot be matched" if recipe.contrastive else "nothing would be trained"
        raise BadInput(
            f"valid share 0: none of {found.captions} captions has both an object and a relation or attribute, "
            f"so the attribution loss has nothing to compare and {hence}: give other captions, or leave "
            "[attribution] out"
        )


@final
class Log:
    """Tells the watch of every step and writes a row of the first, the last and every `every`-th.

    Without a directory nothing is written: another process does. Speed is measured between rows.
    """

    def __init__(
        self, out: Path | None, *, begins: int, steps: int, every: int, tensorboard: bool, watch: Watch
    ) -> None:
        self._journal = Journal(out, step=begins, tensorboard=tensorboard) if out is not None else None
        self._steps, self._every, self._watch = steps, every, watch
        self._since, self._pairs = time.monotonic(), 0

    def step(self, at: Position, taken: Taken, numbers: Mapping[str, float | int | None]) -> bool:
        """A step was taken; returns whether it has a row. `numbers` are what the step itself does not know."""
        self._pairs += taken.pairs
        is_logged = at.step == 1 or at.step % self._every == 0 or at.step == self._steps
        if not is_logged:
            self._watch(Seen(STAGE, at.step, self._steps))
            return False
        now = time.monotonic()
        speed = self._pairs / max(now - self._since, 1e-9)
        self._since, self._pairs = now, 0
        row = row_of(at, taken, numbers, speed)
        self._write(at.step, row)
        self._watch(Seen(STAGE, at.step, self._steps, live(row)))
        return True

    def weight(self, step: int, weight: float, contrastive: float, attribution: float) -> None:
        """Lambda was matched to these mean gradient norms; `step` is the first that is taken with it."""
        norms = {"contrastive": contrastive, "attribution": attribution}
        self._write(step, {"lambda": weight, "gradient_norms": norms})
        self._watch(Seen("lambda", 1, 1, {"lambda": weight, **{f"norm {k}": n for k, n in norms.items()}}))

    def validation(self, step: int, found: Validation) -> None:
        """The held-out pairs were looked at."""
        self._write(step, {"validation": found.numbers()})
        seen = {"R@1": found.value, "loss": found.contrastive}
        if found.problems:
            seen["unreadable"] = len(found.problems)
        self._watch(Seen("validation", found.pairs, found.pairs, seen))
        self._since, self._pairs = time.monotonic(), 0

    def close(self) -> None:
        """Nothing is written afterwards."""
        if self._journal is not None:
            self._journal.close()

    def _write(self, step: int, row: Mapping[str, Any]) -> None:
        if self._journal is not None:
            self._journal.write(step, row)


def row_of(
    at: Position, taken: Taken, numbers: Mapping[str, float | int | None], speed: float
) -> dict[str, Any]:
    """All that is known of a step; what a method could not measure is None."""
    heard = taken.attribution

    def each(number: Callable[[Heard], float | None]) -> dict[Method, float | None]:
        return {method: number(one) for method, one in heard.items()}

    return {
        "loss": taken.loss,
        "contrastive": taken.contrastive,
        "attribution": each(lambda one: one.value),
        "valid": each(lambda one: one.valid),
        "objects": each(lambda one: one.object_mean),
        "composition": each(lambda one: one.composition_mean),
        "gap": each(gap),
        "lambda": at.weight,
        "distillation": taken.distillation,
        "own_foils": taken.own_foils,
        "truncated": taken.truncated / taken.pairs,
        **numbers,
        "samples_per_second": speed,
        "seconds": at.seconds,
        "unreadable": at.unreadable,
    }


def gap(heard: Heard) -> float | None:
    """Mean heat of objects less that of relations and attributes."""
    if heard.object_mean is None or heard.composition_mean is None:
        return None
    return heard.object_mean - heard.composition_mean


def live(row: Mapping[str, Any]) -> dict[str, float]:
    """The few numbers of a row that are told while the run goes on; of several methods each its own."""
    found = {"loss": row["loss"]}
    several = len(row["attribution"]) > 1
    for name, column in (("L_attr", "attribution"), ("gap", "gap"), ("valid", "valid")):
        for method, value in row[column].items():
            if value is not None:
                found[f"{name} {method}" if several else name] = value
    if row["truncated"]:
        found["captions cut"] = row["truncated"]
    if row["foils_per_pair"] is not None:
        found["foils/pair"] = row["foils_per_pair"]
    found |= {"lr": row["learning_rate"], "samples/s": row["samples_per_second"]}
    if row["unreadable"]:
        found["unreadable"] = row["unreadable"]
    return found
