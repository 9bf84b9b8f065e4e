"""Steps of a captioner's training: cross-entropy with scheduled sampling, and self-critical ones.

Every random draw of a step (images, captions, dropout, samples) is a function of seed, stage and step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, final

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from alignscope.language.ngrams import Model
from alignscope.models.captioners.decoding import mask_of
from alignscope.models.captioners.protocol import Captioner, Generated
from alignscope.training.captioners import cut_of
from alignscope.training.captioning_material import Part
from alignscope.training.recipe import CaptionStage, CrossEntropy, MaskedCaption, SelfCritical
from alignscope.training.rewards import Reward
from alignscope.training.selfcritical import (
    over_greedy,
    over_the_others,
    self_critical_loss,
    token_divergence,
)
from alignscope.training.wording import Wording, wording

DROPOUT, IMAGES, WORDS = range(3)
"""What is drawn in a step, each from a source of its own."""


class Place(NamedTuple):
    """A step of a stage under a seed, in one of several processes that share its images."""

    seed: int
    stage: int
    step: int
    rank: int = 0
    world: int = 1

    def drawn(self, what: int) -> int:
        """The seed of one of the things that are drawn in this step."""
        state = np.random.SeedSequence([self.seed, self.stage, self.step, self.rank, what]).generate_state(
            1, np.uint64
        )
        return int(state[0] >> 1)


class Stepped(NamedTuple):
    """The loss of a step before anything has moved, of how many tokens it is the mean, and what can be told
    once they have moved."""

    loss: Float[Tensor, ""]
    tokens: int
    numbers: Callable[[], dict[str, Any]]


def epoch_of(stage: CaptionStage, step: int, images: int) -> int:
    """In which pass over the images a step begins; one may end in the middle of a step."""
    return step * stage.images // images


def steps_of(stage: CaptionStage, images: int) -> int:
    """How many steps a stage has."""
    return stage.steps or -(-stage.epochs * images // stage.images)


def learning_rate(stage: CrossEntropy | SelfCritical, epoch: int) -> float:
    """Of an epoch: lower by a factor every few (sheet A.3), or constant.

    >>> paper = CrossEntropy("cross-entropy", epochs=30)
    >>> [f"{learning_rate(paper, epoch):.3g}" for epoch in (0, 2, 3, 29)]
    ['0.0005', '0.0005', '0.0004', '6.71e-05']
    """
    if isinstance(stage, SelfCritical):
        return stage.learning_rate
    return stage.learning_rate * stage.decay ** (epoch // stage.decay_every)


def rate_of(stage: CaptionStage, step: int, total: int, entries: int) -> float:
    """The learning rate of a step; of masked-caption training it falls in a line (sheet C.2).

    >>> official = MaskedCaption("masked-caption", learning_rate=1.0)
    >>> [rate_of(official, step, 4, 100) for step in range(4)]
    [1.0, 0.75, 0.5, 0.25]
    """
    if isinstance(stage, MaskedCaption):
        return stage.learning_rate * (total - step) / total
    return learning_rate(stage, epoch_of(stage, step, entries))


def is_due(stage: CaptionStage, step: int, entries: int) -> bool:
    """Whether to validate after a step: every so many, or (0) where a pass over all entries ends."""
    if stage.validate_every:
        return (step + 1) % stage.validate_every == 0
    return epoch_of(stage, step + 1, entries) > epoch_of(stage, step, entries)


def scheduled_sampling(stage: CrossEntropy, epoch: int) -> float:
    """The chance that a word read is the captioner's own (Bengio et al. 2015; sheet A.3).

    >>> paper = CrossEntropy("cross-entropy", epochs=30)
    >>> [round(scheduled_sampling(paper, epoch), 2) for epoch in (0, 4, 5, 24, 25, 29)]
    [0.0, 0.0, 0.05, 0.2, 0.25, 0.25]
    """
    return min(stage.sampling * (epoch // stage.sampling_every), stage.most_sampling)


def images_of(place: Place, size: int, images: int) -> list[int]:
    """A process's share of a step's images: pass after pass over all of them, each in an order of its own."""
    first = place.step * size
    return [
        int(_order(place.seed, place.stage, at // images, images)[at % images])
        for at in range(first + place.rank, first + size, place.world)
    ]


@lru_cache(maxsize=4)
def _order(seed: int, stage: int, epoch: int, images: int) -> np.ndarray:
    return np.random.default_rng([seed, stage, epoch, IMAGES]).permutation(images)


def captions_of(part: Part, images: Sequence[int], count: int, place: Place) -> list[str]:
    """Captions of each image, none twice unless it has fewer."""
    found: list[str] = []
    for image in images:
        random = np.random.default_rng([place.seed, place.stage, place.step, image, IMAGES])
        own = part.captions[image]
        found += [own[at] for at in random.choice(len(own), size=count, replace=len(own) < count)]
    return found


@final
@dataclass(frozen=True)
class CrossEntropySteps:
    """-log p of each word and the end given those before it, on the mean over all that are no padding."""

    captioner: Captioner
    part: Part
    stage: CrossEntropy
    words_read: int

    def __call__(self, place: Place) -> Stepped:
        stage, captioner = self.stage, self.captioner
        images = images_of(place, stage.images, len(self.part))
        chance = scheduled_sampling(stage, epoch_of(stage, place.step, len(self.part)))
        torch.manual_seed(place.drawn(DROPOUT))
        captioner.model.train()
        texts = captions_of(self.part, images, stage.captions, place)
        ids = captioner.vocabulary.ids(texts, max_length=self.words_read)
        logprobs = captioner.logprob(
            captioner.features([self.part.sights[image] for image in images]),
            ids,
            scheduled_sampling=chance,
            generator=generator_on(captioner, place),
        )
        tokens = int(mask_of(ids, captioner.vocabulary.end).sum())
        return Stepped(-logprobs.sum() / tokens, tokens, lambda: {"scheduled_sampling": chance})


@final
@dataclass(frozen=True)
class SelfCriticalSteps:
    """Samples paid above the greedy caption of their image, or above the image's other samples.

    `start` is the captioner as it was before the stage, and is never moved.
    """

    captioner: Captioner
    start: Captioner
    part: Part
    stage: SelfCritical
    reward: Reward
    longest: int
    nouns: frozenset[str]
    language_model: Model | None

    def __call__(self, place: Place) -> Stepped:
        stage, captioner = self.stage, self.captioner
        images = images_of(place, stage.images, len(self.part))
        features = captioner.features([self.part.sights[image] for image in images])
        with torch.no_grad(), captioner.evaluating():
            greedy = captioner.generate(features, max_length=self.longest)
        torch.manual_seed(place.drawn(DROPOUT))
        captioner.model.train()
        samples = captioner.generate(
            features,
            how="sample",
            count=stage.samples,
            max_length=self.longest,
            generator=generator_on(captioner, place),
        )
        of_sample = [image for image in images for _ in range(stage.samples)]
        paid = self.reward([*of_sample, *images], [*samples.texts, *greedy.texts])
        rewards = rearrange(paid[: len(of_sample)], "(image sample) -> image sample", sample=stage.samples)
        of_greedy = paid[len(of_sample) :]
        above = over_greedy(rewards, of_greedy) if stage.baseline == "greedy" else over_the_others(rewards)
        advantages = rearrange(above, "image sample -> (image sample)").to(samples.logprobs.device)
        loss = self_critical_loss(samples.logprobs, samples.mask, advantages)

        def numbers() -> dict[str, Any]:
            found = self.worded(samples)
            return {
                "reward": rewards.mean().item(),
                "reward_of_greedy": of_greedy.mean().item(),
                "advantage_spread": above.std().item() if above.numel() > 1 else 0.0,
                "kl_to_start": self._divergence(features, samples),
                "samples": vars(found),
                "greedy": vars(self.worded(greedy)),
                "alarms": alarms(found, stage),
            }

        return Stepped(loss, int(samples.mask.sum()), numbers)

    def worded(self, captions: Generated) -> Wording:
        """How captions read."""
        return wording(
            captions.texts,
            cut=cut_of(captions, self.captioner.vocabulary.end),
            nouns=self.nouns,
            model=self.language_model,
        )

    def _divergence(self, features: Any, samples: Generated) -> float:
        """Of the captioner now from that at the start, per token of the samples, both without dropout."""
        with torch.no_grad(), self.captioner.evaluating():
            now = self.captioner.logprob(features, samples.ids)
            before = self.start.logprob(features, samples.ids)
        return token_divergence(now, before, samples.mask).item()


def alarms(found: Wording, stage: SelfCritical) -> list[str]:
    """What of a step's samples says that captions have collapsed, in words.

    >>> stage = SelfCritical("self-critical", reward=())
    >>> alarms(wording(["a moon by a moon", "a box"], cut=[True, True]), stage)
    ['cut is 1 of the samples, above 0.5']
    """
    seen = (("repetition", found.repetition, stage.most_repetition), ("cut", found.cut, stage.most_cut))
    return [
        f"{name} is {share:.3g} of the samples, above {most:g}" for name, share, most in seen if share > most
    ]


def generator_on(captioner: Captioner, place: Place) -> torch.Generator:
    """Where the words of a step come from, on the captioner's device."""
    return torch.Generator(captioner.model.device).manual_seed(place.drawn(WORDS))
