"""`alignscope probe attention` and `alignscope probe diagnosticity`: where captioners look (paper C, section 5)."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import typer

from alignscope.cli import options as shared
from alignscope.cli.probe import Draws, Out, _end, _named, _say
from alignscope.cli.terminal import tell

if TYPE_CHECKING:
    from alignscope.models.captioners.inside import SeenInside
    from alignscope.studies.scenes.images import HighLevelImages, WorldImages

Captioners = Annotated[
    list[str],
    typer.Argument(
        help="captioners, NAME=MODEL or MODEL: a name (tiny-vinvl), a local directory, or a hub id",
        metavar="MODELS",
    ),
]
Scenes = Annotated[
    int,
    typer.Option(help="of the world's test split, where --hl is not given", min=1, max=shared.MOST_SCENES),
]
Background = Annotated[
    bool | None,
    typer.Option(
        "--background/--no-background",
        help="the cue of the scene in every picture of the world, or in none; as drawn without either",
    ),
]
FeatureWidth = Annotated[
    int, typer.Option(help="of the regions of the world, which a captioner was trained with", min=1)
]
HighLevel = Annotated[
    Path | None, typer.Option("--hl", help="images and scene captions, as one of HL's JSONL files")
]
Regions = Annotated[
    Path | None, typer.Option(help="file of region features of the images of --hl, for captioners of regions")
]
Labels = Annotated[
    Path | None,
    typer.Option(help="Oscar's label TSV for those regions; the regions' own tags are labels without it"),
]
Pictures = Annotated[
    Path | None, typer.Option("--images", help="folder of the images of --hl, for captioners of pixels")
]
Sizes = Annotated[
    Path | None,
    typer.Option(
        help="file of name, width and height of the images of --regions, where that does not tell them, or unit for "
        "boxes as shares of images of unknown size"
    ),
]
SceneSet = Annotated[
    str,
    typer.Option(help="scenes of --hl: paper7, or top_ and a number, such as top_8, for the most frequent"),
]
Recipe = Annotated[
    Literal["paper", "head"],
    typer.Option(help="how scenes are read off captions: all nouns, or the heads of noun chunks"),
]
Agreement = Annotated[int, typer.Option(help="captions of an image that must name its scene", min=1)]
Heads = Literal["max", "mean", "rollout"]
BatchSize = Annotated[int, typer.Option(help="images at a time", min=1)]
OF_HL = {"scenes": "paper7", "recipe": "paper", "agreement": 1}
"""How scenes are read off captions, where no option says otherwise; the world's scenes are known."""


def attention(
    models: Captioners,
    scenes: Scenes = 500,
    background: Background = None,
    feature_width: FeatureWidth = 256,
    hl: HighLevel = None,
    regions: Regions = None,
    labels: Labels = None,
    sizes: Sizes = None,
    images: Pictures = None,
    images_read: Annotated[int, typer.Option(help="images, drawn by seed", min=1)] = 100,
    layers: Annotated[str, typer.Option(help="first, last, all, or numbers from 0 such as 0,5")] = "first",
    heads: Annotated[
        list[str] | None,
        typer.Option(
            "--heads",
            help="max (the paper's), mean, or rollout from the layer down to the input; several times for several; "
            "max without it",
        ),
    ] = None,
    block: Annotated[
        list[str] | None,
        typer.Option(
            "--block",
            help="ROWS-COLUMNS of vision, label, caption, special, such as label-vision, or pooled; several times; "
            "those of the paper without it",
        ),
    ] = None,
    with_captions: Annotated[
        bool,
        typer.Option("--with-captions", help="read each captioner's own greedy caption of an image too"),
    ] = False,
    figures: Annotated[int, typer.Option(help="images whose matrices are kept", min=0)] = 1,
    out: Out = Path("runs/probe-attention"),
    draws: Draws = 2000,
    device: shared.Device = "cpu",
    batch_size: BatchSize = 8,
    seed: shared.Seed = 0,
    resume: shared.Resume = False,
    overwrite: shared.Overwrite = False,
    as_json: shared.Json = False,
) -> None:
    """Spread and mass of attention among labels and vision of captioners, compared on the same images.

    Images are the world's, or those of --hl. One pass over each image, of which no caption has a part.
    """
    from alignscope.cli.progress import bars
    from alignscope.reporting.attention_tables import attention_text
    from alignscope.studies.scenes.attention import AttentionSettings
    from alignscope.studies.scenes.attention import attention as run
    from alignscope.studies.scenes.images import scene_images

    plan = _plan(scenes, background, feature_width, hl, regions, labels, images, seed, {"sizes": sizes})
    settings = AttentionSettings(
        seed=seed,
        draws=draws,
        images_read=images_read,
        layers=layers,
        heads=_heads(heads or ["max"]),
        blocks=tuple(dict.fromkeys(block or [])),
        with_captions=with_captions,
        figures=figures,
    )
    with bars() as progress:
        found = run(
            _opened(models, device),
            scene_images(plan),
            out,
            settings=settings,
            batch_size=batch_size,
            resume=resume,
            overwrite=overwrite,
            command=shlex.join(["alignscope", *sys.argv[1:]]),
            progress=progress,
        )
    if as_json:
        _say(out, found, "measurements", "tests")
        return
    tell(attention_text(found.measurements, found.tests, out / "measurements.parquet"))
    _end(out, found.problems)


def diagnosticity(
    models: Captioners,
    scenes: Scenes = 500,
    background: Background = None,
    feature_width: FeatureWidth = 256,
    hl: HighLevel = None,
    regions: Regions = None,
    labels: Labels = None,
    sizes: Sizes = None,
    scene_set: SceneSet = "paper7",
    recipe: Recipe = "paper",
    agreement: Agreement = 1,
    scene_images: Annotated[
        int,
        typer.Option(help="images that a scene must have; those of others are counted as problems", min=1),
    ] = 2,
    images_read: Annotated[
        int | None, typer.Option(help="images, drawn by seed of those with a scene; all without it", min=1)
    ] = None,
    layer: Annotated[str, typer.Option(help="first, last, or a number from 0")] = "first",
    heads: Annotated[
        Heads, typer.Option(help="max (the paper's), mean, or rollout from the layer down to the input")
    ] = "max",
    order: Annotated[
        Literal["mass", "first"],
        typer.Option(
            help="objects by the attention they get in all, or by how often they get the most of an image"
        ),
    ] = "mass",
    assign: Annotated[
        Literal["boxes", "own", "none"],
        typer.Option(
            help="whose attention an object gets beside its label's: regions by the overlap of boxes, regions by their "
            "own tags, or none"
        ),
    ] = "boxes",
    depth: Annotated[
        list[int] | None, typer.Option("--depth", help="of lists compared, several times; 3, 5, 7 without it")
    ] = None,
    persistence: Annotated[float, typer.Option(help="p of rank-biased overlap, below 1")] = 0.9,
    by: Annotated[
        Literal["pmi", "npmi"], typer.Option(help="what tells how much an object tells of a scene")
    ] = "pmi",
    minimum: Annotated[
        int, typer.Option(help="images of reference that must have object and scene together", min=0)
    ] = 5,
    smoothing: Annotated[float, typer.Option(help="added to the counts of object and scene", min=0)] = 0.0,
    reference: Annotated[
        Path | None,
        typer.Option(
            help="another of HL's files for PMI, with --reference-labels or --reference-regions; the images of --hl "
            "without it, and of the world its train split"
        ),
    ] = None,
    reference_labels: Annotated[
        Path | None, typer.Option(help="label TSV of the images of --reference")
    ] = None,
    reference_regions: Annotated[
        Path | None, typer.Option(help="regions whose tags are the labels of the images of --reference")
    ] = None,
    reference_scenes: Annotated[
        int, typer.Option(help="of the world's train split, for PMI, where --hl is not given", min=1)
    ] = 5000,
    out: Out = Path("runs/probe-diagnosticity"),
    draws: Draws = 2000,
    device: shared.Device = "cpu",
    batch_size: BatchSize = 8,
    seed: shared.Seed = 0,
    resume: shared.Resume = False,
    overwrite: shared.Overwrite = False,
    as_json: shared.Json = False,
) -> None:
    """Do captioners of labels look at the objects that a scene is usually made of, or that tell of it? (Table 2)

    Images are the world's, or those of --hl whose captions name a scene.
    """
    from alignscope.cli.progress import bars
    from alignscope.probing.diagnosticity import DEPTHS
    from alignscope.reporting.attention_tables import diagnosticity_text
    from alignscope.studies.scenes.diagnosticity import DiagnosticitySettings
    from alignscope.studies.scenes.diagnosticity import diagnosticity as run
    from alignscope.studies.scenes.images import named_objects, objects_of
    from alignscope.studies.scenes.images import scene_images as opened

    told = {"scenes": scene_set, "recipe": recipe, "agreement": agreement}
    plan = _plan(scenes, background, feature_width, hl, regions, labels, None, seed, told | {"sizes": sizes})
    other = _reference(plan, reference, reference_labels, reference_regions, reference_scenes, told)
    settings = DiagnosticitySettings(
        seed=seed,
        draws=draws,
        images_read=images_read,
        scene_images=scene_images,
        layer=layer,
        heads=heads,
        order="attended" if order == "mass" else "attended first",
        assign=assign,
        depths=tuple(sorted(set(depth or DEPTHS))),
        persistence=persistence,
        by=by,
        minimum=minimum,
        smoothing=smoothing,
    )
    found_images = opened(plan)
    with bars() as progress:
        found = run(
            _opened(models, device),
            found_images,
            objects_of(found_images) if other is None else named_objects(other),
            out,
            settings=settings,
            batch_size=batch_size,
            resume=resume,
            overwrite=overwrite,
            command=shlex.join(["alignscope", *sys.argv[1:]]),
            progress=progress,
        )
    if as_json:
        _say(out, found, "measurements", "tests", "ranked")
        return
    tell(diagnosticity_text(found.measurements, found.ranked, found.tests, out / "measurements.parquet"))
    _end(out, found.problems)


def _opened(models: Sequence[str], device: str) -> dict[str, SeenInside]:
    from alignscope.models.captioners.seen import open_seen

    return {name: open_seen(model, device=device) for name, model in _named(models, what="captioner").items()}


def _heads(given: Sequence[str]) -> tuple[Heads, ...]:
    from alignscope.errors import UnknownName
    from alignscope.registry import did_you_mean

    known: dict[str, Heads] = {name: name for name in get_args(Heads)}
    for name in given:
        if name not in known:
            raise UnknownName(f"no way over heads named {name!r}: {did_you_mean(name, list(known))}")
    return tuple(known[name] for name in dict.fromkeys(given))


def _plan(
    scenes: int,
    background: bool | None,
    feature_width: int,
    hl: Path | None,
    regions: Path | None,
    labels: Path | None,
    images: Path | None,
    seed: int,
    told: dict[str, Any],
) -> WorldImages | HighLevelImages:
    """The images that options name; those of one source do not go with the other."""
    from alignscope.errors import BadInput
    from alignscope.studies.scenes.images import HighLevelImages, WorldImages

    if hl is None:
        given = {"--regions": regions, "--labels": labels, "--sizes": told["sizes"], "--images": images}
        extra = [name for name, path in given.items() if path is not None]
        if extra:
            raise BadInput(f"got {extra[0]} without --hl, which names the images: give it, or neither")
        if other := [name for name, value in OF_HL.items() if told.get(name, value) != value]:
            raise BadInput(
                f"got another value of {other[0]} without --hl, of whose captions it is: give it, or neither"
            )
        return WorldImages(size=scenes, seed=seed, has_background=background, feature_width=feature_width)
    if background is not None:
        raise BadInput("got --background or --no-background with --hl: only the world can be drawn otherwise")
    return HighLevelImages(hl, regions, labels, images, **told)


def _reference(
    plan: WorldImages | HighLevelImages,
    captions: Path | None,
    labels: Path | None,
    regions: Path | None,
    scenes: int,
    told: dict[str, Any],
) -> WorldImages | HighLevelImages | None:
    """Whose scenes and objects PMI is of; None for the images looked at."""
    from alignscope.errors import BadInput
    from alignscope.studies.scenes.images import HighLevelImages, WorldImages

    if captions is None:
        if labels is not None or regions is not None:
            raise BadInput("got labels or regions of a reference without --reference: give its captions")
        if isinstance(plan, WorldImages):
            return WorldImages("train", scenes, plan.seed, feature_width=1)  # labels alone are asked for
        return None
    if isinstance(plan, WorldImages):
        raise BadInput("got --reference for the world, whose own train split is its reference: leave it out")
    if labels is None and regions is None:
        raise BadInput("got --reference without its objects: give --reference-labels or --reference-regions")
    return HighLevelImages(captions, regions, labels, **told, sizes=Path("unit"))  # names alone are asked for
