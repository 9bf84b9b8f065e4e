"""What captioners are trained on: images by key with captions and what a captioner sees of them, by split."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar, final, overload

import numpy as np

from alignscope.data.coco import CaptionSet
from alignscope.data.features import FeatureFolder
from alignscope.data.hl import HighLevelSet, caption_set, held_out, present, read_hl
from alignscope.data.images import ImageFolder
from alignscope.data.karpathy import KarpathySplits, Split
from alignscope.data.labels import LabelFile, read_oscar_captions, read_oscar_yaml
from alignscope.data.labels import labelled as labelled_images
from alignscope.data.regionfiles import open_regions
from alignscope.data.world import grammar
from alignscope.data.world.labelled import WORDS, labelled, scene_captions
from alignscope.data.world.scene import SCENES, WorldScene
from alignscope.data.world.shapes import NOUNS
from alignscope.data.world.world import World
from alignscope.errors import BadInput
from alignscope.files import sha_of
from alignscope.models.captioners.protocol import Sight
from alignscope.models.protocols import PairScorer, Picture
from alignscope.records import Labelled, Regions
from alignscope.training.metrics import Seen, Watch, nobody
from alignscope.training.recipe import HighLevelCaptions, KarpathyCaptions, OscarCaptions, WorldCaptions

Thing = TypeVar("Thing")
SPLITS: tuple[Split, ...] = ("train", "val", "test")


@final
class Opened(Sequence[Thing], Generic[Thing]):
    """Things by key, made when they are asked for and not kept."""

    def __init__(self, keys: Sequence[Any], make: Callable[[Any], Thing]) -> None:
        self._keys, self._make = keys, make

    def __len__(self) -> int:
        return len(self._keys)

    @overload
    def __getitem__(self, place: int) -> Thing: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Thing]: ...
    def __getitem__(self, place: int | slice) -> Thing | Sequence[Thing]:
        if isinstance(place, slice):
            return Opened(self._keys[place], self._make)
        return self._make(self._keys[place])


@dataclass(frozen=True)
class Part:
    """The images of one split: their keys, captions, and what a captioner sees."""

    keys: Sequence[str]
    captions: Sequence[Sequence[str]]
    sights: Sequence[Sight]

    def __len__(self) -> int:
        return len(self.keys)


@dataclass(frozen=True)
class Material:
    """All that a recipe reads; `pictures` gives what a scorer sees of images, `nouns` those of the world and
    `words` all that it says, () elsewhere."""

    train: Part
    validation: Part
    test: Part
    pictures: Callable[[PairScorer, Part], Sequence[Picture]]
    nouns: frozenset[str] = frozenset()
    left_out: int = 0  # images without a caption, or without what is seen of them
    words: tuple[str, ...] = ()

    @property
    def sha(self) -> str:
        """Hash of images and captions; of what is seen of them the recipe tells the source."""
        return sha_of(
            [[list(part.keys), list(part.captions)] for part in (self.train, self.validation, self.test)]
        )


def material(
    plan: WorldCaptions | KarpathyCaptions | HighLevelCaptions | OscarCaptions, watch: Watch = nobody
) -> Material:
    """The images, captions and features that a recipe names."""
    if isinstance(plan, WorldCaptions):
        return _of_world(plan, watch)
    if isinstance(plan, KarpathyCaptions):
        return _of_karpathy(plan)
    return of_high_level(plan) if isinstance(plan, HighLevelCaptions) else of_oscar(plan)


def _of_world(plan: WorldCaptions, watch: Watch) -> Material:
    """Scenes of the three splits, each held in memory, for they are small."""
    sizes = {"train": plan.images, "val": plan.validation, "test": plan.test}
    worlds = {split: World(split, size=size, seed=plan.seed) for split, size in sizes.items()}

    def part(split: Split) -> Part:
        world, sights = worlds[split], []
        for scene in world.scenes:
            sights.append(_sight(plan, world, scene.id))
            watch(Seen(f"scenes ({split})", len(sights), len(world.scenes)))
        return Part(
            [scene.id for scene in world.scenes], [_said(plan, each) for each in world.scenes], sights
        )

    def picture(model: PairScorer, key: str) -> Picture:
        world, width = worlds[key.split("-")[0]], model.traits.feature_width
        return world.image(key) if width is None else world.regions(key, width=width)

    def pictures(model: PairScorer, part: Part) -> Sequence[Picture]:
        return [picture(model, key) for key in part.keys]

    nouns = frozenset((*NOUNS, *SCENES))
    return Material(part("train"), part("val"), part("test"), pictures, nouns, words=WORDS)


def _said(plan: WorldCaptions, scene: WorldScene) -> list[str]:
    """The captions of a scene: of its objects in the plan's register, or of where it is."""
    rng = random.Random(f"{plan.seed}/{scene.id}/{plan.register}")
    if plan.register is None:
        return [*scene_captions(scene, rng, plan.captions_per_image)]
    manner = grammar.Register("captions", **asdict(plan.register))
    return [each.text for each in grammar.captions(scene, manner, rng=rng, n=plan.captions_per_image)]


def _sight(plan: WorldCaptions, world: World, key: str) -> Sight:
    if plan.sees == "image":
        return world.image(key)
    if plan.sees == "labelled":
        return labelled(world.scene(key), width=plan.feature_width)
    regions = world.regions(key, width=plan.feature_width)
    return regions if plan.sees == "regions" else mean_of(regions)


def mean_of(regions: Regions) -> np.ndarray:
    """One vector for an image: the mean of its regions, each as much as the detector is sure of it."""
    return np.average(regions.features, axis=0, weights=regions.confidences).astype(np.float32)


def _of_karpathy(plan: KarpathyCaptions) -> Material:
    """The splits of COCO; features, images and regions are read as they are asked for."""
    splits = KarpathySplits(Path(plan.captions))
    folder = ImageFolder(Path(plan.images)) if plan.images else None
    features: Mapping[str, np.ndarray] | None = FeatureFolder(Path(plan.features)) if plan.features else None
    regions: Mapping[str, Regions] | None = open_regions(Path(plan.regions)) if plan.regions else None

    def sight(key: str) -> Sight:
        if features is not None:
            return features[key]
        assert folder is not None  # the recipe names one of the two
        return folder.image(key)

    def part(split: Split) -> Part:
        images = splits.split(split).images
        images = images[: plan.most or None] if split == "train" else images
        keys = [image.image for image in images]
        return Part(keys, [image.captions for image in images], Opened(keys, sight))

    def picture(model: PairScorer, key: str) -> Picture:
        if model.traits.unit == "region":
            if regions is None:
                raise BadInput(f"{model.name} as a reward reads regions: name their file as [data] regions")
            return regions[key]
        if folder is None:
            raise BadInput(f"{model.name} as a reward reads pixels: name the folder as [data] images")
        return folder.image(key)

    def pictures(model: PairScorer, part: Part) -> Sequence[Picture]:
        opened = Opened(part.keys, partial(picture, model))
        opened[0]  # what is not named is told now
        return opened

    left_out = sum(len(splits.split(split).problems) for split in SPLITS)
    return Material(part("train"), part("val"), part("test"), pictures, left_out=left_out)


def of_high_level(plan: HighLevelCaptions) -> Material:
    """One axis of HL over regions with labels; images without either, or without a caption, are left out."""
    seen = labelled_images(
        open_regions(Path(plan.regions)), LabelFile(Path(plan.labels)) if plan.labels else None
    )
    files = [read_hl(Path(path)) for path in (plan.train, plan.test)]
    found = [present(file, seen) for file in files]
    for path, file in zip((plan.train, plan.test), found, strict=True):
        if not file.images:
            raise BadInput(
                f"{path}: got none of its images in {plan.regions}: give the regions of HL's images"
            )
    kept, held = held_out(found[0].images, plan.validation, plan.seed)
    train, validation, test = (
        _captioned(caption_set(HighLevelSet(images), plan.axis), seen)
        for images in (kept, held, found[1].images)
    )
    left_out = sum(len(file.images) for file in files) - sum(map(len, (train, validation, test)))
    return Material(train, validation, test, _no_pictures, left_out=left_out)


def of_oscar(plan: OscarCaptions) -> Material:
    """Splits as Oscar keeps them, each with its files of features, labels and captions."""
    opened = [_oscar_split(Path(place)) for place in (plan.train, plan.validation, plan.test)]
    (train, validation, test), left_out = zip(*opened, strict=True)
    return Material(train, validation, test, _no_pictures, left_out=sum(left_out))


def _oscar_split(place: Path) -> tuple[Part, int]:
    """A split, and how many of its images with captions have no features or labels."""
    files = read_oscar_yaml(place)
    if files.feature is None or files.caption is None:
        raise BadInput(f"{place}: got no `feature` or no `caption`, wanted both to train and validate on")
    seen = labelled_images(
        open_regions(files.feature, tags=files.label is None),
        LabelFile(files.label) if files.label else None,
    )
    told = read_oscar_captions(files.caption)
    found = _captioned(told, seen)
    if len(found) == 0:
        raise BadInput(f"{place}: got no image with captions and features: give files of the same images")
    return found, len(told.images) - len(found)


def _captioned(found: CaptionSet, seen: Mapping[str, Labelled]) -> Part:
    """The images that have captions and are seen."""
    images = [image for image in found.images if image.image in seen]
    keys = [image.image for image in images]
    return Part(keys, [image.captions for image in images], Opened(keys, seen.__getitem__))


def _no_pictures(model: PairScorer, part: Part) -> Sequence[Picture]:
    raise BadInput(f"{model.name} as a reward looks at images, of which this data has none: take CIDEr")
