"""Models that only write captions: BLIP, GIT, and any image encoder with a text decoder.

BLIP (Li et al. 2022) and VisionEncoderDecoder models look at the image by cross-attention: their encoder runs
once per image. GIT (Wang et al. 2022) has the image before the text in self-attention: its keys and values
are computed once per image. Their baseline without an image differs: GIT reads the text alone; the decoders
of the others were never trained without an image and see a blank one, of the processor's mean colour.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from einops import repeat
from jaxtyping import Float, Int
from PIL.Image import Image
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.modeling_outputs import BaseModelOutput

from alignscope.models.captioners.decoder import blank, check_room, repeated
from alignscope.models.captioners.question import TEXT, Scoring, end_token
from alignscope.models.captioners.reading import Reading, padded, read
from alignscope.models.cross.pixels import pixels
from alignscope.models.protocols import Baseline

Rows = Int[Tensor, "text position"]


@dataclass(frozen=True)
class Kind:
    """What a captioner of one architecture does differently from the others.

    `start` gives the first tokens by the configuration and those that the tokenizer puts first; `begin` and
    `logits` are those of `Decoder`, where `rows` are the prompt and the texts after it.
    """

    baseline: Baseline
    text_config: Callable[[Any], Any]
    start: Callable[[Any, tuple[int, ...]], tuple[int, ...]]
    begin: Callable[[PreTrainedModel, Tensor | None, Tensor], Any]
    logits: Callable[[PreTrainedModel, Any, Rows, int], Tensor]


@final
@dataclass(frozen=True)
class CaptionDecoder:
    """A captioner with its tokenizer and image processor; a template's words before the text are its prompt."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    image_processor: Any
    kind: Kind
    scoring: Scoring
    template: str

    @property
    def baseline(self) -> Baseline:
        return self.kind.baseline

    @property
    def text_config(self) -> Any:
        return self.kind.text_config(self.model.config)

    @property
    def context_length(self) -> int:
        return self.text_config.max_position_embeddings - len(self.read("").prefix)

    @property
    def facts(self) -> list[Any]:
        return [json.loads(self.image_processor.to_json_string())]

    def read(self, text: str, *, with_image: bool = True) -> Reading:
        """The text with the prompt, start and end that the model was trained with."""
        found = read(
            self.tokenizer, text, before=self.template.removesuffix(TEXT), after="", adds_specials=True
        )
        end = self.tokenizer.convert_tokens_to_ids(end_token(self.tokenizer, ""))
        added = sum(not_spelled for not_spelled in map(self._is_special, found.prefix))
        prefix = (*self.kind.start(self.model.config, found.prefix[:added]), *found.prefix[added:])
        ids, offsets = (*found.ids, end), (*found.offsets, (0, 0))
        return Reading(text, found.before, found.rest, prefix, ids, offsets)

    def begin(self, image: Image | None, reading: Reading) -> Any:
        """What the model sees of the image, computed once."""
        device, number = self.model.device, self.model.dtype
        if image is None and self.baseline == "blank image":
            image = blank(self.image_processor)
        seen = None if image is None else pixels(self.image_processor, image).to(device, number)[None]
        return self.kind.begin(self.model, seen, torch.tensor([reading.prefix], device=device))

    def logits(self, begun: Any, readings: Sequence[Reading]) -> Float[Tensor, "text position vocabulary"]:
        """One forward for all texts of an image."""
        check_room(readings, self.context_length)
        ids, _ = padded(readings)
        prefix = repeat(torch.tensor(readings[0].prefix), "token -> text token", text=len(ids))
        rows = torch.cat([prefix, ids], dim=1).to(self.model.device)
        return self.kind.logits(self.model, begun, rows, prefix.shape[1])

    def _is_special(self, token: int) -> bool:
        return token in (self.tokenizer.cls_token_id, self.tokenizer.bos_token_id)


def _blip_begin(model: PreTrainedModel, seen: Tensor | None, prefix: Tensor) -> Tensor:
    return model.vision_model(pixel_values=seen).last_hidden_state


def _blip_logits(model: PreTrainedModel, seen: Tensor, rows: Rows, prompt: int) -> Tensor:
    encoded = repeat(seen, "1 patch dim -> text patch dim", text=len(rows))
    output = model.text_decoder(input_ids=rows, encoder_hidden_states=encoded, use_cache=False)
    return output.logits[:, prompt - 1 :]


def _pair_begin(model: PreTrainedModel, seen: Tensor | None, prefix: Tensor) -> Tensor:
    return model.encoder(pixel_values=seen).last_hidden_state


def _pair_logits(model: PreTrainedModel, seen: Tensor, rows: Rows, prompt: int) -> Tensor:
    encoded = repeat(seen, "1 patch dim -> text patch dim", text=len(rows)).contiguous()  # GPT-2 views it
    output = model(
        encoder_outputs=BaseModelOutput(last_hidden_state=encoded), decoder_input_ids=rows, use_cache=False
    )
    return output.logits[:, prompt - 1 :]


def _git_begin(model: PreTrainedModel, seen: Tensor | None, prefix: Tensor) -> Any:
    if seen is None:
        return None
    return model(input_ids=prefix, pixel_values=seen, use_cache=True, logits_to_keep=1)


def _git_logits(model: PreTrainedModel, begun: Any, rows: Rows, prompt: int) -> Tensor:
    if begun is None:
        return model(input_ids=rows, use_cache=False).logits[:, prompt - 1 :]
    texts, length = rows.shape
    output = model(
        input_ids=rows[:, prompt:],
        # said, not guessed: transformers would count the image's places in the cache as words
        position_ids=repeat(
            torch.arange(prompt, length, device=rows.device), "token -> text token", text=texts
        ),
        past_key_values=repeated(begun.past_key_values, texts),
        use_cache=True,
    )
    first = repeat(begun.logits[:, -1], "1 vocabulary -> text 1 vocabulary", text=texts)
    return torch.cat([first, output.logits], dim=1)


KINDS = {
    "BlipForConditionalGeneration": Kind(
        "blank image",
        text_config=lambda config: config.text_config,
        start=lambda config, leading: (config.text_config.bos_token_id,),
        begin=_blip_begin,
        logits=_blip_logits,
    ),
    "GitForCausalLM": Kind(
        "no image",
        text_config=lambda config: config,
        start=lambda config, leading: leading,
        begin=_git_begin,
        logits=_git_logits,
    ),
    "VisionEncoderDecoderModel": Kind(
        "blank image",
        text_config=lambda config: config.decoder,
        start=lambda config, leading: (_decoder_start(config), *leading),
        begin=_pair_begin,
        logits=_pair_logits,
    ),
}


def _decoder_start(config: Any) -> int:
    found = [getattr(part, "decoder_start_token_id", None) for part in (config, config.decoder)]
    found.append(config.decoder.bos_token_id)
    return next(token for token in found if token is not None)
