"""Any model that spells captions token by token, behind the `Captioner` protocol."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import final, get_args

import torch
from einops import reduce, repeat
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from alignscope.errors import BadInput, LengthMismatch, UnknownName, Unsupported
from alignscope.models.captioners import decoding
from alignscope.models.captioners.decoding import Spelled, Speller, State, mask_of, teacher_forced
from alignscope.models.captioners.inside import Inside, Open, Written
from alignscope.models.captioners.protocol import Features, Generated, How, Sight, Words
from alignscope.models.captioners.vocabulary import DECODING_LENGTH
from alignscope.models.dual.encoder import evaluating
from alignscope.models.fingerprint import whole
from alignscope.registry import did_you_mean

BATCH = 32
"""Images whose captions `write` spells together."""


@final
class AutoregressiveCaptioner:
    """A speller with its vocabulary; the image side runs once per batch, however many captions there are."""

    def __init__(self, speller: Speller, vocabulary: Words, *, name: str) -> None:
        self.speller = speller
        self._vocabulary = vocabulary
        self._name = name

    @property
    def name(self) -> str:
        return self._name

    @property
    def model(self) -> PreTrainedModel:
        return self.speller.module

    @property
    def vocabulary(self) -> Words:
        return self._vocabulary

    @property
    def fingerprint(self) -> str:
        """Sha256 over weights, configuration, vocabulary and what else decides a caption."""
        every = torch.arange(len(self.vocabulary))
        words = self.vocabulary.texts(every[every != self.vocabulary.end][:, None])
        return whole(self.model, self.speller.facts, words, self.vocabulary.end)

    def features(self, images: Sequence[Sight]) -> Features:
        """A batch on the model's device."""
        return self.speller.features(images)

    def generate(
        self,
        features: Features,
        *,
        how: How = "greedy",
        beams: int = 5,
        is_length_normalised: bool = False,
        count: int = 1,
        temperature: float = 1.0,
        max_length: int = DECODING_LENGTH,
        generator: torch.Generator | None = None,
    ) -> Generated:
        """Captions of at most `max_length` tokens; one that has no end by then is cut there."""
        self._check_length(max_length)
        if how not in get_args(How):
            raise UnknownName(f"no way to decode named '{how}': {did_you_mean(how, get_args(How))}")
        if how != "sample" and count != 1:
            raise BadInput(
                f"got count={count} with '{how}', which finds one caption per image: take 'sample'"
            )
        if count < 1 or beams < 1 or not temperature > 0:
            raise BadInput(
                f"got count={count}, beams={beams}, temperature={temperature}: wanted all of them above 0"
            )
        if how == "sample" and generator is None:
            raise BadInput(
                "got no generator for 'sample': give torch.Generator().manual_seed(…) on the model's device"
            )
        if len(features) == 0:
            return self._generated(_no_captions())
        state = self.speller.begin(features)
        if how == "beam":
            found = decoding.beam_search(
                self.speller,
                state,
                beams=beams,
                max_length=max_length,
                is_length_normalised=is_length_normalised,
            )
            return self._generated(found)
        if how == "greedy":
            return self._generated(
                decoding.spell(self.speller, state, decoding.greedy, max_length=max_length)
            )
        choose = decoding.sampling(generator, temperature=temperature)
        rows = self._rows(state, len(state) * count, None)
        return self._generated(decoding.spell(self.speller, rows, choose, max_length=max_length))

    def logprob(
        self,
        features: Features,
        ids: Int[Tensor, "caption token"],
        *,
        images: Int[Tensor, " _"] | None = None,
        scheduled_sampling: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "caption token"]:
        """log P(token | image, tokens before it), 0 after the end."""
        if not 0 <= scheduled_sampling <= 1:
            raise BadInput(f"got scheduled_sampling={scheduled_sampling}, wanted a probability")
        if scheduled_sampling and generator is None:
            raise BadInput("got no generator for scheduled sampling: give torch.Generator().manual_seed(…)")
        if ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < len(self.vocabulary):
            raise BadInput(
                f"got token ids from {int(ids.min())} to {int(ids.max())}, wanted 0 to {len(self.vocabulary) - 1}: "
                "take those of this captioner's own vocabulary"
            )
        if len(ids) == 0 or ids.shape[1] == 0:
            return torch.zeros(ids.shape, dtype=self.model.dtype, device=self.model.device)
        self._check_length(ids.shape[1])
        device = self.model.device
        rows = None if images is None else images.to(device)
        state = self._rows(self.speller.begin(features), len(ids), rows)
        return teacher_forced(
            self.speller,
            state,
            ids.to(device),
            scheduled_sampling=scheduled_sampling,
            generator=generator,
        )

    def attention(
        self, features: Features, ids: Int[Tensor, "caption token"]
    ) -> Float[Tensor, "caption token ..."]:
        """Where the model looked as it predicted each token: (caption, token, region), of a Transformer
        (caption, token, layer, head, region); it has a graph when gradients are on."""
        state = self._rows(self.speller.begin(features), len(ids), None)
        starts = torch.full_like(ids[:, :1], self.speller.start)
        read = torch.cat([starts, ids[:, :-1]], dim=1).to(self.model.device)
        maps = self.speller.advance(read, state).attention
        if maps is None:
            raise Unsupported(
                f"{type(self.model).__name__} gives no attention over regions: take an attention LSTM or a Transformer"
            )
        return maps

    def inside(self, images: Sequence[Sight], *, texts: Sequence[str] | None = None) -> list[Inside]:
        """As `SeenInside` says; of a captioner whose labels, regions or patches attend to nothing, Unsupported."""
        if not isinstance(self.speller, Open):
            raise Unsupported(
                f"{type(self.model).__name__} gives no attention among what it sees: take VinVL, or another that does"
            )
        if texts is not None and len(texts) != len(images):
            raise LengthMismatch(f"{len(texts)} texts for {len(images)} images: give one each")
        rows = None if texts is None else [self.vocabulary.ids([text])[0].tolist() for text in texts]
        with torch.no_grad(), self.evaluating():
            return self.speller.inside(images, rows)

    def write(self, images: Sequence[Sight], *, beams: int = 1, max_length: int = 20) -> list[Written]:
        """Captions with confidences as the script of Oscar's authors has them (sheet C.2).

        `max_length` counts the start, as theirs. A caption that has no end by then loses its last token to the
        end, whose log-probability stays in the mean. Beams are compared by that mean; differs: an end counts
        where it is among the best `beams` continuations, theirs where fewer than `beams` words are better.
        """
        found: list[Written] = []
        with torch.no_grad(), self.evaluating():
            for start in range(0, len(images), BATCH):
                generated = self.generate(
                    self.features(images[start : start + BATCH]),
                    how="greedy" if beams == 1 else "beam",
                    beams=beams,
                    is_length_normalised=True,
                    max_length=max_length - 1,
                )
                ids = generated.ids.clone()
                ids[:, max_length - 2 :] = self.vocabulary.end
                texts = self.vocabulary.texts(ids)
                found += map(Written, texts, confidences(generated.logprobs, generated.mask).tolist())
        return found

    def evaluating(self) -> AbstractContextManager[None]:
        """Within the `with` there is no dropout; every module is as it was afterwards."""
        return evaluating(self.model)

    def _rows(self, state: State, captions: int, images: Int[Tensor, " _"] | None) -> State:
        """The image side of every caption, copied from what was computed once."""
        if images is None:
            if captions % len(state):
                raise LengthMismatch(
                    f"{captions} captions for {len(state)} images: give as many of each image, one image after "
                    "another, or say with `images` which is whose"
                )
            if captions == len(state):
                return state
            every = torch.arange(len(state), device=state.kept[0].device)
            images = repeat(every, "image -> (image caption)", caption=captions // len(state))
        elif len(images) != captions:
            raise LengthMismatch(
                f"{len(images)} entries of `images` for {captions} captions: wanted one each"
            )
        return state.select(images)

    def _check_length(self, tokens: int) -> None:
        room = self.speller.context_length
        if tokens < 1 or (room is not None and tokens > room):
            wanted = "1" if room is None else f"1 to {room}"
            raise BadInput(f"got captions of {tokens} tokens, wanted {wanted}: change the longest length")

    def _generated(self, found: Spelled) -> Generated:
        mask = mask_of(found.ids, self.vocabulary.end)
        return Generated(found.ids, found.logprobs, mask, self.vocabulary.texts(found.ids))


def confidences(
    logprobs: Float[Tensor, "caption token"], mask: Bool[Tensor, "caption token"]
) -> Float[Tensor, " caption"]:
    """exp of the mean log-probability of the tokens, the end included: as many as the start and the words.

    >>> three = torch.tensor([[0.5, 0.5, 0.5]]).log()
    >>> confidences(three, torch.ones(1, 3, dtype=torch.bool))
    tensor([0.5000])
    """
    return (reduce(logprobs * mask, "caption token -> caption", "sum") / mask.sum(dim=-1)).exp()


def _no_captions() -> Spelled:
    return Spelled(torch.zeros(0, 0, dtype=torch.long), torch.zeros(0, 0))
