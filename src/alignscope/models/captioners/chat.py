"""Vision-language models that read the image among the words: LLaVA, Qwen2-VL, Idefics3 and their like.

Any model of transformers' `AutoModelForImageTextToText` that is a decoder alone. Without the image, the same
words are read with nothing in its place, or, where the model cannot run so, with a blank image.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from einops import repeat
from jaxtyping import Float
from PIL.Image import Image
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from alignscope.errors import Unsupported
from alignscope.models.captioners.decoder import blank, check_room, repeated
from alignscope.models.captioners.question import Scoring, end_token
from alignscope.models.captioners.reading import Reading, padded, read
from alignscope.models.dual.vision import rgb
from alignscope.models.protocols import Baseline

SHARED_PREFIX = ("llava", "idefics3", "smolvlm", "qwen2_vl", "qwen2_5_vl")
"""Types of models whose image and prompt are read once for all texts: those where this was tested to give
what whole sequences give. The others read every pair from its first token on."""


@dataclass(frozen=True, eq=False)
class Begun:
    """An image with the prompt, and what the model made of them where that is shared."""

    image: Image | None
    output: Any = None


@final
@dataclass(frozen=True)
class Chat:
    """A vision-language model with its processor; its chat template is used where it has one.

    `seen` is what stands before and after a text, `unseen` the same without the image.
    """

    model: PreTrainedModel
    processor: Any
    scoring: Scoring
    template: str
    seen: tuple[str, str]
    unseen: tuple[str, str]

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        return self.processor.tokenizer

    @property
    def image_processor(self) -> Any:
        return self.processor.image_processor

    @property
    def baseline(self) -> Baseline:
        """No image where the forward takes none; BLIP-2 and its like do not: a blank one."""
        pixels = inspect.signature(self.model.forward).parameters.get("pixel_values")
        is_needed = pixels is not None and pixels.default is inspect.Parameter.empty
        return "blank image" if is_needed else "no image"

    @property
    def text_config(self) -> Any:
        return self.model.config.get_text_config()

    @property
    def context_length(self) -> int:
        return self.text_config.max_position_embeddings - len(self.read("").prefix)

    @property
    def facts(self) -> list[Any]:
        images = json.loads(self.image_processor.to_json_string())
        return [images, self.processor.chat_template, self.seen, self.unseen]

    def read(self, text: str, *, with_image: bool = True) -> Reading:
        """The text in the conversation: to its end, or to where the answer begins."""
        before, after = self.unseen if self.baseline == "no image" and not with_image else self.seen
        if self.scoring != "yes":
            after = end_token(self.tokenizer, after)
        found = read(
            self.tokenizer, text, before=before, after=after, adds_specials=self._adds_specials(before)
        )
        if found.prefix:
            return found
        start = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id
        first = next(token for token in start if token is not None)
        return Reading(text, found.before, found.rest, (first,), found.ids, found.offsets)

    def begin(self, image: Image | None, reading: Reading) -> Begun:
        """The image and the prompt, read once where the architecture allows it."""
        if image is None and self.baseline == "blank image":
            image = blank(self.image_processor)
        if image is None or not self._is_shared(reading):
            return Begun(image)
        inputs = self._inputs(image, reading.before)
        output = self.model(**inputs, use_cache=True, logits_to_keep=1)
        return Begun(image) if any(output.past_key_values.is_sliding) else Begun(image, output)

    def logits(self, begun: Begun, readings: Sequence[Reading]) -> Float[Tensor, "text position vocabulary"]:
        """One forward for all texts after a shared prefix or none, else one for each."""
        if begun.image is None:
            return self._alone(readings)
        if begun.output is None:
            return pad_sequence([self._whole(begun.image, each) for each in readings], batch_first=True)
        cache = begun.output.past_key_values
        check_room(readings, self.text_config.max_position_embeddings - cache.get_seq_length())
        ids, texts = padded(readings)[0].to(self.model.device), len(readings)
        output = self.model(input_ids=ids, past_key_values=repeated(cache, texts), use_cache=True)
        first = repeat(begun.output.logits[:, -1], "1 vocabulary -> text 1 vocabulary", text=texts)
        return torch.cat([first, output.logits], dim=1)

    def _alone(self, readings: Sequence[Reading]) -> Float[Tensor, "text position vocabulary"]:
        """Predictions without an image, which no processor is needed for."""
        prompt = len(readings[0].prefix)
        check_room(readings, self.text_config.max_position_embeddings - prompt)
        prefix = repeat(torch.tensor(readings[0].prefix), "token -> text token", text=len(readings))
        rows = torch.cat([prefix, padded(readings)[0]], dim=1).to(self.model.device)
        return self.model(input_ids=rows, use_cache=False).logits[:, prompt - 1 :]

    def _whole(self, image: Image, reading: Reading) -> Float[Tensor, "position vocabulary"]:
        """Predictions in a sequence read from its first token on, as the processor writes it."""
        inputs, length = self._inputs(image, reading.before + reading.rest), len(reading.ids)
        ids = tuple(inputs["input_ids"][0].tolist())
        if ids[len(ids) - length :] != reading.ids:
            raise Unsupported(
                f"{type(self.processor).__name__} changes what it is given: {reading.rest[:60]!r} does not end "
                "its input; this model cannot score texts here"
            )
        check_room([reading], self.text_config.max_position_embeddings - (len(ids) - length))
        return self.model(**inputs, use_cache=False).logits[0, -length - 1 :]

    def _inputs(self, image: Image, words: str) -> dict[str, Tensor]:
        specials = self._adds_specials(words)
        found = self.processor(
            text=[words], images=[rgb(image)], return_tensors="pt", add_special_tokens=specials
        )
        placed = {}
        for name, tensor in found.items():
            number = self.model.dtype if tensor.is_floating_point() else tensor.dtype
            placed[name] = tensor.to(self.model.device, number)
        return placed

    def _is_shared(self, reading: Reading) -> bool:
        """Whether the prompt by itself has the tokens that it has before the text."""
        if self.model.config.model_type not in SHARED_PREFIX:
            return False
        found = self.tokenizer(reading.before, add_special_tokens=self._adds_specials(reading.before))
        return tuple(found["input_ids"]) == reading.prefix

    def _adds_specials(self, words: str) -> bool:
        """A chat template that writes the start token itself does not get a second one."""
        start = self.tokenizer.bos_token
        return start is None or not words.startswith(start)
