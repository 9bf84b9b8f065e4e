"""Pictures of the images whose captions a page of guided captioners shows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from alignscope.data.images import ImageFolder
from alignscope.data.world.world import World
from alignscope.records import Picture
from alignscope.studies.auditing.examples import shown_png
from alignscope.studies.pictures import Shows
from alignscope.training.recipe import HighLevelCaptions, KarpathyCaptions, OscarCaptions, WorldCaptions


def shown_pictures(
    data: WorldCaptions | KarpathyCaptions | HighLevelCaptions | OscarCaptions, keys: Sequence[str]
) -> list[Picture]:
    """The images as small PNGs; none where a recipe names features or regions alone."""
    source: Shows
    if isinstance(data, WorldCaptions):
        source = World("test", size=data.test, seed=data.seed)
    elif isinstance(data, KarpathyCaptions) and data.images:
        source = ImageFolder(Path(data.images))
    else:
        return []
    images = [(key, source.image(key)) for key in keys]
    return [Picture(key, image.width, image.height, shown_png(image)) for key, image in images]
