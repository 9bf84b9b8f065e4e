"""Regions of the world's pictures without a detector: boxes, tags and a fixed feature map of the crops.

The feature map: crop the box, shrink or stretch it to 16x16 pixels by area, scale 0..255 to -2..2,
multiply with a Gaussian matrix drawn from seed 20 and the width, cut at zero. The matrix is rounded to
multiples of 1/4096, so that all products are whole numbers and the sums are exact on any machine and in
any batch. It is learned from nothing and keeps shape, hue and finish; where the box lies is left to the
model's own position input, as with detectors' features.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import cache

import numpy as np
from einops import rearrange
from jaxtyping import Float32, Float64, UInt8
from PIL import Image

from alignscope.data.world.render import render
from alignscope.data.world.scene import SIDE, WorldScene
from alignscope.data.world.shapes import NOUNS
from alignscope.data.world.world import World
from alignscope.errors import BadInput
from alignscope.records import Box, Regions

CROP_SIDE = 16
BACKGROUND_TAG = "background"
_FEATURE_SEED = 20
_STEPS = 4096
_MOST_OVERLAP = 0.25  # of a distractor with any object, as intersection over union


def regions_of(world: World, *, count: int = 8, width: int = 2048) -> Iterator[Regions]:
    """Regions of every scene of a world, in order."""
    for scene in world.scenes:
        yield regions(scene, count=count, width=width)


def regions(scene: WorldScene, *, count: int = 8, width: int = 2048) -> Regions:
    """The scene's objects as `count` regions, filled up with distractors of low confidence.

    The first regions are the objects, tagged with noun and finish; distractors are boxes that hardly
    overlap an object, half of them tagged "background", half with a noun that is not in the scene.
    """
    if not len(scene.objects) <= count <= 100:
        raise BadInput(
            f"count={count} for a scene of {len(scene.objects)} objects: wanted at least 4 and at most 100"
        )
    if width < 1:
        raise BadInput(f"width={width}: a feature has at least one number; 2048 is what detectors give")
    rng = random.Random(f"regions {scene.id}")
    boxes = [thing.box for thing in scene.objects]
    tags = [thing.noun for thing in scene.objects]
    attributes = [thing.finish for thing in scene.objects]
    confidences = [0.7 + 0.3 * rng.random() for _ in scene.objects]
    absent = [noun for noun in NOUNS if noun not in tags]
    while len(boxes) < count:
        boxes.append(_distractor(scene, rng))
        tags.append(BACKGROUND_TAG if rng.random() < 0.5 else rng.choice(absent))
        attributes.append("")
        confidences.append(0.05 + 0.35 * rng.random())
    corners = np.array([(b.x1, b.y1, b.x2, b.y2) for b in boxes], np.float32)
    return Regions(
        image=scene.id,
        width=SIDE,
        height=SIDE,
        boxes=corners,
        tags=tuple(tags),
        attributes=tuple(attributes),
        confidences=np.array(confidences, np.float32),
        features=features(render(scene), corners, width=width),
    )


def features(
    pixels: UInt8[np.ndarray, "height width_px 3"], boxes: Float32[np.ndarray, "region 4"], *, width: int
) -> Float32[np.ndarray, "region width"]:
    """The fixed feature map of the cropped regions (see the head of this file)."""
    picture = Image.fromarray(pixels)
    size, box_filter = (CROP_SIDE, CROP_SIDE), Image.Resampling.BOX
    crops = []
    for left, top, right, bottom in boxes.tolist():
        crops.append(np.asarray(picture.resize(size, box_filter, box=(left, top, right, bottom))))
    if not crops:
        return np.zeros((0, width), np.float32)
    flat = rearrange(np.stack(crops), "region row column channel -> region (row column channel)")
    halves = 2.0 * flat - 255  # whole numbers from -255 to 255
    exact = halves @ _projection(width)
    return np.maximum(exact * (2 / 255 / _STEPS / np.sqrt(flat.shape[1])), 0).astype(np.float32)


@cache
def _projection(width: int) -> Float64[np.ndarray, "pixel width"]:
    """Standard normal numbers times 4096, rounded: products with pixels stay exact in float64."""
    numbers = np.random.default_rng([_FEATURE_SEED, width]).standard_normal(
        (CROP_SIDE * CROP_SIDE * 3, width)
    )
    return np.rint(numbers * _STEPS)


def _distractor(scene: WorldScene, rng: random.Random) -> Box:
    """A random box that hardly overlaps any object; the smallest seen overlap after many tries."""
    best, least = Box(0.0, 0.0, 8.0, 8.0), 2.0
    for _ in range(50):
        across, down = 8 + int(rng.random() * 17), 8 + int(rng.random() * 17)
        left, top = int(rng.random() * (SIDE - across + 1)), int(rng.random() * (SIDE - down + 1))
        box = Box(float(left), float(top), float(left + across), float(top + down))
        overlap = max(intersection_over_union(box, thing.box) for thing in scene.objects)
        if overlap < least:
            best, least = box, overlap
        if overlap <= _MOST_OVERLAP:
            break
    return best


def intersection_over_union(a: Box, b: Box) -> float:
    """Shared area over joint area.

    >>> intersection_over_union(Box(0, 0, 2, 2), Box(1, 0, 3, 2))
    0.3333333333333333
    """
    across = min(a.x2, b.x2) - max(a.x1, b.x1)
    down = min(a.y2, b.y2) - max(a.y1, b.y1)
    shared = max(across, 0.0) * max(down, 0.0)
    areas = (a.x2 - a.x1) * (a.y2 - a.y1) + (b.x2 - b.x1) * (b.y2 - b.y1)
    return shared / (areas - shared)
