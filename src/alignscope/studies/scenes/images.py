"""Images with scenes as analyses of paper C take them: those of the world, or of HL with regions, labels or pixels."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from PIL.Image import Image, fromarray

from alignscope.data.hl import HighLevelSet, present, read_hl
from alignscope.data.images import ImageFolder
from alignscope.data.labels import LabelFile, labelled
from alignscope.data.regionfiles import RegionFile, digest, open_regions
from alignscope.data.world.labelled import labelled as labelled_of_world
from alignscope.data.world.labelled import labels as labels_of_world
from alignscope.data.world.render import render
from alignscope.data.world.world import World
from alignscope.errors import BadData, BadInput, Unsupported
from alignscope.files import sha_of
from alignscope.language.scene_labels import Recipe, scene_labels, scene_nouns, scene_set
from alignscope.models.captioners.inside import SeenInside
from alignscope.models.captioners.protocol import Sight
from alignscope.records import Labelled, Problem, SceneLabel

if TYPE_CHECKING:
    Sights = Mapping[str, Sight]
else:
    Sights = Mapping  # a check at run time would open an image of what is subscripted


@final
@dataclass(frozen=True)
class SceneImages:
    """Images by name: what a captioner sees of each, opened as it is asked for, and its scene.

    `pictures` are the same images for captioners of pixels, where those are there beside regions. `held_out` are
    those that no captioner under study was trained on, as far as the source tells.
    """

    name: str
    sha: str
    sights: Sights
    scenes: Mapping[str, SceneLabel]
    held_out: frozenset[str]
    problems: tuple[Problem, ...] = ()
    notes: Callable[[], tuple[str, ...]] = tuple  # what had to be assumed of the images opened so far
    pictures: Sights = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.sights)

    def labelled(self, image: str) -> Labelled:
        """An image with its labels."""
        seen = self.sights[image]
        if not isinstance(seen, Labelled):
            raise BadInput(
                f"got pixels of {image}, wanted labels and regions: give --regions and, where labels are of another "
                "detector, --labels"
            )
        return seen

    def of_scenes(self) -> dict[str, str]:
        """The images whose scene is told, in order."""
        return {image: one.scene for image, one in self.scenes.items() if one.scene}

    def seen_by(self, captioner: SeenInside) -> Sights:
        """What this captioner takes of the images, found out on the first one that can be opened."""
        why = "no image"
        for sights in (self.sights, self.pictures):
            for image in sights:
                try:
                    seen = sights[image]
                except BadInput as error:
                    why = str(error)
                    continue
                try:
                    captioner.inside([seen])
                    return sights
                except Unsupported as error:
                    why = str(error)
                except BadInput:
                    return sights  # of the right kind, though this one is wrong: told when it is looked at
                break
        raise BadInput(
            f"{captioner.name} cannot be looked into with what is given of {self.name} ({why}): give --regions, and "
            "--labels of another detector, for captioners of regions, --images for those of pixels"
        )


@final
@dataclass(frozen=True)
class WorldImages:
    """Scenes of the world; with `has_background` the cue of the scene is in every picture, or in none."""

    split: str = "test"
    size: int = 500
    seed: int = 0
    has_background: bool | None = None
    feature_width: int = 256


@final
@dataclass(frozen=True)
class HighLevelImages:
    """A file of HL, and the files that say what a captioner sees of its images.

    `sizes` are those of images whose region file does not tell them, or "unit", as `data.regionfiles` takes them.
    """

    captions: Path
    regions: Path | None = None
    labels: Path | None = None
    images: Path | None = None
    scenes: str = "paper7"  # or "top_8": the most frequent
    recipe: Recipe = "paper"
    agreement: int = 1
    is_held_out: bool = True
    sizes: Path | None = None


@final
@dataclass(frozen=True)
class NamedObjects:
    """Images whose scene is told, and the objects that are named in each, for what they tell of each other."""

    name: str
    sha: str
    scenes: Mapping[str, str]
    objects: Mapping[str, tuple[str, ...]]
    problems: tuple[Problem, ...] = ()


@final
class _Opened(Sights):
    """Images by name, each made when it is asked for."""

    def __init__(self, names: Iterable[str], open_one: Callable[[str], Any]) -> None:
        self._names = dict.fromkeys(names)
        self._open = open_one

    def __getitem__(self, image: str) -> Any:
        if image not in self._names:
            raise KeyError(image)
        return self._open(image)

    def __contains__(self, image: object) -> bool:
        return image in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def fitting(images: SceneImages, captioners: Iterable[SeenInside]) -> SceneImages:
    """The same images, where one with features of another width than the first that all captioners take does not open.

    So that it is one image's problem, as one that is broken is. Where none is taken, they are left as they are.
    """
    width, captioners = 0, list(captioners)

    def opened(image: str) -> Sight:
        seen = images.sights[image]
        got = seen.regions.features.shape[1] if isinstance(seen, Labelled) and len(seen.regions) else width
        if got != width:
            raise BadData(
                f"regions of {image!r}: got features of width {got}, wanted {width} as of other images"
            )
        return seen

    for image in images.sights:
        try:
            first = images.sights[image]
            if not isinstance(first, Labelled):
                return images
            if not len(first.regions):
                continue
            for captioner in captioners:
                with contextlib.suppress(Unsupported):  # which is told where it is looked into
                    captioner.inside([first])
        except BadData:
            continue
        width = first.regions.features.shape[1]
        return replace(images, sights=_Opened(images.sights, opened))
    return images


def scene_images(plan: WorldImages | HighLevelImages) -> SceneImages:
    """The images that a plan names; what cannot be used of them is a problem."""
    return _of_world(plan) if isinstance(plan, WorldImages) else _of_hl(plan)


def named_objects(plan: WorldImages | HighLevelImages) -> NamedObjects:
    """The objects of a plan's images; of HL a file of labels alone is enough, and of the world nothing is drawn."""
    if isinstance(plan, WorldImages):
        world, sha = _world(plan)
        scenes = {scene.id: scene.scene for scene in world.scenes}
        objects = {scene.id: tuple(one.name for one in labels_of_world(scene)) for scene in world.scenes}
        return NamedObjects(world.name, sha_of([sha, objects]), scenes, objects)
    if plan.labels is not None and plan.regions is None:
        told, labels = read_hl(plan.captions), LabelFile(plan.labels)
        found = present(told, labels)
        scenes = {one.image: one.scene for one in _scenes(plan, told, found) if one.scene}
        objects = {image: tuple(label.name for label in labels[image]) for image in scenes}
        return NamedObjects(plan.captions.stem, sha_of([told.sha, objects]), scenes, objects, found.problems)
    return objects_of(scene_images(plan))


def objects_of(images: SceneImages) -> NamedObjects:
    """The labels of images whose scene is told; an image that cannot be opened is a problem."""
    scenes, objects, problems = images.of_scenes(), {}, list(images.problems)
    for image in scenes:
        try:
            objects[image] = tuple(label.name for label in images.labelled(image).labels)
        except BadData as error:
            problems.append(Problem(image, image, f"labels for what tells of scenes: {error}", "unscored"))
    scenes = {image: scene for image, scene in scenes.items() if image in objects}
    return NamedObjects(images.name, sha_of([images.sha, objects]), scenes, objects, tuple(problems))


def _world(plan: WorldImages) -> tuple[World, str]:
    """The scenes of a plan, and what identifies them."""
    world = World(plan.split, size=plan.size, seed=plan.seed)
    return world, sha_of([plan, world.scenes])


def _of_world(plan: WorldImages) -> SceneImages:
    world, sha = _world(plan)
    scenes = {scene.id: SceneLabel(scene.id, scene.scene, 1, 1) for scene in world.scenes}

    def seen(image: str) -> Labelled:
        return labelled_of_world(
            world.scene(image), width=plan.feature_width, has_background=plan.has_background
        )

    def picture(image: str) -> Image:
        scene = world.scene(image)
        if plan.has_background is not None:
            scene = replace(scene, has_background=plan.has_background)
        return fromarray(render(scene))

    held = frozenset(scenes) if plan.split == "test" else frozenset[str]()
    pictures = _Opened(scenes, picture)
    return SceneImages(world.name, sha, _Opened(scenes, seen), scenes, held, pictures=pictures)


def _of_hl(plan: HighLevelImages) -> SceneImages:
    """Images of HL that a captioner can see; the others are problems."""
    if plan.regions is None and plan.images is None:
        raise BadInput(
            "got captions of HL alone: give --regions for a captioner of regions, --images for one of pixels"
        )
    told = found = read_hl(plan.captions)
    notes: Callable[[], tuple[str, ...]] = tuple
    problems: list[Problem] = []
    sights: list[Callable[[str], Any]] = []
    contents: list[Callable[[str], str]] = []
    if plan.regions is not None:
        regions = open_regions(plan.regions, sizes=plan.sizes, tags=plan.labels is None)
        labels = None if plan.labels is None else LabelFile(plan.labels)
        named = labelled(regions, labels)
        found = present(found, named)
        problems += named.problems
        sights.append(named.__getitem__)
        contents.append(lambda image: _content(image, regions, labels))
        notes = lambda: named.notes  # noqa: E731  # filled as images are opened
    if plan.images is not None:
        folder = ImageFolder(plan.images)
        found = present(found, folder)
        sights.append(folder.image)
        contents.append(folder.digest)
    names = [one.image for one in found.images]
    if not names:
        first = next(iter(found.problems), None)
        raise BadInput(
            f"{plan.captions}: none of {len(told.images)} images is there to be seen"
            + (f" (first: {first.subject}: {first.what})" if first else "")
            + ": check --regions, --labels and --images"
        )
    scenes = {one.image: one for one in _scenes(plan, told, found)}
    held = frozenset(names) if plan.is_held_out else frozenset[str]()
    return SceneImages(
        plan.captions.stem,
        sha_of([told.sha, names, list(scenes.values()), [[of(image) for image in names] for of in contents]]),
        _Opened(names, sights[0]),
        scenes,
        held,
        tuple(dict.fromkeys([*found.problems, *problems])),
        notes,
        _Opened(names, sights[1]) if len(sights) > 1 else {},
    )


def _content(image: str, regions: RegionFile, labels: LabelFile | None) -> str:
    """What identifies the regions and labels of an image; a line that cannot be read is told where it is opened."""
    try:
        seen = digest(regions[image]).hex()
        return seen if labels is None else sha_of([seen, labels[image], labels.size(image)])
    except BadData:
        return "unread"


def _scenes(plan: HighLevelImages, told: HighLevelSet, found: HighLevelSet) -> list[SceneLabel]:
    """The scenes of the images that are there; which scenes are frequent is decided by all that are told of."""
    texts = {one.image: one.captions["scene"] for one in told.images}
    flat = iter(scene_nouns([text for said in texts.values() for text in said], recipe=plan.recipe))
    nouns = {image: [next(flat) for _ in said] for image, said in texts.items()}
    among = scene_set(plan.scenes, [each for own in nouns.values() for each in own])
    there: Collection[str] = {one.image for one in found.images}
    own = {image: said for image, said in nouns.items() if image in there}
    return scene_labels(own, scenes=among, agreement=plan.agreement)
