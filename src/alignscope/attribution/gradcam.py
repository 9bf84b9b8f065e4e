"""Which tokens a score listens to: relevance propagated through the text tower's attention.

Chefer et al. 2021 (Generic Attention-model Explainability, eq. 5-6) as used for CLIP: in every layer
the positive part of gradient times attention, averaged over heads, E; R starts as the identity and
becomes R + E R from the first layer to the last; read the row of the position the embedding is read
from. Differs: one backward pass serves the whole batch, because texts do not meet in the tower; and
only that one row is carried, from the last layer to the first, which is the same product.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from einops import einsum, reduce
from jaxtyping import Bool, Float, Int
from torch import Tensor

from alignscope.errors import LengthMismatch, Unsupported
from alignscope.models.protocols import DualEncoder, Tokens

Layers = Literal["all", "last"]


def gradcam(
    model: DualEncoder,
    texts: Sequence[str],
    image_embeddings: Float[Tensor, "text dim"],
    *,
    layers: Layers = "all",
    create_graph: bool = False,
) -> Float[Tensor, "text token"]:
    """Heat of every token of every text for its score with the image beside it."""
    return token_heats(model, model.tokens(texts), image_embeddings, layers=layers, create_graph=create_graph)


def token_heats(
    model: DualEncoder,
    tokens: Tokens,
    image_embeddings: Float[Tensor, "text dim"],
    *,
    layers: Layers = "all",
    create_graph: bool = False,
) -> Float[Tensor, "text token"]:
    """As `gradcam`, of texts already tokenised; special and padding tokens get 0.

    With `create_graph` the heats can be trained through, and lie on the model's device; else they
    come without a graph, on the CPU.
    """
    if "gradcam" not in model.traits.attributions:
        raise Unsupported(
            f"{model.name} gives no gradcam, only {', '.join(model.traits.attributions) or 'none'}"
        )
    if len(image_embeddings) != len(tokens.ids):
        raise LengthMismatch(
            f"{len(image_embeddings)} image embeddings for {len(tokens.ids)} texts: wanted one row per text; "
            "repeat the rows of images that have several"
        )
    if len(tokens.ids) == 0:
        return torch.zeros(tokens.ids.shape)
    with torch.enable_grad(), model.text_attention() as maps:
        texts = model.embed_tokens(tokens)
        scores = model.traits.scale * einsum(texts, image_embeddings.to(texts), "text dim, text dim -> text")
        total = scores.sum()
    if not total.requires_grad:
        raise Unsupported(
            f"all weights of {model.name} are frozen: gradcam needs requires_grad on its text tower"
        )
    used = maps if layers == "all" else maps[-1:]
    gradients = torch.autograd.grad(total, used, create_graph=create_graph)
    relevances = [
        layer_relevance(attention, gradient) for attention, gradient in zip(used, gradients, strict=True)
    ]
    heats = readout_row(relevances, tokens.readout.to(texts.device))
    heats = heats * counted(tokens).to(heats)
    return heats if create_graph else heats.detach().cpu()


def layer_relevance(
    attention: Float[Tensor, "text head query key"], gradient: Float[Tensor, "text head query key"]
) -> Float[Tensor, "text query key"]:
    """Mean over heads of the positive part of gradient times attention (Chefer et al. 2021, eq. 5).

    The arithmetic is float32 whatever the model computes in.
    """
    return reduce(
        (gradient.float() * attention.float()).relu(), "text head query key -> text query key", "mean"
    )


def readout_row(
    relevances: Sequence[Float[Tensor, "text query key"]], readout: Int[Tensor, " text"]
) -> Float[Tensor, "text key"]:
    """The row of the readout position in (I + E_L) ... (I + E_1), without the identity on its diagonal.

    >>> layer = torch.tensor([[[0.0, 0.0], [0.5, 0.25]]])
    >>> readout_row([layer], torch.tensor([1])).tolist()  # one layer: its own row
    [[0.5, 0.25]]
    >>> readout_row([layer, layer], torch.tensor([1])).tolist()  # 0.5 + 0.5 + 0.25 * 0.5; 1.25 ** 2 - 1
    [[1.125, 0.5625]]
    """
    start = F.one_hot(readout, relevances[0].shape[-1]).to(relevances[0])
    row = start
    for relevance in reversed(relevances):
        row = row + einsum(row, relevance, "text query, text query key -> text key")
    return row - start


def counted(tokens: Tokens) -> Bool[Tensor, "text token"]:
    """Tokens that stand for characters of the text; never the one the embedding is read from."""
    spans = torch.tensor(tokens.offsets).reshape(*tokens.ids.shape, 2)
    spells = spans[..., 1] > spans[..., 0]
    is_readout = F.one_hot(tokens.readout, tokens.ids.shape[1]).bool()
    return spells & ~is_readout
