"""Where the image tower looks: a caption's picture, plain and under each method, with the caption's words shaded."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace

from PIL import Image

from alignscope.errors import BadData
from alignscope.records import Box, PatchMap, Picture
from alignscope.reporting.captions import Rows
from alignscope.reporting.overlays import overlay
from alignscope.reporting.page import Embedded, embedded
from alignscope.reporting.wording import method_order


@dataclass(frozen=True)
class ImageMaps:
    """One caption: its picture, the picture under each method's map, the words shaded by the same methods."""

    text: str
    picture: Embedded
    maps: tuple[tuple[str, Embedded], ...]
    rows: Rows


def image_maps(found: Sequence[PatchMap], picture: Picture, rows: Rows) -> ImageMaps:
    """The maps of one caption over its picture."""
    thumbnail = _opened(picture)
    ordered = sorted(found, key=lambda patches: method_order(patches.method))
    return ImageMaps(
        text=ordered[0].text,
        picture=embedded(picture.png),
        maps=tuple((p.method, _under(p, picture, thumbnail)) for p in ordered),
        rows=tuple(row for row in rows if row[0] in {p.method for p in ordered}),
    )


def _under(patches: PatchMap, picture: Picture, thumbnail: Image.Image) -> Embedded:
    """The thumbnail under a map whose view is in pixels of the original."""
    across, down = thumbnail.width / picture.width, thumbnail.height / picture.height
    view = patches.view
    scaled = replace(patches, view=Box(view.x1 * across, view.y1 * down, view.x2 * across, view.y2 * down))
    return embedded(overlay(thumbnail, scaled, size=max(thumbnail.size)))


def _opened(picture: Picture) -> Image.Image:
    if picture.width < 1 or picture.height < 1:
        raise BadData(f"the picture of {picture.image} has no size: run it again")
    try:
        with Image.open(io.BytesIO(base64.b64decode(picture.png, validate=True))) as file:
            return file.convert("RGB")
    except (OSError, ValueError) as error:
        raise BadData(f"the picture of {picture.image} cannot be read ({error}): run it again") from None
