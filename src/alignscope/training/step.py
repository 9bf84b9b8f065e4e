"""One step of fine-tuning: the gradients of a batch over all processes, at once or by gradient caching.

Embeddings come first; the contrastive loss is taken on copies of them and gives each embedding its
gradient; then every part of the batch goes backward with it. A part that was embedded without a graph is
embedded again, with the same dropout (gradient caching, Gao et al. 2021, section 3). So a batch at once is
the case of one part, and both ways give the gradients of the whole batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from alignscope.attribution.options import Method
from alignscope.attribution.relevance import wide
from alignscope.attribution.tokens import TextPass
from alignscope.models.dual.encoder import TransformersDualEncoder
from alignscope.models.dual.families import family
from alignscope.models.protocols import Tokens
from alignscope.training import cae
from alignscope.training.cae import AttributionLoss, Objective
from alignscope.training.engine import Engine
from alignscope.training.gathering import gathered
from alignscope.training.losses import EmbeddedPairs, hard_negative_loss, own_foil_loss, sigmoid_loss
from alignscope.training.parameters import text_tower
from alignscope.training.plans import StepPlan
from alignscope.training.samples import Batch
from alignscope.training.validity import valid_captions


@dataclass(frozen=True)
class Heard:
    """What an attribution method says of a step; None where no caption is valid."""

    value: float
    valid: float  # share of captions that have both sides
    object_mean: float | None
    composition_mean: float | None
    above: float | None


@dataclass(frozen=True)
class Taken:
    """The numbers of a step, over all processes."""

    loss: float  # weighted sum of the others; of the attribution losses their mean
    contrastive: float
    attribution: Mapping[Method, Heard]
    distillation: float | None
    pairs: int
    foils: int
    own_foils: float | None = None  # loss of pairs against their own foils
    truncated: int = 0  # captions longer than the context

    @property
    def texts(self) -> int:
        """Texts that an image is compared with in the contrastive loss."""
        return self.pairs if self.own_foils is not None else self.pairs + self.foils


@dataclass(frozen=True)
class _Embedded:
    """A part of the batch, out of the towers; `forward` is the pass of captions that have an attribution loss."""

    pairs: EmbeddedPairs
    truncated: int
    forward: TextPass | None


def backward(encoder: TransformersDualEncoder, batch: Batch, plan: StepPlan, engine: Engine) -> Taken:
    """Add a step's gradients to `.grad`, to be averaged over processes; `batch` is this process's share."""
    own = _split(batch, plan.micro_batch)
    parts = own if batch.neighbours is None else [*own, *_split(batch.neighbours, plan.micro_batch)]
    at_once = len(own) == 1
    states, leaves = [], []
    kept: list[_Embedded | None] = []
    tally = _Tally(encoder, plan, engine)
    for number, part in enumerate(parts):
        states.append(_random_state(engine.device))
        with torch.set_grad_enabled(at_once):
            embedded = _embed(
                encoder, part, plan.objective if number < len(own) else None, plan.frozen, engine
            )
            if number < len(own):
                tally.count(part, embedded, has_graph=at_once)
        leaves.append(_leaf(embedded.pairs))
        kept.append(embedded if at_once else None)
        del embedded
    similar = leaves[len(own) :]
    if batch.neighbours is not None and not similar:  # none here; other processes may have some
        similar = [_leaf(EmbeddedPairs(*(rows[:0] for rows in vars(leaves[0]).values())))]
    contrastive = _contrastive(encoder, leaves[: len(own)], similar, plan)
    if plan.contrastive:
        engine.scaled(plan.contrastive * contrastive).backward()
    against_own = None
    if plan.foil_form == "own":
        against_own = _against_own(encoder, leaves[: len(own)], batch.foil_rows, plan, engine)
    tally.count_everywhere()
    for number, part in enumerate(parts):
        objective = plan.objective if number < len(own) else None
        with _again(states[number], engine.device, is_on=not at_once):
            embedded = kept[number] or _embed(encoder, part, objective, plan.frozen, engine)
        extra = tally.add(part, embedded) if number < len(own) else None  # chance of its own in each part
        _go_back(embedded.pairs, leaves[number], extra, engine)
        kept[number] = None
        del embedded, extra  # the graph is used up
    return tally.taken(contrastive.item(), against_own)


class GradientNorms(NamedTuple):
    """Euclidean norms over the text tower, of each loss alone with weight 1."""

    contrastive: float
    attribution: float


def gradient_norms(
    encoder: TransformersDualEncoder, batch: Batch, plan: StepPlan, engine: Engine
) -> GradientNorms:
    """How hard the two losses of a batch pull at the text tower, for `cae.matched_weight`.

    Gradients are empty before and after; no weight moves.
    """
    norms = []
    alone = replace(plan, distillation=None, foil_weight=0.0)
    for one in (
        replace(alone, contrastive=1.0, objective=None),
        replace(alone, contrastive=0.0, weight=1.0),
    ):
        encoder.model.zero_grad(set_to_none=True)
        backward(encoder, batch, one, engine)
        tower = text_tower(encoder.model)
        engine.average(tower)
        found = [torch.linalg.vector_norm(wide(p.grad)) for p in tower if p.grad is not None]
        norms.append(torch.stack(found).norm().item() / engine.loss_scale if found else 0.0)
    encoder.model.zero_grad(set_to_none=True)
    return GradientNorms(*norms)


def _split(batch: Batch, micro_batch: int) -> list[Batch]:
    """Parts of up to `micro_batch` pairs, none of an empty batch; the foils are dealt out evenly."""
    size = micro_batch or max(len(batch.captions), 1)
    starts = range(0, len(batch.captions), size)
    cuts = [len(batch.foils) * number // max(len(starts), 1) for number in range(len(starts) + 1)]
    return [
        Batch(
            batch.pixels[start : start + size],
            batch.images[start : start + size],
            batch.captions[start : start + size],
            batch.foils[cuts[number] : cuts[number + 1]],
        )
        for number, start in enumerate(starts)
    ]


def _embed(
    encoder: TransformersDualEncoder,
    part: Batch,
    objective: Objective | None,
    frozen: Mapping[str, Tensor] | None,
    engine: Engine,
) -> _Embedded:
    """All embeddings of a part; the captions' by a pass that the attribution loss goes on from."""
    texts = [caption.text for caption in part.captions]
    with engine.autocast():
        if frozen is None or not part.images:
            images = encoder.embed_pixels(part.pixels)
        else:
            images = _frozen(encoder, part, frozen)
        foils = (
            encoder.embed_tokens(encoder.tokens(part.foils))
            if part.foils
            else images.new_zeros(0, images.shape[1])
        )
        if objective is None:
            tokens = encoder.tokens(texts)
            pairs = EmbeddedPairs(images, encoder.embed_tokens(tokens), foils)
            return _Embedded(pairs, _truncated(encoder, tokens), None)
    with torch.enable_grad():  # the same path, and so the same dropout, whether or not the graph is kept
        forward = cae.text_forward(encoder, part.captions, objective)
    pairs = EmbeddedPairs(images, forward.embeddings, foils)
    return _Embedded(pairs, _truncated(encoder, forward.tokens), forward)


def _truncated(encoder: TransformersDualEncoder, tokens: Tokens) -> int:
    return sum(tokens.truncated(encoder.traits.context_length))


def _frozen(
    encoder: TransformersDualEncoder, part: Batch, frozen: Mapping[str, Tensor]
) -> Float[Tensor, "pair dim"]:
    """Embeddings made before the run; of an image that could not be read then, made now."""
    late = [row for row, key in enumerate(part.images) if key not in frozen]
    made = dict(zip(late, encoder.embed_pixels(part.pixels[late]), strict=True)) if late else {}
    return torch.stack([made[row] if row in made else frozen[key] for row, key in enumerate(part.images)])


def _leaf(pairs: EmbeddedPairs) -> EmbeddedPairs:
    """Copies that gather their gradient, also where there are no rows (see `gathered`)."""
    rows = (pairs.images, pairs.texts, pairs.foils)
    return EmbeddedPairs(*(tensor.detach().clone().requires_grad_() for tensor in rows))


def _contrastive(
    encoder: TransformersDualEncoder,
    own: Sequence[EmbeddedPairs],
    neighbours: Sequence[EmbeddedPairs],
    plan: StepPlan,
) -> Float[Tensor, ""]:
    """The loss of the embeddings of all processes, the same in each; float32, for no autocast is on."""
    model = encoder.model
    found = family(model.config.model_type)
    scale = found.scale_of(wide(model.get_parameter(found.scale))).reshape(())
    if plan.foil_form == "own":
        own = [replace(pairs, foils=pairs.foils[:0]) for pairs in own]
    pairs, others = _everywhere(own), _everywhere(neighbours) if neighbours else None
    if plan.loss == "softmax":
        return hard_negative_loss(pairs, scale, others)
    bias = wide(model.get_parameter(found.bias)).reshape(()) if found.bias else scale.new_zeros(())
    everything = pairs if others is None else _joined([pairs, others])
    return sigmoid_loss(everything.images, everything.texts, scale, bias, everything.foils)


def _against_own(
    encoder: TransformersDualEncoder,
    own: Sequence[EmbeddedPairs],
    rows: Sequence[int],
    plan: StepPlan,
    engine: Engine,
) -> float:
    """The loss of pairs against their own foils, gone backward into the leaves: a mean over all processes.

    The score's scale is a constant here, as in the attribution loss.
    """
    pairs = _joined(own)
    scale = pairs.images.new_tensor(encoder.traits.scale)
    loss = own_foil_loss(pairs, torch.tensor(rows, device=scale.device).long(), scale)
    here = torch.tensor([loss.item(), len(set(rows))], dtype=torch.float64).to(engine.device)
    total, count = engine.total(here).tolist()
    if rows and plan.foil_weight:
        engine.scaled(engine.world * plan.foil_weight / count * loss).backward()
    return total / max(count, 1.0)


def _joined(parts: Sequence[EmbeddedPairs]) -> EmbeddedPairs:
    return EmbeddedPairs(
        torch.cat([part.images for part in parts]),
        torch.cat([part.texts for part in parts]),
        torch.cat([part.foils for part in parts]),
    )


def _everywhere(parts: Sequence[EmbeddedPairs]) -> EmbeddedPairs:
    here = _joined(parts)
    return EmbeddedPairs(gathered(here.images), gathered(here.texts), gathered(here.foils))


def _go_back(pairs: EmbeddedPairs, leaf: EmbeddedPairs, extra: Tensor | None, engine: Engine) -> None:
    """From the gradients of the embeddings, and from the losses taken on the part itself, into the towers."""
    tensors: list[Tensor] = []
    gradients: list[Tensor | None] = []
    for tensor, copy in ((pairs.images, leaf.images), (pairs.texts, leaf.texts), (pairs.foils, leaf.foils)):
        if tensor.requires_grad and copy.grad is not None:
            tensors.append(tensor)
            gradients.append(copy.grad)
    if extra is not None and extra.requires_grad:
        tensors.append(engine.scaled(extra))
        gradients.append(None)
    if tensors:
        torch.autograd.backward(tensors, gradients)


def _random_state(device: torch.device) -> tuple[Tensor, Tensor | None]:
    on_device = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    return torch.get_rng_state(), on_device


@contextmanager
def _again(state: tuple[Tensor, Tensor | None], device: torch.device, *, is_on: bool) -> Iterator[None]:
    """Within the `with`, the random numbers that followed a state; after it, those that were to come."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices, enabled=is_on):
        if is_on:
            torch.set_rng_state(state[0])
            if state[1] is not None:
                torch.cuda.set_rng_state(state[1], device)
        yield


class _Tally:
    """The losses taken part by part, as shares of their means over all processes, and their numbers."""

    def __init__(self, encoder: TransformersDualEncoder, plan: StepPlan, engine: Engine) -> None:
        self._encoder, self._plan, self._engine = encoder, plan, engine
        methods = plan.objective.methods if plan.objective else ()
        self._valid: dict[Method, float] = dict.fromkeys(methods, 0.0)
        self._sums = {method: [0.0] * 4 for method in methods}  # over valid captions, as in `Heard`
        self._pairs = self._foils = self._truncated = self._distilled = 0.0
        self._kept: Mapping[Method, AttributionLoss] | None = None

    def count(self, part: Batch, embedded: _Embedded, *, has_graph: bool) -> None:
        """A part before it goes backward; its losses are taken now where their graph can stay."""
        self._pairs += len(part.captions)
        self._truncated += embedded.truncated
        self._foils += len(part.foils)
        objective, forward = self._plan.objective, embedded.forward
        if objective is None or forward is None:
            return
        if has_graph:
            self._kept = self._losses(part, embedded)
            found: Mapping[Method, int] = {method: loss.captions for method, loss in self._kept.items()}
        else:
            candidates = self._plan.candidates
            found = valid_captions(self._encoder, part.captions, forward.tokens, objective, candidates)
        for method, count in found.items():
            self._valid[method] += count

    def count_everywhere(self) -> None:
        """After the last part: the counts of all processes."""
        counts = [self._pairs, self._foils, self._truncated, *self._valid.values()]
        self._pairs, self._foils, self._truncated, *valid = self._total(counts)
        self._valid = dict(zip(self._valid, valid, strict=True))

    def add(self, part: Batch, embedded: _Embedded) -> Float[Tensor, ""] | None:
        """What a part adds to the loss; times the processes, as gradients are averaged over them."""
        plan, images, terms = self._plan, embedded.pairs.images, []
        if plan.objective:
            losses, self._kept = self._kept or self._losses(part, embedded), None
            shares = [loss.total / max(self._valid[method], 1.0) for method, loss in losses.items()]
            terms.append(plan.weight * torch.stack(shares).mean())
            for method, loss in losses.items():
                means = (loss.value.item(), loss.object_mean, loss.composition_mean, loss.above)
                for place, mean in enumerate(means):
                    self._sums[method][place] += (mean or 0.0) * loss.captions
        if plan.distillation:
            with self._engine.autocast():
                distilled = plan.distillation(images, part.captions)
            terms.append(plan.distillation_weight * distilled * (len(part.captions) / self._pairs))
            self._distilled += distilled.item() * len(part.captions)
        return self._engine.world * torch.stack(terms).sum() if terms else None

    def _losses(self, part: Batch, embedded: _Embedded) -> Mapping[Method, AttributionLoss]:
        assert self._plan.objective is not None
        return cae.attribution_losses(
            self._encoder,
            part.captions,
            embedded.pairs.images,
            objective=self._plan.objective,
            candidates=self._plan.candidates,
            forward=embedded.forward,
        )

    def taken(self, contrastive: float, against_own: float | None) -> Taken:
        plan = self._plan
        everywhere = self._total(
            [self._distilled, *(number for row in self._sums.values() for number in row)]
        )
        heard = {}
        for place, (method, valid) in enumerate(self._valid.items()):
            value, *others = (n / max(valid, 1.0) for n in everywhere[1 + 4 * place : 5 + 4 * place])
            numbers = others if valid else [None] * 3
            heard[method] = Heard(value, valid / self._pairs, *numbers)
        distilled = everywhere[0] / self._pairs if plan.distillation else None
        attribution = sum(one.value for one in heard.values()) / max(len(heard), 1)
        loss = plan.contrastive * contrastive + plan.weight * attribution
        loss += plan.distillation_weight * (distilled or 0.0) + plan.foil_weight * (against_own or 0.0)
        pairs, foils = int(self._pairs), int(self._foils)
        return Taken(loss, contrastive, heard, distilled, pairs, foils, against_own, int(self._truncated))

    def _total(self, numbers: Sequence[float]) -> list[float]:
        here = torch.tensor(numbers, dtype=torch.float64).to(self._engine.device)
        return self._engine.total(here).tolist()
