"""Pictures of the images whose captions a page of scene captioners shows."""

from __future__ import annotations

from collections.abc import Iterable

from PIL.Image import Image

from alignscope.records import Picture
from alignscope.studies.auditing.examples import shown_png
from alignscope.studies.scenes.images import SceneImages


def scene_pictures(images: SceneImages, names: Iterable[str]) -> list[Picture]:
    """The images as small PNGs; those of which regions alone are there have none."""
    found = []
    for name in names:
        for sights in (images.pictures, images.sights):
            seen = sights.get(name)
            if isinstance(seen, Image):
                found.append(Picture(name, seen.width, seen.height, shown_png(seen)))
                break
    return found
