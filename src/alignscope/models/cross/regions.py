"""Regions as inputs of a model: features as they are, and where each lies in the model's own terms."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel

from alignscope.errors import BadData
from alignscope.models.protocols import PairInputs, Tokens
from alignscope.records import Regions
from alignscope.records.regions import fault_of_regions

Positions = Callable[[Regions], Float[Tensor, "region position"]]


def region_inputs(
    images: Sequence[Regions], tokens: Tokens, positions: Positions, *, width: int
) -> PairInputs:
    """A batch whose image stream has one position per region and nothing else.

    `positions` derives the model's vectors from the boxes in pixels; `width` is that of its features.
    """
    distinct = {id(regions): regions for regions in images}
    for regions in distinct.values():
        check_regions(regions, width=width)
    placed = {key: positions(regions) for key, regions in distinct.items()}
    counts = tuple(len(regions) for regions in images)
    places = [torch.arange(count) for count in counts] or [torch.zeros(0, dtype=torch.long)]
    return PairInputs(
        tokens,
        tuple(torch.from_numpy(regions.features) for regions in images),
        tuple(placed[id(regions)] for regions in images),
        pad_sequence(places, batch_first=True, padding_value=-1)[: len(images)],
        counts,
        (None,) * len(images),
    )


def check_regions(regions: Regions, *, width: int) -> None:
    """Refuse records that contradict themselves or have features of another width."""
    fault = fault_of_regions(regions)
    if not fault and len(regions) == 0:
        fault = "got no region, wanted at least one"
    if not fault and regions.features.shape[1] != width:
        fault = (
            f"got features of width {regions.features.shape[1]}, the model takes width {width}: "
            "give those of the detector it was trained with"
        )
    if fault:
        raise BadData(f"regions of {regions.image!r}: {fault}")


def shares(regions: Regions) -> Float[Tensor, "region 4"]:
    """Left, top, right, bottom as shares of the image's width and height."""
    sides = torch.tensor([regions.width, regions.height] * 2, dtype=torch.float32)
    return torch.from_numpy(regions.boxes) / sides


def padded(
    model: PreTrainedModel, inputs: PairInputs
) -> tuple[
    Int[Tensor, "pair token"],
    Bool[Tensor, "pair token"],
    Float[Tensor, "pair region width"],
    Float[Tensor, "pair region position"],
    Bool[Tensor, "pair region"],
]:
    """A batch where the model is: ids and which are tokens, features, their places and which are regions."""
    features, positions = (
        pad_sequence(list(each), batch_first=True).to(model.device, model.dtype)
        for each in (inputs.images, inputs.positions)
    )
    ids, mask, units = (
        each.to(model.device) for each in (inputs.tokens.ids, inputs.tokens.mask, inputs.units)
    )
    return ids, mask.bool(), features, positions, units >= 0
