"""Captioners of transformers as spellers: BLIP, GIT, and any image encoder with a text decoder.

What they keep between tokens are keys and values; those of the image and of the prompt are computed once per
image. A caption's tokens are pieces of words, by the model's own tokenizer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import torch
from einops import repeat
from jaxtyping import Int
from PIL.Image import Image
from torch import Tensor
from transformers import DynamicCache, EncoderDecoderCache, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from alignscope.errors import BadInput, Unsupported
from alignscope.models.captioners.captioner import CaptionDecoder
from alignscope.models.captioners.decoding import State
from alignscope.models.captioners.inside import Inside
from alignscope.models.captioners.protocol import Features, Sight, ended, words_before
from alignscope.models.captioners.question import end_token
from alignscope.models.captioners.transformers_inside import of_patches
from alignscope.models.cross.pixels import pixels

Rows = Int[Tensor, "row token"]


@final
@dataclass(frozen=True)
class TokenizerWords:
    """The pieces of words that a tokenizer knows; special tokens are left out of texts."""

    decoder: CaptionDecoder

    @cached_property
    def end(self) -> int:
        return self.decoder.tokenizer.convert_tokens_to_ids(end_token(self.decoder.tokenizer, ""))

    def __len__(self) -> int:
        return self.decoder.text_config.vocab_size

    def ids(self, texts: Sequence[str], *, max_length: int | None = None) -> Int[Tensor, "caption token"]:
        """Rows of ids with their end; pieces after the first `max_length` are left out."""
        return ended([self.decoder.read(text).ids[:-1][:max_length] for text in texts], self.end)

    def texts(self, ids: Int[Tensor, "caption token"]) -> tuple[str, ...]:
        """What each row spells up to its end."""
        decode = self.decoder.tokenizer.decode
        return tuple(decode(row, skip_special_tokens=True).strip() for row in words_before(ids, self.end))


@dataclass(frozen=True)
class Reader:
    """How one architecture reads tokens.

    `encode` gives what its decoder looks at by cross-attention, None where the image stands before the text;
    `read` takes the model, what was encoded (or, at first, the pixels), tokens, keys and values of what came
    before (None at first), and how many tokens of text those were.
    """

    encode: Callable[[PreTrainedModel, Tensor], Tensor] | None
    read: Callable[[PreTrainedModel, Tensor | None, Rows, Any, int], Any]


@final
@dataclass(frozen=True)
class TransformersSpeller:
    """A captioner that `captioners.loading` opened, token by token."""

    decoder: CaptionDecoder
    reader: Reader

    @property
    def module(self) -> PreTrainedModel:
        return self.decoder.model

    @property
    def start(self) -> int:
        return self._prefix[-1]

    @cached_property
    def end(self) -> int:
        return TokenizerWords(self.decoder).end

    @property
    def context_length(self) -> int:
        return self.decoder.context_length

    @property
    def facts(self) -> list[Any]:
        return [*self.decoder.facts, self._prefix]

    @cached_property
    def _prefix(self) -> tuple[int, ...]:
        return self.decoder.read("").prefix

    def features(self, images: Sequence[Sight]) -> Features:
        """Pixels, as the model's own processor gives them."""
        model = self.module
        seen = [self._pixels(number, image) for number, image in enumerate(images)]
        values = torch.stack(seen) if seen else torch.zeros(0, 3, 1, 1)
        return Features(values.to(model.device, model.dtype))

    def inside(self, images: Sequence[Sight], rows: Sequence[Sequence[int]] | None) -> list[Inside]:
        """One forward per image, with the tokens of its caption (words and end) where there are some."""
        model, reader, found = self.module, self.reader, []
        for number, image in enumerate(images):
            row = None if rows is None else rows[number]
            if row is not None and len(row) > self.context_length:
                raise BadInput(
                    f"text {number} has {len(row)} tokens, wanted 1 to {self.context_length}: give a shorter one"
                )
            values = self._pixels(number, image).to(model.device, model.dtype)[None]
            found.append(of_patches(model, values, self._prefix, row, reader.encode, reader.read))
        return found

    def _pixels(self, number: int, image: Sight) -> Tensor:
        if not isinstance(image, Image):
            raise Unsupported(
                f"image {number} is {type(image).__name__}, {type(self.module).__name__} takes a PIL image"
            )
        return pixels(self.decoder.image_processor, image)

    def begin(self, features: Features) -> State:
        """Keys and values of the image and of all of the prompt but its last token."""
        model, encode = self.module, self.reader.encode
        image = features.values if encode is None else encode(model, features.values)
        prompt = repeat(
            torch.tensor(self._prefix, device=model.device), "token -> image token", image=len(features)
        )
        output = self.reader.read(model, image, prompt, None, 0)
        cut = [each[:, :, :-1] for each in _words(output.past_key_values)]
        encoded = () if encode is None else (image,)
        return State((*encoded, *cut, *_image(output.past_key_values)), place=prompt.shape[1] - 1)

    def advance(self, words: Int[Tensor, "row token"], state: State) -> State:
        """Read tokens at once; each sees those before it."""
        encoded, kept = (None, state.kept) if self.reader.encode is None else (state.kept[0], state.kept[1:])
        if encoded is None:
            cache: Any = _cache(kept)
        else:
            half = len(kept) // 2
            cache = EncoderDecoderCache(_cache(kept[:half]), _cache(kept[half:]))
        output = self.reader.read(self.module, encoded, words, cache, state.place)
        read = (*_words(output.past_key_values), *_image(output.past_key_values))
        first = () if encoded is None else (encoded,)
        return State((*first, *read), output.logits, place=state.place + words.shape[1])


def _cache(kept: Sequence[Tensor]) -> DynamicCache:
    return DynamicCache(zip(kept[::2], kept[1::2], strict=True))


def _layers(cache: Any) -> list[Tensor]:
    return [each for layer in cache.layers for each in (layer.keys, layer.values)]


def _words(cache: Any) -> list[Tensor]:
    """Keys and values of what was read, layer by layer."""
    return _layers(cache.self_attention_cache if isinstance(cache, EncoderDecoderCache) else cache)


def _image(cache: Any) -> list[Tensor]:
    """Keys and values of what is looked at by cross-attention."""
    return _layers(cache.cross_attention_cache) if isinstance(cache, EncoderDecoderCache) else []


def _blip_encode(model: PreTrainedModel, values: Tensor) -> Tensor:
    return model.vision_model(pixel_values=values).last_hidden_state


def _blip_read(model: PreTrainedModel, encoded: Tensor | None, words: Rows, cache: Any, place: int) -> Any:
    return model.text_decoder(
        input_ids=words, encoder_hidden_states=encoded, past_key_values=cache, use_cache=True
    )


def _pair_encode(model: PreTrainedModel, values: Tensor) -> Tensor:
    return model.encoder(pixel_values=values).last_hidden_state


def _pair_read(model: PreTrainedModel, encoded: Tensor | None, words: Rows, cache: Any, place: int) -> Any:
    return model(
        encoder_outputs=BaseModelOutput(last_hidden_state=encoded),
        decoder_input_ids=words,
        past_key_values=cache,
        use_cache=True,
    )


def _git_read(model: PreTrainedModel, image: Tensor | None, words: Rows, cache: Any, place: int) -> Any:
    if cache is None:
        return model(input_ids=words, pixel_values=image, use_cache=True)
    # said, not guessed: transformers would count the image's places in the cache as words
    places = torch.arange(place, place + words.shape[1], device=words.device)
    return model(
        input_ids=words,
        position_ids=repeat(places, "token -> row token", row=len(words)),
        past_key_values=cache,
        use_cache=True,
    )


READERS = {
    "BlipForConditionalGeneration": Reader(_blip_encode, _blip_read),
    "GitForCausalLM": Reader(None, _git_read),
    "VisionEncoderDecoderModel": Reader(_pair_encode, _pair_read),
}
"""By the class of the model."""
