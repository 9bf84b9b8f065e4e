"""Heats of tokens: what the score of a text with its image listens to inside the text tower.

Three methods of paper B (section 3.2) that look inside: `attention` (AB), `gradcam` (GCB) and `gradient`
(GB). One forward and at most one backward pass serve a whole batch and all three, because texts do not
meet in the tower: the gradient of the summed scores is, for each text, that of its own score.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from einops import einsum, rearrange, reduce
from jaxtyping import Bool, Float
from torch import Tensor

from alignscope.attribution.options import DEFAULTS, Method, Options, chosen_layers
from alignscope.attribution.relevance import layer_relevance, readout_row, wide
from alignscope.errors import BadInput, LengthMismatch, Unsupported
from alignscope.models.protocols import DualEncoder, PairScorer, Tokens

GRADIENTS = ("gradcam", "gradient")


@dataclass(frozen=True)
class TextPass:
    """What one pass of a batch through the text tower left behind; empty where nobody asked for it."""

    tokens: Tokens
    attention: tuple[Float[Tensor, "text head query key"], ...] = ()  # of the chosen layers
    attention_gradients: tuple[Float[Tensor, "text head query key"], ...] = ()
    input_gradient: Float[Tensor, "text token dim"] | None = None
    inputs: Float[Tensor, "text token dim"] | None = None
    embeddings: Float[Tensor, "text width"] | None = None
    scale: float = 1.0  # of the model's score
    has_graph: bool = False  # made to be trained through


def token_heats(
    model: DualEncoder,
    tokens: Tokens,
    image_embeddings: Float[Tensor, "text dim"],
    *,
    methods: Sequence[Method] = ("gradcam",),
    options: Options = DEFAULTS,
    create_graph: bool = False,
) -> Mapping[Method, Float[Tensor, "text token"]]:
    """Heat of every token of every text under each method; special and padding tokens get 0.

    `image_embeddings` has the row of each text's image. With `create_graph` the heats can be trained
    through (also into the images, where their embeddings carry a graph) and lie on the model's device;
    else they come without a graph, on the CPU. Not normalised. `perturbation` gives no heats of tokens.
    """
    require(model, methods)
    if len(image_embeddings) != len(tokens.ids):
        raise LengthMismatch(
            f"{len(image_embeddings)} image embeddings for {len(tokens.ids)} texts: wanted one row per text; "
            "repeat the rows of images that have several"
        )
    if len(tokens.ids) == 0:
        return {method: torch.zeros(tokens.ids.shape) for method in methods}
    found = text_forward(model, tokens, methods=methods, options=options, create_graph=create_graph)
    return heats_of(found, image_embeddings, methods=methods, options=options)


def require(model: PairScorer, methods: Sequence[Method]) -> None:
    """Refuse methods that the model's traits do not name."""
    absent = [method for method in methods if method not in model.traits.attributions]
    if absent:
        raise Unsupported(
            f"{model.name} gives no {', '.join(absent)}, only {', '.join(model.traits.attributions) or 'none'}"
        )


def text_forward(
    model: DualEncoder,
    tokens: Tokens,
    *,
    methods: Sequence[Method],
    options: Options = DEFAULTS,
    create_graph: bool,
) -> TextPass:
    """One forward that keeps what the methods will look at; its hooks are gone afterwards.

    The tower runs eager only where maps are read or a second derivative will be taken, which fused
    attention does not have. Without `create_graph` dropout is off, whatever mode the model is in.
    """
    has_gradients = any(method in GRADIENTS for method in methods)
    reads_maps = "attention" in methods or "gradcam" in methods
    scale = model.traits.scale
    with ExitStack() as taps:
        if not create_graph:
            taps.enter_context(model.evaluating())
        taps.enter_context(torch.set_grad_enabled(create_graph or has_gradients))
        is_eager = reads_maps or (create_graph and has_gradients)
        maps = taps.enter_context(model.text_attention()) if is_eager else []
        inputs = taps.enter_context(model.text_inputs()) if has_gradients else []
        embeddings = model.embed_tokens(tokens)
    tower = f"the text tower of {model.name}"
    layers = chosen_layers(options.layers, len(maps), tower=tower) if reads_maps else ()
    return TextPass(
        tokens,
        tuple(maps[i] for i in layers),
        inputs=inputs[0] if inputs else None,
        embeddings=embeddings,
        scale=scale,
        has_graph=create_graph,
    )


def heats_of(
    found: TextPass,
    image_embeddings: Float[Tensor, "text dim"],
    *,
    methods: Sequence[Method],
    options: Options = DEFAULTS,
) -> Mapping[Method, Float[Tensor, "text token"]]:
    """The heats of a forward (`text_forward`) for the images beside its texts, as `token_heats` gives them.

    A forward that is not trained through gives heats of gradients once: taking them frees its graph.
    """
    found = with_gradients(found, image_embeddings, methods=methods)
    heats: dict[Method, Tensor] = {}
    for method in methods:
        if method == "attention":
            heat = attention_heats(found)
        elif method == "gradcam":
            heat = gradcam_heats(found)
        else:
            heat = gradient_heats(found, options)
        heats[method] = heat if found.has_graph else heat.detach().cpu()
    return heats


def with_gradients(
    found: TextPass, image_embeddings: Float[Tensor, "text dim"], *, methods: Sequence[Method]
) -> TextPass:
    """The pass with the gradients of its scores that the methods need: one backward, or none."""
    looks = {"attention": found.attention, "gradcam": found.attention, "gradient": found.inputs is not None}
    if absent := [method for method in methods if not looks[method]]:
        raise BadInput(
            f"a text pass that kept nothing for {', '.join(absent)}: make it with `text_forward` and these methods"
        )
    mapped = found.attention if "gradcam" in methods else ()
    entered = (found.inputs,) if "gradient" in methods else ()
    if not mapped and not entered:
        return found
    with torch.enable_grad():
        pairs = einsum(found.embeddings, image_embeddings.to(found.embeddings), "text dim, text dim -> text")
        wanted = [*mapped, *entered]
        gradients = torch.autograd.grad(found.scale * pairs.sum(), wanted, create_graph=found.has_graph)
    return replace(
        found,
        attention_gradients=gradients[: len(mapped)],
        input_gradient=gradients[len(mapped)] if entered else None,
    )


def attention_heats(found: TextPass) -> Float[Tensor, "text token"]:
    """Mean over heads and layers of the attention that the readout position pays to each token.

    Paper B's AB; "CLS" there can only be the end token, the text tower of CLIP has no other readout.
    """
    per_layer = [
        readout_row(
            [reduce(wide(attention), "text head query key -> text query key", "mean")],
            found.tokens.readout.to(attention.device),
        )
        for attention in found.attention
    ]
    return _spelled(torch.stack(per_layer).mean(dim=0), found.tokens)


def gradcam_heats(found: TextPass) -> Float[Tensor, "text token"]:
    """The readout's row of the relevance propagated through the chosen layers (paper B's GCB)."""
    layers = zip(found.attention, found.attention_gradients, strict=True)
    relevances = [layer_relevance(attention, gradient) for attention, gradient in layers]
    return _spelled(readout_row(relevances, found.tokens.readout.to(relevances[0].device)), found.tokens)


def gradient_heats(found: TextPass, options: Options) -> Float[Tensor, "text token"]:
    """Softmax over tokens of the summed absolute gradient at their embeddings (paper B's GB, eq. 10).

    Taken before the positions are added, which makes no difference: addition passes gradients on.
    """
    assert found.input_gradient is not None
    norms = reduce(wide(found.input_gradient).abs(), "text token dim -> text token", "sum")
    real = heard(found.tokens) if options.tokens == "real" else counted(found.tokens)
    logits = (norms / options.temperature).masked_fill(~real.to(norms.device), torch.finfo(norms.dtype).min)
    return _spelled(F.softmax(logits, dim=-1), found.tokens)


def counted(tokens: Tokens) -> Bool[Tensor, "text token"]:
    """Tokens that stand for characters of the text; never the one the embedding is read from."""
    spans = torch.tensor(tokens.offsets).reshape(*tokens.ids.shape, 2)
    spells = spans[..., 1] > spans[..., 0]
    is_readout = F.one_hot(tokens.readout, tokens.ids.shape[1]).bool()
    return spells & ~is_readout & heard(tokens)


def heard(tokens: Tokens) -> Bool[Tensor, "text token"]:
    """Tokens that are not padding, nor behind an end that a causal tower finds early."""
    unheard = torch.tensor(tokens.unheard or [0] * len(tokens.ids)).long()
    lengths = rearrange(tokens.mask.sum(dim=-1) - unheard, "text -> text 1")
    return torch.arange(tokens.ids.shape[1]) < lengths


def _spelled(heats: Float[Tensor, "text token"], tokens: Tokens) -> Float[Tensor, "text token"]:
    return heats * counted(tokens).to(heats)
