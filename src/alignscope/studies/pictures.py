"""What a model sees of an image key: its pixels, or the regions that a detector found in it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol, final, overload, runtime_checkable

from PIL.Image import Image

from alignscope.errors import BadInput
from alignscope.models.protocols import PairScorer, Picture
from alignscope.records import Problem, Regions

KEPT = 64  # pictures opened last


@runtime_checkable
class Shows(Protocol):
    """A data set that opens images by key."""

    def image(self, key: str) -> Image: ...


@runtime_checkable
class ShowsRegions(Protocol):
    """A data set that knows the regions of its images, as the world does."""

    def regions(self, key: str, *, width: int) -> Regions: ...


RegionsOf = Callable[[str], Regions]


def picture_of(
    model: PairScorer, source: Shows, regions: Mapping[str, Regions] | None
) -> Callable[[str], Picture]:
    """How to open what the model sees of a key."""
    return regions_of(model, source, regions) or source.image


def regions_of(
    model: PairScorer, source: Shows | None, regions: Mapping[str, Regions] | None
) -> RegionsOf | None:
    """Where a model of regions finds those of a key: in a file, or else in the source; None for one of pixels."""
    if model.traits.unit == "patch":
        if regions is not None:
            raise BadInput(f"got regions, {model.name} takes pixels: leave --regions out")
        return None
    if regions is not None:
        return regions.__getitem__
    width = model.traits.feature_width
    if isinstance(source, ShowsRegions) and width is not None:
        return lambda key: source.regions(key, width=width)
    raise BadInput(
        f"{model.name} takes regions of a detector in place of pixels: give their file with --regions"
    )


def strangers(makers: Iterable[str]) -> list[Problem]:
    """A problem for each `made_by` of regions: numbers made with them speak of another model than the published."""
    what = "regions made by {}: published models were trained on features of another detector"
    return [Problem("", maker, what.format(maker), "handled") for maker in _told(makers)]


def made_known(name: str, makers: Iterable[str]) -> str:
    """The name of data in a signature, with whose regions were used where that is not the usual detector.

    >>> made_known("pairs", ["detr", ""]), made_known("pairs", [""])
    ('pairs[regions of detr]', 'pairs')
    """
    told = ", ".join(_told(makers))
    return f"{name}[regions of {told}]" if told else name


def _told(makers: Iterable[str]) -> list[str]:
    return sorted(set(makers) - {""})


@final
class Pictures(Sequence[Picture]):
    """Pictures opened when they are asked for, a key as often as it comes; those opened last are kept."""

    def __init__(self, keys: Sequence[str], opened: Callable[[str], Picture]) -> None:
        self.keys = list(keys)
        self._opened = opened
        self._kept: OrderedDict[str, Picture] = OrderedDict()

    def __len__(self) -> int:
        return len(self.keys)

    @overload
    def __getitem__(self, place: int) -> Picture: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Picture]: ...
    def __getitem__(self, place: int | slice) -> Picture | Sequence[Picture]:
        if isinstance(place, slice):
            return Pictures(self.keys[place], self._picture)
        return self._picture(self.keys[place])

    def _picture(self, key: str) -> Picture:
        if key not in self._kept:
            self._kept[key] = self._opened(key)
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]
