"""Do captioners look at the objects that a scene is usually made of, or that tell of it? (paper C, section 5, Table 2).

Objects are ranked by the attention they get, by how many images of the scene show them, and by their PMI with the
scene in images of reference. An object in many images gets much attention in all even where captioners look
everywhere alike; so the same ranking is made of even attention, and what is above it is reported.
"""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, final

import alignscope
from alignscope.errors import BadInput
from alignscope.evaluation.associations import MINIMUM, associations, informative
from alignscope.files import as_row, sha_of, write_jsonl, write_parquet
from alignscope.language.scene_labels import without_rare
from alignscope.models.captioners.inside import SeenInside
from alignscope.probing.blocks import Heads, positions
from alignscope.probing.diagnosticity import (
    DEPTHS,
    PERSISTENCE,
    SceneObjects,
    attended,
    compared,
    correlated,
    own_tags,
    present,
    ranked,
)
from alignscope.probing.even import even
from alignscope.probing.tagging import coverage, mean_coverage, region_tags
from alignscope.records import (
    DRAWS,
    Association,
    GroupTest,
    Labelled,
    Measurement,
    Problem,
    RankedObject,
    RankOverlap,
    RegionTag,
    SceneLabel,
    Signature,
    TagCoverage,
)
from alignscope.studies.clock import Clock, Progress
from alignscope.studies.output import claimed
from alignscope.studies.scenes.attention import layers_of
from alignscope.studies.scenes.images import NamedObjects, SceneImages, Sights
from alignscope.studies.scenes.insides import (
    Look,
    drawn,
    kept,
    looks,
    losses,
    refused_if_empty,
    staged,
    write_run,
)
from alignscope.studies.scenes.overlaps import Lists, by_orders, overlap_numbers, overlap_tests

Assign = Literal["boxes", "own", "none"]
EVEN = "even attention"


@final
@dataclass(frozen=True)
class DiagnosticitySettings:
    """What is looked at; all of it is in the run's identity."""

    seed: int = 0
    draws: int = DRAWS  # of the bootstrap
    images_read: int | None = None  # drawn by seed of those with a scene; None: all
    scene_images: int = 2  # that a scene must have
    layer: str = "first"
    heads: Heads = "max"
    order: Literal["attended", "attended first"] = "attended"
    assign: Assign = "boxes"  # regions to labels: by their boxes, each to its own tag, or label columns alone
    depths: tuple[int, ...] = DEPTHS
    persistence: float = PERSISTENCE
    by: Literal["pmi", "npmi"] = "pmi"
    minimum: int = MINIMUM  # images of reference with both
    smoothing: float = 0.0


@final
@dataclass(frozen=True)
class Diagnosticity:
    """What was found; groups of measurements begin with the name of the captioner."""

    directory: Path
    measurements: tuple[Measurement, ...]
    overlaps: Mapping[str, Sequence[RankOverlap]]
    ranked: Mapping[str, Sequence[RankedObject]]
    tests: tuple[GroupTest, ...]
    problems: tuple[Problem, ...]


@final
@dataclass(frozen=True)
class _Told:
    """Scenes of the images that are looked at, and what objects tell of scenes."""

    scenes: Mapping[str, str]
    associations: Sequence[Association]
    settings: DiagnosticitySettings
    data: str
    sha: str


@final
@dataclass(frozen=True)
class _Found:
    """All records of one captioner."""

    ranked: list[RankedObject]
    overlaps: list[RankOverlap]
    numbers: list[Measurement]
    tests: list[GroupTest]
    tags: list[RegionTag]
    coverage: list[TagCoverage]
    problems: list[Problem]


def diagnosticity(
    models: Mapping[str, SeenInside],
    images: SceneImages,
    reference: NamedObjects,
    out: Path,
    *,
    settings: DiagnosticitySettings = DiagnosticitySettings(),
    batch_size: int = 8,
    resume: bool = False,
    overwrite: bool = False,
    command: str = "",
    progress: Progress = lambda stage, done, total: None,
) -> Diagnosticity:
    """Rank the objects of scenes by what captioners, by the names that tables give them, look at; write run.json and
    records under `out`."""
    clock, started = Clock(), datetime.datetime.now(datetime.UTC)
    _check(models, settings)
    scenes, told = _scenes(images, settings)
    identity = {
        "kind": "probe diagnosticity",
        "version": alignscope.__version__,
        "data": {images.name: images.sha},
        "reference": {reference.name: reference.sha},
        "models": {name: one.fingerprint for name, one in models.items()},
        "settings": asdict(settings),
    }
    with claimed(out, identity, resume=resume, overwrite=overwrite) as work:
        ready = {name: _ready(name, one, images, list(scenes), settings) for name, one in models.items()}
        rows = _associations(reference, settings)
        clock.lap("associations")
        known = _Told(scenes, rows, settings, images.name, sha_of([images.sha, list(scenes), reference.sha]))
        found: dict[str, _Found] = {}
        for name, (sights, layer) in ready.items():
            step = staged(progress, f"looking into {name}")
            one = _Looking(name, models[name], sights, layer, batch_size)
            found[name] = _looked(one, known, work / name, step)
            _write(out / "models" / name, found[name])
            clock.lap(f"looking into {name}")
        tests = [test for each in found.values() for test in each.tests]
        tests += overlap_tests({name: each.overlaps for name, each in found.items()})
        numbers = [number for each in found.values() for number in each.numbers]
        problems = [*images.problems, *told, *(p for each in found.values() for p in each.problems)]
        problems += _of_reference(reference, scenes)
        problems += [Problem("", images.name, note, "handled") for note in images.notes()]
        write_parquet(out / "associations.parquet", rows, Association)
        write_parquet(out / "measurements.parquet", numbers, Measurement)
        write_parquet(out / "tests.parquet", tests, GroupTest)
        write_jsonl(out / "problems.jsonl", problems)
        clock.lap("numbers")
        facts = {"scenes": dict(Counter(scenes.values())), "reference images": len(reference.scenes)}
        write_run(out, identity, clock, started, command, facts)
        return Diagnosticity(
            out,
            tuple(numbers),
            {name: one.overlaps for name, one in found.items()},
            {name: one.ranked for name, one in found.items()},
            tuple(tests),
            tuple(problems),
        )


@final
@dataclass(frozen=True)
class _Looking:
    """One captioner with what it sees and the layer asked of it."""

    name: str
    captioner: SeenInside
    sights: Sights
    layer: int
    batch_size: int


def _of_reference(reference: NamedObjects, scenes: Mapping[str, str]) -> list[Problem]:
    """What is to be known of the images of reference."""
    told = [replace(one, what=f"reference: {one.what}") for one in reference.problems]
    both = len(reference.scenes.keys() & scenes.keys())
    if both:
        what = f"PMI is of {len(reference.scenes)} images of which {both} are looked at: give --reference of others"
        told.append(Problem("", reference.name, what, "handled"))
    return told


def _associations(reference: NamedObjects, settings: DiagnosticitySettings) -> list[Association]:
    objects = [reference.objects[image] for image in reference.scenes]
    scenes = list(reference.scenes.values())
    return associations(scenes, objects, minimum=settings.minimum, smoothing=settings.smoothing)


def _check(models: Mapping[str, SeenInside], settings: DiagnosticitySettings) -> None:
    if not models:
        raise BadInput("got no captioner, wanted one or more: NAME=MODEL")
    if not settings.depths or min(settings.depths) < 1 or not 0 < settings.persistence < 1:
        raise BadInput(
            f"got depths {list(settings.depths)} and persistence {settings.persistence}, wanted depths from 1 on and "
            "a persistence between 0 and 1 (average overlap, which is that of 1, is always there)"
        )


def _scenes(images: SceneImages, settings: DiagnosticitySettings) -> tuple[dict[str, str], list[Problem]]:
    """The images to look at with their scenes, and a problem for each that has none or whose scene is too rare."""
    labels: list[SceneLabel] = without_rare(list(images.scenes.values()), images=settings.scene_images)
    told = [Problem(one.image, one.image, one.reason, "unscored") for one in labels if not one.scene]
    told += [
        Problem(image, image, "no scene caption", "unscored")
        for image in images.sights
        if image not in images.scenes
    ]
    scenes = {one.image: one.scene for one in labels if one.scene}
    names, few = drawn(scenes, settings.images_read, settings.seed)
    if not names:
        first = f" (first: {told[0].subject}: {told[0].what})" if told else ""
        raise BadInput(
            f"none of {len(images)} images is of a scene{first}: choose other scenes, ask for less agreement, or for "
            "fewer images of a scene"
        )
    return {name: scenes[name] for name in names}, [*told, *few]


def _ready(
    name: str,
    captioner: SeenInside,
    images: SceneImages,
    names: Sequence[str],
    settings: DiagnosticitySettings,
) -> tuple[Sights, int]:
    """What a captioner sees and the layer, by the first image with labels; what cannot be asked of it is refused."""
    sights, problems = images.seen_by(captioner), list[Problem]()
    for one in looks(captioner, sights, names, batch_size=1):
        if isinstance(one, Problem):
            problems.append(one)
            continue
        places = layers_of(settings.layer, len(one.inside.attention), name)
        if len(places) != 1:
            raise BadInput(f"got the layers {settings.layer!r}, wanted one: objects are ranked by one layer")
        if not isinstance(one.sight, Labelled):
            raise BadInput(
                f"{name} sees {len(positions(one.inside, 'vision'))} patches and no labels, and objects are ranked by "
                "the attention their labels get: give a captioner of regions and labels (VinVL); `alignscope probe "
                "attention` looks into this one"
            )
        if not one.sight.labels:
            continue
        missing = _unplaced(one.sight, settings.assign)
        if missing:
            raise BadInput(
                f"{missing}: give a label file with a `rect` per label, or rank objects by the columns of their labels "
                "alone, with --assign none"
            )
        return sights, places[0]
    refused_if_empty(name, [], problems)
    raise BadInput(f"none of {len(names)} images has a label, so no object can be ranked: give --labels")


def _unplaced(seen: Labelled, assign: Assign) -> str:
    """Why regions cannot be assigned to the labels of an image; "" where they can."""
    without = sum(label.box is None for label in seen.labels)
    if assign == "boxes" and without:
        return (
            f"{seen.regions.image}: {without} of {len(seen.labels)} labels have no box, so that no region can be "
            "assigned to them"
        )
    if assign == "own" and not seen.regions.tags:
        return f"{seen.regions.image}: the regions have no tags of their own"
    return ""


def _looked(one: _Looking, told: _Told, folder: Path, progress: Any) -> _Found:
    """Everything of one captioner."""
    settings, names = told.settings, list(told.scenes)

    def look(some: Sequence[str]) -> Iterator[dict[str, Any]]:
        for each in looks(one.captioner, one.sights, some, batch_size=one.batch_size):
            yield _row(each, told, one.layer)

    rows = kept(folder, names, look, progress=progress)
    problems = [Problem(**each) for row in rows for each in row["problems"]]
    scored = [row for row in rows if "attended" in row]
    refused_if_empty(one.name, scored, problems)
    looked_at, evenly, there = (
        [SceneObjects(row["image"], told.scenes[row["image"]], row[key]) for row in scored]
        for key in ("attended", "even", "present")
    )
    scenes = sorted(set(told.scenes.values()))
    lists = Lists(looked_at, evenly, there, {scene: _telling(told, scene) for scene in scenes})
    most_attended = ranked(looked_at, settings.order)
    most_evenly = [replace(row, order=EVEN) for row in ranked(evenly, settings.order)]
    frequent = ranked(there, "frequent")
    telling = [row for ranking in lists.telling.values() for row in ranking]
    how: dict[str, Any] = {"depths": settings.depths, "persistence": settings.persistence}
    firsts, seconds = (most_attended, most_evenly), (frequent, telling)
    pairs = [*((first, second) for first in firsts for second in seconds), (frequent, telling)]
    overlaps = [row for first, second in pairs for row in compared(first, second, **how)]
    tests = [
        replace(correlated(part), group=f"{one.name} | {first}, {second}")
        for (first, second), part in by_orders(overlaps).items()
    ]
    signature = Signature(
        *("overlap", told.data, told.sha, 0, 0, one.captioner.name, one.captioner.fingerprint[:12]),
        ties="by name",
        seed=settings.seed,
        version=alignscope.__version__,
        method=f"layer={one.layer};heads={settings.heads};order={settings.order};assign={settings.assign}",
    )
    lost = len(names) - len(scored)
    numbers = overlap_numbers(
        lists, overlaps, settings.order, signature=signature, draws=settings.draws, seed=settings.seed
    )
    tags = [RegionTag(**each) for row in scored for each in row["tags"]]
    covered = [TagCoverage(**row["coverage"]) for row in scored]
    if settings.assign != "none":
        numbers.append(mean_coverage(covered, signature=signature, draws=settings.draws))
    numbers = [
        replace(number, group=f"{one.name} | {number.group}", missing=number.missing + lost)
        for number in numbers
    ]
    problems = [replace(p, what=f"{one.name}: {p.what}") for p in problems]
    ranks = [*most_attended, *most_evenly, *frequent, *telling]
    return _Found(ranks, overlaps, numbers, tests, tags, covered, problems)


def _telling(told: _Told, scene: str) -> list[RankedObject]:
    """The objects of a scene by how much they tell of it."""
    by = told.settings.by
    rows = informative(told.associations, scene, by=by)
    values = [float(getattr(row, by)) for row in rows]
    shared = Counter(values)
    return [
        RankedObject(scene, by, rank, row.name, value, row.scene_images, shared[value] - 1)
        for rank, (row, value) in enumerate(zip(rows, values, strict=True), 1)
    ]


def _row(look: Look | Problem, told: _Told, layer: int) -> dict[str, Any]:
    """What is kept of an image: its objects with their attention, or why there are none."""
    if isinstance(look, Problem):
        return {"image": look.item, "problems": [as_row(look)]}
    seen, settings = look.sight, told.settings
    assert isinstance(seen, Labelled)  # others were refused before
    fault = _unplaced(seen, settings.assign)
    if fault:
        return {
            "image": look.image,
            "problems": [as_row(Problem(look.image, look.image, fault, "unscored"))],
        }
    tags = {"boxes": region_tags, "own": own_tags, "none": lambda seen: []}[settings.assign](seen)
    scene, named = told.scenes[look.image], present(seen, told.scenes[look.image]).values
    tags = [tag for tag in tags if tag.name in named]  # a detector of regions may name what labels do not
    how: dict[str, Any] = {"layer": layer, "heads": settings.heads, "tags": tags}
    problems = losses(look)
    if not seen.labels:
        problems.append(Problem(look.image, look.image, "no labels: it counts without objects", "handled"))
    return {
        "image": look.image,
        "attended": attended(look.inside, scene, seen, **how).values,
        "even": attended(even(look.inside), scene, seen, **how).values,
        "present": named,
        "tags": [as_row(replace(tag, image=look.image)) for tag in tags],
        "coverage": as_row(replace(coverage(seen, tags), image=look.image)),
        "problems": [as_row(each) for each in problems],
    }


def _write(folder: Path, found: _Found) -> None:
    """The records of one captioner."""
    folder.mkdir(parents=True, exist_ok=True)
    write_parquet(folder / "ranked.parquet", found.ranked, RankedObject)
    write_parquet(folder / "overlaps.parquet", found.overlaps, RankOverlap)
    write_parquet(folder / "tags.parquet", found.tags, RegionTag)
    write_parquet(folder / "coverage.parquet", found.coverage, TagCoverage)
