"""What captioners see, as tensors: one vector per image, or regions padded to the most that an image has."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel

from alignscope.errors import BadData, Unsupported
from alignscope.models.captioners.protocol import Features, Sight
from alignscope.models.cross.regions import check_regions
from alignscope.records import Regions


def vectors(model: PreTrainedModel, images: Sequence[Sight], *, width: int) -> Features:
    """One vector per image, where the model is."""
    rows = []
    for number, image in enumerate(images):
        if not isinstance(image, np.ndarray):
            raise Unsupported(
                f"image {number} is {type(image).__name__}, {type(model).__name__} takes one vector per image: "
                "give the mean feature of a backbone as an array"
            )
        _check_array(image, (width,), f"image {number}")
        rows.append(image)
    values = torch.from_numpy(np.stack(rows)) if rows else torch.zeros(0, width)
    return Features(values.to(model.device, model.dtype))


def regions(model: PreTrainedModel, images: Sequence[Sight], *, width: int) -> Features:
    """Features of regions or patches, and which of the padded places are some."""
    rows = []
    for number, image in enumerate(images):
        if isinstance(image, Regions):
            check_regions(image, width=width)
            image = image.features
        if not isinstance(image, np.ndarray):
            raise Unsupported(
                f"image {number} is {type(image).__name__}, {type(model).__name__} takes regions: give `Regions`, or "
                "the features of patches as an array (patch, width)"
            )
        _check_array(image, (max(len(image), 1), width), f"image {number}")
        rows.append(torch.from_numpy(image))
    present = [torch.ones(len(row), dtype=torch.bool) for row in rows]
    if not rows:
        return Features(torch.zeros(0, 1, width), torch.zeros(0, 1, dtype=torch.bool))
    values = pad_sequence(rows, batch_first=True).to(model.device, model.dtype)
    return Features(values, pad_sequence(present, batch_first=True).to(model.device))


def present_of(features: Features) -> Bool[Tensor, "image region"]:
    """Which regions are no padding; all where nothing is said."""
    if features.present is not None:
        return features.present
    values: Float[Tensor, "image region width"] = features.values
    return torch.ones(values.shape[:2], dtype=torch.bool, device=values.device)


def _check_array(array: np.ndarray, shape: tuple[int, ...], subject: str) -> None:
    if array.shape != shape or not np.issubdtype(array.dtype, np.floating):
        raise BadData(
            f"{subject}: got an array of {array.dtype} {array.shape}, wanted floating numbers {shape}: give the "
            "features that the model was trained with"
        )
    if not np.isfinite(array).all():
        raise BadData(f"{subject}: got numbers that are not finite; compute its features again")
