"""Captions to be probed and what is known of their images: references, pictures or regions, the world's own.

The same image may be called 391895, 391895.jpg or val2014/COCO_val2014_000000391895.jpg in files that belong
together; the name in the file of captions, of several the first, is the one that records keep.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path, PurePosixPath
from typing import final

from PIL.Image import Image

from alignscope.data.coco import CaptionSet, read_captions
from alignscope.data.images import ImageFolder
from alignscope.data.items import FolderItems, parse_json, read_bytes
from alignscope.data.karpathy import KarpathySplits, Split
from alignscope.data.world.grammar import WEB
from alignscope.data.world.world import World
from alignscope.errors import BadImage, BadInput
from alignscope.files import sha_of
from alignscope.language import tags
from alignscope.language.pipeline import parser_name
from alignscope.models.cross.regions import check_regions
from alignscope.models.protocols import PairScorer
from alignscope.probing.captions import CaptionFile, Tags, by_lexicon, read_caption_file
from alignscope.records import Caption, ImageCaption, Item, ItemSource, Problem, Regions
from alignscope.studies.pictures import RegionsOf, regions_of

SCENE = re.compile(r"(train|val|test)-(\d{1,9})-(\d{6})")
SCENES = 100_000  # of a split of the world, at most
WORLD_REFERENCES = 5  # captions of a scene, in the web register
_NUMBER = re.compile(r"\d+$")
_WANTED = "captions as JSONL, COCO's captions or results JSON, or a list of images with their captions; check the path"


@final
class Names:
    """Images by the names that one file gives them, found by those of another.

    >>> names = Names(["val2014/COCO_val2014_000000000042.jpg", "b.png"])
    >>> names.find("42"), names.find("b"), names.find("c")
    ('val2014/COCO_val2014_000000000042.jpg', 'b.png', None)
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._by_form: dict[str | int, list[str]] = {}
        for name in dict.fromkeys(names):
            for form in _forms(name):
                self._by_form.setdefault(form, []).append(name)

    def find(self, name: str) -> str | None:
        """The one image meant; None where there is none, or several."""
        for form in _forms(name):
            found = self._by_form.get(form, [])
            if isinstance(form, int) and not name.isdecimal():
                found = [other for other in found if other.isdecimal()]
            if found:
                return found[0] if len(found) == 1 or found[0] == name else None
        return None


def _forms(name: str) -> Iterator[str | int]:
    """A name as it is, without folders, without its ending, as the number it ends with: each once."""
    path = PurePosixPath(name)
    yield from dict.fromkeys([name, path.name, path.stem])
    if number := _NUMBER.search(path.stem):
        yield int(number.group())


def caption_files(paths: Mapping[str, Path]) -> dict[str, CaptionFile]:
    """Files of captions by the names they are given; images by the names of the first file that has them."""
    check_names(paths)
    files: dict[str, CaptionFile] = {}
    images: dict[str, None] = {}
    for name, path in paths.items():
        files[name] = _as_named(replace(read_caption_file(path), name=name), images)
        images |= dict.fromkeys(one.image for one in files[name].captions)
    return files


def _as_named(file: CaptionFile, images: Collection[str]) -> CaptionFile:
    """A file whose images bear the names that these have in another one; no two of them the same."""
    names, own = Names(images), {one.image for one in file.captions}
    found = {image: names.find(image) or image for image in own}
    claims = Counter(found.values())
    found = {
        image: other
        for image, other in found.items()
        if other != image and other not in own and claims[other] == 1
    }
    if not found:
        return file
    captions = tuple(replace(one, image=found.get(one.image, one.image)) for one in file.captions)
    return replace(file, captions=captions, sha=sha_of(captions))


def check_names(names: Collection[str]) -> None:
    """Refuse names of captions that make no folder; none at all too."""
    if not names:
        raise BadInput("got no file of captions, wanted at least one")
    for name in names:
        if not name.strip(" .") or any(sign in name for sign in "/\\|\0"):
            raise BadInput(f"got the name {name!r} for captions, wanted one without / \\ and |: NAME=FILE")


def read_many(path: Path, *, split: Split | None = None) -> CaptionFile:
    """Any number of captions an image: as `read_caption_file`, COCO's captions JSON, or a split of Karpathy's.

    Without a split all three of Karpathy's are read.
    """
    text = read_bytes(path, wanted=_WANTED).decode("utf-8-sig", errors="replace").lstrip()
    try:
        whole = parse_json(text) if text.startswith(("{", "[")) else None
    except ValueError:
        whole = None  # lines of JSON, or broken: read_caption_file tells
    first = whole[0] if isinstance(whole, list) and whole else None
    is_listed = isinstance(first, dict) and isinstance(first.get("caption"), list)
    if is_listed or (isinstance(whole, dict) and "annotations" in whole):
        return _flat(path.stem, [read_captions(path)])
    if isinstance(whole, dict) and isinstance(whole.get("images"), list):
        held = KarpathySplits(path)
        if split is not None:
            return _flat(f"{path.stem}-{split}", [held.split(split)])
        return _flat(path.stem, [held.split(name) for name in held.splits])
    return read_caption_file(path, several=True)


def _flat(name: str, sets: Sequence[CaptionSet]) -> CaptionFile:
    """The captions of sets one by one."""
    captions = tuple(
        ImageCaption(one.image, text) for held in sets for one in held.images for text in one.captions
    )
    return CaptionFile(name, sha_of(captions), captions, tuple(p for held in sets for p in held.problems))


def references_of(images: Collection[str], path: Path | None) -> CaptionFile | None:
    """References of these images, named as they are; without a file those of the world, None where they are no scenes.

    What the file says of other images is left out.
    """
    if path is not None:
        read, names = read_many(path), Names(images)
        found = ((names.find(one.image), one.text) for one in read.captions)
        captions = tuple(ImageCaption(image, text) for image, text in found if image is not None)
        problems = tuple(one for one in read.problems if not one.item or names.find(one.item))
        return replace(read, captions=captions, sha=sha_of(captions), problems=problems)
    if not are_scenes(images):
        return None
    worlds = Worlds(images)
    captions = tuple(
        ImageCaption(image, caption.text) for image in worlds.scenes for caption in worlds.captions(image)
    )
    return CaptionFile("world-web", sha_of(captions), captions, ())


def are_scenes(images: Collection[str]) -> bool:
    """Whether most names are those of scenes of the world."""
    return 2 * sum(bool(SCENE.fullmatch(image)) for image in images) > len(images)


def tagging(images: Collection[str], wanted: str | None = None) -> tuple[Tags, str]:
    """How words get their parts of speech, and its name: looked up in the world's language, else by spaCy."""
    if wanted == "world" or (wanted is None and are_scenes(images)):
        return by_lexicon(_world_lexicon()), "world-lexicon"
    return tags.tagged, parser_name()


@cache
def _world_lexicon() -> dict[str, str]:
    captions = World("train", size=2000).captions(WEB)
    return tags.lexicon_of(one for scene in captions for one in scene)


@final
class Worlds:
    """The scenes that some names stand for, of whatever splits and seeds."""

    def __init__(self, images: Iterable[str]) -> None:
        self.scenes: dict[str, tuple[str, int]] = {}
        sizes: dict[tuple[str, int], int] = {}
        for image in images:
            match = SCENE.fullmatch(image)
            if match and int(match[3]) < SCENES:
                place = match[1], int(match[2])
                self.scenes[image] = place
                sizes[place] = max(sizes.get(place, 0), int(match[3]) + 1)
        self._worlds = {
            (split, seed): World(split, size=size, seed=seed) for (split, seed), size in sizes.items()
        }

    def world(self, image: str) -> World:
        """The split that a scene is of."""
        if image not in self.scenes:
            raise BadImage(f"no scene {image!r} in the world")
        return self._worlds[self.scenes[image]]

    def captions(self, image: str) -> tuple[Caption, ...]:
        """What the world says of a scene."""
        return self._captions[image]

    @cached_property
    def _captions(self) -> dict[str, tuple[Caption, ...]]:
        return {
            scene.id: captions
            for world in self._worlds.values()
            for scene, captions in zip(world.scenes, world.captions(WEB, WORLD_REFERENCES), strict=True)
        }


@final
@dataclass(frozen=True)
class WorldPictures:
    """Scenes as an `ItemSource`, which also has their regions."""

    worlds: Worlds
    items: tuple[Item, ...]
    problems: tuple[Problem, ...]
    name: str = "world"
    sha: str = "world"  # a scene is its name; the package's version is in every signature

    def image(self, key: str) -> Image:
        return self.worlds.world(key).image(key)

    def regions(self, key: str, *, width: int) -> Regions:
        return self.worlds.world(key).regions(key, width=width)


@final
@dataclass(frozen=True)
class FolderPictures:
    """Files of a folder as an `ItemSource`."""

    held: FolderItems
    name: str

    @property
    def items(self) -> Sequence[Item]:
        return self.held.items

    @property
    def sha(self) -> str:
        return self.held.sha

    @property
    def problems(self) -> Sequence[Problem]:
        return self.held.problems

    def image(self, key: str) -> Image:
        return self.held.image(key)


@final
@dataclass(frozen=True)
class Detected:
    """Images of which there are regions and no pixels."""

    items: tuple[Item, ...]
    problems: tuple[Problem, ...]
    name: str = "regions"
    sha: str = ""  # regions are hashed where they are read

    def image(self, key: str) -> Image:
        raise BadImage(f"no picture of {key!r}: give --images")


@final
@dataclass(frozen=True)
class Pictured:
    """Images by the names in the files of captions, as one model sees them: items have those names as ids."""

    source: ItemSource
    regions: RegionsOf | None


def pictured(
    model: PairScorer,
    images: Sequence[str],
    *,
    folder: Path | None,
    regions: Mapping[str, Regions] | None,
) -> Pictured:
    """Where a model finds the images of captions; those it does not find are problems of the source."""
    if model.traits.unit == "region" and regions is not None:
        items, problems = _named(images, Names(regions), "no regions of this image in the file")
        return Pictured(Detected(items, problems), _sound(regions, model.traits.feature_width))
    if folder is not None:
        names = Names(_files(folder))
        items, problems = _named(images, names, f"unknown image: no file of this name in {folder}")
        held = FolderItems(items, ImageFolder(folder), problems=problems, may_be_empty=True)
        source = FolderPictures(held, folder.name)
        return Pictured(source, regions_of(model, source, None))
    if are_scenes(images):
        worlds = Worlds(images)
        items, problems = _named(images, Names(worlds.scenes), "unknown image: no scene of the world")
        scenes = WorldPictures(worlds, items, problems)
        return Pictured(scenes, regions_of(model, scenes, None))
    what = "--images FOLDER" if model.traits.unit == "patch" else "--regions FILE"
    raise BadInput(
        f"got images such as {images[0]!r}, which are no scenes of the world: give {what} for {model.name}"
    )


def _sound(regions: Mapping[str, Regions], width: int | None) -> RegionsOf:
    """Regions by name; those that the model cannot take are a `BadData` of their image alone."""

    def opened(name: str) -> Regions:
        found = regions[name]
        check_regions(found, width=width or found.features.shape[1])
        return found

    return opened


def _files(folder: Path) -> list[str]:
    ImageFolder(folder)  # or an error that says why not
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def _named(images: Sequence[str], names: Names, what: str) -> tuple[tuple[Item, ...], tuple[Problem, ...]]:
    """An item for each image that is found, a problem for each that is not."""
    found = {image: names.find(image) for image in dict.fromkeys(images)}
    items = tuple(Item(image, key, Caption(image)) for image, key in found.items() if key is not None)
    return items, tuple(
        Problem(image, image, what, "unscored") for image, key in found.items() if key is None
    )
