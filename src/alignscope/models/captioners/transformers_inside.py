"""Attention and states of captioners of patches or regions over one image, kept as their modules give them.

Towers beside a decoder (BLIP, an image encoder with a text decoder, our Transformer): what is seen attends to itself
in the tower, tokens of a caption in the decoder to those before them and, by another softmax, to what is seen: their
rows sum to two. GIT has one stack, of which the image is the prefix: every row sums to one. In either, nothing of the
image attends to a caption.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from alignscope.errors import Unsupported
from alignscope.models import taps
from alignscope.models.captioners.inside import Inside, Kind

TOWERS = {"vit": 1, "deit": 2}
"""Image encoders of `VisionEncoderDecoderModel` that are read, with their tokens before the patches."""
DECODERS = {
    "gpt2": ("decoder.transformer.h", "attn", "crossattention", "decoder.lm_head"),
    "bert": ("decoder.bert.encoder.layer", "attention.self", "crossattention.self", "decoder.cls"),
}
"""Its text decoders: the layers, in each what attends to words and to the image, and what takes the last states."""


@dataclass(frozen=True)
class Sites:
    """Modules of a model that return their attention, layer by layer, and the one that takes in the last states.

    `towers` must be told to compute it step by step; `specials` tokens stand before the patches. Without
    `across` the image is a prefix and `words` attend to both.
    """

    specials: int
    image: tuple[nn.Module, ...]
    words: tuple[nn.Module, ...]
    across: tuple[nn.Module, ...]
    head: nn.Module
    towers: tuple[PreTrainedModel, ...] = ()


@dataclass(frozen=True, eq=False)
class Looked:
    """One image: attention among what is seen, of the caption's tokens among themselves and to what is seen, and
    last states of either. Tower and decoder may differ in layers, heads and width."""

    seen: Float[Tensor, "layer head position position"]
    states: Float[Tensor, "position width"]
    words: Float[Tensor, "word_layer word_head token token"]
    across: Float[Tensor, "word_layer word_head token position"]
    spoken: Float[Tensor, "token word_width"]


def sites_of(model: PreTrainedModel) -> Sites:
    """Where to look in a captioner of transformers; one that is not known inside is Unsupported."""
    named = type(model).__name__
    if named == "BlipForConditionalGeneration":
        layers, head = "text_decoder.bert.encoder.layer", model.get_submodule("text_decoder.cls")
        image = _each(model, "vision_model.encoder.layers", "self_attn")
        words, across = (_each(model, layers, part) for part in ("attention.self", "crossattention.self"))
        return Sites(1, image, words, across, head)
    if named == "GitForCausalLM":
        both = _each(model, "git.encoder.layer", "attention.self")
        return Sites(1, (), both, (), model.get_submodule("output"))
    if named == "VisionEncoderDecoderModel":
        tower, decoder = model.config.encoder.model_type, model.config.decoder.model_type
        if tower in TOWERS and decoder in DECODERS:
            stack, *parts, end = DECODERS[decoder]
            image = _each(model, "encoder.layers", "attention")
            words, across = (_each(model, stack, part) for part in parts)
            towers = (model.get_submodule("encoder"), model.get_submodule("decoder"))
            return Sites(TOWERS[tower], image, words, across, model.get_submodule(end), towers)
        named = f"{named} of {tower} and {decoder}"
    raise Unsupported(
        f"attention inside a {named} is not read: take BLIP, GIT, or a VisionEncoderDecoderModel of "
        f"{' or '.join(TOWERS)} with {' or '.join(DECODERS)}; `open_captioner` opens it to write captions"
    )


def beside(
    sites: Sites,
    see: Callable[[], Float[Tensor, "1 position width"]],
    say: Callable[[Float[Tensor, "1 position width"]], Any] | None,
) -> Looked:
    """A tower runs, then, where there is a caption, the decoder that looks at its states."""
    with ExitStack() as stack:
        for tower in sites.towers:
            stack.enter_context(taps.eager(tower))
        parts = (sites.image, sites.words, sites.across)
        seen, words, across = (stack.enter_context(taps.attention(part)) for part in parts)
        entered = stack.enter_context(taps.entering(sites.head))
        states = see()
        if say is not None:
            say(states)
    if say is None:
        return _without_words(_stacked(seen), states[0])
    return Looked(_stacked(seen), states[0], _stacked(words), _stacked(across), entered[0][0])


def before(sites: Sites, read: Callable[[], Any], tokens: int, *, with_words: bool) -> Looked:
    """The image and `tokens` of text after it are read at once."""
    with taps.attention(sites.words) as maps, taps.entering(sites.head) as entered:
        read()
    whole, states = _stacked(maps), entered[0][0]
    size = len(states) - tokens
    seen = whole[..., :size, :size]
    if not with_words:
        return _without_words(seen, states[:size])
    return Looked(seen, states[:size], whole[..., size:, size:], whole[..., size:, :size], states[size:])


def of_patches(
    model: PreTrainedModel,
    values: Float[Tensor, "1 _ height width"],
    prompt: Sequence[int],
    row: Sequence[int] | None,
    encode: Callable[..., Tensor] | None,
    read: Callable[..., Any],
) -> Inside:
    """One image of a captioner of transformers, with the words and the end of its caption where there is a row.

    `encode` and `read` are those of its `Reader`.
    """
    sites = sites_of(model)
    ids = torch.tensor([[*prompt, *(row or ())]], device=model.device)
    if encode is None:
        whole = partial(read, model, values, ids, None, 0)
        looked = before(sites, whole, ids.shape[1], with_words=row is not None)
    else:
        say = None if row is None else lambda states: read(model, states, ids, None, 0)
        looked = beside(sites, lambda: encode(model, values), say)
    return joined(looked, kind="patch", specials=sites.specials, prompt=len(prompt))


def joined(looked: Looked, *, kind: Kind, specials: int, prompt: int) -> Inside:
    """The caption's tokens, then what is seen, as one map.

    Layers and heads of tower and decoder stand together by their number and states by their place; NaN where one
    has fewer, as between positions that no attention joins. `prompt` tokens before the words and the end are "special".
    """
    tokens, size = len(looked.spoken), len(looked.states)
    shapes = [torch.tensor(part.shape[:2]) for part in (looked.seen, looked.words)]
    layers, heads = torch.stack(shapes).amax(dim=0).tolist()
    attention = torch.full((layers, heads, tokens + size, tokens + size), torch.nan)
    earlier = torch.ones(tokens, tokens, dtype=torch.bool).tril()
    causal = looked.words.float().cpu().masked_fill(~earlier, torch.nan)
    _block(attention, causal)[..., :tokens, :tokens] = causal
    _block(attention, looked.across)[..., :tokens, tokens:] = looked.across.float().cpu()
    _block(attention, looked.seen)[..., tokens:, tokens:] = looked.seen.float().cpu()
    states = torch.full((tokens + size, max(looked.spoken.shape[1], looked.states.shape[1])), torch.nan)
    states[:tokens, : looked.spoken.shape[1]] = looked.spoken.float().cpu()
    states[tokens:, : looked.states.shape[1]] = looked.states.float().cpu()
    words = max(tokens - prompt - 1, 0)
    named: list[tuple[Kind, int]] = [("special", -1)] * min(prompt, tokens)
    named += [("caption", unit) for unit in range(words)]
    named += [("special", -1)] * (tokens - len(named))  # the end
    named += [("special", -1)] * specials
    named += [(kind, unit) for unit in range(size - specials)]
    kinds, units = zip(*named, strict=True)
    return Inside(kinds, units, attention, states)


def _block(attention: Tensor, part: Tensor) -> Tensor:
    """The layers and heads that a part has."""
    return attention[: part.shape[0], : part.shape[1]]


def _without_words(seen: Tensor, states: Tensor) -> Looked:
    none = seen.new_zeros(0, 0, 0, 0)
    across = seen.new_zeros(0, 0, 0, len(states))
    return Looked(seen, states, none, across, states[:0])


def _each(model: nn.Module, layers: str, part: str) -> tuple[nn.Module, ...]:
    return tuple(layer.get_submodule(part) for layer in model.get_submodule(layers).children())


def _stacked(maps: Sequence[Tensor]) -> Float[Tensor, "layer head _ _"]:
    """Of one image."""
    return torch.stack([each[0] for each in maps])
