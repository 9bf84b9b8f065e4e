"""`alignscope probe ablation` and `probe scenes`: captions and states of images with and without their objects."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from alignscope.cli import options as shared

if TYPE_CHECKING:
    from alignscope.models.captioners.inside import SeenInside
    from alignscope.studies.scene_images import HighLevelImages, NamedObjects, SceneImages

Captioners = Annotated[
    list[str],
    typer.Option("--model", help="captioners, NAME=MODEL or MODEL; several times to compare them"),
]
HighLevel = Annotated[
    Path | None,
    typer.Option("--captions", help="a JSONL file of HL; the world's test scenes without it"),
]
Labels = Annotated[
    Path | None,
    typer.Option(help="TSV of labels, where they are of another detector than --regions"),
]
Pixels = Annotated[
    Path | None, typer.Option("--images", help="folder of the images, for captioners of pixels")
]
Scenes = Annotated[str, typer.Option(help="paper7, or top_ and a number: the most frequent nouns")]
Recipe = Annotated[
    Literal["paper", "head"],
    typer.Option(help="scenes are any nouns of scene captions, or heads of their phrases"),
]
Agreement = Annotated[int, typer.Option(help="captions of an image that must name its scene", min=1)]
Reference = Annotated[
    Path | None,
    typer.Option(
        help="a JSONL file of HL that tells which objects are informative; --also's, or of the world its train "
        "split, without it"
    ),
]
ReferenceSize = Annotated[int, typer.Option(help="scenes of the world's train split for that", min=1)]
Also = Annotated[
    Path | None, typer.Option(help="a second file of HL, of images that captioners were trained on")
]
AlsoTrain = Annotated[
    int, typer.Option(help="as --also, of the world: so many scenes of its train split", min=0)
]
Background = Annotated[
    Literal["some", "with", "without", "both"],
    typer.Option(
        help="of the world, the cue of the scene: as drawn, in all images, in none, or all and none"
    ),
]
Counts = Annotated[
    list[int] | None, typer.Option("--count", help="how many objects are taken away; several times", min=1)
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
Out = Annotated[Path, typer.Option(help="directory for run.json and records")]
Few = Annotated[int, typer.Option(help="images at a time", min=1)]
Splits = Annotated[
    list[int] | None, typer.Option("--split", help="percent of images to train on; 90, 70 and 50 without it")
]
Classifiers = Annotated[
    list[str] | None,
    typer.Option("--classifier", help="forest, mlp, mlp-3, logistic; the first two and the last without it"),
]


def ablation(
    model: Captioners,
    captions: HighLevel = None,
    regions: shared.Regions = None,
    labels: Labels = None,
    images: Pixels = None,
    scenes: Scenes = "paper7",
    recipe: Recipe = "paper",
    agreement: Agreement = 1,
    reference: Reference = None,
    reference_size: ReferenceSize = 2000,
    also: Also = None,
    also_train: AlsoTrain = 0,
    size: shared.Size = 500,
    background: Background = "some",
    count: Counts = None,
    reading: Readings = None,
    minimum: Minimum = 5,
    smoothing: Smoothing = 0.0,
    tags_only: TagsOnly = False,
    packed: Packed = False,
    beams: Annotated[int, typer.Option(help="of the captions; 1 is greedy", min=1)] = 1,
    max_length: Annotated[int, typer.Option(help="of a caption, with its start", min=2)] = 20,
    out: Out = Path("runs/probe-ablation"),
    draws: Annotated[int, typer.Option(help="bootstrap draws of images for intervals", min=1)] = 2000,
    device: shared.Device = "cpu",
    dtype: shared.Dtype = "float32",
    batch_size: Few = 64,
    seed: shared.Seed = 0,
    resume: shared.Resume = False,
    overwrite: shared.Overwrite = False,
) -> None:
    """Caption images without their informative objects: what changes, and how sure captioners are (paper C, T5, Figs. 5-7)."""
    from alignscope.cli.progress import bars
    from alignscope.reporting.ablation_tables import ablation_text
    from alignscope.studies.ablation import AblationSettings
    from alignscope.studies.ablation import ablation as look

    source = _source(captions, regions, labels, images, scenes, recipe, agreement)
    sets = _sets(source, also, also_train, size, background)
    cuts = _cuts(count or [1, 2, 3], reading, minimum, smoothing, tags_only, packed, seed)
    with bars() as progress:
        found = look(
            _opened(model, device, dtype),
            sets,
            _reference(source, reference or also, reference_size),
            out,
            settings=AblationSettings(cuts, beams, max_length, seed, draws),
            batch_size=batch_size,
            resume=resume,
            overwrite=overwrite,
            command=shlex.join(["alignscope", *sys.argv[1:]]),
            progress=progress,
        )
    typer.echo(ablation_text(found.measurements, found.tests))
    _end(out, len(found.problems))


def scenes(
    model: Captioners,
    captions: HighLevel = None,
    regions: shared.Regions = None,
    labels: Labels = None,
    images: Pixels = None,
    scenes: Scenes = "paper7",
    recipe: Recipe = "paper",
    agreement: Agreement = 1,
    reference: Reference = None,
    reference_size: ReferenceSize = 2000,
    also: Also = None,
    also_train: AlsoTrain = 0,
    size: shared.Size = 500,
    background: Background = "some",
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
    dtype: shared.Dtype = "float32",
    batch_size: Few = 16,
    seed: shared.Seed = 0,
    resume: shared.Resume = False,
    overwrite: shared.Overwrite = False,
) -> None:
    """Read scenes in last-layer states of captioners, with and without informative objects (paper C, T4, T6, T7, Figs. 8, 9, 13)."""
    from alignscope.cli.progress import bars
    from alignscope.errors import BadInput
    from alignscope.probing.scene_probes import ProbeSettings
    from alignscope.reporting.ablation_tables import scenes_text
    from alignscope.studies.scene_probing import SceneSettings, joined, scene_probes

    if intact and count:
        raise BadInput(f"got --intact and --count {count[0]}, wanted one of them")
    source = _source(captions, regions, labels, images, scenes, recipe, agreement)
    sets = _sets(source, also, also_train, size, background)
    first = list(sets)[: 2 if background == "both" and captions is None else 1]
    if len(sets) > len(first):
        sets = {
            name: joined(sets[name], more)
            for name, more in zip(first, list(sets.values())[len(first) :], strict=True)
        }
    cuts = _cuts([] if intact else count or [1], reading, minimum, smoothing, tags_only, packed, seed)
    probes = ProbeSettings(seeds=seeds, control=control, standardise=standardise, ceiling=ceiling)
    if classifier:
        probes = replace(probes, classifiers=tuple(dict.fromkeys(classifier)))
    if split:
        probes = replace(probes, splits=tuple(dict.fromkeys(split)))
    with bars() as progress:
        found = scene_probes(
            _opened(model, device, dtype),
            sets,
            None if intact else _reference(source, reference or also, reference_size),
            out,
            settings=SceneSettings(probes, cuts, specials, raw, transfer, seed),
            batch_size=batch_size,
            workers=workers,
            resume=resume,
            overwrite=overwrite,
            command=shlex.join(["alignscope", *sys.argv[1:]]),
            progress=progress,
        )
    typer.echo(scenes_text(found.scores, found.differences))
    typer.echo(f"{found.held_out} of {found.images} images are held out: captioners were not trained on them")
    _end(out, len(found.problems))


def _source(
    captions: Path | None,
    regions: Path | None,
    labels: Path | None,
    images: Path | None,
    scenes: str,
    recipe: Recipe,
    agreement: int,
) -> HighLevelImages | None:
    """What is said of files of HL; None for the world."""
    from alignscope.errors import BadInput
    from alignscope.studies.scene_images import HighLevelImages

    if captions is not None:
        return HighLevelImages(captions, regions, labels, images, scenes, recipe, agreement)
    given = [name for name, one in (("regions", regions), ("labels", labels), ("images", images)) if one]
    if given:
        raise BadInput(f"got --{given[0]} without --captions, wanted the file of HL whose images these are")
    return None


def _sets(
    source: HighLevelImages | None, also: Path | None, also_train: int, size: int, background: str
) -> dict[str, SceneImages]:
    """Images by name, those that captioners may know last."""
    from alignscope.errors import BadInput
    from alignscope.studies.scene_images import WorldImages, scene_images

    if source is not None:
        if also_train or background != "some":
            raise BadInput("got --also-train or --background with --captions, wanted them of the world alone")
        plans = [source, *([replace(source, captions=also, is_held_out=False)] if also else [])]
        found = [scene_images(plan) for plan in plans]
        if len({one.name for one in found}) < len(found):
            raise BadInput(f"got two files named {found[0].name}, wanted names of their own; rename one")
        return {one.name: one for one in found}
    if also:
        raise BadInput("got --also without --captions: of the world give --also-train")
    cues: dict[str, dict[str, bool | None]] = {
        "some": {"": None},
        "with": {"": True},
        "without": {"": False},
        "both": {" with background": True, " without background": False},
    }
    sizes = {"test": size, **({"train": also_train} if also_train else {})}
    return {
        f"{split}{name}": scene_images(WorldImages(split, many, has_background=there))
        for split, many in sizes.items()
        for name, there in cues[background].items()
    }


def _reference(source: HighLevelImages | None, captions: Path | None, size: int) -> NamedObjects:
    """Images of which is learnt what objects tell; their labels are enough."""
    from alignscope.errors import BadInput
    from alignscope.studies.scene_images import WorldImages, named_objects

    if source is None:
        if captions is not None:
            raise BadInput("got --reference without --captions: of the world it is the train split")
        return named_objects(WorldImages("train", size, feature_width=1))
    if captions is None:
        raise BadInput(
            "got no --reference, wanted HL's file of images that are not ablated (train.jsonl), to learn which "
            "objects tell of a scene"
        )
    if source.labels is None:
        return named_objects(replace(source, captions=captions, images=None))
    return named_objects(replace(source, captions=captions, regions=None, images=None))


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
    from alignscope.studies.ablated_images import Cuts

    named = tuple(dict.fromkeys(readings or ["image"]))
    unknown = [one for one in named if one not in get_args(Reading)]
    if unknown:
        raise BadInput(f"got --reading {unknown[0]}, wanted some of {', '.join(get_args(Reading))}")
    return Cuts(tuple(sorted(set(counts))), named, minimum, smoothing, tags_only, packed, seed)  # type: ignore[arg-type]


def _opened(given: Sequence[str], device: str, dtype: str) -> dict[str, SeenInside]:
    from alignscope.cli.probe import _named
    from alignscope.models.captioners.seen import open_seen

    return {
        name: open_seen(model, device=device, dtype=dtype)
        for name, model in _named(given, what="--model").items()
    }


def _end(out: Path, problems: int) -> None:
    from alignscope.cli.probe import _end as end

    end(out, problems)
