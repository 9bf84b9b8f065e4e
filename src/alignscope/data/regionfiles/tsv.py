"""Region files of tab-separated columns with base64 arrays: LXMERT's, bottom-up attention's and ROSITA's.

LXMERT's are written too: arrays are float32, ids int64, the numbers from 0 of the lines of vocabularies kept
beside; -1, which detectors never write, stands for "no attribute".
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import final

import numpy as np

from alignscope.data.regionfiles.cells import regions_of
from alignscope.data.regionfiles.companions import Companions
from alignscope.data.regionfiles.lines import Lines
from alignscope.data.regionfiles.vocabulary import ATTRIBUTES_VOCABULARY, OBJECTS_VOCABULARY, Vocabulary
from alignscope.errors import BadData
from alignscope.files import whole, write_lines
from alignscope.records import Regions
from alignscope.records.regions import fault_of_regions

LXMERT = (
    "img_id",
    "img_h",
    "img_w",
    "objects_id",
    "objects_conf",
    "attrs_id",
    "attrs_conf",
    "num_boxes",
    "boxes",
    "features",
)
BUTD = ("image_id", "image_w", "image_h", "num_boxes", "boxes", "features")
ROSITA = (
    "filename",
    "features",
    "img_h",
    "img_w",
    "num_boxes",
    "boxes",
    "objects_id",
    "objects_conf",
    "attrs_id",
    "attrs_conf",
)


@final
class ColumnFile:
    """A TSV file whose columns are known by their order."""

    notes: tuple[str, ...] = ()

    def __init__(self, path: Path, companions: Companions, columns: tuple[str, ...]) -> None:
        self._lines, self._companions, self._columns = Lines(path), companions, columns

    @property
    def images(self) -> Collection[str]:
        """Names of the images, in the order of the file."""
        return self._lines

    def place(self, image: str) -> str:
        """Where an image's record lies, for errors."""
        return f"{self._lines.path}:{self._lines[image].number}"

    def read(self, image: str) -> Regions:
        """The record of an image."""
        cells = self._lines.cells(image)
        if len(cells) != len(self._columns):
            raise BadData(
                f"got {len(cells)} columns, wanted {len(self._columns)} ({', '.join(self._columns)})"
            )
        return regions_of(image, dict(zip(self._columns, cells, strict=True)), self._companions)


def lxmert(path: Path, companions: Companions) -> ColumnFile:
    """LXMERT's columns, which `write_region_tsv` writes."""
    return ColumnFile(path, companions, LXMERT)


def butd(path: Path, companions: Companions) -> ColumnFile:
    """The columns of peteanderson80/bottom-up-attention."""
    return ColumnFile(path, companions, BUTD)


def rosita(path: Path, companions: Companions) -> ColumnFile:
    """The columns that ROSITA's extraction (MILVLG/bottom-up-attention.pytorch) writes."""
    return ColumnFile(path, companions, ROSITA)


def write_region_tsv(path: Path, sets: Iterable[Regions]) -> int:
    """Write regions one image per line, and their vocabularies beside; returns how many images.

    Vocabularies already in the directory are kept and extended, so that files written to one directory share them.
    """
    files = [path.with_name(name) for name in (OBJECTS_VOCABULARY, ATTRIBUTES_VOCABULARY)]
    vocabularies = [Vocabulary.read(file) if file.exists() else Vocabulary() for file in files]
    seen: set[str] = set()
    with whole(path) as half:
        with half.open("w", encoding="utf-8", newline="\n") as file:
            for regions in sets:
                _check_writable(regions, seen)
                seen.add(regions.image)
                file.write("\t".join(_cells(regions, *vocabularies)) + "\n")
        for vocabulary, companion in zip(vocabularies, files, strict=True):
            write_lines(companion, vocabulary.lines)
    return len(seen)


def _check_writable(regions: Regions, seen: set[str]) -> None:
    fault = fault_of_regions(regions)
    if not regions.image or any(mark in regions.image for mark in "\t\r\n"):
        fault = "got a name that is empty or holds a tab or a line end"
    if regions.image in seen:
        fault = "got this image a second time, wanted each once"
    if fault:
        raise BadData(f"regions of {regions.image!r}: {fault}; correct the record")


def _cells(regions: Regions, objects: Vocabulary, attributes: Vocabulary) -> tuple[str, ...]:
    tags = np.array([objects.number(tag) for tag in regions.tags], "<i8")
    marks = np.array([attributes.number(attribute) for attribute in regions.attributes], "<i8")
    return (
        regions.image,
        str(regions.height),
        str(regions.width),
        _packed(tags),
        _packed(regions.confidences),
        _packed(marks),
        _packed(regions.attribute_confidences),
        str(len(regions)),
        _packed(regions.boxes),
        _packed(regions.features),
    )


def _packed(numbers: np.ndarray) -> str:
    small = numbers if numbers.dtype == np.dtype("<i8") else numbers.astype("<f4")
    return base64.b64encode(np.ascontiguousarray(small).tobytes()).decode("ascii")
