"""Words one after another: teacher forcing, greedy, sampling and beam search, for any model that spells.

Everything here is differentiable where gradients are on; which rows are drawn has no graph.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor
from transformers import PreTrainedModel

from alignscope.models.captioners.protocol import Features, Sight
from alignscope.models.dual.encoder import wide


@dataclass(frozen=True, eq=False)
class State:
    """What a model keeps between words, each tensor with one row per caption.

    `logits` and `attention` are those of the words that were read last, `place` how many were read in all,
    `shared` what all rows have in common.
    """

    kept: tuple[Shaped[Tensor, "row ..."], ...]
    logits: Float[Tensor, "row token word"] | None = None
    attention: Float[Tensor, "row token ..."] | None = None
    place: int = 0
    shared: tuple[Shaped[Tensor, "..."], ...] = ()

    def __len__(self) -> int:
        return len(self.kept[0])

    def select(self, rows: Int[Tensor, " row"]) -> State:
        """The state of other rows, in their order."""
        return replace(self, kept=tuple(each[rows] for each in self.kept), logits=None, attention=None)


@runtime_checkable
class Speller(Protocol):
    """A model that predicts the next token of a caption from the tokens before it."""

    @property
    def start(self) -> int:
        """The token that comes before the first."""
        ...

    @property
    def end(self) -> int: ...
    @property
    def context_length(self) -> int | None:
        """Tokens that a caption may have with its end; None where there is no limit."""
        ...

    @property
    def module(self) -> PreTrainedModel: ...
    @property
    def facts(self) -> list[Any]:
        """What decides a caption beside the weights and the vocabulary."""
        ...

    def features(self, images: Sequence[Sight]) -> Features: ...
    def begin(self, features: Features) -> State:
        """What is computed once per image; a row each."""
        ...

    def advance(self, words: Int[Tensor, "row token"], state: State) -> State:
        """Read tokens: `logits` of the new state predict what comes after each of them."""
        ...


class Spelled(NamedTuple):
    """Captions with the log-probabilities of their tokens, 0 after the end."""

    ids: Int[Tensor, "caption token"]
    logprobs: Float[Tensor, "caption token"]


Choose = Callable[[Float[Tensor, "row word"]], Int[Tensor, " row"]]


def mask_of(ids: Int[Tensor, "caption token"], end: int) -> Bool[Tensor, "caption token"]:
    """The words and one end.

    >>> mask_of(torch.tensor([[5, 0, 0], [5, 6, 7]]), end=0).long()
    tensor([[1, 1, 0],
            [1, 1, 1]])
    """
    is_end = ids == end
    return is_end.cumsum(dim=-1) - is_end.long() == 0


def teacher_forced(
    speller: Speller,
    state: State,
    ids: Int[Tensor, "caption token"],
    *,
    scheduled_sampling: float = 0.0,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "caption token"]:
    """log P(token | tokens before it) of every row of the state, 0 after the end.

    With scheduled sampling, each word that is read from the second token on is, with that probability and per
    row, a draw from the distribution of the step before.
    """
    starts = torch.full_like(ids[:, :1], speller.start)
    read = torch.cat([starts, ids[:, :-1]], dim=1)
    if scheduled_sampling == 0:
        logits = _logits(speller.advance(read, state))
    else:
        logits = _scheduled(speller, state, read, scheduled_sampling, generator)
    chosen = rearrange(ids, "caption token -> caption token 1")
    logprobs = rearrange(logits.log_softmax(dim=-1).gather(-1, chosen), "caption token 1 -> caption token")
    return logprobs.masked_fill(~mask_of(ids, speller.end), 0)


def _scheduled(
    speller: Speller,
    state: State,
    read: Int[Tensor, "caption token"],
    probability: float,
    generator: torch.Generator | None,
) -> Float[Tensor, "caption token word"]:
    found: list[Tensor] = []
    for place, words in enumerate(read.unbind(dim=1)):
        if place > 0:
            drawn = sampling(generator)(found[-1].detach())
            chance = torch.rand(len(words), generator=generator, device=words.device)
            words = torch.where(chance < probability, drawn, words)
        state = speller.advance(rearrange(words, "caption -> caption 1"), state)
        found.append(_logits(state)[:, -1])
    return torch.stack(found, dim=1)


def greedy(logits: Float[Tensor, "row word"]) -> Int[Tensor, " row"]:
    """The likeliest word."""
    return logits.argmax(dim=-1)


def sampling(generator: torch.Generator | None, *, temperature: float = 1.0) -> Choose:
    """Draws words with probabilities softmax(logits / temperature).

    A point on the line of summed probabilities, which is ten times as fast as torch's multinomial on a CPU.
    """

    def draw(logits: Float[Tensor, "row word"]) -> Int[Tensor, " row"]:
        shares = (logits / temperature).softmax(dim=-1).cumsum(dim=-1, dtype=torch.float64)
        points = torch.rand(len(logits), 1, generator=generator, device=logits.device, dtype=shares.dtype)
        words = torch.searchsorted(shares, points * shares[:, -1:], right=True)
        return rearrange(words, "row 1 -> row").clamp(max=logits.shape[-1] - 1)  # where rounding goes past

    return draw


def spell(speller: Speller, state: State, choose: Choose, *, max_length: int) -> Spelled:
    """One word after another, until every row has ended or has `max_length` words."""
    device = state.kept[0].device
    words = torch.full((len(state),), speller.start, device=device)
    is_open = torch.ones(len(state), dtype=torch.bool, device=device)
    ids, logprobs = [], []
    for _ in range(max_length):
        state = speller.advance(rearrange(words, "row -> row 1"), state)
        logits = _logits(state)[:, -1]
        words = choose(logits.detach()).masked_fill(~is_open, speller.end)
        chosen = logits.log_softmax(dim=-1).gather(-1, rearrange(words, "row -> row 1"))
        logprobs.append(rearrange(chosen, "row 1 -> row").masked_fill(~is_open, 0))
        ids.append(words)
        is_open = is_open & (words != speller.end)
        if not is_open.any():
            break
    return Spelled(torch.stack(ids, dim=1), torch.stack(logprobs, dim=1))


def beam_search(
    speller: Speller, state: State, *, beams: int, max_length: int, is_length_normalised: bool = False
) -> Spelled:
    """The likeliest caption of each row that `beams` hypotheses find.

    An end counts where it is among the best `beams` continuations of all hypotheses; the others go on. With
    `is_length_normalised` captions are compared by the mean log-probability of their tokens, else by the sum.
    """
    images, device = len(state), state.kept[0].device
    ids = torch.zeros(images, 1, 0, dtype=torch.long, device=device)  # of the live hypotheses
    logprobs = torch.zeros(images, 1, 0, device=device)
    words = torch.full((images,), speller.start, device=device)
    best = _Finished(ids[:, 0], logprobs[:, 0], torch.full((images,), -torch.inf, device=device))
    for length in range(1, max_length + 1):
        divisor = length if is_length_normalised else 1
        state = speller.advance(rearrange(words, "row -> row 1"), state)
        each = rearrange(
            _logits(state)[:, -1].log_softmax(dim=-1), "(image beam) word -> image beam word", image=images
        )
        totals = logprobs.sum(dim=-1)[..., None] + each
        flat = rearrange(totals, "image beam word -> image (beam word)")
        bar = flat.detach().topk(min(beams, flat.shape[1])).values[:, -1:]
        ended = totals[..., speller.end]
        ended = (ended / divisor).masked_fill(ended < bar, -torch.inf)
        ends = torch.full_like(ended[..., None], speller.end, dtype=torch.long)
        best = best.or_better(
            torch.cat([ids, ends], dim=-1),
            torch.cat([logprobs, each[..., speller.end, None]], dim=-1),
            ended,
            end=speller.end,
        )
        is_end = torch.arange(totals.shape[-1], device=device) == speller.end
        live = rearrange(
            totals.detach().masked_fill(is_end, -torch.inf), "image beam word -> image (beam word)"
        )
        kept = live.topk(min(beams, live.shape[1] - totals.shape[1])).indices  # (image, beam)
        parents, words = kept // len(is_end), kept % len(is_end)
        ids = torch.cat([_of_parents(ids, parents), words[..., None]], dim=-1)
        chosen = rearrange(each, "image beam word -> image (beam word)").gather(1, kept)
        logprobs = torch.cat([_of_parents(logprobs, parents), chosen[..., None]], dim=-1)
        first_row = rearrange(torch.arange(images, device=device) * totals.shape[1], "image -> image 1")
        state = state.select(rearrange(first_row + parents, "image beam -> (image beam)"))
        words = rearrange(words, "image beam -> (image beam)")
        hope = logprobs.sum(dim=-1).amax(dim=-1) / (max_length if is_length_normalised else 1)
        if (best.scores >= hope).all():
            break
    else:  # captions as long as they may be, cut
        cut = logprobs.sum(dim=-1) / (max_length if is_length_normalised else 1)
        best = best.or_better(ids, logprobs, cut, end=speller.end)
    width = int(mask_of(best.ids, speller.end).sum(dim=-1).max())
    return Spelled(best.ids[:, :width], best.logprobs[:, :width])


class _Finished(NamedTuple):
    """The best caption so far of each image."""

    ids: Int[Tensor, "image token"]
    logprobs: Float[Tensor, "image token"]
    scores: Float[Tensor, " image"]

    def or_better(
        self,
        ids: Int[Tensor, "image beam longer"],
        logprobs: Float[Tensor, "image beam longer"],
        scores: Float[Tensor, "image beam"],
        *,
        end: int,
    ) -> _Finished:
        top = scores.argmax(dim=-1, keepdim=True)
        score = rearrange(scores.gather(1, top), "image 1 -> image")
        is_better, room = score > self.scores, (0, ids.shape[-1] - self.ids.shape[-1])
        rows = rearrange(is_better, "image -> image 1")
        return _Finished(
            torch.where(rows, _of_parents(ids, top)[:, 0], F.pad(self.ids, room, value=end)),
            torch.where(rows, _of_parents(logprobs, top)[:, 0], F.pad(self.logprobs, room)),
            torch.where(is_better, score, self.scores),
        )


def _of_parents(
    values: Shaped[Tensor, "image beam token"], parents: Int[Tensor, "image kept"]
) -> Shaped[Tensor, "image kept token"]:
    """The rows that were chosen, per image."""
    return values.gather(1, repeat(parents, "image kept -> image kept token", token=values.shape[-1]))


def _logits(state: State) -> Float[Tensor, "row token word"]:
    """In at least float32."""
    assert state.logits is not None  # what `advance` returns has them
    return wide(state.logits)
