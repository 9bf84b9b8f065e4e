"""What is in a region file and what is wrong with it, read record by record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from alignscope.data.names import IMAGE_SUFFIXES, Names
from alignscope.data.regionfiles.digests import digest, sha_of_digests
from alignscope.data.regionfiles.regionfile import RegionFile
from alignscope.errors import BadData
from alignscope.files import sha_of
from alignscope.records import Problem

Progress = Callable[[str, int, int], None]


@final
@dataclass(frozen=True)
class Checked:
    """A region file in numbers; `missing` are images of a folder that it lacks, None where none was given."""

    images: int
    sound: int
    regions: Counter[int]  # regions per image, and how many images have so many
    widths: Counter[int]  # of features
    sizes: int  # distinct image sizes
    tagged: int  # images with tags
    made_by: tuple[str, ...]
    sha: str
    problems: tuple[Problem, ...]
    missing: tuple[str, ...] | None

    @property
    def is_complete(self) -> bool:
        """Is every record sound, every feature of one width, and no image missing?"""
        return self.images > 0 and not self.problems and not self.missing


def check(source: RegionFile, *, images: Path | None = None, progress: Progress | None = None) -> Checked:
    """Read every record of a file; with `images` also look for the pictures of a folder in it."""
    regions, widths, sizes = Counter[int](), Counter[int](), set()
    problems: list[Problem] = []
    makers: set[str] = set()
    digests: list[bytes] = []
    tagged = 0
    for done, image in enumerate(source, start=1):
        try:
            one = source.checked(image)
        except BadData as error:
            problems.append(Problem(image, source.place(image), str(error), "unscored"))
        else:
            regions[len(one)] += 1
            widths.update([one.features.shape[1]] if len(one) else [])
            sizes.add((one.width, one.height))
            makers.add(one.made_by)
            digests.append(digest(one))
            tagged += bool(one.tags)
        if progress is not None and (done % 100 == 0 or done == len(source)):
            progress("images", done, len(source))
    if len(widths) > 1:
        told = ", ".join(f"{count} images of {width}" for width, count in sorted(widths.items()))
        problems.append(
            Problem(
                "", str(source.path), f"features of several widths: {told}; a model takes one", "unscored"
            )
        )
    return Checked(
        images=len(source),
        sound=len(digests),
        regions=regions,
        widths=widths,
        sizes=len(sizes),
        tagged=tagged,
        made_by=tuple(sorted(makers)),
        sha=sha_of_digests(digests),
        problems=tuple(problems),
        missing=None if images is None else missing_from(source, images),
    )


def missing_from(source: RegionFile, directory: Path) -> tuple[str, ...]:
    """Pictures of a folder, by their path inside it, of which the file has no regions."""
    names = Names(list(source))
    return tuple(name for name in pictures_in(directory) if names.find(name) is None)


def pictures_in(directory: Path) -> tuple[str, ...]:
    """Pictures of a folder and of those in it, told by the ends of their names; sorted paths inside it."""
    if not directory.is_dir():
        raise BadData(f"{directory}: got no directory there, wanted one of images; check the path")
    files = sorted(f for f in directory.rglob("*") if f.suffix.casefold() in IMAGE_SUFFIXES)
    if not files:
        raise BadData(f"{directory}: got no image files in it, wanted some; check the path")
    return tuple(f.relative_to(directory).as_posix() for f in files)


def others_in(directory: Path, names: Sequence[str]) -> int:
    """Files of a folder and of those in it beside these."""
    known = {directory / name for name in names}
    return sum(1 for file in directory.rglob("*") if file.is_file() and file not in known)


def sha_of_pictures(directory: Path, names: Sequence[str]) -> str:
    """Hash of pictures by name, size and time of change, none of which is read."""
    paths = [directory / name for name in names]
    states = [path.stat(follow_symlinks=path.exists()) for path in paths]
    return sha_of([[n, s.st_size, s.st_mtime_ns] for n, s in zip(names, states, strict=True)])
