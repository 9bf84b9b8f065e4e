"""HL (Cafagna et al. 2023): images of COCO with captions of scene, action and rationale beside COCO's own.

A JSONL file as its authors release it. A line that is no row of HL, a row without one of the three axes and an
image that comes twice are errors with their line; single captions and scores that cannot be used are `Problem`s.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, final

from alignscope.data.benchmarks.reading import line_records
from alignscope.data.coco import CaptionedImage, CaptionSet
from alignscope.data.images import ImageFolder
from alignscope.data.items import fault_of_text, kind_of
from alignscope.data.names import fault_of_name
from alignscope.errors import BadData, BadImage, BadInput
from alignscope.files import sha_of
from alignscope.records import HighLevelImage, Problem
from alignscope.records.scenes import Axis

AXES: tuple[Axis, ...] = ("scene", "action", "rationale")
"""Axes whose captions HL collected; "object" are COCO's own."""
_EVERY: tuple[Axis, ...] = (*AXES, "object")
_LARGEST = 1e9  # of scores
_FIELDS = frozenset({"file_name", "captions", "confidence", "purity", "diversity"})
_WANTED = (
    'HL\'s JSONL ({"file_name", "captions": {"scene": […], "action": […], "rationale": […], "object": […]}, '
    '"confidence", "purity", "diversity"} in each line)'
)


@final
@dataclass(frozen=True)
class HighLevelSet:
    """What a file of HL holds, and what of it cannot be used."""

    images: tuple[HighLevelImage, ...]
    problems: tuple[Problem, ...] = ()

    @cached_property
    def sha(self) -> str:
        """Hash of all captions and scores."""
        return sha_of(self.images)


class HeldOut(NamedTuple):
    """Images to train on and images held out, both in the order they were given."""

    kept: tuple[HighLevelImage, ...]
    held: tuple[HighLevelImage, ...]


def read_hl(path: Path) -> HighLevelSet:
    """The images of one of HL's files in its order; without one image an error."""
    images: dict[str, HighLevelImage] = {}
    places: dict[str, str] = {}
    problems: list[Problem] = []
    known = set(_FIELDS)
    for record in line_records(path, wanted=_WANTED):
        if isinstance(record, Problem):
            raise _malformed(record.subject, record.what)
        image = _image(record.subject, record.value, problems)
        if image.image in images:
            raise BadData(
                f"{record.subject}: got the image {image.image!r} of {places[image.image]} again, "
                "wanted each once; remove one of the lines"
            )
        images[image.image], places[image.image] = image, record.subject
        problems += [
            record.problem(f"unknown field {name!r} passed over here and further on", "handled")
            for name in record.value
            if name not in known
        ]
        known |= set(record.value)
    if not images:
        raise BadData(f"{path}: got no line, wanted {_WANTED}; check the file")
    return HighLevelSet(tuple(images.values()), tuple(problems))


def held_out(images: Sequence[HighLevelImage], count: int, seed: int) -> HeldOut:
    """`count` images drawn by the seed, and the others; the order of the images decides nothing.

    Which 1,499 of the 13,498 images of train.jsonl the paper validates on is not published.
    """
    if not 0 <= count <= len(images):
        raise BadInput(
            f"got {count} images to hold out of {len(images)}, wanted at most as many; lower the count"
        )
    drawn = frozenset(random.Random(f"held out {seed}").sample(sorted(one.image for one in images), count))
    return HeldOut(
        kept=tuple(one for one in images if one.image not in drawn),
        held=tuple(one for one in images if one.image in drawn),
    )


def present(found: HighLevelSet, where: ImageFolder | Collection[str]) -> HighLevelSet:
    """The images that a folder, a region file or a set of names has; the others are problems."""
    images, problems = [], []
    for one in found.images:
        fault = _absence(one.image, where)
        if fault:
            problems.append(Problem(one.image, one.image, fault, "unscored"))
        else:
            images.append(one)
    return HighLevelSet(tuple(images), (*found.problems, *problems))


def caption_set(found: HighLevelSet, axis: Axis) -> CaptionSet:
    """The captions of one axis as captioners are trained on them; images without one are problems."""
    images = tuple(
        CaptionedImage(one.image, one.captions[axis]) for one in found.images if one.captions[axis]
    )
    without = (
        Problem(one.image, one.image, f"no caption of the axis '{axis}'", "unscored")
        for one in found.images
        if not one.captions[axis]
    )
    return CaptionSet(images, (*found.problems, *without))


def _absence(image: str, where: ImageFolder | Collection[str]) -> str:
    """Why an image is not there; "" where it is."""
    if not isinstance(where, ImageFolder):
        return "" if image in where else f"missing among the {len(where)} images given"
    try:
        where.path(image)
    except BadImage as error:
        return str(error)
    return ""


def _image(subject: str, row: Any, problems: list[Problem]) -> HighLevelImage:
    name, captions = _named(subject, row)
    tell = partial(_tell, problems, name, subject)
    for extra in sorted(set(captions) - set(_EVERY)):
        tell(f"unknown axis {extra!r} passed over")
    if "object" not in captions:
        tell("no `object` captions")
    kept: dict[Axis, tuple[int, ...]] = {}
    for axis in _EVERY:
        faults = [fault_of_text(text) for text in captions.get(axis, [])]
        for number, fault in enumerate(faults, start=1):
            if fault:
                tell(f"{axis} caption {number} {fault}", "unscored")
        kept[axis] = tuple(place for place, fault in enumerate(faults) if not fault)
        if not kept[axis] and axis in captions:
            tell(f"no {axis} caption", "unscored")
    diversity: dict[Axis, float] = {}
    for axis in AXES:
        given = _entry(row, "diversity", axis)
        if _are_within([given], -_LARGEST, _LARGEST):
            diversity[axis] = float(given)
        else:
            tell(f"`diversity` of {axis} is {kind_of(given)}, not a number: left out")
    many = {axis: len(captions[axis]) for axis in AXES}
    return HighLevelImage(
        image=name,
        captions={axis: tuple(captions[axis][place] for place in kept[axis]) for axis in _EVERY},
        confidence=_scores(row, "confidence", many, kept, tell, low=1, high=5),
        purity=_scores(row, "purity", many, kept, tell),
        diversity=diversity,
    )


def _tell(
    problems: list[Problem],
    name: str,
    subject: str,
    what: str,
    action: Literal["unscored", "handled"] = "handled",
) -> None:
    problems.append(Problem(name, subject, what, action))


def _named(subject: str, row: Any) -> tuple[str, dict[str, list[Any]]]:
    """The name and the captions of a row, which must be there; captions themselves are not looked at."""
    if not isinstance(row, dict):
        raise _malformed(subject, f"got {kind_of(row)}")
    name, captions = row.get("file_name", ""), row.get("captions")
    fault = fault_of_text(name) or fault_of_name(name)
    if fault:
        raise _malformed(subject, f"`file_name`: {fault}")
    if not isinstance(captions, dict):
        raise _malformed(subject, f"`captions` is {kind_of(captions)}")
    lost = [axis for axis in AXES if axis not in captions]
    if lost:
        raise _malformed(subject, f"`captions` lacks {', '.join(lost)}")
    for axis in _EVERY:
        if not isinstance(captions.get(axis, []), list):
            raise _malformed(subject, f"`captions` of {axis} is {kind_of(captions[axis])}")
    return name, captions


def _scores(
    row: Mapping[str, Any],
    field: str,
    many: Mapping[Axis, int],
    kept: Mapping[Axis, tuple[int, ...]],
    tell: Callable[[str], None],
    *,
    low: float = -_LARGEST,
    high: float = _LARGEST,
) -> dict[Axis, tuple[float, ...]]:
    """The scores of the captions kept, by axis; an axis that has not one for each caption is told and left out."""
    scores: dict[Axis, tuple[float, ...]] = {}
    for axis in AXES:
        given = _entry(row, field, axis)
        if isinstance(given, list) and len(given) == many[axis] and _are_within(given, low, high):
            scores[axis] = tuple(float(given[place]) for place in kept[axis])
        else:
            span = f" from {low:g} to {high:g}" if low > -_LARGEST else ""
            tell(
                f"`{field}` of {axis} is {kind_of(given)}, not a number{span} for each of {many[axis]} "
                "captions: left out"
            )
    return scores


def _entry(row: Mapping[str, Any], field: str, axis: Axis) -> Any:
    table = row.get(field)
    return table.get(axis) if isinstance(table, dict) else None


def _are_within(values: Sequence[Any], low: float, high: float) -> bool:
    """Whether all are numbers within bounds; NaN is not."""
    return all(
        isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
        for value in values
    )


def _malformed(subject: str, what: str) -> BadData:
    return BadData(f"{subject}: {what}, wanted {_WANTED}; correct the line")
