"""Random resized crops (Szegedy et al. 2015, section 6), every draw by the generator that the caller gives.

A share of the image's area and an aspect ratio, uniform in its logarithm, are drawn up to ten times until
the crop fits into the image; else the middle is taken, as much of it as the ratios allow. The crop is
resized bicubically, weights at its edge reaching over it into the image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random
from typing import final

from jaxtyping import Float
from PIL.Image import Image, Resampling
from torch import Tensor

from alignscope.models.dual.vision import ImageTransform
from alignscope.records import Box
from alignscope.training.settings import Augmentation

TRIES = 10


@final
@dataclass(frozen=True, eq=False)
class TrainingTransform:
    """Pixels for training; without an augmentation those that an evaluation sees."""

    transform: ImageTransform
    augmentation: Augmentation | None = None

    def __call__(self, image: Image, random: Random) -> Float[Tensor, "channel height width"]:
        if self.augmentation is None:
            return self.transform.pixels(image)
        return self.transform.as_it_is(random_crop(image, self.augmentation, random, self.transform.size))


def random_crop(image: Image, augmentation: Augmentation, random: Random, size: tuple[int, int]) -> Image:
    """A random part of the image at a size given as height and width."""
    height, width = size
    box = crop_box(image.width, image.height, augmentation, random)
    corners = (box.x1, box.y1, box.x2, box.y2)
    return image.convert("RGB").resize((width, height), Resampling.BICUBIC, box=corners)


def crop_box(width: int, height: int, augmentation: Augmentation, random: Random) -> Box:
    """The part of an image of this size that is kept, in whole pixels.

    >>> crop_box(40, 20, Augmentation(scale=(1.0, 1.0), ratio=(1.0, 1.0)), Random(0))  # no such square fits
    Box(x1=10, y1=0, x2=30, y2=20)
    """
    low, high = augmentation.ratio
    for _ in range(TRIES):
        area = width * height * random.uniform(*augmentation.scale)
        ratio = math.exp(random.uniform(math.log(low), math.log(high)))
        across, down = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < across <= width and 0 < down <= height:
            left, top = random.randint(0, width - across), random.randint(0, height - down)
            return Box(left, top, left + across, top + down)
    across = min(width, max(1, round(height * high)))
    down = min(height, max(1, round(width / low)))
    left, top = (width - across) // 2, (height - down) // 2
    return Box(left, top, left + across, top + down)
