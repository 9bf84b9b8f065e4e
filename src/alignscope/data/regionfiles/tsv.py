"""Region files of tab-separated columns with base64 arrays: LXMERT's, bottom-up attention's and ROSITA's."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import final

from alignscope.data.regionfiles.cells import regions_of
from alignscope.data.regionfiles.companions import Companions
from alignscope.data.regionfiles.lines import Lines
from alignscope.data.regions import COLUMNS as LXMERT
from alignscope.errors import BadData
from alignscope.records import Regions

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
    """LXMERT's columns, which our own `write_region_tsv` writes too."""
    return ColumnFile(path, companions, LXMERT)


def butd(path: Path, companions: Companions) -> ColumnFile:
    """The columns of peteanderson80/bottom-up-attention."""
    return ColumnFile(path, companions, BUTD)


def rosita(path: Path, companions: Companions) -> ColumnFile:
    """The columns that ROSITA's extraction (MILVLG/bottom-up-attention.pytorch) writes."""
    return ColumnFile(path, companions, ROSITA)
