"""Pairs that are not trained on, looked at now and then: retrieval, losses, the gap of the heats, foils.

Everything is computed in evaluation mode and without graphs, so that looking changes no weight.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float
from PIL.Image import Image
from torch import Tensor

from alignscope.attribution.options import Method
from alignscope.data.images import decode_image
from alignscope.errors import BadData, BadImage
from alignscope.evaluation.retrieval import IMAGE_TO_TEXT, TEXT_TO_IMAGE, ranks
from alignscope.models.protocols import DualEncoder
from alignscope.records import Caption, Problem
from alignscope.training.cae import attribution_losses
from alignscope.training.losses import contrastive_loss, sigmoid_loss
from alignscope.training.metrics import Seen, Watch, nobody
from alignscope.training.plans import StepPlan
from alignscope.training.samples import Sample, Samples, StreamedSample

EACH = 64
"""Images that are open at a time."""


@dataclass(frozen=True)
class Held:
    """The pairs that are looked at each time, and how their images are opened."""

    samples: tuple[Sample, ...]
    opener: Callable[[str], Image]

    @classmethod
    def of_stream(cls, found: Sequence[StreamedSample], captions: Sequence[Caption]) -> Held:
        """Samples whose images lie in memory, with their captions as they are now."""
        samples = [replace(one.sample, caption=said) for one, said in zip(found, captions, strict=True)]
        return cls(tuple(samples), _Bytes({one.sample.image: one.content for one in found}))


@final
@dataclass(frozen=True, eq=False)
class _Bytes:
    """Opens images by the bytes they came as."""

    contents: Mapping[str, bytes]

    def __call__(self, key: str) -> Image:
        return decode_image(self.contents[key], key).image


@dataclass(frozen=True)
class Validation:
    """What a validation found; None where the data or the recipe have nothing to measure.

    A method's `attribution` is its loss and its `gap` the mean heat of objects less that of relations and
    attributes, over the captions that have both. A foil that ties with its caption counts against the model.
    """

    contrastive: float
    image_to_text: float  # recall at 1
    text_to_image: float
    attribution: Mapping[Method, float | None]
    gap: Mapping[Method, float | None]
    foils: float | None  # share of the data's own foils that score below their caption
    pairs: int
    problems: tuple[Problem, ...]

    @property
    def value(self) -> float:
        """What the best checkpoint is best in."""
        return (self.image_to_text + self.text_to_image) / 2

    def numbers(self) -> dict[str, Any]:
        """As a row says it."""
        return {
            "contrastive": self.contrastive,
            "recall@1": {"image to text": self.image_to_text, "text to image": self.text_to_image},
            "attribution": dict(self.attribution),
            "gap": dict(self.gap),
            "foils": self.foils,
            "pairs": self.pairs,
            "unreadable": len(self.problems),
            "unreadable_images": {problem.item: problem.what for problem in self.problems},
        }


@dataclass(frozen=True)
class _Embedded:
    """The pairs whose image opened, each image once."""

    samples: tuple[Sample, ...]
    keys: tuple[str, ...]
    images: Float[Tensor, "image dim"]
    texts: Float[Tensor, "pair dim"]
    of_pair: tuple[int, ...]  # row of a pair's image
    problems: tuple[Problem, ...]


def held(samples: Samples, *, pairs: int, seed: int) -> Held:
    """So many pairs drawn once by the seed, in the order of the data."""
    chosen = np.random.default_rng([seed, len(samples)]).permutation(len(samples))[:pairs]
    return Held(tuple(samples.draw(place, 0) for place in sorted(chosen.tolist())), samples.image)


def validate(
    encoder: DualEncoder, data: Held, plan: StepPlan, *, batch: int, watch: Watch = nobody
) -> Validation:
    """All numbers of the held-out pairs; losses in parts of about `batch` pairs, as training has them."""
    found = _embedded(encoder, data, watch)
    count = len(found.samples)
    parts = np.array_split(np.arange(count), math.ceil(count / batch))
    all_ranks = ranks(found.images, found.texts, found.of_pair, found.keys)
    first = {
        direction: [rank.rank == 1 for rank in all_ranks if rank.direction == direction]
        for direction in (IMAGE_TO_TEXT, TEXT_TO_IMAGE)
    }
    losses, gaps = _heard(encoder, found, plan, parts)
    return Validation(
        contrastive=sum(_contrastive(encoder, found, plan, part) * len(part) for part in parts) / count,
        image_to_text=sum(first[IMAGE_TO_TEXT]) / len(first[IMAGE_TO_TEXT]),
        text_to_image=sum(first[TEXT_TO_IMAGE]) / len(first[TEXT_TO_IMAGE]),
        attribution=losses,
        gap=gaps,
        foils=_foils_below(encoder, found),
        pairs=count,
        problems=found.problems,
    )


def _embedded(encoder: DualEncoder, data: Held, watch: Watch) -> _Embedded:
    """Embeddings of all that opens; what does not is a problem."""
    users: dict[str, str] = {sample.image: sample.caption.text for sample in data.samples}
    rows: dict[str, int] = {}
    vectors, problems, keys = [], [], list(users)
    for start in range(0, len(keys), EACH):
        opened: dict[str, Image] = {}
        for key in keys[start : start + EACH]:
            try:
                opened[key] = data.opener(key)
            except BadImage as error:
                problems.append(Problem(key, users[key], str(error), "unscored"))
        rows |= {key: len(rows) + place for place, key in enumerate(opened)}
        vectors.append(encoder.encode_images(list(opened.values()), batch_size=EACH))
        watch(Seen("validation", min(start + EACH, len(keys)), len(keys)))
    samples = tuple(sample for sample in data.samples if sample.image in rows)
    if len(samples) < 2:
        raise BadData(
            f"{len(samples)} of {len(data.samples)} validation pairs have an image that opens, wanted 2 or "
            f"more{f' (first: {problems[0].what})' if problems else ''}: check [validation]"
        )
    texts = encoder.encode_texts([sample.caption.text for sample in samples])
    places = tuple(rows[sample.image] for sample in samples)
    return _Embedded(samples, tuple(rows), torch.cat(vectors), texts, places, tuple(problems))


def _contrastive(encoder: DualEncoder, found: _Embedded, plan: StepPlan, part: np.ndarray) -> float:
    """The loss of some pairs without foils, of the kind that is trained."""
    images, texts = found.images[[found.of_pair[pair] for pair in part]], found.texts[part]
    scale, bias = (torch.tensor(number) for number in (encoder.traits.scale, encoder.traits.bias))
    if plan.loss == "sigmoid":
        return sigmoid_loss(images, texts, scale, bias).item()
    return contrastive_loss(images, texts, scale).item()


def _heard(
    encoder: DualEncoder, found: _Embedded, plan: StepPlan, parts: Sequence[np.ndarray]
) -> tuple[dict[Method, float | None], dict[Method, float | None]]:
    """Attribution loss and gap of every method of the plan, means over the captions with both sides."""
    if plan.objective is None:
        return {}, {}
    losses: dict[Method, list[tuple[float, int]]] = {method: [] for method in plan.objective.methods}
    gaps: dict[Method, list[tuple[float, int]]] = {method: [] for method in plan.objective.methods}
    device = encoder.embed_tokens(encoder.tokens(["a"])).device
    with torch.no_grad(), encoder.evaluating():
        for part in parts:
            captions = [found.samples[pair].caption for pair in part]
            images = found.images[[found.of_pair[pair] for pair in part]].to(device)
            heard = attribution_losses(
                encoder, captions, images, objective=plan.objective, candidates=plan.candidates
            )
            for method, one in heard.items():
                if one.object_mean is not None and one.composition_mean is not None:
                    losses[method].append((one.value.item(), one.captions))
                    gaps[method].append((one.object_mean - one.composition_mean, one.captions))
    return {m: _mean(values) for m, values in losses.items()}, {
        m: _mean(values) for m, values in gaps.items()
    }


def _foils_below(encoder: DualEncoder, found: _Embedded) -> float | None:
    """Share of foils with a lower cosine than their own caption with the same image."""
    pairs = [(pair, foil) for pair, sample in enumerate(found.samples) for foil in sample.foils]
    if not pairs:
        return None
    owner = [pair for pair, _ in pairs]
    images = found.images[[found.of_pair[pair] for pair in owner]]
    foils = encoder.encode_texts([foil for _, foil in pairs])
    return ((images * found.texts[owner]).sum(-1) > (images * foils).sum(-1)).float().mean().item()


def _mean(values: Sequence[tuple[float, int]]) -> float | None:
    """Mean of (value, weight)."""
    total = sum(weight for _, weight in values)
    return sum(value * weight for value, weight in values) / total if total else None
