"""`alignscope data`: which benchmarks there are, and what is there of one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from alignscope.cli import options as shared
from alignscope.cli.terminal import tell

if TYPE_CHECKING:
    from alignscope.studies.benchmarking.checking import Checked

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def data() -> None:
    """The benchmarks and their files."""


@app.command("list")
def list_benchmarks(as_json: shared.Json = False) -> None:
    """Print the benchmarks and suites by name."""
    from alignscope.cli.machine import say
    from alignscope.data.benchmarks.facts import told_of
    from alignscope.data.benchmarks.table import BENCHMARKS, SUITES

    if as_json:
        say(benchmarks=[told_of(BENCHMARKS[name]) for name in BENCHMARKS], suites=SUITES)
        return
    width = max(map(len, [*BENCHMARKS, *SUITES]))
    for name in BENCHMARKS:
        tell(f"{name:<{width}}  {BENCHMARKS[name].title}")
    for name, members in SUITES.items():
        tell(f"{name:<{width}}  all of {', '.join(members)}")


@app.command()
def check(
    benchmark: Annotated[str, typer.Argument(help="a name, such as sugarcrepe")],
    annotations: Annotated[Path, typer.Option(help="the benchmark's files, as its authors publish them")],
    images: Annotated[
        Path | None, typer.Option(help="folder of its images; none are looked for without")
    ] = None,
    decode: Annotated[bool, typer.Option(help="open every image, not only look for it")] = False,
    out: Annotated[Path | None, typer.Option(help="a JSONL to write all problems to, by item")] = None,
    overwrite: shared.Replace = False,
    as_json: shared.Json = False,
) -> None:
    """Say what of BENCHMARK is present, missing or broken; exit code 1 unless all is as it should be."""
    from alignscope.cli.machine import say
    from alignscope.data.benchmarks.facts import told_of
    from alignscope.data.benchmarks.table import BENCHMARKS
    from alignscope.studies.benchmarking.checking import check_benchmark

    known = BENCHMARKS[benchmark]
    checked = check_benchmark(known, annotations, images, decode=decode, out=out, overwrite=overwrite)
    if as_json:
        say(
            benchmark=told_of(known),
            annotations=checked.annotations,
            complete=checked.is_complete,
            subsets=checked.subsets,
            problems={"unscored": checked.unscored, "handled": checked.handled},
            first=checked.first,
            images_checked=checked.are_images_checked,
            file=out and out.resolve(),
        )
    else:
        _facts(checked)
        _table(checked)
        _findings(checked, out)
    if not checked.is_complete:
        raise typer.Exit(1)


@app.command()
def orders(
    captions: Annotated[Path, typer.Argument(help="captions of a test split, in BLIP's or COCO's form")],
    out: Annotated[Path, typer.Option(help="the order set to write")],
    seed: shared.Seed = 0,
    overwrite: shared.Replace = False,
    as_json: shared.Json = False,
) -> None:
    """Write an order set for aro-coco-order or aro-flickr-order: seeded shuffles of CAPTIONS."""
    from alignscope.cli.machine import say
    from alignscope.errors import OutputExists
    from alignscope.studies.benchmarking.orders import write_orders

    if out.exists() and not overwrite:
        raise OutputExists(f"{out} exists: give --overwrite or another --out")
    count = write_orders(captions, out, seed=seed)
    if as_json:
        say(file=out.resolve(), captions=count)
        return
    tell(f"{count} captions: {out.resolve()}")


def _facts(checked: Checked) -> None:
    known = checked.benchmark
    lines = {
        known.name: known.title,
        "cite": known.citation,
        "from": known.url,
        "licence": known.licence,
        "annotations": f"{known.files} (hash of the items read: {checked.annotations[:12]})",
        "images": known.images or "none needed",
    }
    for name, text in lines.items():
        tell(f"{name}: {text}")


def _table(checked: Checked) -> None:
    """Counts per subset; of images only how many are asked for where none were looked for."""
    rows = [["subset", "records", "usable", "official", "images", "present", "missing", "broken"]]
    for one in checked.subsets:
        official = "-" if one.official is None else f"{one.official}"
        counts = [one.images, *([one.present, one.missing, one.broken] if checked.are_images_checked else [])]
        rows.append([one.subset, str(one.records), str(one.usable), official, *map(str, counts)])
    rows[0] = rows[0][: len(rows[-1])]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True)]
        tell("  ".join([f"{row[0]:<{widths[0]}}", *cells]))


def _findings(checked: Checked, out: Path | None) -> None:
    for one in checked.differences:
        tell(f"{one.subset}: {one.records} records, the authors count {one.official}", err=True)
    for problem in checked.first if out is None else ():
        tell(f"{problem.item or problem.subject}: {problem.what}", err=True)
    if out is None and checked.unscored > len(checked.first):
        tell(f"... {checked.unscored} in all: --out FILE writes them, by item", err=True)
    where = f": {out.resolve()}" if out is not None else ""
    tell(f"problems: {checked.unscored} unscored, {checked.handled} handled{where}")
    is_blind = checked.benchmark.images and not checked.are_images_checked
    unseen = ", images not looked for: give --images" if is_blind else ""
    tell(f"{'complete' if checked.is_complete else 'not complete'}{unseen}")
