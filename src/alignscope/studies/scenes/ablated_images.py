"""Images with and without their informative objects, some at a time: for captions and for states (paper C, section 6)."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import final

from alignscope.errors import BadData, BadInput, Unsupported
from alignscope.evaluation.associations import MINIMUM, associations
from alignscope.models.captioners.inside import SeenInside
from alignscope.probing.ablating import Reading, Without, without_informative
from alignscope.probing.tagging import coverage, region_tags
from alignscope.records import Association, Labelled, Problem, RegionTag, TagCoverage
from alignscope.studies.scenes.images import NamedObjects, SceneImages
from alignscope.studies.scenes.insides import Look, looks, losses

Cut = tuple[Reading, int]  # which objects are taken away, and how many
LACKS = "lacks some of its scene's objects"


@final
@dataclass(frozen=True)
class Cuts:
    """What is taken away of images, and what becomes of its place."""

    counts: tuple[int, ...] = (1, 2, 3)
    readings: tuple[Reading, ...] = ("image",)
    minimum: int = MINIMUM  # images that show scene and object together
    smoothing: float = 0.0
    is_tags_only: bool = False
    is_repacked: bool = False
    seed: int = 0  # of reading "random"

    def each(self) -> Iterator[Cut]:
        """Every reading with every number."""
        return product(self.readings, self.counts)


@final
@dataclass(frozen=True, eq=False)
class CutImages:
    """Some images as they are, and by cut those that have the objects; `lacking` counts the others and says why."""

    intact: dict[str, Labelled] = field(default_factory=dict)
    without: dict[Cut, dict[str, Without]] = field(default_factory=dict)
    tags: list[RegionTag] = field(default_factory=list)
    coverage: list[TagCoverage] = field(default_factory=list)
    lacking: Counter[tuple[Cut, str]] = field(default_factory=Counter)
    problems: list[Problem] = field(default_factory=list)


def reference_associations(reference: NamedObjects, cuts: Cuts) -> tuple[list[Association], list[Problem]]:
    """What objects tell of scenes in images of their own, and the scenes of which nothing tells."""
    if not reference.scenes:
        raise BadInput(
            f"got no image with a scene in {reference.name}, wanted some to tell which objects are informative: "
            "give another --reference, or other --scenes"
        )
    rows = associations(
        list(reference.scenes.values()),
        [reference.objects[image] for image in reference.scenes],
        minimum=cuts.minimum,
        smoothing=cuts.smoothing,
    )
    telling = {row.scene for row in rows if (row.pmi or 0) > 0}
    return rows, [
        Problem(
            scene,
            f"reference {reference.name}",
            f"{many} images: no object tells of the scene (PMI above 0, together in {cuts.minimum} or more)",
            "unscored",
        )
        for scene, many in sorted(Counter(reference.scenes.values()).items())
        if scene not in telling
    ]


def in_both(reference: NamedObjects, sets: Iterable[SceneImages]) -> list[Problem]:
    """That what objects tell of scenes was learned, in part, of the images they are taken away of."""
    both = len({*reference.scenes} & {image for images in sets for image in images.of_scenes()})
    what = f"PMI is of {len(reference.scenes)} images of which {both} are ablated: give --reference of others"
    return [Problem("", reference.name, what, "handled")] if both else []


def cut_images(
    images: SceneImages, names: Sequence[str], rows: Sequence[Association], cuts: Cuts
) -> CutImages:
    """Some images of a set, opened, tagged, and without objects by every reading and number."""
    made = CutImages()
    for name in names:
        seen = _usable(images, name, cuts)
        if isinstance(seen, Problem):
            made.problems.append(seen)
            made.lacking.update((cut, seen.what) for cut in cuts.each())
            continue
        made.intact[name] = seen
        if all(label.box for label in seen.labels) and (seen.labels or not cuts.is_tags_only):
            own = region_tags(seen)
            made.tags.extend(own)
            made.coverage.append(coverage(seen, own))
    scenes = {name: images.scenes[name].scene for name in made.intact}
    # PMI of an image's own scene is all it needs, and each call sorts the rows by scene
    own_rows = [row for row in rows if row.scene in set(scenes.values())]
    for reading, count in cuts.each():
        how = {"is_tags_only": cuts.is_tags_only, "is_repacked": cuts.is_repacked, "seed": cuts.seed}
        found, problems = without_informative(
            *(made.intact, scenes, own_rows, count),
            reading=reading,
            **how,  # type: ignore[arg-type]
        )
        made.without[reading, count] = found
        made.lacking.update(
            ((reading, count), LACKS if one.what.startswith("lacks") else one.what) for one in problems
        )
        made.problems.extend(
            replace(one, subject=f"{reading} | m={count} | {one.subject}") for one in problems
        )
    return made


def opened(images: SceneImages, image: str) -> Labelled | Problem:
    """An image with its labels, by the name it has in its set, or what is wrong with its line in a file."""
    try:
        seen = images.labelled(image)
    except BadData as error:
        return Problem(image, images.name, str(error), "unscored")
    return replace(
        seen, regions=replace(seen.regions, image=image)
    )  # files of regions may spell it otherwise


def cut_off(name: str, model: SeenInside, images: Mapping[str, Labelled]) -> list[Problem]:
    """Labels and regions for which a captioner has no room, by image: taking them away can change nothing."""
    found = [one for one in looks(model, images, list(images)) if isinstance(one, Look)]
    return [replace(one, subject=name) for look in found for one in losses(look)]


def unlabelled(images: SceneImages, name: str) -> Problem | None:
    """An image without a scene, and why."""
    label = images.scenes.get(name)
    if label is not None and label.scene:
        return None
    why = label.reason if label else "no captions of its scene"
    return Problem(name, images.name, f"no scene: {why}" if why else "no scene", "unscored")


def check_boxes(images: SceneImages, cuts: Cuts) -> None:
    """Refuse labels none of which has a box, unless only they are taken away."""
    if cuts.is_tags_only:
        return
    named = 0
    for name in images.sights:
        seen = opened(images, name)
        labels = () if isinstance(seen, Problem) else seen.labels
        if any(label.box for label in labels):
            return
        named += len(labels)
    if named:
        raise BadInput(
            f"got {named} labels of {images.name}, none with a box, wanted boxes that say which regions show an "
            "object: give a label file with a `rect` per label, or take only labels away: --tags-only"
        )


def check_captioners(models: Mapping[str, SeenInside], images: SceneImages) -> None:
    """Refuse captioners of which no labels or regions can be taken away, by name."""
    first = None
    for image in images.sights:
        with contextlib.suppress(BadData):  # a problem of this image, told where it is cut
            seen = images.sights[image]
            if isinstance(seen, Labelled) and seen.labels and len(seen.regions):
                first = seen
                break
    for name, model in models.items():
        if first is None or not can_lose_objects(model, first):
            raise Unsupported(
                f"got {name} ({model.name}) and {images.name}: no labels with regions can be taken away there; wanted "
                "--regions with labels and a captioner of both, such as VinVL; of others `alignscope probe scenes` "
                "reads states, and `alignscope probe attention` attention"
            )


def can_lose_objects(model: SeenInside, seen: Labelled) -> bool:
    """Whether a label and a region that are taken away of an image are no longer there for a captioner."""
    gone = replace(seen, without_labels=frozenset({0}), without_regions=frozenset({0}))
    try:
        whole, less = (model.inside([one])[0].kinds for one in (seen, gone))
    except Unsupported:
        return False
    return all(less.count(kind) < whole.count(kind) for kind in ("label", "region"))


def _usable(images: SceneImages, name: str, cuts: Cuts) -> Labelled | Problem:
    missing = unlabelled(images, name)
    if missing:
        return missing
    seen = opened(images, name)
    if isinstance(seen, Problem) or cuts.is_tags_only:
        return seen
    boxless = sum(label.box is None for label in seen.labels)
    if boxless:
        what = f"{boxless} of {len(seen.labels)} labels have no box: no region can be given them"
        return Problem(name, images.name, what, "unscored")
    return seen
