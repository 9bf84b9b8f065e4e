"""Small pictures of a run's images in a folder beside its page, so that the page itself stays small."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

from PIL.Image import Image

from alignscope.errors import AlignscopeError, UnwritableOutput
from alignscope.files import write_bytes
from alignscope.records import ItemSource
from alignscope.reporting.run import THUMBNAILS, thumbnail_name

PIXELS = 128
QUALITY = 80


def write_thumbnails(source: ItemSource, images: Iterable[str], out: Path) -> None:
    """A thumbnail of each image that opens; the page counts the images that have none."""
    folder = out / THUMBNAILS
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise UnwritableOutput(f"{folder} cannot be made ({error.strerror}): name another --out") from error
    for key in dict.fromkeys(images):
        path = folder / thumbnail_name(key)
        if path.exists():  # of the run that is gone on with
            continue
        try:
            image = source.image(key)
        except AlignscopeError:
            continue
        write_bytes(path, thumbnail(image))


def thumbnail(image: Image) -> bytes:
    """A JPEG at most `PIXELS` wide or high."""
    small = image.convert("RGB")
    small.thumbnail((PIXELS, PIXELS))
    buffer = io.BytesIO()
    small.save(buffer, format="JPEG", quality=QUALITY)
    return buffer.getvalue()
