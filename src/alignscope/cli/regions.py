"""`alignscope regions`: region features of detectors, their files, and one safe format for them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from alignscope.cli import options as shared
from alignscope.cli.terminal import tell

if TYPE_CHECKING:
    from alignscope.data.regionfiles.checking import Checked

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Source = Annotated[Path, typer.Argument(help="a region file, or the folder of one")]
FormatName = Annotated[
    str | None, typer.Option(help="its format, by a name of `regions list`; recognised without")
]
Objects = Annotated[Path | None, typer.Option(help="words of the detector's objects, one per line")]
Attributes = Annotated[Path | None, typer.Option(help="words of the detector's attributes, one per line")]
Sizes = Annotated[
    Path | None,
    typer.Option(
        help="image sizes where the format keeps none: COCO's JSON, JSONL or TSV of name, width, height; "
        "or 'unit': boxes as shares of 1x1 images"
    ),
]
Tags = Annotated[
    bool, typer.Option("--tags/--no-tags", help="words of objects and attributes; they need vocabularies")
]
_TOLD = 10  # problems printed


@app.callback()
def regions() -> None:
    """Region features of detectors: their files, and one safe format."""


@app.command("list")
def list_formats(as_json: shared.Json = False) -> None:
    """Print the formats of region files, what they keep and what they need beside."""
    from alignscope.cli.machine import say
    from alignscope.data.regionfiles.table import FORMATS

    if as_json:
        fields = ("name", "title", "keeps", "needs")
        say(formats=[{field: getattr(one, field) for field in fields} for one in FORMATS.values()])
        return
    rows = [["format", "of", "keeps beyond boxes", "needs"]]
    rows += [[one.name, one.title, one.keeps or "-", one.needs or "-"] for one in FORMATS.values()]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        cells = [f"{cell:<{width}}" for cell, width in zip(row[:3], widths, strict=True)]
        tell("  ".join([*cells, row[3]]))


@app.command()
def convert(
    source: Source,
    out: Annotated[Path, typer.Argument(help="the .arrow file to write")],
    format: FormatName = None,
    objects: Objects = None,
    attributes: Attributes = None,
    sizes: Sizes = None,
    tags: Tags = True,
    half: Annotated[
        bool, typer.Option("--half", help="features as float16: half the size, rounded to 11 bits")
    ] = False,
    skip_broken: Annotated[
        bool,
        typer.Option("--skip-broken", help="leave broken records out and list them in OUT.problems.jsonl"),
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace an existing file")] = False,
    as_json: shared.Json = False,
) -> None:
    """Write the regions of SOURCE to OUT in the safe format; exit code 1 if images were left out."""
    from alignscope.cli.machine import say
    from alignscope.cli.progress import bars
    from alignscope.data.regionfiles import open_regions
    from alignscope.data.regionfiles.converting import convert as write
    from alignscope.reporting.wording import counted

    file = open_regions(source, format=format, objects=objects, attributes=attributes, sizes=sizes, tags=tags)
    with bars() as show:
        done = write(file, out, half=half, skip_broken=skip_broken, overwrite=overwrite, progress=show)
    written = done.written
    if as_json:
        say(
            file=out.resolve(),
            format=file.format,
            images=len(file),
            written=written._asdict(),
            notes=file.notes,
            problems=done.problems,
        )
        raise typer.Exit(1 if done.problems else 0)
    for note in file.notes:
        tell(f"note: {note}", err=True)
    if half:
        tell(f"float16: features changed by at most {written.largest_change:.3g}")
    tell(
        f"{written.images} of {len(file)} images, {written.regions} regions of width {written.width} "
        f"({file.format}, hash {written.sha}): {out.resolve()}"
    )
    if done.problems:
        tell(f"{counted(len(done.problems), 'image')} left out: {done.problems_file}", err=True)
        raise typer.Exit(1)


@app.command()
def check(
    file: Source,
    images: Annotated[
        Path | None, typer.Option(help="folder of images of which each is to have regions")
    ] = None,
    format: FormatName = None,
    objects: Objects = None,
    attributes: Attributes = None,
    sizes: Sizes = None,
    tags: Tags = True,
    out: Annotated[Path | None, typer.Option(help="a JSONL to write all problems to, by image")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace an existing file")] = False,
    as_json: shared.Json = False,
) -> None:
    """Read every record of FILE and say what is there and what is wrong; exit code 1 unless all is right."""
    from alignscope.cli.machine import say
    from alignscope.cli.progress import bars
    from alignscope.data.regionfiles import open_regions
    from alignscope.data.regionfiles.checking import check as read
    from alignscope.errors import OutputExists
    from alignscope.files import write_jsonl

    if out is not None and out.exists() and not overwrite:
        raise OutputExists(f"{out} exists: give --overwrite or another --out")
    opened = open_regions(file, format=format, objects=objects, attributes=attributes, sizes=sizes, tags=tags)
    with bars() as show:
        checked = read(opened, images=images, progress=show)
    if out is not None:
        write_jsonl(out, checked.problems)
    if as_json:
        say(format=opened.format, notes=opened.notes, complete=checked.is_complete, checked=vars(checked))
        raise typer.Exit(0 if checked.is_complete else 1)
    _facts(checked, opened.format, opened.notes)
    for problem in checked.problems[:_TOLD] if out is None else ():
        tell(problem.what, err=True)
    for name in (checked.missing or ())[:_TOLD]:
        tell(f"missing: no regions of {name}", err=True)
    more = (len(checked.problems) if out is None else 0) > _TOLD or len(checked.missing or ()) > _TOLD
    if more:
        tell(f"... the first {_TOLD} of each: --out FILE writes the problems", err=True)
    tell("complete" if checked.is_complete else "not complete")
    if not checked.is_complete:
        raise typer.Exit(1)


@app.command()
def detect(
    images: Annotated[Path, typer.Argument(help="a folder of images; those in folders below it count")],
    out: Annotated[Path, typer.Argument(help="the .arrow file to write")],
    detector: Annotated[str, typer.Option(help="directory or hub id of a DETR, RT-DETR, YOLOS, ...")],
    regions: Annotated[int, typer.Option(help="the most confident ones of an image, at most", min=1)] = 36,
    score: Annotated[
        float,
        typer.Option(
            help="regions of less confidence come only as far as an image would have fewer than 10; 0 takes all",
            min=0,
            max=1,
        ),
    ] = 0.2,
    device: shared.Device = "cpu",
    batch_size: Annotated[int, typer.Option(help="images at a time", min=1)] = 8,
    resume: Annotated[bool, typer.Option("--resume", help="go on with a stopped run from OUT.work")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="begin anew and replace OUT")] = False,
    as_json: shared.Json = False,
) -> None:
    """Write regions that a detector finds in IMAGES to OUT; exit code 1 if images were left out.

    Features are means of its backbone's last map under each box, or last states of its queries where it has
    no convolutions. They are NOT those of the Visual Genome detector that published models of regions were
    trained on: every record says so, and whatever is computed from them.
    """
    from alignscope.cli.machine import say
    from alignscope.cli.progress import bars
    from alignscope.models.detectors import load
    from alignscope.reporting.wording import counted
    from alignscope.studies.detection import Settings
    from alignscope.studies.detection import detect as look

    opened, settings = load(detector, device=device), Settings(regions, score, batch_size)
    with bars() as show:
        done = look(opened, images, out, settings=settings, resume=resume, overwrite=overwrite, progress=show)
    written = done.written
    if as_json:
        say(
            file=out.resolve(),
            made_by=opened.made_by,
            images=done.images,
            others=done.others,
            written=written._asdict(),
            problems=done.problems,
        )
        raise typer.Exit(1 if done.left_out else 0)
    tell(f"made by {opened.made_by}")
    tell(
        f"{written.images} of {done.images} images, {written.regions} regions of width {written.width} "
        f"(hash {written.sha}): {out.resolve()}"
    )
    _notes(done.others, len(done.problems), done.problems_file)
    if done.left_out:
        tell(f"{counted(done.left_out, 'image')} left out", err=True)
        raise typer.Exit(1)


@app.command()
def features(
    images: Annotated[Path, typer.Argument(help="a folder of images; those in folders below it count")],
    out: Annotated[
        Path, typer.Argument(help="the folder to write: NAME.npy per image, run.json, problems.jsonl")
    ],
    backbone: Annotated[
        str, typer.Option(help="directory or hub id of a ResNet, ConvNeXt, ViT, DINOv2, ...")
    ],
    patches: Annotated[
        bool,
        typer.Option(
            "--patches/--mean",
            help="each patch of the last map, for captioners with attention; without it the mean over all, for FC",
        ),
    ] = False,
    device: shared.Device = "cpu",
    resume: Annotated[
        bool,
        typer.Option("--resume", help="go on with a stopped run; images that are done are not done again"),
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="delete the run in OUT first")] = False,
    as_json: shared.Json = False,
) -> None:
    """Write features of IMAGES for captioners, as `features` of a recipe; exit code 1 if images were left out.

    A convolution sees each image at its own size, a transformer as its own processor makes it. A captioner
    reads features of the backbone that it was trained with, and of no other.
    """
    from alignscope.cli.machine import say
    from alignscope.cli.progress import bars
    from alignscope.models.captioners.backbone import open_backbone
    from alignscope.reporting.wording import counted
    from alignscope.studies.features import write_features

    opened = open_backbone(backbone, device=device)
    with bars() as show:
        done = write_features(
            opened, images, out, patches=patches, resume=resume, overwrite=overwrite, progress=show
        )
    if as_json:
        say(
            directory=out.resolve(),
            images=done.images,
            others=done.others,
            written=done.written,
            width=done.width,
            problems=done.problems,
        )
        raise typer.Exit(1 if done.left_out else 0)
    tell(f"made by {opened.name}@{opened.fingerprint[:12]}, image size: {opened.image_size}")
    what = "patches" if patches else "means"
    tell(f"{done.written} of {done.images} images, {what} of width {done.width}: {out.resolve()}")
    _notes(done.others, len(done.problems), done.problems_file)
    if done.left_out:
        tell(f"{counted(done.left_out, 'image')} left out", err=True)
        raise typer.Exit(1)


def _notes(others: int, problems: int, listing: Path) -> None:
    from alignscope.reporting.wording import counted

    if others:
        tell(f"note: {others} other files are no images by their names", err=True)
    if problems:
        tell(f"{counted(problems, 'problem')}, listed in {listing}", err=True)


def _facts(checked: Checked, format: str, notes: tuple[str, ...]) -> None:
    from alignscope.reporting.wording import counted

    counts = sorted(checked.regions.elements())
    span = f"{counts[0]} to {counts[-1]}" if counts else "none"
    lines = {
        "format": format,
        "images": f"{checked.images}, sound {checked.sound}, of {checked.sizes} sizes",
        "regions": f"{sum(counts)}, per image {span}",
        "features": f"of width {', '.join(map(str, sorted(checked.widths))) or 'none'}",
        "tags": f"in {checked.tagged} images",
        "made by": ", ".join(each or "not said" for each in checked.made_by) or "not said",
        "hash": checked.sha,
        "problems": str(len(checked.problems)),
    }
    if checked.missing is not None:
        lines["missing"] = f"{counted(len(checked.missing), 'image')} of the folder"
    for name, text in lines.items():
        tell(f"{name}: {text}")
    for note in notes:
        tell(f"note: {note}")
