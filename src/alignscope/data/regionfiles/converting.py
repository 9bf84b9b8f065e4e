"""Any region file to the safe format, image by image, and no image silently left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import final

from alignscope.data.regionfiles.arrow import Written, write_regions
from alignscope.data.regionfiles.regionfile import RegionFile
from alignscope.errors import BadData, OutputExists
from alignscope.files import write_jsonl
from alignscope.records import Problem, Regions

Progress = Callable[[str, int, int], None]
_EVERY = 100  # images between two reports of progress


@final
@dataclass(frozen=True)
class Converted:
    """What was written, and the images that could not be."""

    written: Written
    problems: tuple[Problem, ...]
    problems_file: Path | None


def convert(
    source: RegionFile,
    out: Path,
    *,
    half: bool = False,
    skip_broken: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Converted:
    """Write the regions of a file to `out`; the first broken record ends it and nothing is written.

    With `skip_broken` such records are left out and listed in OUT.problems.jsonl.
    """
    listing = out.parent / f"{out.name}.problems.jsonl"
    if out.resolve() == source.path.resolve():
        raise OutputExists(f"{out} is the file to convert: give another name")
    if listing.exists() and skip_broken and not overwrite:
        raise OutputExists(f"{listing} exists: give another name, or --overwrite to replace it")
    problems: list[Problem] = []
    widths: set[int] = set()

    def records() -> Iterator[Regions]:
        for done, image in enumerate(source, start=1):
            try:
                regions = source[image]
                if len(regions) and widths and regions.features.shape[1] not in widths:
                    raise BadData(
                        f"{source.place(image)}: got features of width {regions.features.shape[1]}, "
                        f"wanted {min(widths)} as of the images before"
                    )
            except BadData as error:
                if not skip_broken:
                    raise BadData(f"{error}; --skip-broken leaves such images out and lists them") from None
                problems.append(Problem(image, source.place(image), str(error), "unscored"))
            else:
                widths.update([regions.features.shape[1]] if len(regions) else [])
                yield regions
            if progress is not None and (done % _EVERY == 0 or done == len(source)):
                progress("images", done, len(source))

    told = f"{source.name} ({source.format})"
    written = write_regions(out, records(), half=half, overwrite=overwrite, source=told)
    if skip_broken:
        write_jsonl(listing, problems)
    return Converted(written, tuple(problems), listing if skip_broken else None)
