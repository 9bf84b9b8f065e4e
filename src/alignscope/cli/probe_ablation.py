"""`alignscope probe ablation` and `probe scenes`: captions and states of images with and without their objects."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from alignscope.cli import options as shared
from alignscope.cli.probe import Draws, Out, _end, _say
from alignscope.cli.probe_attention import (
    Agreement,
    Background,
    BatchSize,
    Captioners,
    FeatureWidth,
    HighLevel,
    Labels,
    Pictures,
    Recipe,
    Regions,
    Scenes,
    SceneSet,
    Sizes,
    _opened,
    _plan,
    _reference,
)
from alignscope.cli.terminal import tell

if TYPE_CHECKING:
    from alignscope.studies.scenes.images import HighLevelImages, NamedObjects, SceneImages, WorldImages

Both = Annotated[
    bool, typer.Option("--both", help="the world with the cue of the scene in every picture, and in none")
]
Reference = Annotated[
    Path | None,
    typer.Option(
        help="another of HL's files, which tells what objects tell of scenes, with --reference-labels or "
        "--reference-regions; that of --also without it, and of the world its train split"
    ),
]
ReferenceLabels = Annotated[Path | None, typer.Option(help="label TSV of the images of --reference")]
ReferenceRegions = Annotated[
    Path | None, typer.Option(help="regions whose tags are the labels of the images of --reference")
]
ReferenceScenes = Annotated[
    int, typer.Option(help="of the world's train split, for PMI, where --hl is not given", min=1)
]
Also = Annotated[
    Path | None,
    typer.Option(
        help="a second of HL's files, of images that captioners were trained on; in the files of --hl, or in "
        "--also-regions and --also-labels"
    ),
]
AlsoRegions = Annotated[Path | None, typer.Option(help="region features of the images of --also")]
AlsoLabels = Annotated[Path | None, typer.Option(help="label TSV of the images of --also")]
AlsoTrain = Annotated[
    int, typer.Option(help="as --also, of the world: so many scenes of its train split", min=0)
]
Counts = Annotated[
    list[int] | None,
    typer.Option(
        "--count",
        help="how many objects are taken away, several times; 1, 2 and 3 without it, of probe scenes 1 alone",
        min=1,
    ),
]
Readings = Annotated[
    list[str] | None,
    typer.Option(
        "--reading",
        help="image: its own most informative objects; scene: those of its scene; controls: random, least; "
        "several times; image without it",
    ),
]
Minimum = Annotated[int, typer.Option(help="images that show object and scene together, at least", min=1)]
Smoothing = Annotated[float, typer.Option(help="added to each count behind PMI", min=0)]
TagsOnly = Annotated[bool, typer.Option("--tags-only", help="leave the regions: for labels without boxes")]
Packed = Annotated[
    bool,
    typer.Option("--packed", help="delete what is taken away, in place of padding that nothing attends to"),
]
Splits = Annotated[
    list[int] | None, typer.Option("--split", help="percent of images to train on; 90, 70 and 50 without it")
]
Classifiers = Annotated[
    list[str] | None,
    typer.Option("--classifier", help="forest, mlp, mlp-3, logistic; the first two and the last without it"),
]


def ablation(
    models: Captioners,
    scenes: Scenes = 500,
    background: Background = None,
    both: Both = False,
    feature_width: FeatureWidth = 256,
    hl: HighLevel = None,
    regions: Regions = None,
    labels: Labels = None,
    sizes: Sizes = None,
    images: Pictures = None,
    scene_set: SceneSet = "paper7",
    recipe: Recipe = "paper",
    agreement: Agreement = 1,
    reference: Reference = None,
    reference_labels: ReferenceLabels = None,
    reference_regions: ReferenceRegions = None,
    reference_scenes: ReferenceScenes = 5000,
    also: Also = None,
    also_regions: AlsoRegions = None,
    also_labels: AlsoLabels = None,
    also_train: AlsoTrain = 0,
    count: Counts = None,
    reading: Readings = None,
    minimum: Minimum = 5,
    smoothing: Smoothing = 0.0,
    tags_only: TagsOnly = False,
    packed: Packed = False,
    beams: Annotated[int, typer.Option(help="of the captions; 1 is greedy", min=1)] = 1,
    max_length: Annotated[int, typer.Option(help="of a caption, with its start", min=2)] = 20,
    out: Out = Path("runs/probe-ablation"),
    draws: Draws = 2000,
    device: shared.Device = "cpu",
    batch_size: BatchSize = 64,
    seed: shared.Seed = 0,
    resume: shared.Resume = False,
    overwrite: shared.Overwrite = False,
    as_json: shared.Json = False,
) -> None:
    """Caption images without their informative objects: what changes, and how sure captioners are (paper C, T5, Figs. 5-7)."""
    from alignscope.cli.progress import bars
    from alignscope.reporting.ablation_tables import ablation_text
    from alignscope.studies.scenes.ablation import AblationSettings
    from alignscope.studies.scenes.ablation import ablation as look

    told = {"scenes": scene_set, "recipe": recipe, "agreement": agreement}
    plan = _plan(
        scenes, background, feature_width, hl, regions, labels, images, seed, told | {"sizes": sizes}
    )
    more = _also(plan, also, also_regions, also_labels, also_train)
    cuts = _cuts(count or [1, 2, 3], reading, minimum, smoothing, tags_only, packed, seed)
    named = _named_objects(
        _reference(plan, reference, reference_labels, reference_regions, reference_scenes, told),
        more if also else None,
    )
    with bars() as progress:
        found = look(
            _opened(models, device),
            _sets(plan, more, both),
            named,
            out,
            settings=AblationSettings(cuts, beams, max_length, seed, draws),
            batch_size=batch_size,
            resume=resume,
            overwrite=overwrite,
            command=shlex.join(["alignscope", *sys.argv[1:]]),
            progress=progress,
        )
    if as_json:
        _say(out, found, "measurements", "tests")
        return
    tell(ablation_text(found.measurements, found.tests))
    _end(out, found.problems)


def scenes(
    models: Captioners,
    scenes: Scenes = 500,
    background: Background = None,
    both: Both = False,
    feature_width: FeatureWidth = 256,
    hl: HighLevel = None,
    regions: Regions = None,
    labels: Labels = None,
    sizes: Sizes = None,
    images: Pictures = None,
    scene_set: SceneSet = "paper7",
    recipe: Recipe = "paper",
    agreement: Agreement = 1,
    reference: Reference = None,
    reference_labels: ReferenceLabels = None,
    reference_regions: ReferenceRegions = None,
    reference_scenes: ReferenceScenes = 5000,
    also: Also = None,
    also_regions: AlsoRegions = None,
    also_labels: AlsoLabels = None,
    also_train: AlsoTrain = 0,
    count: Counts = None,
    intact: Annotated[bool, typer.Option("--intact", help="take nothing away")] = False,
    reading: Readings = None,
    minimum: Minimum = 5,
    smoothing: Smoothing = 0.0,
    tags_only: TagsOnly = False,
    packed: Packed = False,
    classifier: Classifiers = None,
    split: Splits = None,
    seeds: Annotated[int, typer.Option(help="splits of each size", min=1)] = 10,
    control: Annotated[bool, typer.Option(help="also with shuffled labels, for selectivity")] = True,
    standardise: Annotated[bool, typer.Option("--standardise", help="states, but for forests")] = False,
    ceiling: Annotated[
        int | None, typer.Option(help="images of a scene at most; all without it", min=2)
    ] = None,
    specials: Annotated[
        bool, typer.Option("--specials", help="special tokens are in the mean state too")
    ] = False,
    raw: Annotated[bool, typer.Option(help="also the mean feature of regions, without a captioner")] = True,
    transfer: Annotated[bool, typer.Option(help="also train on intact images and test on the others")] = True,
    workers: Annotated[int, typer.Option(help="that grow trees", min=1)] = 1,
    out: Out = Path("runs/probe-scenes"),
    device: shared.Device = "cpu",
    batch_size: BatchSize = 16,
    seed: shared.Seed = 0,
    resume: shared.Resume = False,
    overwrite: shared.Overwrite = False,
    as_json: shared.Json = False,
) -> None:
    """Read scenes in last-layer states of captioners, with and without informative objects (paper C, T4, T6, T7, Figs. 8, 9, 13)."""
    from alignscope.cli.progress import bars
    from alignscope.errors import BadInput
    from alignscope.probing.scene_probes import ProbeSettings
    from alignscope.reporting.ablation_tables import scenes_text
    from alignscope.studies.scenes.probing import SceneSettings, joined, scene_probes

    if intact and count:
        raise BadInput(f"got --intact and --count {count[0]}, wanted one of them")
    told = {"scenes": scene_set, "recipe": recipe, "agreement": agreement}
    plan = _plan(
        scenes, background, feature_width, hl, regions, labels, images, seed, told | {"sizes": sizes}
    )
    more = _also(plan, also, also_regions, also_labels, also_train)
    sets = _sets(plan, None, both)
    if more is not None:
        pairs = zip(sets.items(), _sets(more, None, both).items(), strict=True)
        sets = {f"{name}+{beside}": joined(one, other) for (name, one), (beside, other) in pairs}
    named = None
    if not intact:
        named = _named_objects(
            _reference(plan, reference, reference_labels, reference_regions, reference_scenes, told),
            more if also else None,
        )
    cuts = _cuts([] if intact else count or [1], reading, minimum, smoothing, tags_only, packed, seed)
    probes = ProbeSettings(seeds=seeds, control=control, standardise=standardise, ceiling=ceiling)
    if classifier:
        probes = replace(probes, classifiers=tuple(dict.fromkeys(classifier)))
    if split:
        probes = replace(probes, splits=tuple(dict.fromkeys(split)))
    with bars() as progress:
        found = scene_probes(
            _opened(models, device),
            sets,
            named,
            out,
            settings=SceneSettings(probes, cuts, specials, raw, transfer, seed),
            batch_size=batch_size,
            workers=workers,
            resume=resume,
            overwrite=overwrite,
            command=shlex.join(["alignscope", *sys.argv[1:]]),
            progress=progress,
        )
    if as_json:
        _say(out, found, "scores", "differences", "counts", "images", "held_out")
        return
    tell(scenes_text(found.scores, found.differences))
    tell(f"{found.held_out} of {found.images} images are held out: captioners were not trained on them")
    _end(out, found.problems)


def _also(
    plan: WorldImages | HighLevelImages,
    captions: Path | None,
    regions: Path | None,
    labels: Path | None,
    train: int,
) -> WorldImages | HighLevelImages | None:
    """Images beside those of a plan that captioners may have been trained on."""
    from alignscope.errors import BadInput
    from alignscope.studies.scenes.images import WorldImages

    if isinstance(plan, WorldImages):
        if captions or regions or labels:
            raise BadInput("got --also without --hl: of the world give --also-train")
        return replace(plan, split="train", size=train) if train else None
    if train:
        raise BadInput("got --also-train with --hl: give another of its files with --also")
    if captions is None:
        if regions or labels:
            raise BadInput("got labels or regions of --also without it: give its captions")
        return None
    return replace(
        plan,
        captions=captions,
        regions=regions or plan.regions,
        labels=labels or plan.labels,
        is_held_out=False,
    )


def _sets(
    plan: WorldImages | HighLevelImages, more: WorldImages | HighLevelImages | None, both: bool
) -> dict[str, SceneImages]:
    """Images by name; of the world also in two versions."""
    from alignscope.errors import BadInput
    from alignscope.studies.scenes.images import WorldImages, scene_images

    sets: dict[str, SceneImages] = {}
    for one in (plan, more):
        if isinstance(one, WorldImages) and both:
            if one.has_background is not None:
                raise BadInput("got --both and --background or --no-background, wanted one of them")
            for name, there in (("with", True), ("without", False)):
                sets[f"{one.split} {name} background"] = scene_images(replace(one, has_background=there))
        elif one is not None:
            if both:
                raise BadInput("got --both with --hl: only the world can be drawn otherwise")
            images = scene_images(one)
            if images.name in sets:
                raise BadInput(f"got two files named {images.name}, wanted names of their own: rename one")
            sets[images.name] = images
    return sets


def _named_objects(
    reference: WorldImages | HighLevelImages | None, also: WorldImages | HighLevelImages | None
) -> NamedObjects:
    """What objects are told of, in images that are not those ablated."""
    from alignscope.errors import BadInput
    from alignscope.studies.scenes.images import HighLevelImages, named_objects

    if reference is None and isinstance(also, HighLevelImages):
        reference = replace(also, images=None, regions=None if also.labels else also.regions)
    if reference is None:
        raise BadInput(
            "got no --reference, wanted another of HL's files (train.jsonl), which tells what objects tell of scenes, "
            "with --reference-labels or --reference-regions"
        )
    return named_objects(reference)


def _cuts(
    counts: Sequence[int],
    readings: Sequence[str] | None,
    minimum: int,
    smoothing: float,
    tags_only: bool,
    packed: bool,
    seed: int,
) -> Any:
    from typing import get_args

    from alignscope.errors import BadInput
    from alignscope.probing.ablating import Reading
    from alignscope.studies.scenes.ablated_images import Cuts

    named = tuple(dict.fromkeys(readings or ["image"]))
    unknown = [one for one in named if one not in get_args(Reading)]
    if unknown:
        raise BadInput(f"got --reading {unknown[0]}, wanted some of {', '.join(get_args(Reading))}")
    return Cuts(tuple(sorted(set(counts))), named, minimum, smoothing, tags_only, packed, seed)  # type: ignore[arg-type]
