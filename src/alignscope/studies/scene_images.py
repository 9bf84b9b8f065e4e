"""Images with scenes as analyses of paper C take them: those of the world, or of HL with regions, labels or pixels."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from alignscope.data.hl import present, read_hl
from alignscope.data.images import ImageFolder
from alignscope.data.labels import LabelFile, labelled
from alignscope.data.regionfiles import open_regions
from alignscope.data.world.labelled import labelled as labelled_of_world
from alignscope.data.world.world import World
from alignscope.errors import BadInput
from alignscope.files import sha_of
from alignscope.language.scene_labels import Recipe, scene_labels, scene_nouns, scene_set
from alignscope.models.captioners.protocol import Sight
from alignscope.records import Labelled, Problem, SceneLabel


@final
@dataclass(frozen=True)
class SceneImages:
    """Images by name: what a captioner sees of each, opened as it is asked for, and its scene.

    `held_out` are those that no captioner under study was trained on, as far as the source tells.
    """

    name: str
    sha: str
    sights: Mapping[str, Sight]
    scenes: Mapping[str, SceneLabel]
    held_out: frozenset[str]
    problems: tuple[Problem, ...] = ()
    notes: Callable[[], tuple[str, ...]] = tuple  # what had to be assumed of the images opened so far

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
    """A file of HL, and the files that say what a captioner sees of its images."""

    captions: Path
    regions: Path | None = None
    labels: Path | None = None
    images: Path | None = None
    scenes: str = "paper7"  # or "top_8": the most frequent
    recipe: Recipe = "paper"
    agreement: int = 1
    is_held_out: bool = True


@final
@dataclass(frozen=True)
class _Worlds(Mapping[str, Labelled]):
    world: World
    plan: WorldImages
    names: tuple[str, ...] = field(default=())

    def __getitem__(self, image: str) -> Labelled:
        scene = self.world.scene(image)
        return labelled_of_world(
            scene, width=self.plan.feature_width, has_background=self.plan.has_background
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


@final
@dataclass(frozen=True)
class _Pixels(Mapping[str, Sight]):
    folder: ImageFolder
    names: Sequence[str]

    def __getitem__(self, image: str) -> Sight:
        return self.folder.image(image)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


@final
@dataclass(frozen=True)
class _Some(Mapping[str, Sight]):
    every: Mapping[str, Sight]
    names: Collection[str]

    def __getitem__(self, image: str) -> Sight:
        return self.every[image]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


def scene_images(plan: WorldImages | HighLevelImages) -> SceneImages:
    """The images that a plan names; what cannot be used of them is a problem."""
    return _of_world(plan) if isinstance(plan, WorldImages) else _of_hl(plan)


def _of_world(plan: WorldImages) -> SceneImages:
    world = World(plan.split, size=plan.size, seed=plan.seed)
    names = tuple(scene.id for scene in world.scenes)
    scenes = {scene.id: SceneLabel(scene.id, scene.scene, 1, 1) for scene in world.scenes}
    held = frozenset(names) if plan.split == "test" else frozenset[str]()
    return SceneImages(world.name, sha_of([plan, world.sha]), _Worlds(world, plan, names), scenes, held)


def _of_hl(plan: HighLevelImages) -> SceneImages:
    """Images of HL that a captioner can see; the others are problems."""
    told = read_hl(plan.captions)
    if (plan.regions is None) == (plan.images is None):
        raise BadInput(
            "got regions and images, or neither: give --regions for a captioner of regions, --images for one of pixels"
        )
    problems = list(told.problems)
    notes: Callable[[], tuple[str, ...]] = tuple
    sights: Mapping[str, Sight]
    if plan.regions is not None:
        named = labelled(open_regions(plan.regions), None if plan.labels is None else LabelFile(plan.labels))
        found = present(told, named)
        sights = _Some(named, [one.image for one in found.images])
        problems += named.problems
        notes = lambda: named.notes  # noqa: E731  # filled as images are opened
    else:
        assert plan.images is not None  # one of the two is there
        folder = ImageFolder(plan.images)
        found = present(told, folder)
        sights = _Pixels(folder, [one.image for one in found.images])
    problems += [one for one in found.problems if one not in problems]
    texts = {one.image: one.captions["scene"] for one in told.images}
    flat = iter(scene_nouns([text for said in texts.values() for text in said], recipe=plan.recipe))
    nouns = {image: [next(flat) for _ in said] for image, said in texts.items()}
    among = scene_set(plan.scenes, [each for own in nouns.values() for each in own])
    labels = scene_labels(nouns, scenes=among, agreement=plan.agreement)
    scenes = {one.image: one for one in labels if one.image in set(sights)}
    held = frozenset(sights) if plan.is_held_out else frozenset[str]()
    sha = sha_of([told.sha, sorted(sights), sorted(among), plan.recipe, plan.agreement])
    return SceneImages(plan.captions.stem, sha, sights, scenes, held, tuple(problems), notes)
