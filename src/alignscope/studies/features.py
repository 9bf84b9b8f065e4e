"""Features of a user's own images, for captioners of vectors or patches: a folder that `FeatureFolder` reads.

One `.npy` per image under the image's own name and folders, so that no two meet; a stopped run goes on to the
same bytes, and no image is dropped silently.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np

import alignscope
from alignscope.data.images import ImageFolder, open_image
from alignscope.data.names import fault_of_name
from alignscope.data.regionfiles.checking import others_in, pictures_in, sha_of_pictures
from alignscope.errors import BadData
from alignscope.files import read_jsonl, whole, write_json, write_jsonl
from alignscope.models.captioners.backbone import Backbone
from alignscope.records import Problem
from alignscope.studies.clock import Progress
from alignscope.studies.output import RUN, alone, claim

PART = 64  # images whose problems are kept at a time
LONGEST = 255  # bytes in the name of a file


@final
@dataclass(frozen=True)
class Featured:
    """What was written, and what happened to images: "unscored" ones have no features."""

    directory: Path
    images: int
    written: int
    width: int
    others: int  # files of the folder that are no images by their names
    problems: tuple[Problem, ...]
    problems_file: Path

    @property
    def left_out(self) -> int:
        """Images of which nothing was written."""
        return self.images - self.written


def write_features(
    backbone: Backbone,
    images: Path,
    out: Path,
    *,
    patches: bool = False,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress = lambda stage, done, total: None,
) -> Featured:
    """Write the features of every image below a folder to `out`: means over all patches, or each patch's.

    run.json tells whose they are and problems.jsonl what happened; the images must not change meanwhile.
    """
    names, folder = pictures_in(images), ImageFolder(images)
    others = others_in(images, names)  # before there are files of ours, if OUT lies there
    identity = {
        "kind": "features",
        "version": alignscope.__version__,
        "model": {"name": backbone.name, "fingerprint": backbone.fingerprint},
        "device": backbone.model.device.type,
        "data": {"images": len(names), "sha": sha_of_pictures(images, names)},
        "features": {
            "of": "patches" if patches else "mean",
            "width": backbone.width,
            "dtype": "float32",
            "image_size": backbone.image_size,
        },
    }
    with alone(out):
        claim(out, identity, resume=resume, overwrite=overwrite)
        listings = [out / f"problems-{start:08d}.jsonl" for start in range(0, len(names), PART)]
        for number, listing in enumerate(listings):
            first = number * PART
            if not listing.exists():
                found: list[Problem] = []
                for done, name in enumerate(names[first : first + PART], start=first):
                    progress("images", done, len(names))
                    found += _looked_at(backbone, folder, name, _place(out, name), patches=patches)
                write_jsonl(listing, found)  # last: of a part with a listing nothing is left to do
            progress("images", min(first + PART, len(names)), len(names))
        problems = tuple(Problem(**row) for listing in listings for row in read_jsonl(listing))
        write_jsonl(out / "problems.jsonl", problems)
        written = len(names) - len({one.item for one in problems if one.action == "unscored"})
        write_json(out / RUN, {**identity, "identity": identity, "finished": True, "written": written})
        for listing in listings:
            listing.unlink()
    return Featured(out, len(names), written, backbone.width, others, problems, out / "problems.jsonl")


def _place(out: Path, name: str) -> Path:
    return out / f"{name}.npy"


def _fault_of_length(place: Path) -> str | None:
    """Why a file system would refuse the name, with the ending that an unfinished file has."""
    count = len(f"{place.name}.part".encode(errors="surrogateescape"))
    return (
        f"got a name of which a file has {count} bytes, wanted at most {LONGEST}" if count > LONGEST else None
    )


def _looked_at(
    backbone: Backbone, folder: ImageFolder, name: str, place: Path, *, patches: bool
) -> list[Problem]:
    """Write an image's features, unless they are there, and tell what could not be done or had to be."""
    try:
        if fault := fault_of_name(name) or _fault_of_length(place):
            raise BadData(fault)
        opened = open_image(folder.path(name))
        if not place.exists():
            found = backbone.patches(opened.image) if patches else backbone.vector(opened.image)
            if not np.isfinite(found).all():
                raise BadData(f"{backbone.name} gives features that are not finite: take another backbone")
            place.parent.mkdir(parents=True, exist_ok=True)
            with whole(place) as half, half.open("wb") as file:
                np.save(file, found)
    except BadData as error:
        return [Problem(name, name, f"image: {error}", "unscored")]
    return [Problem(name, name, f"image: {note}", "handled") for note in opened.notes]
