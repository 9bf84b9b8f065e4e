"""A captioner of labels whose attention is drawn by a seed from the image's name, and what it looks at."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
import torch

from alignscope.errors import BadData, Unsupported
from alignscope.models.captioners.inside import Inside, Written
from alignscope.records import Box, Label, Labelled, Regions, SceneLabel
from alignscope.studies.scenes.images import SceneImages

LAYERS, HEADS = 2, 3


class Drawn:
    """Two pieces for a label with a blank in its name, one for others, then [SEP] and the regions."""

    def __init__(self, name: str = "drawn", *, seed: int = 0, layers: int = LAYERS) -> None:
        self.name, self.fingerprint = name, f"{name}-{seed}" * 4
        self._seed, self._layers = seed, layers
        self.looked: list[str] = []

    def inside(self, images: Sequence[object], *, texts: Sequence[str] | None = None) -> list[Inside]:
        for image in images:
            if not isinstance(image, Labelled):
                raise Unsupported("it takes labels")
            if image.regions.features.shape[1] != 2:
                raise BadData(f"{image.regions.image}: features of another width")
        said = texts or [None] * len(images)
        return [self._inside(image, text) for image, text in zip(images, said, strict=True)]

    def _inside(self, image: Labelled, text: str | None) -> Inside:
        self.looked.append(image.regions.image)
        rng = np.random.default_rng([self._seed, zlib.crc32(image.regions.image.encode())])
        places = [("caption", unit) for unit in range(len(text.split()))] if text else []
        first = len(places)
        for unit, label in enumerate(image.labels):
            places += [("label", unit)] * len(label.name.split())
        places += [("special", -1)] if image.labels else []
        places += [("region", unit) for unit in range(len(image.regions))]
        size = len(places)
        attention = rng.dirichlet(np.ones(size), size=(self._layers, HEADS, size))
        attention[:, :, first:, :first] = np.nan
        kinds, units = zip(*places, strict=True)
        return Inside(kinds, units, torch.tensor(attention).float(), torch.zeros(size, 4))

    def write(self, images: Sequence[object], *, beams: int = 1, max_length: int = 20) -> list[Written]:
        return [Written("two words", 0.5) for _ in images]


class Pixels(Drawn):
    """A captioner of pictures."""

    def inside(self, images: Sequence[object], *, texts: Sequence[str] | None = None) -> list[Inside]:
        if any(isinstance(image, Labelled) for image in images):
            raise Unsupported("it takes pictures")
        even = torch.full((1, 1, 4, 4), 0.25)
        return [Inside(("patch",) * 4, (0, 1, 2, 3), even, torch.zeros(4, 2)) for _ in images]


BOX = Box(0.0, 0.0, 10.0, 10.0)


def labelled(
    image: str, names: Sequence[str], *, regions: int = 3, width: int = 2, box: Box | None = BOX
) -> Labelled:
    """The first region lies where all labels do, the others far away."""
    corners = np.array([[20 * n, 0, 20 * n + 10, 10] for n in range(regions)], np.float32)
    seen = Regions(image, 100, 50, corners.reshape(-1, 4), np.zeros((regions, width), np.float32))
    return Labelled(seen, tuple(Label(name, box) for name in names))


def scenes(sights: dict[str, Labelled], names: dict[str, str], **more: object) -> SceneImages:
    """Images of scenes; "" is of none."""
    told = {
        image: SceneLabel(image, scene, 1, 3, "" if scene else "none of 3 captions names a scene")
        for image, scene in names.items()
    }
    return SceneImages("made", "abc", sights, told, frozenset(sights), **more)
