"""What a region file leaves to other files: the words of its numbers, the sizes of its images."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, final

from alignscope.data.names import Names
from alignscope.data.regionfiles.vocabulary import ATTRIBUTES_VOCABULARY, OBJECTS_VOCABULARY, Vocabulary
from alignscope.data.regular import regular
from alignscope.errors import BadData
from alignscope.files import read_jsonl

UNIT = "unit"
"""In place of sizes: images count as 1x1 and boxes are shares of their sides."""


class Size(NamedTuple):
    """Pixels of an image."""

    width: int
    height: int


@final
@dataclass(frozen=True)
class Companions:
    """Files beside a region file; vocabularies are looked for next to it unless named.

    `sizes` is a file of image sizes, or "unit": then every image is 1x1 and boxes are shares of its sides,
    which leaves the position vectors of all models as they are but says nothing of pixels.
    Without `tags`, numbers of objects and attributes are left out and no vocabulary is needed.
    """

    path: Path
    objects: Path | None = None
    attributes: Path | None = None
    sizes: Path | None = None
    tags: bool = True

    @cached_property
    def object_words(self) -> Vocabulary:
        """Words of the detector's objects."""
        return Vocabulary.read(self.objects or self._folder / OBJECTS_VOCABULARY)

    @cached_property
    def attribute_words(self) -> Vocabulary:
        """Words of the detector's attributes."""
        return Vocabulary.read(self.attributes or self._folder / ATTRIBUTES_VOCABULARY)

    @property
    def _folder(self) -> Path:
        return self.path if self.path.is_dir() else self.path.parent

    @property
    def is_unit(self) -> bool:
        """Are boxes to be shares of an image of unknown size?"""
        return self.sizes is not None and str(self.sizes) == UNIT

    def size(self, image: str, *, are_shares: bool) -> Size:
        """The size of an image whose region file does not tell it."""
        if self.is_unit and are_shares:
            return Size(1, 1)
        if self.sizes is None or self.is_unit:
            unit = f", or '{UNIT}' for boxes as shares of images of unknown size" if are_shares else ""
            raise BadData(
                "got no image size, which this file does not keep; `alignscope regions convert` takes "
                f"--sizes FILE of name, width and height{unit}"
            )
        found = self._names.find(image)
        if found is None:
            raise BadData(f"got no size of {image!r} in {self.sizes}: {self._names.nearest(image)}")
        return self._sizes[found]

    @cached_property
    def _sizes(self) -> dict[str, Size]:
        return read_sizes(self.sizes) if self.sizes is not None else {}

    @cached_property
    def _names(self) -> Names:
        return Names(self._sizes)


def read_sizes(path: Path) -> dict[str, Size]:
    """Image sizes by name from COCO's JSON, JSONL of name (or file_name), width, height, or such a TSV."""
    sizes: dict[str, Size] = {}
    try:
        for place, name, width, height in _size_rows(path):
            size = Size(_side(place, width), _side(place, height))
            if sizes.setdefault(name, size) != size:
                raise BadData(f"{place}: got {size} for {name!r} and {sizes[name]} before, wanted one size")
    except (OSError, UnicodeDecodeError) as error:
        raise BadData(f"{path}: got no readable file of sizes ({error}); check the path") from None
    if not sizes:
        raise BadData(f"{path}: got no sizes, wanted rows of name, width and height")
    return sizes


def _size_rows(path: Path) -> Iterator[tuple[str, str, Any, Any]]:
    with regular(path).open("rb") as file:
        start = file.read(1 << 16).lstrip()
    is_jsonl = start.startswith(b"{") and b"\n" in start and _is_json(start.split(b"\n")[0])
    if is_jsonl or path.suffix.casefold() == ".jsonl":
        for number, row in enumerate(read_jsonl(path), start=1):
            yield f"{path}: row {number}", *_fields(row, f"{path}: row {number}")
    elif start.startswith(b"{"):
        try:
            images = json.loads(path.read_text(encoding="utf-8-sig")).get("images")
        except (ValueError, RecursionError):
            images = None
        if not isinstance(images, list):
            raise BadData(f"{path}: got no JSON with `images`, wanted COCO's annotations or JSONL")
        for number, row in enumerate(images, start=1):
            yield f"{path}: image {number}", *_fields(row, f"{path}: image {number}")
    else:
        for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
            cells = line.split("\t")
            if not line.strip() or (number == 1 and cells[1:] == ["width", "height"]):
                continue
            if len(cells) != 3:
                raise BadData(
                    f"{path}:{number}: got {len(cells)} columns, wanted name, width, height by tabs"
                )
            yield f"{path}:{number}", cells[0], cells[1], cells[2]


def _fields(row: Any, place: str) -> tuple[str, Any, Any]:
    name = row.get("name", row.get("file_name")) if isinstance(row, dict) else None
    if not isinstance(name, str) or not {"width", "height"} <= row.keys():
        raise BadData(f"{place}: got {str(row)[:60]}, wanted name (or file_name), width and height")
    return name, row["width"], row["height"]


def _is_json(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _side(place: str, value: Any) -> int:
    text = str(value)
    if not (text.isascii() and text.isdigit() and len(text) < 11 and 0 < int(text) < 2**31):
        raise BadData(f"{place}: got {text[:40]!r} as a side in pixels, wanted a whole number from 1")
    return int(text)
