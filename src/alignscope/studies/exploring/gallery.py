"""The images that an explored model is shown: scenes of the world, a folder's files, and what was uploaded.

A key that was not listed when the gallery was made, or uploaded since, opens nothing: no path is built from it.
"""

from __future__ import annotations

import io
import os
import warnings
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import final

from PIL import Image as Pillow
from PIL.Image import Image

from alignscope.data.images import ImageFolder, decode_image
from alignscope.data.world.world import World
from alignscope.errors import BadData, BadImage, UnknownName
from alignscope.records import Problem

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
"""Formats of uploads; Pillow's rarer decoders are not offered to strangers' bytes."""
ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp")
MOST_LISTED = 200
MOST_UPLOADS = 8
MOST_PIXELS = 2**25
"""Of an upload before decoding, said by its header: larger is a decompression bomb."""
KEPT_PIXELS = 2**22
"""An upload is reduced to these, since it stays in memory."""


@final
class Gallery:
    """Images by key with the captions they come with; `world` is where the scenes are from, if they are."""

    def __init__(
        self,
        source: World | ImageFolder,
        captions: Mapping[str, str],
        problems: tuple[Problem, ...] = (),
    ) -> None:
        self.source = source
        self.world = source if isinstance(source, World) else None
        self.problems = problems
        self._listed = dict(captions)
        self._uploads: OrderedDict[str, Image] = OrderedDict()
        self._count = 0

    @property
    def captions(self) -> dict[str, str]:
        """Every key that can be shown, in order, with its own caption ("" where nobody gave one)."""
        return self._listed | dict.fromkeys(tuple(self._uploads), "")

    def is_upload(self, key: str) -> bool:
        """Whether a key was uploaded."""
        return key in self._uploads

    def image(self, key: str) -> Image:
        """The image of a key as RGB."""
        if key in self._uploads:
            return self._uploads[key]
        if key not in self._listed:
            raise UnknownName(f"no image named {key[:80]!r}: choose one of the page's images, or upload it")
        if isinstance(self.source, ImageFolder) and not _is_inside(self.source, key):
            raise BadImage(f"{key!r} leads out of {self.source.directory}: put the file itself there")
        return self.source.image(key)

    def upload(self, content: bytes) -> str:
        """Keep an image sent by the page; returns its key. Of more than `MOST_UPLOADS` the oldest is forgotten."""
        _check_upload(content)
        image = decode_image(content, "the upload", max_pixels=KEPT_PIXELS).image
        image.info = {}  # comments and profiles go no further: its pixels alone are kept
        self._count += 1
        key = f"upload {self._count}"
        self._uploads[key] = image
        if len(self._uploads) > MOST_UPLOADS:
            self._uploads.popitem(last=False)
        return key


def world_gallery(size: int) -> Gallery:
    """The first scenes of the world's test split."""
    world = World("test", size=size)
    return Gallery(world, {item.image: item.caption.text for item in world.items})


def folder_gallery(directory: Path) -> Gallery:
    """The images of a folder and the folders in it, up to `MOST_LISTED`; links that lead out of it are not followed."""
    folder = ImageFolder(directory)
    names: list[str] = []
    problems: list[Problem] = []
    for place, folders, files in os.walk(directory):
        folders.sort()
        for name in sorted(files):
            key = (Path(place) / name).relative_to(directory).as_posix()
            if not name.lower().endswith(ENDINGS):
                continue
            if _is_inside(folder, key):
                names.append(key)
            else:
                problems.append(Problem("", key, "a link that leads out of the folder", "unscored"))
    if not names:
        raise BadData(f"{directory}: got no image, wanted files ending in {', '.join(ENDINGS)}")
    if len(names) > MOST_LISTED:
        what = (
            f"{len(names) - MOST_LISTED} of {len(names)} images are not offered: the page lists {MOST_LISTED}"
        )
        problems.append(Problem("", str(directory), what, "unscored"))
    return Gallery(folder, dict.fromkeys(names[:MOST_LISTED], ""), tuple(problems))


def _is_inside(folder: ImageFolder, key: str) -> bool:
    return (folder.directory / key).resolve().is_relative_to(folder.directory.resolve())


def _check_upload(content: bytes) -> None:
    """Refuse by content what is no whole image of a usual format, or would fill the memory."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Pillow.open(io.BytesIO(content), formats=FORMATS) as image:
                width, height = image.size
                if width * height <= MOST_PIXELS:
                    image.verify()
    except Exception as error:  # decoders raise whatever they like at strangers' bytes
        raise BadImage(
            f"got {len(content)} bytes that are no image ({type(error).__name__}): wanted {', '.join(FORMATS)}"
        ) from error
    if width * height > MOST_PIXELS:
        raise BadImage(
            f"got {width} x {height} pixels, wanted at most {MOST_PIXELS:,}: make the image smaller"
        )
