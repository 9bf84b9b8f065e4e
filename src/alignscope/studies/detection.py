"""Regions of a user's own images: a detector looks at every picture of a folder, and none is dropped silently.

Images go in parts of a fixed size, kept as they come, so that a stopped run goes on to the same bytes.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import final

import alignscope
from alignscope.data.images import ImageFolder, open_image
from alignscope.data.names import fault_of_name
from alignscope.data.regionfiles import open_regions
from alignscope.data.regionfiles.arrow import Written, write_regions
from alignscope.data.regionfiles.checking import others_in, pictures_in, sha_of_pictures
from alignscope.errors import BadData, BadInput, OutputExists, UnwritableOutput
from alignscope.files import read_jsonl, write_jsonl
from alignscope.models.detectors import Detector, Prepared
from alignscope.records import Problem, Regions
from alignscope.records.regions import fault_of_regions
from alignscope.studies.clock import Progress
from alignscope.studies.output import alone, claim

PART = 64  # images kept at a time


@final
@dataclass(frozen=True)
class Detected:
    """What was written, and what happened to images: "unscored" ones have no regions."""

    written: Written
    images: int
    others: int  # files of the folder that are no images by their names
    problems: tuple[Problem, ...]
    problems_file: Path

    @property
    def left_out(self) -> int:
        """Images of which nothing was written."""
        return self.images - self.written.images


@final
@dataclass(frozen=True)
class Settings:
    """How many regions an image gets; see `Detector.detect`. Rounding differs with the batch and the device."""

    regions: int = 36
    score: float = 0.2
    batch_size: int = 8


def detect(
    detector: Detector,
    images: Path,
    out: Path,
    *,
    settings: Settings = Settings(),
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress = lambda stage, done, total: None,
) -> Detected:
    """Write the regions of every image below a folder to `out`, and problems to OUT.problems.jsonl beside it.

    Until all is done, parts lie in OUT.work; the images must not change meanwhile.
    """
    work = out.with_name(out.name + ".work")
    _check(settings, out, replaces=overwrite or (resume and work.exists()))
    names, folder = pictures_in(images), ImageFolder(images)
    with alone(work):
        claim(work, _identity(detector, images, names, settings), resume=resume, overwrite=overwrite)
        parts = [names[start : start + PART] for start in range(0, len(names), PART)]
        for number, part in enumerate(parts):
            path = _part(work, number)
            if not path.exists():
                records, problems = _detected(detector, folder, part, settings)
                write_jsonl(path.with_suffix(".jsonl"), problems)
                write_regions(path, records)  # last: a part that is there is whole
            progress("images", number * PART + len(part), len(names))
        paths = [_part(work, number) for number in range(len(parts))]
        listing = out.with_name(out.name + ".problems.jsonl")
        write_jsonl(listing, chain.from_iterable(read_jsonl(path.with_suffix(".jsonl")) for path in paths))
        told = f"{detector.made_by}; at most {settings.regions}, confidence {settings.score:g}"
        written = write_regions(out, _records(paths), overwrite=True, source=told)
        shutil.rmtree(work)
    found = tuple(Problem(**row) for row in read_jsonl(listing))
    return Detected(written, len(names), others_in(images, names), found, listing)


def _check(settings: Settings, out: Path, *, replaces: bool) -> None:
    """Refuse what cannot be done before any work."""
    if settings.regions < 1 or not 0 <= settings.score <= 1 or settings.batch_size < 1:
        raise BadInput(
            f"got {settings}, wanted at least one region, a score from 0 to 1 and a batch of at least one image"
        )
    if out.exists() and not replaces:
        raise OutputExists(f"{out} exists: give another name, or --overwrite to replace it")
    if not out.parent.is_dir():
        raise UnwritableOutput(f"{out} cannot be written: there is no directory {out.parent}, make it first")


def _identity(
    detector: Detector, images: Path, names: Sequence[str], settings: Settings
) -> dict[str, object]:
    """What must be the same for a stopped run to go on; images by name, size and time of change."""
    return {
        "kind": "regions",
        "version": alignscope.__version__,
        "model": {"name": detector.name, "fingerprint": detector.fingerprint},
        "device": detector.model.device.type,
        "data": {"images": len(names), "sha": sha_of_pictures(images, names)},
        "settings": asdict(settings),
    }


def _part(work: Path, number: int) -> Path:
    return work / f"regions-{number:08d}.arrow"


def _detected(
    detector: Detector, folder: ImageFolder, names: Sequence[str], settings: Settings
) -> tuple[list[Regions], list[Problem]]:
    """Regions of some images, and what could not be done or had to be."""
    records: list[Regions] = []
    problems: list[Problem] = []
    batch: list[Prepared] = []

    def flush() -> None:
        for regions in detector.detect(batch, regions=settings.regions, score=settings.score):
            fault = "" if len(regions) else "the detector found no box with an area in this image"
            fault = fault or fault_of_regions(regions) or ""
            if fault:
                problems.append(Problem(regions.image, regions.image, fault, "unscored"))
            else:
                records.append(regions)
        batch.clear()

    for name in names:
        try:
            if fault := fault_of_name(name):
                raise BadData(fault)
            opened = open_image(folder.path(name))
            batch.append(detector.prepared(name, opened.image))
        except BadData as error:
            problems.append(Problem(name, name, f"image: {error}", "unscored"))
        else:
            problems += [Problem(name, name, f"image: {note}", "handled") for note in opened.notes]
        if len(batch) == settings.batch_size:
            flush()
    flush()
    return records, problems


def _records(parts: Sequence[Path]) -> Iterator[Regions]:
    """What was kept, part by part."""
    for path in parts:
        part = open_regions(path)
        yield from (part[image] for image in part)
