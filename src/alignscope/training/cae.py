"""Composition attribution enhancement: a loss on which words a text embedding heeds (paper B, section 3.3).

Per caption the mean heat of its objects may not exceed that of its relations and attributes (eq. 5); the
heats are those of the attribution room, on the graph. What the paper leaves open (sheet B.1, B.5): the mean
runs over the captions that have both sides, and the weight beside the contrastive loss is set so that the
gradients of the two have a stated ratio. The scale of the score is a constant in every heat, so that the
loss cannot be lowered by shrinking it.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from alignscope.attribution.attribute import normalised
from alignscope.attribution.options import Method, Options
from alignscope.attribution.perturbation import perturbation
from alignscope.attribution.relevance import wide
from alignscope.attribution.tokens import TextPass, counted, heats_of, require
from alignscope.attribution.tokens import text_forward as forward_of_tokens
from alignscope.attribution.words import Heats, merged, owners
from alignscope.errors import BadInput, LengthMismatch
from alignscope.language.replacements import Candidates
from alignscope.models.protocols import DualEncoder, Tokens
from alignscope.records import Caption, WordClass

Unit = Literal["token", "word"]
SIDES: Mapping[WordClass, int] = {"object": 1, "attribute": 2, "relation": 2}
"""1: what the loss pushes down; 2: what paper B calls composition. Other words have no side."""
FAINTEST = 1e-5
"""Least ratio of the two gradients that a weight is matched to."""
AS_THEY_ARE = Options(normalize="none")


@dataclass(frozen=True)
class Objective:
    """Which heats are compared and how; the defaults are the paper's with the open points of sheet B.1.

    methods: the mean of their losses, each in its own unit.
    unit: `token` takes a side's mean over tokens (the paper), `word` over words, whose tokens add up.
    margin: by how much composition has to exceed objects, in the unit of the heat; 0 in the paper.
    trains_image: whether the gradient reaches the image embeddings; never under `perturbation` (eq. 9).
    heats: options of the methods; not normalised, for the paper speaks of no sum.
    units: under `perturbation`, at most so many words of each side of a caption are replaced, drawn by
        caption and the seed of `heats`; 0: all (sheet B.3 suggests 1 as the cheap form).
    anchored: whether the objects' heat is left as it is, not pushed down; never so in the paper.
    """

    methods: tuple[Method, ...] = ("gradcam",)
    unit: Unit = "token"
    margin: float = 0.0
    trains_image: bool = True
    heats: Options = AS_THEY_ARE
    units: int = 0
    anchored: bool = False

    def __post_init__(self) -> None:
        if not self.methods or len(set(self.methods)) < len(self.methods):
            raise BadInput(f"methods {self.methods}: wanted one or more, each once")
        if not math.isfinite(self.margin):
            raise BadInput(f"margin is {self.margin}, wanted a finite number")
        if self.units < 0:
            raise BadInput(
                f"units is {self.units}, wanted 0 for every word or the most per side of a caption"
            )
        if "perturbation" in self.methods and self.heats.sums_to_one("perturbation"):
            raise BadInput(
                "heats of perturbation may be negative and add up to nearly 0, so a loss cannot divide by "
                "their sum: normalize by 'method' or 'none'"
            )


@dataclass(frozen=True)
class AttributionLoss:
    """The loss of a batch; the numbers beside `value` carry no graph and are None where no caption counts."""

    value: Float[Tensor, ""]
    total: Float[Tensor, ""]  # summed over these captions, to be divided by their number in all processes
    valid: float  # share of captions that have both sides
    captions: int  # how many have: what `value` is a mean over
    object_mean: float | None
    composition_mean: float | None
    above: float | None  # share of these captions whose objects have the higher mean


PAPER = Objective()


@dataclass(frozen=True)
class SideMeans:
    """Mean heat of either side, of the captions that have both."""

    objects: Float[Tensor, " valid"]
    composition: Float[Tensor, " valid"]
    share: float  # of all captions


class _Compared(NamedTuple):
    """Heats of tokens or words, and the side of each."""

    heats: Float[Tensor, "caption unit"]
    sides: Int[Tensor, "caption unit"]


def text_forward(model: DualEncoder, captions: Sequence[Caption], objective: Objective = PAPER) -> TextPass:
    """One pass of the captions whose `embeddings` serve the contrastive loss and whose rest `attribution_losses`.

    Eager where a method looks inside the tower. In float32 also under autocast; with a graph where
    gradients are on, else made without dropout.
    """
    require(model, objective.methods)
    tokens = model.tokens([caption.text for caption in captions])
    with without_autocast():
        return forward_of_tokens(
            model,
            tokens,
            methods=inner(objective),
            options=objective.heats,
            create_graph=torch.is_grad_enabled(),
        )


def attribution_losses(
    model: DualEncoder,
    captions: Sequence[Caption],
    image_embeddings: Float[Tensor, "caption dim"],
    *,
    objective: Objective = PAPER,
    candidates: Candidates | None = None,
    forward: TextPass | None = None,
) -> Mapping[Method, AttributionLoss]:
    """The loss of captions with the images beside them under each method, to be added to the contrastive one (eq. 6).

    Methods that look inside the tower share one pass, which `forward` is where the embeddings have another use
    too (`text_forward`). In float32 also under autocast; under `torch.no_grad` the same numbers, for validation.
    `image_embeddings` lie on the model's device; `candidates` are for `perturbation`.
    """
    if len(image_embeddings) != len(captions):
        raise LengthMismatch(
            f"{len(image_embeddings)} image embeddings for {len(captions)} captions: wanted one row per caption"
        )
    forward = forward or text_forward(model, captions, objective)
    if len(forward.tokens.ids) != len(captions):
        raise LengthMismatch(
            f"a forward of {len(forward.tokens.ids)} texts for {len(captions)} captions: "
            "wanted the one that `text_forward` made of them"
        )
    if torch.is_grad_enabled() and not forward.has_graph:
        raise BadInput(
            "a forward made without gradients for a loss with them: call both under `torch.no_grad` or neither"
        )
    images = image_embeddings if objective.trains_image else image_embeddings.detach()
    with without_autocast():
        images, options = wide(images), objective.heats
        owner = owners(model, forward.tokens, captions)
        compared: dict[Method, _Compared] = {}
        of_tokens = heats_of(forward, images, methods=inner(objective), options=options)
        for method, heats in of_tokens.items():
            if objective.unit == "token":
                heats = _shares(heats) if options.sums_to_one(method) else heats
                compared[method] = _Compared(heats, sides_of_tokens(captions, owner, forward.tokens))
            else:
                words = merged(model, forward.tokens, heats, captions)
                words = normalised(words) if options.sums_to_one(method) else words
                compared[method] = _of_words(words, captions)
        if "perturbation" in objective.methods:
            words = perturbation(
                model,
                captions,
                images,
                candidates=candidates,
                options=options,
                create_graph=torch.is_grad_enabled(),
                choice=lambda caption, places: drawn(caption, places, objective),
                forward=forward,
            )
            if objective.unit == "token":
                compared["perturbation"] = _spread(words, captions, owner, forward.tokens)
            else:
                compared["perturbation"] = _of_words(words, captions)
        how: dict[str, Any] = {"margin": objective.margin, "anchored": objective.anchored}
        return {method: margin_loss(*compared[method], **how) for method in objective.methods}


@contextmanager
def without_autocast() -> Iterator[None]:
    """Autocast is off while the `with` lasts, on whichever device it was on."""
    with ExitStack() as off:
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                off.enter_context(torch.autocast(kind, enabled=False))
        yield


def inner(objective: Objective) -> list[Method]:
    """The methods that look inside the text tower."""
    return [method for method in objective.methods if method != "perturbation"]


def drawn(caption: Caption, places: Sequence[int], objective: Objective) -> list[int]:
    """Of the words that can be perturbed, those that the loss asks for: none where a side would be missing."""
    sides = [[at for at in places if SIDES.get(caption.words[at].word_class) == side] for side in (1, 2)]
    if not all(sides):
        return []
    if objective.units:
        draw = random.Random(f"{objective.heats.seed}/{caption.text}")
        sides = [draw.sample(side, min(objective.units, len(side))) for side in sides]
    return [at for side in sides for at in side]


def margin_loss(
    heats: Float[Tensor, "caption unit"],
    sides: Int[Tensor, "caption unit"],
    *,
    margin: float = 0.0,
    anchored: bool = False,
) -> AttributionLoss:
    """max(mean heat of objects - mean heat of composition + margin, 0), averaged over captions with both.

    `sides` are numbers of `SIDES`, 0 for none. Without any such caption the loss is 0, its gradient too.
    `anchored` takes the objects' mean as it is, so that the loss falls by more composition alone (ours).

    >>> found = margin_loss(torch.tensor([[3.0, 1.0, 1.5], [9.0, 9.0, 9.0]]), torch.tensor([[1, 2, 2], [1, 1, 0]]))
    >>> found.value.item(), found.total.item(), found.valid, found.captions
    (1.75, 1.75, 0.5, 1)
    """
    means = side_means(heats, sides)
    objects = means.objects.detach() if anchored else means.objects
    return averaged((objects - means.composition + margin).relu(), means)


def side_means(heats: Float[Tensor, "caption unit"], sides: Int[Tensor, "caption unit"]) -> SideMeans:
    """Mean heat of objects and of composition, of the captions that have both."""
    is_object, is_composition = sides == 1, sides == 2
    has_both = is_object.any(dim=-1) & is_composition.any(dim=-1)
    rows = has_both.nonzero()[:, 0].to(heats.device)
    objects, composition = _means(heats, is_object)[rows], _means(heats, is_composition)[rows]
    return SideMeans(objects, composition, len(rows) / max(len(heats), 1))


def averaged(costs: Float[Tensor, " valid"], means: SideMeans) -> AttributionLoss:
    """The mean of the captions' costs, with the numbers that go with it."""
    total, count = costs.sum(), len(costs)
    value = total / max(count, 1)
    if not count:
        return AttributionLoss(value, total, means.share, 0, None, None, None)
    above = (means.objects > means.composition).to(costs).mean()
    numbers = torch.stack([means.objects.mean(), means.composition.mean(), above])
    return AttributionLoss(value, total, means.share, count, *numbers.detach().tolist())


def sides_of_tokens(
    captions: Sequence[Caption], owner: Int[Tensor, "caption token"], tokens: Tokens
) -> Int[Tensor, "caption token"]:
    """The side of every token: that of the word it belongs to (`owners`), 0 for special and padding tokens."""
    sides = F.pad(sides_of_words(captions), (1, 0))  # a token of no word has owner 0
    return sides.gather(1, owner) * counted(tokens)


def sides_of_words(captions: Sequence[Caption]) -> Int[Tensor, "caption word"]:
    """The side of every word, by its class; captions are filled up with 0."""
    longest = max((len(caption.words) for caption in captions), default=0)
    rows = [[SIDES.get(word.word_class, 0) for word in caption.words] for caption in captions]
    filled = [row + [0] * (longest - len(row)) for row in rows]
    return torch.tensor(filled).long().reshape(len(captions), longest)


def matched_weight(
    contrastive_norms: Sequence[float], attribution_norms: Sequence[float], *, ratio: float = 0.5
) -> float:
    """The weight of the attribution loss at which its gradient is `ratio` times the contrastive one's.

    The norms, over the text tower's parameters, are of the two losses of each batch and are averaged; a
    batch without a valid caption counts with 0.

    >>> matched_weight([8.0, 12.0], [10.0, 0.0], ratio=0.5)
    1.0
    """
    if not (math.isfinite(ratio) and ratio > 0):
        raise BadInput(f"ratio is {ratio}, wanted a number above 0")
    if len(contrastive_norms) != len(attribution_norms):
        raise LengthMismatch(
            f"{len(contrastive_norms)} contrastive and {len(attribution_norms)} attribution norms: "
            "wanted one of each per batch"
        )
    contrastive, attribution = sum(contrastive_norms), sum(attribution_norms)
    if not (math.isfinite(contrastive) and math.isfinite(attribution)):
        raise BadInput(
            f"summed gradient norms are {contrastive} (contrastive) and {attribution} (attribution): "
            "wanted finite ones; compute the attribution part in float32"
        )
    if attribution == 0:
        raise BadInput(
            "the attribution loss has no gradient in any batch, so no weight matches: are there captions "
            "with objects and with relations or attributes, and objects above them?"
        )
    if attribution < FAINTEST * contrastive:
        raise BadInput(
            f"the attribution loss has a gradient of norm {attribution:.2g} beside {contrastive:.2g} of the "
            "contrastive one, so its weight would be noise: its heats saturate; raise attribution.temperature "
            "(gradient), or give a number as weight"
        )
    return ratio * contrastive / attribution


def _of_words(words: Heats, captions: Sequence[Caption]) -> _Compared:
    return _Compared(words.values, sides_of_words(captions) * words.heard)


def _spread(
    words: Heats, captions: Sequence[Caption], owner: Int[Tensor, "caption token"], tokens: Tokens
) -> _Compared:
    """Every token has its word's heat."""
    heats = F.pad(words.values, (1, 0)).gather(1, owner.to(words.values.device))
    heard = F.pad(words.heard, (1, 0)).gather(1, owner)
    return _Compared(heats, sides_of_tokens(captions, owner, tokens) * heard)


def _shares(heats: Float[Tensor, "caption token"]) -> Float[Tensor, "caption token"]:
    """Heats of tokens divided by their sum; where it is 0, as they are."""
    total = heats.sum(dim=-1, keepdim=True)
    return heats / torch.where(total > 0, total, 1.0)


def _means(
    heats: Float[Tensor, "caption unit"], chosen: Bool[Tensor, "caption unit"]
) -> Float[Tensor, " caption"]:
    """Mean of the chosen heats of each caption, 0 where there is none."""
    chosen = chosen.to(heats.device)
    return torch.where(chosen, heats, 0.0).sum(dim=-1) / chosen.sum(dim=-1).clamp(min=1)
