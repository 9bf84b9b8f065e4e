"""Training data whose samples have places: COCO's captions, NegCLIP's table, scenes of the world.

Image files are looked for up front: a sample without one is left out, and a problem says so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import final

import numpy as np
from jaxtyping import UInt8
from PIL import Image as Pillow
from PIL.Image import Image

from alignscope.data.coco import read_captions
from alignscope.data.images import ImageFolder
from alignscope.data.world.world import World
from alignscope.errors import BadData, BadImage, BadRecipe
from alignscope.files import sha_of
from alignscope.records import FOIL_KINDS, Problem
from alignscope.registry import did_you_mean
from alignscope.training.corpus import described, keys
from alignscope.training.metrics import Progress
from alignscope.training.negatives import read_negatives
from alignscope.training.places import Place, PlacedSamples, packed
from alignscope.training.recipe import WorldData
from alignscope.training.settings import CocoData, DataPlan, SceneData, TableData
from alignscope.training.worded import digest_of, worded

_EVERY = 1000  # image files looked for between two reports of progress


@dataclass(frozen=True)
class _Found:
    """Sizes of the image files that are there by key, and why the others cannot be used."""

    sizes: dict[str, int]
    absent: dict[str, str]


@final
@dataclass(frozen=True, eq=False)
class _Pictures:
    """Pictures of scenes, rendered once."""

    numbers: dict[str, int]
    pixels: UInt8[np.ndarray, "scene row column channel"]

    def __call__(self, key: str) -> Image:
        return Pillow.fromarray(self.pixels[self.numbers[key]])


def open_samples(
    plan: DataPlan,
    *,
    seed: int,
    needs_words: bool,
    foil_kinds: Sequence[str] = (),
    progress: Progress | None = None,
) -> PlacedSamples:
    """The samples of a plan; with `needs_words` all captions have words, parsed where the data have none.

    `foil_kinds` are the kinds of the data's own foils that are wanted, for scenes, which can make them.
    """
    if isinstance(plan, CocoData):
        samples = coco_samples(plan, seed=seed, progress=progress)
    elif isinstance(plan, TableData):
        samples = table_samples(plan, seed=seed, progress=progress)
    elif isinstance(plan, SceneData):
        samples = scene_samples(plan, seed=seed, kinds=foil_kinds)
    else:
        raise BadRecipe(
            f"got data of kind '{plan.kind}', a stream, wanted coco, table or world, whose samples have "
            "places: open a stream by alignscope.training.streaming.open_stream"
        )
    return worded(samples, progress=progress) if needs_words else samples


def coco_samples(plan: CocoData, *, seed: int, progress: Progress | None = None) -> PlacedSamples:
    """One place per image, with all its captions."""
    path, folder = Path(plan.captions), ImageFolder(Path(plan.images))
    read = read_captions(path)
    found = _found([one.image for one in read.images], folder, progress)
    problems = (*read.problems, *(Problem(key, key, why, "unscored") for key, why in found.absent.items()))
    places = tuple(Place(one.image, one.captions) for one in read.images if one.image in found.sizes)
    return PlacedSamples(path.stem, _sha_of_files(path, found), places, folder.image, seed, problems)


def table_samples(plan: TableData, *, seed: int, progress: Progress | None = None) -> PlacedSamples:
    """One place per row of a NegCLIP-style table, with the row's foils and the places of its similar images."""
    path, folder = Path(plan.table), ImageFolder(Path(plan.images))
    read = read_negatives(path)
    if not read.rows:
        first = f" (first: {read.problems[0].item}: {read.problems[0].what})" if read.problems else ""
        raise BadData(f"{path}: got no usable row{first}, wanted captions with images; check the file")
    found = _found([row.image for row in read.rows], folder, progress)
    rows = [row for row in read.rows if row.image in found.sizes]
    place_of = {row.number: place for place, row in enumerate(rows)}
    problems, places = list(read.problems), []
    for row in read.rows:
        if row.image in found.absent:
            problems.append(Problem(str(row.number), row.image, found.absent[row.image], "unscored"))
            continue
        similar = tuple(place_of[number] for number in row.neighbours if number in place_of)
        if len(similar) < len(row.neighbours):
            what = f"{len(row.neighbours) - len(similar)} of neg_image have no image file"
            problems.append(Problem(str(row.number), row.caption, what, "handled"))
        places.append(Place(row.image, (row.caption,), (row.foils,), similar))
    sha = _sha_of_files(path, found)
    return PlacedSamples(path.stem, sha, tuple(places), folder.image, seed, tuple(problems))


def scene_samples(plan: SceneData, *, seed: int, kinds: Sequence[str] = ()) -> PlacedSamples:
    """One place per scene of the world, captions with the grammar's words; foils of `kinds`, checked false.

    Similar are the scenes whose main relation joins the same two nouns. The plan's own seed decides
    scenes and captions, `seed` which caption an epoch draws.
    """
    unknown = [kind for kind in kinds if kind not in FOIL_KINDS]
    if unknown:
        raise BadRecipe(
            f"got foils of kind '{unknown[0]}', which scenes do not make: "
            f"{did_you_mean(unknown[0], list(FOIL_KINDS))}"
        )
    if plan.images < 1 or plan.captions_per_image < 1:
        raise BadRecipe(
            f"got images = {plan.images} and captions_per_image = {plan.captions_per_image} of the world, "
            "wanted 1 or more of each"
        )
    world = World(plan.split, size=plan.images, seed=plan.seed)
    said, wrong = described(
        world,
        WorldData(plan.images, plan.seed, plan.captions_per_image),
        plan.register,
        foils_each=len(kinds),
        kinds=kinds,
    )
    groups: dict[str, list[int]] = {}
    for place, key in enumerate(keys(world)):
        groups.setdefault(key, []).append(place)
    similar = {place: group for group in map(tuple, groups.values()) for place in group}
    places = tuple(
        Place(
            scene.id,
            tuple(caption.text for caption in captions),
            tuple(map(tuple, foils)) if kinds else (),
            similar[number],
            tuple(map(packed, captions)),
        )
        for number, (scene, captions, foils) in enumerate(zip(world.scenes, said, wrong, strict=True))
    )
    pictures = _Pictures({scene.id: number for number, scene in enumerate(world.scenes)}, world.pixels())
    texts = [[place.texts, place.foils, digest_of(place.words)] for place in places]
    sha = sha_of([asdict(plan), texts, hashlib.sha256(pictures.pixels.tobytes()).hexdigest()])
    return PlacedSamples(world.name, sha, places, pictures, seed)


def _found(images: Iterable[str], folder: ImageFolder, progress: Progress | None) -> _Found:
    """Which images have files; none is read through."""
    distinct = list(dict.fromkeys(images))
    found = _Found({}, {})
    for done, key in enumerate(distinct, start=1):
        try:
            found.sizes[key] = folder.size(key)
        except BadImage as error:
            found.absent[key] = str(error)
        if progress and (done % _EVERY == 0 or done == len(distinct)):
            progress("image files", done, len(distinct))
    if not found.sizes:
        raise BadData(
            f"none of the {len(distinct)} images of the data can be used "
            f"(first: {found.absent[distinct[0]]}); wanted a directory that holds them; check the path of "
            "the images"
        )
    return found


def _sha_of_files(annotations: Path, found: _Found) -> str:
    """Hash of a file's content and of the names and sizes of the images."""
    with annotations.open("rb") as file:
        return sha_of([hashlib.file_digest(file, "sha256").hexdigest(), found.sizes])
