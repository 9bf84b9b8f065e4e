"""Features of images by a vision model of transformers, for captioners that take vectors or patches.

The published FC captioner reads a ResNet-101: the image at its own size, the last map, its mean over places
(reference/papers.md, A.2). Transformers of patches see the image as their own processor gives it.
"""

from __future__ import annotations

import inspect
from functools import cached_property
from pathlib import Path
from typing import final

import numpy as np
import torch
import transformers
from einops import rearrange
from jaxtyping import Float, Float32
from PIL.Image import Image, new
from torch import Tensor
from transformers import AutoConfig, AutoImageProcessor, PreTrainedModel
from transformers.image_processing_utils import BaseImageProcessor

from alignscope.errors import BadImage, CheckpointError
from alignscope.models.cross.loading import architecture
from alignscope.models.cross.pixels import pixels
from alignscope.models.detectors import FAMILIES
from alignscope.models.dual.loading import (
    EVERY_KEY,
    FAILURES,
    broken,
    check_finite,
    check_report,
    compute_device,
    quiet,
    reason_of,
)
from alignscope.models.fingerprint import name_of, weights_digest

HEADS = ("num_attention_heads", "num_heads")
"""Entries of a configuration that models without attention lack."""
BLANK = (224, 224)
AS_IT_IS = {"do_resize": False, "do_center_crop": False}


@final
class Backbone:
    """A vision model and its image processor; one image at a time, so that each may have its own size."""

    def __init__(self, model: PreTrainedModel, image_processor: BaseImageProcessor, *, name: str) -> None:
        self.model = model
        self.image_processor = image_processor
        self.name = name

    @property
    def fingerprint(self) -> str:
        """Sha256 over weights and image processor."""
        digest = weights_digest(self.model)
        digest.update(self.image_processor.to_json_string().encode())
        return digest.hexdigest()

    @property
    def is_convolutional(self) -> bool:
        return not any(hasattr(self.model.config, name) for name in HEADS)

    @property
    def image_size(self) -> str:
        """In which size an image is seen, in words."""
        return "its own" if self.is_convolutional else f"as {type(self.image_processor).__name__} makes it"

    @cached_property
    def width(self) -> int:
        """Numbers of a feature, found by a look at a blank image; a model that cannot is a `CheckpointError`."""
        try:
            return self.patches(new("RGB", BLANK)).shape[1]
        except (*FAILURES, BadImage) as error:
            raise CheckpointError(
                f"{self.name}: a blank image gives no features ({reason_of(error)}), wanted a model whose "
                "`last_hidden_state` is a map or a row of patches: ResNet, ConvNeXt, ViT and the like"
            ) from None

    def patches(self, image: Image) -> Float32[np.ndarray, "patch width"]:
        """The last features of every patch, row by row."""
        changes = AS_IT_IS if self.is_convolutional else {}
        values = pixels(self.image_processor, image, **changes).to(self.model.device, self.model.dtype)
        try:
            with torch.no_grad():
                states = self.model(pixel_values=rearrange(values, "... -> 1 ...")).last_hidden_state
        except RuntimeError as error:  # a side shorter than a kernel, or more pixels than memory holds
            raise BadImage(
                f"an image of {image.width}x{image.height} pixels does not go through {self.name} "
                f"({reason_of(error)}): scale it, or leave it out"
            ) from None
        if states.ndim == 4:
            found = rearrange(states, "1 width row column -> (row column) width")
        else:
            found = self._patches_of(rearrange(states, "1 token width -> token width"), values)
        return found.float().cpu().numpy()

    def vector(self, image: Image) -> Float32[np.ndarray, " width"]:
        """The mean over all patches."""
        return self.patches(image).mean(axis=0)

    def _patches_of(
        self, tokens: Float[Tensor, "token width"], values: Float[Tensor, "channel height width_in_pixels"]
    ) -> Float[Tensor, "patch width"]:
        """Tokens without those before the patches: a class, registers."""
        side = getattr(self.model.config, "patch_size", None)
        if not isinstance(side, int):
            return tokens
        expected = (values.shape[1] // side) * (values.shape[2] // side)
        return tokens[-min(expected, len(tokens)) :]  # fewer where patches are merged


def open_backbone(path_or_hub_id: str | Path, *, device: str = "cpu") -> Backbone:
    """A vision model in evaluation mode: every key checked, its head (of classes, say) left away."""
    source, place = str(path_or_hub_id), compute_device(device)
    is_local = Path(source).is_dir()
    with quiet():
        named = architecture(source)
        model_class = getattr(transformers, named, None)
        if model_class is None or not _sees_alone(model_class):
            raise CheckpointError(
                f"{source} is a {named}, wanted a model of images alone: ResNetForImageClassification, ViTModel, "
                "CLIPVisionModel and the like"
            )
        try:
            config = AutoConfig.from_pretrained(source, local_files_only=is_local, trust_remote_code=False)
            if config.model_type in FAMILIES:
                raise CheckpointError(
                    f"{source} is a detector ({named}), wanted a model of whole images: `regions detect` takes it"
                )
            whole, report = model_class.from_pretrained(
                source, config=config, local_files_only=is_local, **EVERY_KEY
            )
            processor = AutoImageProcessor.from_pretrained(
                source, local_files_only=is_local, trust_remote_code=False
            )
        except FAILURES as error:
            raise broken("weights or image processor", source, is_local, error) from None
        check_report(source, report)
    model = whole.base_model.to(place).eval()
    check_finite(source, model)
    name = name_of(source)
    return Backbone(model, processor, name=name)


def _sees_alone(model_class: type[PreTrainedModel]) -> bool:
    """Whether a forward takes pixels and no words."""
    taken = inspect.signature(model_class.forward).parameters
    return "pixel_values" in taken and not any("input_ids" in name for name in taken)
