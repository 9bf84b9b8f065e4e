"""The reward that a recipe names, on the images of each split."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from alignscope.errors import BadData
from alignscope.evaluation.cider import Cider
from alignscope.evaluation.measures import MEASURES, values_of
from alignscope.models.captioners.vocabulary import words_of
from alignscope.models.protocols import PairScorer
from alignscope.models.zoo import open_model
from alignscope.training.captioning_material import Material, Part
from alignscope.training.metrics import Seen, Watch
from alignscope.training.recipe import Captioning, CiderPlan, MeasurePlan, ScorerPlan, SelfCritical
from alignscope.training.rewards import Measured, Mixed, Reward, ScorerReward

ENDED = "</s>"


class Paying(NamedTuple):
    """The reward of a stage on the images that are trained on, and on those of the validation."""

    train: Reward
    validation: Reward


def scorers_of(recipe: Captioning, *, device: str) -> dict[str, PairScorer]:
    """The models that rewards name, each opened once."""
    plans = [plan for stage in recipe.stages if isinstance(stage, SelfCritical) for plan in stage.reward]
    names = dict.fromkeys(plan.model for plan in plans if isinstance(plan, ScorerPlan))
    return {name: open_model(name, device=device) for name in names}


def payment(
    stage: SelfCritical, data: Material, scorers: Mapping[str, PairScorer], *, longest: int, watch: Watch
) -> Paying:
    """The rewards of a stage; what can be computed of images alone is computed now."""
    cider = None
    if any(isinstance(plan, CiderPlan) for plan in stage.reward):
        cider = Cider.of([_ended(said) for said in data.train.captions])

    def of(part: Part) -> Reward:
        parts: list[tuple[float, Reward]] = []
        for plan in stage.reward:
            if isinstance(plan, CiderPlan):
                assert cider is not None
                parts.append((plan.weight, Measured("CIDEr-D", _cider_of(cider, part, longest))))
            elif isinstance(plan, MeasurePlan):
                parts.append((plan.weight, Measured(plan.name, _measure_of(plan.name, part))))
            else:
                model = scorers[plan.model]
                reward = ScorerReward(
                    model,
                    data.pictures(model, part),
                    space=plan.space,
                    scale=plan.scale,
                    progress=lambda done, of: watch(Seen("images of the reward", done, of)),
                )
                parts.append((plan.weight, reward))
        return Mixed(tuple(parts))

    return Paying(of(data.train), of(data.validation))


def _cider_of(
    cider: Cider, part: Part, longest: int
) -> Callable[[Sequence[int], Sequence[str]], list[float]]:
    """CIDEr-D in which the end is a word, as in Luo's code, so that ending well is paid; a caption of the
    longest length has none."""
    references = [_ended(said) for said in part.captions]

    def measure(images: Sequence[int], texts: Sequence[str]) -> list[float]:
        said = [words_of(text) for text in texts]
        rows = [words if len(words) >= longest else [*words, ENDED] for words in said]
        return cider.scores(rows, [references[image] for image in images]).tolist()

    return measure


def _measure_of(name: str, part: Part) -> Callable[[Sequence[int], Sequence[str]], list[float]]:
    """Another package's measure against the image's own captions; a caption it has no number for is refused."""

    def measure(images: Sequence[int], texts: Sequence[str]) -> list[float]:
        values = values_of(name, texts, [part.captions[image] for image in images])
        if not np.isfinite(values).all():
            said = texts[int(np.flatnonzero(~np.isfinite(values))[0])]
            raise BadData(
                f"the measure '{name}' of {MEASURES.source(name)} has no number for the caption {said!r}: "
                "a reward needs one for every caption, also for an empty one"
            )
        return [float(value) for value in values]

    return measure


def _ended(texts: Sequence[str]) -> list[list[str]]:
    return [[*words_of(text), ENDED] for text in texts]
