"""Oscar word by word: at each step a mask after the words so far is predicted, and becomes the next word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from jaxtyping import Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from alignscope.errors import BadInput
from alignscope.models.captioners import oscar_inside, oscar_reading
from alignscope.models.captioners.decoding import State
from alignscope.models.captioners.inside import Inside
from alignscope.models.captioners.oscar import OscarFeatures, OscarForCaptioning
from alignscope.models.captioners.protocol import Features, Sight
from alignscope.models.fingerprint import tokenizer_facts


@final
@dataclass(frozen=True)
class OscarSpeller:
    """The network with its tokenizer; `State` keeps keys and values, those of labels and regions first."""

    model: OscarForCaptioning
    tokenizer: PreTrainedTokenizerBase

    @property
    def module(self) -> OscarForCaptioning:
        return self.model

    @property
    def start(self) -> int:
        return int(self.tokenizer.cls_token_id)

    @property
    def end(self) -> int:
        return int(self.tokenizer.sep_token_id)

    @property
    def context_length(self) -> int:
        """The slot of the caption without [CLS]."""
        return self.model.config.caption_length - 1

    @property
    def facts(self) -> list[Any]:
        return [tokenizer_facts(self.tokenizer)]

    def features(self, images: Sequence[Sight]) -> OscarFeatures:
        return oscar_reading.features(self.model, self.tokenizer, images)

    def begin(self, features: Features) -> State:
        """Labels and regions, once per image."""
        if not isinstance(features, OscarFeatures):
            raise BadInput(f"got {type(features).__name__}, wanted what this captioner's `features` gives")
        seen, kept = self.model.context(features)
        return State((seen, *(each for layer in kept for each in layer)))

    def advance(self, words: Int[Tensor, "row token"], state: State) -> State:
        """Read words at once; each sees those before it."""
        seen, *flat = state.kept
        kept = list(zip(flat[::2], flat[1::2], strict=True))
        masked = int(self.tokenizer.mask_token_id)
        logits, after = self.model.spoken(words, masked, seen, kept, state.place)
        both = (each for layer in after for each in layer)
        return State((seen, *both), logits, place=state.place + words.shape[1])

    def inside(self, images: Sequence[Sight], rows: Sequence[Sequence[int]] | None) -> list[Inside]:
        """One forward per image, with the tokens of its caption (words and end) where there are some."""
        found = []
        for number, image in enumerate(images):
            ids = None if rows is None else torch.tensor([[self.start, *rows[number]]])
            found.append(oscar_inside.inside(self.model, self.features([image]), ids))
        return found
