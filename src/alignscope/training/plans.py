"""What a step is asked to do: its losses, their weights and what they need."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from torch import Tensor

from alignscope.attribution.options import Options
from alignscope.language.replacements import Candidates
from alignscope.models.dual.encoder import TransformersDualEncoder
from alignscope.models.dual.families import family
from alignscope.records import Caption
from alignscope.training.cae import Objective
from alignscope.training.settings import AttributionPlan, FineTuning

Distillation = Callable[[Tensor, Sequence[Caption]], Tensor]
"""A further loss of image embeddings on the graph and their captions: a mean over the captions."""


@dataclass(frozen=True)
class StepPlan:
    """The losses of a step and their weights; `micro_batch` pairs are in the towers at a time, 0: all."""

    loss: Literal["softmax", "sigmoid"] = "softmax"
    contrastive: float = 1.0
    objective: Objective | None = None
    weight: float = 0.0  # lambda
    candidates: Candidates | None = None
    distillation: Distillation | None = None
    distillation_weight: float = 1.0
    micro_batch: int = 0
    foil_form: Literal["texts", "own"] = "texts"  # foils are texts for all images, or for their pair's alone
    foil_weight: float = 1.0  # of the pairs' own
    frozen: Mapping[str, Tensor] | None = None  # embeddings of images by key, where they stand still

    def at(self, step: int, *, weight: float) -> StepPlan:
        """The plan of one step: with the lambda that holds by then, and replacements of its own."""
        if self.objective is None:
            return replace(self, weight=weight)
        heats = self.objective.heats
        drawn = replace(heats, seed=heats.seed + step)
        return replace(self, weight=weight, objective=replace(self.objective, heats=drawn))


def step_plan(
    run: FineTuning,
    encoder: TransformersDualEncoder,
    *,
    weight: float = 0.0,
    candidates: Candidates | None = None,
    distillation: Distillation | None = None,
) -> StepPlan:
    """What a recipe asks of each step; `weight` is lambda, given because it may have been matched."""
    has_bias = family(encoder.model.config.model_type).bias is not None
    loss = run.loss if run.loss != "model" else "sigmoid" if has_bias else "softmax"
    return StepPlan(
        loss=loss,
        contrastive=run.contrastive,
        objective=objective_of(run.attribution, seed=run.seed) if run.attribution else None,
        weight=weight,
        candidates=candidates,
        distillation=distillation,
        distillation_weight=run.distillation.weight if run.distillation else 0.0,
        micro_batch=run.micro_batch,
        foil_form="own" if run.negatives and run.negatives.form == "own" else "texts",
        foil_weight=run.negatives.weight if run.negatives else 1.0,
    )


def objective_of(plan: AttributionPlan, *, seed: int) -> Objective:
    """The attribution loss of a recipe; the seed is that of `perturbation`'s replacements."""
    heats = Options(
        layers=plan.layers,
        temperature=plan.temperature,
        draws=plan.draws,
        normalize=plan.normalize,
        seed=1_000_003 * seed,  # to which the step is added
    )
    return Objective(
        plan.methods,
        unit=plan.unit,
        margin=plan.margin,
        trains_image=plan.trains_image,
        heats=heats,
        units=plan.units,
        anchored=plan.anchored,
    )
