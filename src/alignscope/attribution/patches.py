"""Heats of patches: what the score of an image with its text looks at inside the image tower.

`gradcam` follows the same relevance rules as on the text side (Chefer et al. 2021), read where the image
embedding is read; for convolution towers it is Grad-CAM itself (Selvaraju et al. 2017). `attention` is
the plain attention of the readout. Images do not meet in the tower, so one backward pass serves a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from typing import Literal

import torch
from einops import einsum, rearrange, reduce
from jaxtyping import Float
from PIL.Image import Image
from torch import Tensor

from alignscope.attribution.options import Layers, chosen_layers
from alignscope.attribution.relevance import carried_row, layer_relevance, readout_row, wide
from alignscope.errors import BadInput, LengthMismatch, Unsupported
from alignscope.models.protocols import DualEncoder, Progress
from alignscope.records import Item, PatchMap

ImageMethod = Literal["attention", "gradcam"]


def patch_heats(
    model: DualEncoder,
    pixels: Float[Tensor, "image channel height width"],
    text_embeddings: Float[Tensor, "text dim"],
    *,
    layers: Layers = "all",
    method: ImageMethod = "gradcam",
    create_graph: bool = False,
) -> Float[Tensor, "image row column"]:
    """Heat of every patch of every image for its score with the text of the same row. Not normalised.

    `layers` counts the attention that pools the patches, where there is one, as the last layer; it always
    takes part. With `create_graph` the heats can be trained through and lie on the model's device; else
    they come without a graph, on the CPU.
    """
    check(model, method)
    if len(pixels) != len(text_embeddings):
        raise LengthMismatch(
            f"{len(text_embeddings)} text embeddings for {len(pixels)} images: wanted one row per image"
        )
    wants_gradient = method == "gradcam"
    mode = nullcontext() if create_graph else model.evaluating()
    with mode, torch.set_grad_enabled(create_graph or wants_gradient), model.image_attention() as maps:
        images = model.embed_pixels(pixels)
        used = [maps[i] for i in chosen_layers(layers, len(maps))]
        if model.traits.image_readout == "pooled" and used[-1] is not maps[-1]:
            used.append(maps[-1])
        if wants_gradient:
            texts = text_embeddings.to(images)
            scores = model.traits.scale * einsum(images, texts, "image dim, image dim -> image")
            gradients = torch.autograd.grad(scores.sum(), used, create_graph=create_graph)
    heats = gradcam_heats(model, used, gradients) if wants_gradient else attention_heats(model, used)
    return heats if create_graph else heats.detach().cpu()


def image_methods(model: DualEncoder) -> tuple[ImageMethod, ...]:
    """The image maps that the model's traits promise."""
    readout = model.traits.image_readout
    return () if readout is None else ("gradcam",) if readout == "features" else ("attention", "gradcam")


def check(model: DualEncoder, method: ImageMethod) -> None:
    """Refuse what the model's traits say it cannot give."""
    readout = model.traits.image_readout
    if readout is None:
        raise Unsupported(f"{model.name} gives no image maps: its traits name no image readout")
    if readout == "features" and method == "attention":
        raise Unsupported(f"{model.name} has a convolution tower without attention: ask for gradcam")


def gradcam_heats(
    model: DualEncoder, maps: Sequence[Tensor], gradients: Sequence[Tensor]
) -> Float[Tensor, "image row column"]:
    """The readout's row of the relevance propagated through the maps, or Grad-CAM of features."""
    if model.traits.image_readout == "features":
        return feature_heats(maps[-1], gradients[-1])
    relevances = [layer_relevance(one, gradient) for one, gradient in zip(maps, gradients, strict=True)]
    if model.traits.image_readout == "pooled":
        pooling = rearrange(relevances[-1], "image 1 patch -> image patch")
        return _on_grid(model, carried_row(pooling, relevances[:-1]))
    first = torch.zeros(len(relevances[-1]), dtype=torch.long, device=relevances[-1].device)
    return _on_grid(model, readout_row(relevances, first)[:, 1:])


def feature_heats(
    features: Float[Tensor, "image channel row column"], gradient: Float[Tensor, "image channel row column"]
) -> Float[Tensor, "image row column"]:
    """Positive part of the channels' sum, each weighed by its mean gradient (Selvaraju et al. 2017, eq. 1-2).

    >>> features = torch.tensor([[[[1.0, 0.0]], [[0.0, 4.0]]]])  # two channels, one row, two columns
    >>> feature_heats(features, torch.tensor([[[[1.0, 3.0]], [[-1.0, 0.0]]]])).tolist()  # 2 * 1, relu(-0.5 * 4)
    [[[2.0, 0.0]]]
    """
    weights = reduce(wide(gradient), "image channel row column -> image channel", "mean")
    return einsum(
        weights, wide(features), "image channel, image channel row column -> image row column"
    ).relu()


def attention_heats(model: DualEncoder, maps: Sequence[Tensor]) -> Float[Tensor, "image row column"]:
    """Mean over heads and layers of the attention that the readout pays to each patch.

    Where the patches are pooled by attention, that one map says it all: no layer before it has a readout.
    """
    if model.traits.image_readout == "pooled":
        return _on_grid(model, reduce(wide(maps[-1]), "image head 1 patch -> image patch", "mean"))
    rows = torch.stack([wide(one[:, :, 0, 1:]) for one in maps])
    return _on_grid(model, reduce(rows, "layer image head patch -> image patch", "mean"))


def _on_grid(model: DualEncoder, heats: Float[Tensor, "image patch"]) -> Float[Tensor, "image row column"]:
    rows, columns = model.traits.grid or (0, 0)
    if rows * columns != heats.shape[1]:
        raise Unsupported(
            f"{model.name} has {heats.shape[1]} patches, its traits say a grid of {rows} x {columns}"
        )
    return rearrange(heats, "image (row column) -> image row column", row=rows)


def patch_maps(
    model: DualEncoder,
    items: Sequence[Item],
    image_of: Callable[[str], Image],
    texts: Sequence[str],
    *,
    layers: Layers = "all",
    method: ImageMethod = "gradcam",
    batch_size: int = 32,
    progress: Progress | None = None,
) -> Iterator[PatchMap]:
    """The map of every item's image for the text of the same row, in order, batch by batch.

    An item with several texts is given once for each; within a batch its image is opened once.
    """
    check(model, method)
    if len(texts) != len(items):
        raise LengthMismatch(f"{len(texts)} texts for {len(items)} items: wanted one per item; repeat items")
    if batch_size < 1:
        raise BadInput(f"got a batch size of {batch_size}, wanted 1 or more")
    for start in range(0, len(items), batch_size):
        batch, said = items[start : start + batch_size], texts[start : start + batch_size]
        opened = {key: image_of(key) for key in dict.fromkeys(item.image for item in batch)}
        place = {key: row for row, key in enumerate(opened)}
        pixels = model.pixels(list(opened.values()))[[place[item.image] for item in batch]]
        heats = patch_heats(model, pixels, model.encode_texts(said), layers=layers, method=method)
        for item, text, heat in zip(batch, said, heats, strict=True):
            yield PatchMap(
                item=item.id,
                image=item.image,
                text=text,
                method=method,
                rows=heat.shape[0],
                columns=heat.shape[1],
                heats=tuple(heat.flatten().tolist()),
                view=model.view(*opened[item.image].size),
            )
        if progress is not None:
            progress(start + len(batch), len(items))
