"""Heats of tokens and of patches or regions for models that read image and text together.

The rules are those of `streams` where text and image have a stream each, and of `relevance` where they
share one. One forward and one backward serve a whole batch and every method: pairs do not meet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from alignscope.attribution.options import DEFAULTS, Method, Options, chosen_layers
from alignscope.attribution.relevance import layer_relevance, readout_row
from alignscope.attribution.streams import Step, propagated
from alignscope.attribution.tokens import (
    GRADIENTS,
    TextPass,
    attention_heats,
    counted,
    gradient_heats,
    require,
)
from alignscope.errors import Unsupported
from alignscope.models.protocols import AttentionMap, CrossEncoder, PairInputs


@dataclass(frozen=True, eq=False)
class CrossHeats:
    """Heats of a batch of pairs, not normalised, on the graph where that was asked for.

    `images` (None unless `gradcam` was asked for) has a column per patch, row by row, or per region; `seen`
    is False beyond an image's last and at patches the model left out. Token heats merge into words with
    `words.merged`.
    """

    tokens: Mapping[Method, Float[Tensor, "pair token"]]
    images: Float[Tensor, "pair unit"] | None
    seen: Bool[Tensor, "pair unit"]


def cross_heats(
    model: CrossEncoder,
    inputs: PairInputs,
    *,
    methods: Sequence[Method] = ("gradcam",),
    options: Options = DEFAULTS,
    create_graph: bool = False,
) -> CrossHeats:
    """Heat of every token under each method and, under gradcam, of every patch or region.

    `attention` is the readout's own attention to the tokens, averaged over heads and layers; `gradient` the
    softmax of the summed absolute gradient at the token embeddings. Maps are read at the text's readout
    alone, also where the score reads a place of the image stream besides (ViLBERT). With `create_graph`
    the heats can be trained through and lie on the model's device; else they come without a graph, on the
    CPU. Memory grows with pairs times layers times the square of positions.
    """
    require(model, methods)
    if len(inputs.units) == 0:
        nothing = torch.zeros(inputs.tokens.ids.shape)
        image = torch.zeros(0, 0) if "gradcam" in methods else None
        return CrossHeats(dict.fromkeys(methods, nothing), image, seen(inputs))
    maps, of_maps, of_inputs = _pass(model, inputs, methods, create_graph)
    found: dict[Method, Tensor] = {}
    image = None
    if "attention" in methods:
        found["attention"] = attention_heats(
            TextPass(inputs.tokens, tuple(_text_maps(maps, inputs, options)))
        )
    if "gradient" in methods:
        found["gradient"] = gradient_heats(TextPass(inputs.tokens, input_gradient=of_inputs), options)
    if "gradcam" in methods:
        found["gradcam"], image = gradcam(maps, of_maps, inputs, options)
    if not create_graph:
        found = {method: heat.detach().cpu() for method, heat in found.items()}
        image = None if image is None else image.detach().cpu()
    return CrossHeats({method: found[method] for method in methods}, image, seen(inputs))


def gradcam(
    maps: Sequence[AttentionMap],
    gradients: Sequence[Tensor | None],
    inputs: PairInputs,
    options: Options,
) -> tuple[Float[Tensor, "pair token"], Float[Tensor, "pair unit"]]:
    """The readout's row of the propagated relevance: over the tokens, and over the patches or regions.

    Differs from Chefer et al.: they set the readout's own place alone to 0, here are all special tokens.
    """
    pairs, width = inputs.tokens.ids.shape
    readout = inputs.tokens.readout.to(maps[0].probabilities.device)
    used = list(zip(maps, gradients, strict=True))
    if maps[0].query == "joint":
        layers = [used[i] for i in chosen_layers(options.layers, len(used))]
        row = readout_row([_relevance(each, gradient) for each, gradient in layers], readout)
        words, image = row[:, :width], row[:, width:]
    else:
        if options.layers != "all":
            raise Unsupported(
                f"layers {options.layers}: a model of two streams has no layers in one line; use 'all'"
            )
        steps = [
            Step(each.query, each.key, each.block, _relevance(each, gradient))
            for each, gradient in used
            if each.query != "joint"
            and each.key != "joint"
            and not (gradient is None and each.query == "image")
        ]
        masks = (inputs.tokens.mask.bool().to(readout.device), _positions(inputs).to(readout.device))
        relevance = propagated(steps, *masks)
        at = torch.arange(pairs, device=readout.device), readout
        words, image = relevance.text_text[at], relevance.text_image[at]
    return words * counted(inputs.tokens).to(words), _by_unit(image, inputs)


def seen(inputs: PairInputs) -> Bool[Tensor, "pair unit"]:
    """Which patches or regions of each image the model looked at."""
    return _by_unit(torch.ones(inputs.units.shape), inputs) > 0


def _pass(
    model: CrossEncoder, inputs: PairInputs, methods: Sequence[Method], create_graph: bool
) -> tuple[list[AttentionMap], list[Tensor | None], Tensor | None]:
    """One forward, and one backward where a method needs gradients: of every map, of the token embeddings."""
    has_gradients = any(method in GRADIENTS for method in methods)
    with ExitStack() as taps:
        if not create_graph:
            taps.enter_context(model.evaluating())
        taps.enter_context(torch.set_grad_enabled(create_graph or has_gradients))
        maps = taps.enter_context(model.pair_attention()) if {"attention", "gradcam"} & {*methods} else []
        entered = taps.enter_context(model.text_inputs()) if has_gradients else []
        scores = model.match(inputs)
        if not has_gradients:
            return maps, [], None
        mapped = [each.probabilities for each in maps] if "gradcam" in methods else []
        read = entered if "gradient" in methods else []
        gradients = torch.autograd.grad(
            scores.sum(), [*mapped, *read], create_graph=create_graph, allow_unused=True
        )
    return maps, list(gradients[: len(mapped)]), gradients[len(mapped)] if read else None


def _relevance(of: AttentionMap, gradient: Tensor | None) -> Float[Tensor, "pair query key"]:
    if gradient is None:
        raise Unsupported(
            f"the score does not depend on the attention of {of.query} to {of.key} in block {of.block}: "
            "the model must match through the maps that it gives"
        )
    return layer_relevance(of.probabilities, gradient)


def _text_maps(maps: Sequence[AttentionMap], inputs: PairInputs, options: Options) -> list[Tensor]:
    """What tokens pay to tokens in the chosen layers."""
    width = inputs.tokens.ids.shape[1]
    of_text = [each.probabilities[..., :width, :width] for each in maps if each.key == each.query != "image"]
    return [of_text[i] for i in chosen_layers(options.layers, len(of_text))]


def _positions(inputs: PairInputs) -> Bool[Tensor, "pair position"]:
    """Positions of the image stream that are no padding: all up to the last patch or region."""
    last = (inputs.units >= 0) * torch.arange(1, inputs.units.shape[1] + 1)
    return torch.arange(inputs.units.shape[1]) < last.amax(dim=-1, keepdim=True)


def _by_unit(values: Float[Tensor, "pair position"], inputs: PairInputs) -> Float[Tensor, "pair unit"]:
    """Values of image positions in the order of the patches or regions they stand for."""
    units = inputs.units.to(values.device)
    count = max(inputs.counts, default=0)
    sums = values.new_zeros(len(values), count + 1)  # the last column collects what stands for nothing
    return sums.scatter_add(1, torch.where(units < 0, count, units), values)[:, :count]
