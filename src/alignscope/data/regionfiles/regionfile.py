"""Regions by image from a file that stays where it is: each is read when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, final, runtime_checkable

from alignscope.data.names import Names, fault_of_name
from alignscope.data.regionfiles.companions import Companions
from alignscope.data.regionfiles.digests import digest
from alignscope.errors import BadData, UnknownName
from alignscope.records import Regions
from alignscope.records.regions import fault_of_regions

if TYPE_CHECKING:
    _RegionsByImage = Mapping[str, Regions]
else:
    _RegionsByImage = Mapping  # a check of types at run time would read a record of what is subscripted


@runtime_checkable
class Layout(Protocol):
    """What a format has to give: names, records and where they lie."""

    @property
    def images(self) -> Collection[str]: ...
    @property
    def notes(self) -> tuple[str, ...]: ...
    def place(self, image: str) -> str: ...
    def read(self, image: str) -> Regions: ...


@runtime_checkable
class Sealed(Protocol):
    """A layout that keeps the digest of each record."""

    def digest(self, image: str) -> bytes: ...


@final
@dataclass(frozen=True)
class Format:
    """A way to keep regions in files."""

    name: str
    title: str
    keeps: str  # what beyond boxes and features
    needs: str  # files beside, or an extra
    opens: Callable[[Path, Companions], Layout]


@final
class RegionFile(_RegionsByImage):
    """Regions by image; names may be spelt as data sets spell them (see `Names`).

    Every record that is handed out is whole: one that contradicts itself is a `BadData` with its place.
    """

    def __init__(self, format: Format, companions: Companions) -> None:
        self.path, self.name, self.format = companions.path, companions.path.name, format.name
        self._opening = (format, companions)
        self._layout = format.opens(companions.path, companions)
        self._names = Names(self._layout.images)

    @property
    def notes(self) -> tuple[str, ...]:
        """What to know of how the file was read."""
        sizes = ("image sizes are unknown: boxes are shares of 1x1 images",)
        return (*self._layout.notes, *(sizes if self._opening[1].is_unit else ()))

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __contains__(self, image: object) -> bool:
        return image in self._names

    def __getitem__(self, image: str) -> Regions:
        found = self._names.find(image)
        if found is None:
            raise UnknownName(f"{self.path}: no regions of {image!r}: {self._names.nearest(image)}")
        try:
            _refuse(fault_of_name(found))
            regions = self._layout.read(found)
            _refuse(fault_of_regions(regions))
        except BadData as error:
            raise BadData(f"{self._layout.place(found)}: {error}") from None
        return regions

    def checked(self, image: str) -> Regions:
        """As `[]`, of one of the file's own names, and compared with the digest where the format keeps one."""
        regions = self[image]
        written = self._layout.digest(image) if isinstance(self._layout, Sealed) else None
        if written is not None and digest(regions) != written:
            raise BadData(f"{self.place(image)}: got other content than was written; copy the file anew")
        return regions

    def find(self, image: str) -> str | None:
        """The file's own name of an image; None where it has none."""
        return self._names.find(image)

    def place(self, image: str) -> str:
        """Where the record of one of the file's own names lies, for messages."""
        return self._layout.place(image)

    def __reduce__(self) -> tuple[type[RegionFile], tuple[Format, Companions]]:
        return RegionFile, self._opening  # another process opens the file anew


def _refuse(fault: str | None) -> None:
    if fault:
        raise BadData(fault)
