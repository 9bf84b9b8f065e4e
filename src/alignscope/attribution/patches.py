"""Heats of patches: what the score of an image with its text looks at inside the image tower.

`gradcam` follows the same relevance rules as on the text side (Chefer et al. 2021), read where the image
embedding is read; for convolution towers it is Grad-CAM itself (Selvaraju et al. 2017). `attention` is
the plain attention of the readout. Images do not meet in the tower, so one backward pass serves a batch.
Cross-encoders give the image side of `cross.cross_heats`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import Literal, cast

import torch
import torch.nn.functional as F
from einops import einsum, rearrange, reduce
from jaxtyping import Float
from PIL.Image import Image
from torch import Tensor

from alignscope.attribution.cross import cross_heats
from alignscope.attribution.options import Layers, Options, chosen_layers
from alignscope.attribution.relevance import carried_row, layer_relevance, readout_row, wide
from alignscope.attribution.scores import as_dual
from alignscope.errors import BadInput, LengthMismatch, Unsupported
from alignscope.models.protocols import CrossEncoder, DualEncoder, PairScorer, Picture, Progress
from alignscope.records import Box, Item, PatchMap, Regions

ImageMethod = Literal["attention", "gradcam"]
CELLS = 24  # along either side of an image, on which heats of regions are painted


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


def image_methods(model: PairScorer) -> tuple[ImageMethod, ...]:
    """The image maps that the model's traits promise."""
    if model.traits.family != "dual":
        return (
            ("gradcam",) if model.traits.family == "cross" and "gradcam" in model.traits.attributions else ()
        )
    readout = model.traits.image_readout
    return () if readout is None else ("gradcam",) if readout == "features" else ("attention", "gradcam")


def check(model: PairScorer, method: ImageMethod) -> None:
    """Refuse what the model's traits say it cannot give."""
    if model.traits.family != "dual":
        if method not in image_methods(model):
            wanted = ", ".join(image_methods(model)) or "none"
            raise Unsupported(f"{model.name} gives no image maps by {method}: ask for {wanted}")
        return
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


def painted(regions: Regions, heats: Float[Tensor, " region"]) -> Float[Tensor, "row column"]:
    """Heats of regions on `CELLS` x `CELLS` cells of their image, so that they can be seen and pointed with.

    A region's heat is shared evenly by the cells whose middles its box covers; a box too narrow or too low
    to cover one goes to the nearest. Where boxes overlap their shares add up.
    """
    boxes = torch.from_numpy(regions.boxes).to(heats)
    across = _covered(boxes[:, 0] / regions.width, boxes[:, 2] / regions.width)
    down = _covered(boxes[:, 1] / regions.height, boxes[:, 3] / regions.height)
    return einsum(heats, down, across, "region, region row, region column -> row column")


def _covered(start: Float[Tensor, " region"], stop: Float[Tensor, " region"]) -> Float[Tensor, "region cell"]:
    """The share of each region that each cell along one axis takes; all between 0 and 1 of the axis."""
    middles = (torch.arange(CELLS).to(start) + 0.5) / CELLS
    covers = (start[:, None] <= middles) & (middles < stop[:, None])
    nearest = ((start + stop)[:, None] / 2 - middles).abs().argmin(dim=-1)
    covers |= ~covers.any(dim=-1, keepdim=True) & F.one_hot(nearest, CELLS).bool()
    return covers / covers.sum(dim=-1, keepdim=True)


def _dual_maps(
    model: PairScorer,
    opened: Mapping[str, Picture],
    keys: Sequence[str],
    texts: Sequence[str],
    layers: Layers,
    method: ImageMethod,
) -> list[tuple[Tensor, Box]]:
    """Each text's map on the image of its key and the view of it; every image goes through the processor once."""
    dual = as_dual(model)
    images = {key: cast(Image, picture) for key, picture in opened.items()}
    place = {key: row for row, key in enumerate(images)}
    pixels = dual.pixels(list(images.values()))[[place[key] for key in keys]]
    heats = patch_heats(dual, pixels, dual.encode_texts(texts), layers=layers, method=method)
    return [(heat, dual.view(*images[key].size)) for key, heat in zip(keys, heats, strict=True)]


def _cross_maps(
    model: PairScorer,
    opened: Mapping[str, Picture],
    keys: Sequence[str],
    texts: Sequence[str],
    layers: Layers,
    method: ImageMethod,
) -> list[tuple[Tensor, Box]]:
    """As `_dual_maps`, of a model that reads pairs."""
    cross = cast(CrossEncoder, model)
    inputs = cross.inputs([opened[key] for key in keys], texts)
    heats = cross_heats(cross, inputs, methods=[method], options=Options(layers=layers)).images
    assert heats is not None
    maps = []
    for key, heat, count, grid in zip(keys, heats, inputs.counts, inputs.grids, strict=True):
        picture = opened[key]
        if isinstance(picture, Regions):
            on_cells = painted(picture, heat[:count])
            maps.append((on_cells, Box(0, 0, picture.width, picture.height)))
        else:
            assert grid is not None
            on_grid = rearrange(heat[:count], "(row column) -> row column", row=grid[0])
            maps.append((on_grid, cross.view(*picture.size)))
    return maps


def patch_maps(
    model: PairScorer,
    items: Sequence[Item],
    picture_of: Callable[[str], Picture],
    texts: Sequence[str],
    *,
    layers: Layers = "all",
    method: ImageMethod = "gradcam",
    batch_size: int = 32,
    progress: Progress | None = None,
) -> Iterator[PatchMap]:
    """The map of every item's image for the text of the same row, in order, batch by batch.

    An item with several texts is given once for each; within a batch its image is opened once. A patch
    that the model left out (ViLT draws them where there are too many) has 0. Regions are painted on
    `CELLS` x `CELLS` cells of the image (`painted`).
    """
    check(model, method)
    if len(texts) != len(items):
        raise LengthMismatch(f"{len(texts)} texts for {len(items)} items: wanted one per item; repeat items")
    if batch_size < 1:
        raise BadInput(f"got a batch size of {batch_size}, wanted 1 or more")
    for start in range(0, len(items), batch_size):
        batch, said = items[start : start + batch_size], texts[start : start + batch_size]
        opened = {key: picture_of(key) for key in dict.fromkeys(item.image for item in batch)}
        of_batch = _dual_maps if model.traits.family == "dual" else _cross_maps
        maps = of_batch(model, opened, [item.image for item in batch], said, layers, method)
        for item, text, (heat, view) in zip(batch, said, maps, strict=True):
            yield PatchMap(
                item=item.id,
                image=item.image,
                text=text,
                method=method,
                rows=heat.shape[0],
                columns=heat.shape[1],
                heats=tuple(heat.flatten().tolist()),
                view=view,
            )
        if progress is not None:
            progress(start + len(batch), len(items))
