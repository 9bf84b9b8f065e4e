"""Generative models behind the `PairScorer` protocol: a likelihood, information, or a "yes"."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, final

import torch
from jaxtyping import Float
from PIL.Image import Image
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from alignscope.errors import BadInput, LengthMismatch, NoRoom
from alignscope.models.captioners.decoder import Decoder
from alignscope.models.captioners.likelihood import log_odds, mean_log_likelihood
from alignscope.models.captioners.question import yes_tokens
from alignscope.models.captioners.reading import Reading, as_tokens, padded
from alignscope.models.dual.encoder import evaluating, shuffle, wide
from alignscope.models.dual.texts import check_texts
from alignscope.models.fingerprint import tokenizer_facts, whole
from alignscope.models.protocols import Picture, Tokens, Traits

WINDOW = 64
"""Pairs whose images are looked at together, so that an image that comes again among them is read once."""
TEXTS = 32
"""Texts of an image in one forward: each has a copy of what the model keeps of the image."""


@final
class GenerativeScorer:
    """How well a text fits an image by a model that writes about images.

    `likelihood`: the mean of log P(token | image, prompt, tokens before it) over the tokens of the text and
    the one that ends it; of an empty text, that of the end alone. `information`: the same minus the mean
    without the image, which takes away what a text gains by being usual (`traits.baseline` says what
    "without" is). `yes`: log P(yes) - log(1 - P(yes)) of the first token of the answer to a question, P(yes)
    summed over the spellings that are one token (Lin et al. 2024, VQAScore; differs: they report P).
    """

    def __init__(self, decoder: Decoder, *, name: str) -> None:
        self.decoder = decoder
        self._name = name
        self._answers = yes_tokens(decoder.tokenizer) if decoder.scoring == "yes" else ()

    @property
    def name(self) -> str:
        return self._name

    @property
    def model(self) -> PreTrainedModel:
        return self.decoder.model

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        return self.decoder.tokenizer

    @property
    def image_processor(self) -> Any:
        return self.decoder.image_processor

    @property
    def fingerprint(self) -> str:
        """Sha256 over weights, configuration, tokenizer, image processor, scoring and template."""
        decoder = self.decoder
        frame = decoder.read("")  # the tokens around a text: its end is no part of the tokenizer's own file
        parts = [tokenizer_facts(decoder.tokenizer), decoder.facts, frame.prefix, frame.ids]
        parts += [decoder.scoring, decoder.template, decoder.baseline, self._answers]
        return whole(decoder.model, *parts)

    @property
    def traits(self) -> Traits:
        text = self.decoder.text_config
        activation = next(
            getattr(text, name)
            for name in ("hidden_act", "hidden_activation", "activation_function", "model_type")
            if getattr(text, name, None)
        )
        return Traits(
            family="captioner",
            unit="patch",
            grid=None,
            context_length=self.decoder.context_length,
            activation=activation,
            readout="last",
            is_causal=True,
            trims_padding=True,
            attributions=("perturbation",),
            scale=1.0,
            score=self.decoder.scoring,
            baseline=self.decoder.baseline if self.decoder.scoring == "information" else None,
            template=self.decoder.template,
            cuts=False,
        )

    def tokens(self, texts: Sequence[str]) -> Tokens:
        """The text's own tokens and what follows them: its end, or the rest of the question. None is cut:
        `score` refuses a text that does not fit."""
        check_texts(texts)
        return as_tokens([self.decoder.read(text) for text in texts])

    def evaluating(self) -> AbstractContextManager[None]:
        """Within the `with` there is no dropout; every module is as it was afterwards."""
        return evaluating(self.decoder.model)

    def scrambled(self, *, seed: int) -> GenerativeScorer:
        """A copy whose weights are shuffled within each tensor."""
        model = copy.deepcopy(self.decoder.model)
        shuffle(model, seed=seed)
        decoder = replace(self.decoder, model=model)  # type: ignore[type-var]
        return GenerativeScorer(decoder, name=f"{self.name}-scrambled")

    def score(self, images: Sequence[Picture], texts: Sequence[str]) -> Float[Tensor, " pair"]:
        """One score per pair; all texts of an image object within `WINDOW` pairs share one reading of it.

        Texts without room are a `NoRoom`, which has the scores of the others.
        """
        if len(images) != len(texts):
            raise LengthMismatch(
                f"{len(texts)} texts for {len(images)} images: repeat what comes several times"
            )
        check_texts(texts)
        scores, reasons = torch.zeros(len(texts)), dict[int, str]()
        alone: dict[str, float] = {}
        deaf: dict[str, str] = {}  # texts that have no room even without the image
        with torch.no_grad(), evaluating(self.decoder.model):
            for start in range(0, len(texts), WINDOW):
                told = dict.fromkeys(texts[start : start + WINDOW])
                if self.decoder.scoring == "information":
                    alone |= self._scores(None, [text for text in told if text not in alone], deaf)
                for image, places in groups(list(images[start : start + WINDOW]), start):
                    why = dict(deaf)
                    found = self._scores(image, list(dict.fromkeys(texts[place] for place in places)), why)
                    for place in places:
                        scores[place] = found[texts[place]] - alone.get(texts[place], 0.0)
                    reasons |= {place: why[texts[place]] for place in places if texts[place] in why}
        if reasons:
            raise NoRoom(next(iter(reasons.values())), scores.tolist(), reasons)
        return scores

    def _scores(self, image: Image | None, texts: Sequence[str], why: dict[str, str]) -> dict[str, float]:
        """The scores of distinct texts with one image, or without; NaN for those without room, told in `why`."""
        alike: dict[tuple[str, tuple[int, ...]], list[Reading]] = {}
        for text in texts:
            reading = self.decoder.read(text, with_image=image is not None)
            alike.setdefault((reading.before, reading.prefix), []).append(reading)
        scores: dict[str, float] = {}
        for readings in alike.values():
            begun = self.decoder.begin(image, readings[0])
            for start in range(0, len(readings), TEXTS):
                part = readings[start : start + TEXTS]
                scores |= zip(
                    (reading.text for reading in part), self._possible(begun, part, why), strict=True
                )
        return scores

    def _possible(self, begun: Any, readings: Sequence[Reading], why: dict[str, str]) -> list[float]:
        """Scores of texts in one forward, where one has no room each alone."""
        try:
            return self._values(self.decoder.logits(begun, readings), readings)
        except NoRoom as error:
            if len(readings) > 1:
                return [self._possible(begun, [reading], why)[0] for reading in readings]
            why[readings[0].text] = str(error)
            return [math.nan]

    def _values(
        self, logits: Float[Tensor, "text position vocabulary"], readings: Sequence[Reading]
    ) -> list[float]:
        """Logits to scores, in at least float32."""
        logits = wide(logits)
        ids, is_real = (tensor.to(logits.device) for tensor in padded(readings))
        if self.decoder.scoring != "yes":
            return mean_log_likelihood(logits[:, :-1], ids, is_real).tolist()
        return log_odds(logits[torch.arange(len(ids)), is_real.sum(dim=-1)], self._answers).tolist()


def groups(shown: Sequence[Picture], start: int) -> Iterator[tuple[Image, list[int]]]:
    """Every image object once, with the places of its pairs."""
    places: dict[int, list[int]] = {}
    for place, image in enumerate(shown):
        if not isinstance(image, Image):
            raise BadInput(f"image {start + place} is {type(image).__name__}, the model takes a PIL image")
        places.setdefault(id(image), []).append(place)
    for found in places.values():
        yield shown[found[0]], [start + place for place in found]  # type: ignore[misc]
