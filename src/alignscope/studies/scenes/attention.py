"""Where captioners look among labels and vision, and how widely (paper C, section 5, Figs. 3, 4, 10-12).

One pass over each image and no caption is enough: of Oscar, labels and regions do not see the caption. The numbers
are the spread and mass of blocks of attention, with tests between captioners on the same images.
"""

from __future__ import annotations

import datetime
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any, final

import alignscope
from alignscope.errors import BadInput
from alignscope.evaluation.intervals import clustered_means, measured, sample_of
from alignscope.files import as_row, sha_of, write_jsonl, write_parquet
from alignscope.models.captioners.inside import SeenInside
from alignscope.probing.blocks import (
    BLOCKS,
    SIDES,
    Heads,
    cells,
    compared,
    densities,
    inbound,
    spreads,
    summarised,
)
from alignscope.records import (
    DRAWS,
    BlockCell,
    BlockSpread,
    DensityCell,
    GroupTest,
    Inbound,
    Labelled,
    Measurement,
    Problem,
    Signature,
    UnitName,
)
from alignscope.studies.clock import Clock, Progress
from alignscope.studies.output import claimed
from alignscope.studies.scenes.images import SceneImages, Sights
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

OF_CAPTIONS = ("caption-vision", "caption-label")
"""Blocks that there are where the captioner's own caption is read too."""


@final
@dataclass(frozen=True)
class AttentionSettings:
    """What is looked at; all of it is in the run's identity."""

    seed: int = 0
    draws: int = DRAWS  # of the bootstrap
    images_read: int = 100  # drawn by seed, as many as the paper's
    layers: str = "first"  # "first", "last", "all", or numbers from 0 such as "0,5"
    heads: tuple[Heads, ...] = ("max",)
    blocks: tuple[
        str, ...
    ] = ()  # none: those of the paper, label-label, and those of captions where they are read
    with_captions: bool = False  # each captioner's own greedy captions
    figures: int = 1  # images whose matrices are kept


@final
@dataclass(frozen=True)
class Attention:
    """What was found; groups of measurements begin with the name of the captioner, of tests with two."""

    directory: Path
    measurements: tuple[Measurement, ...]
    tests: tuple[GroupTest, ...]
    problems: tuple[Problem, ...]


@final
@dataclass(frozen=True)
class _Found:
    """All records of one captioner."""

    spreads: list[BlockSpread]
    inbound: list[Inbound]
    numbers: list[Measurement]
    problems: list[Problem]


@final
@dataclass(frozen=True)
class _Looking:
    """One captioner with what it sees and the layers asked of it."""

    name: str
    captioner: SeenInside
    sights: Sights
    layers: tuple[int, ...]
    settings: AttentionSettings
    batch_size: int

    @property
    def blocks(self) -> tuple[str, ...]:
        return self.settings.blocks or (*BLOCKS, *(OF_CAPTIONS if self.settings.with_captions else ()))


def attention(
    models: Mapping[str, SeenInside],
    images: SceneImages,
    out: Path,
    *,
    settings: AttentionSettings = AttentionSettings(),
    batch_size: int = 8,
    resume: bool = False,
    overwrite: bool = False,
    command: str = "",
    progress: Progress = lambda stage, done, total: None,
) -> Attention:
    """Look into captioners, by the names that tables give them; write run.json and records under `out`."""
    clock, started = Clock(), datetime.datetime.now(datetime.UTC)
    _check(models, settings)
    names, told = drawn(images.sights, settings.images_read, settings.seed)
    identity = {
        "kind": "probe attention",
        "version": alignscope.__version__,
        "data": {images.name: images.sha},
        "models": {name: one.fingerprint for name, one in models.items()},
        "settings": asdict(settings),
    }
    with claimed(out, identity, resume=resume, overwrite=overwrite) as work:
        ready = [_ready(name, model, images, names, settings, batch_size) for name, model in models.items()]
        clock.lap("opening")
        sha = sha_of([images.sha, names])
        found: dict[str, _Found] = {}
        for one in ready:
            found[one.name] = _looked(one, names, work / one.name, images.name, sha, progress)
            _write(out / "models" / one.name, one, found[one.name], names)
            clock.lap(f"looking into {one.name}")
        shapes, flat = _densities({name: each.spreads for name, each in found.items()})
        tests = [
            replace(test, group=f"{first} and {second} | {test.group}")
            for first, second in combinations(found, 2)
            for test in compared(found[first].spreads, found[second].spreads)
        ]
        numbers = [number for each in found.values() for number in each.numbers]
        problems = [*images.problems, *told, *(p for each in found.values() for p in each.problems), *flat]
        problems += [Problem("", images.name, note, "handled") for note in images.notes()]
        write_parquet(out / "measurements.parquet", numbers, Measurement)
        write_parquet(out / "tests.parquet", tests, GroupTest)
        write_parquet(out / "densities.parquet", shapes, DensityCell)
        write_jsonl(out / "problems.jsonl", problems)
        clock.lap("numbers")
        facts = {"images": names, "layers": {one.name: one.layers for one in ready}}
        write_run(out, identity, clock, started, command, facts)
        return Attention(out, tuple(numbers), tuple(tests), tuple(problems))


def layers_of(asked: str, count: int, name: str = "the captioner") -> tuple[int, ...]:
    """The layers that words or numbers name, of a captioner that has `count`.

    >>> layers_of("all", 3), layers_of("0,-1", 3)
    ((0, 1, 2), (0, 2))
    """
    wanted = f"'first', 'last', 'all', or numbers from 0 to {count - 1} with commas such as '0,{count - 1}'"
    if asked == "all":
        return tuple(range(count))
    numbers = {"first": ["0"], "last": ["-1"]}.get(asked, asked.split(","))
    try:
        places = [int(number) for number in numbers]
    except ValueError:
        raise BadInput(f"got the layers {asked!r}, wanted {wanted}") from None
    outside = [place for place in places if not -count <= place < count]
    if outside:
        raise BadInput(f"got layer {outside[0]} of {name}, which has {count} layers: wanted {wanted}")
    return tuple(dict.fromkeys(place % count for place in places))


def _check(models: Mapping[str, SeenInside], settings: AttentionSettings) -> None:
    if not models:
        raise BadInput("got no captioner, wanted one or more: NAME=MODEL")
    for block in settings.blocks:
        if block != "pooled" and not (
            block.count("-") == 1 and all(side in SIDES for side in block.split("-"))
        ):
            raise BadInput(
                f"got the block {block!r}, wanted 'pooled' or ROWS-COLUMNS of {', '.join(SIDES)}, such as 'label-vision'"
            )
        if "caption" in block and not settings.with_captions:
            raise BadInput(f"got the block {block!r} without captions: give --with-captions")


def _ready(
    name: str,
    captioner: SeenInside,
    images: SceneImages,
    names: Sequence[str],
    settings: AttentionSettings,
    batch_size: int,
) -> _Looking:
    """What a captioner sees and how many layers it has, by one look; what cannot be asked of it is refused."""
    sights = images.seen_by(captioner)
    problems = []
    for one in looks(captioner, sights, names, batch_size=1):
        if isinstance(one, Look):
            layers = layers_of(settings.layers, len(one.inside.attention), name)
            return _Looking(name, captioner, sights, layers, settings, batch_size)
        problems.append(one)
    refused_if_empty(name, [], problems)
    raise AssertionError("no image was looked at, and none was refused")


def _looked(
    one: _Looking, names: Sequence[str], folder: Path, data: str, sha: str, progress: Progress
) -> _Found:
    """Everything of one captioner."""

    def look(some: Sequence[str]) -> Iterator[dict[str, Any]]:
        return (_row(one, each) for each in _looks(one, some))

    rows = kept(folder, names, look, progress=staged(progress, f"looking into {one.name}"))
    problems = [Problem(**each) for row in rows for each in row["problems"]]
    widths = [BlockSpread(**each) for row in rows for each in row["spreads"]]
    inward = [Inbound(**each) for row in rows for each in row["inbound"]]
    refused_if_empty(one.name, widths, problems)
    settings = one.settings
    signature = Signature(
        *("attention", data, sha, 0, 0, one.captioner.name, one.captioner.fingerprint[:12]),
        ties="none",
        seed=settings.seed,
        version=alignscope.__version__,
    )
    lost = len(names) - len({row.image for row in widths})
    how: dict[str, Any] = {"signature": signature, "draws": settings.draws, "seed": settings.seed}
    seen = len(names) - lost
    numbers = [*summarised(widths, **how), *inbound_numbers(inward, images=seen, **how)]
    numbers = [
        replace(number, group=f"{one.name} | {number.group}", missing=number.missing + lost)
        for number in numbers
    ]
    problems += _blocks_without(widths)
    return _Found(widths, inward, numbers, [replace(p, what=f"{one.name}: {p.what}") for p in problems])


def inbound_numbers(
    rows: Sequence[Inbound], *, images: int, signature: Signature, draws: int = DRAWS, seed: int = 0
) -> list[Measurement]:
    """Mean attention that each special token gets from each kind of row, layer by layer, images resampled.

    Of `images` those without the token or without such rows are missing. Kinds that no image has rows of, such as
    captions where none is read, have no number.
    """
    groups: defaultdict[tuple[int, str, int, str], list[Inbound]] = defaultdict(list)
    for row in rows:
        groups[row.special, row.of, row.layer, row.heads].append(row)
    groups = defaultdict(list, {key: mine for key, mine in groups.items() if any(row.rows for row in mine)})
    samples = [
        sample_of([(row.value, row.image) for row in mine if row.value is not None])
        for mine in groups.values()
    ]
    return [
        measured(
            interval,
            [sample],
            measure="inbound attention",
            group=f"special {special} from {of} | layer {layer} | {heads}",
            signature=signature,
            unit="attention",
            missing=images - len(sample.values),
        )
        for (special, of, layer, heads), sample, interval in zip(
            groups, samples, clustered_means(samples, draws=draws, seed=seed), strict=True
        )
    ]


def _looks(one: _Looking, some: Sequence[str]) -> Iterator[Look | Problem]:
    how: dict[str, Any] = {"batch_size": one.batch_size, "with_captions": one.settings.with_captions}
    return looks(one.captioner, one.sights, some, **how)


def _row(one: _Looking, look: Look | Problem) -> dict[str, Any]:
    """What is kept of an image."""
    if isinstance(look, Problem):
        return {"spreads": [], "inbound": [], "problems": [as_row(look)]}
    widths, inward = list[BlockSpread](), list[Inbound]()
    for heads in one.settings.heads:
        widths += spreads(look.inside, look.image, layers=one.layers, heads=heads, blocks=one.blocks)
        inward += inbound(look.inside, look.image, heads=heads)
    return {
        "spreads": [as_row(each) for each in widths],
        "inbound": [as_row(each) for each in inward],
        "problems": [as_row(each) for each in losses(look)],
    }


def _blocks_without(rows: Sequence[BlockSpread]) -> list[Problem]:
    """Images that have no value in a block, a line per image with all its reasons."""
    reasons: defaultdict[str, dict[str, None]] = defaultdict(dict)
    for row in rows:
        if row.reason:
            reasons[row.image][f"{row.block}: {row.reason}"] = None
    return [Problem(image, image, "; ".join(each), "unscored") for image, each in reasons.items()]


def _densities(rows: Mapping[str, Sequence[BlockSpread]]) -> tuple[list[DensityCell], list[Problem]]:
    """Fig. 4 for each block, layer and way over heads, captioners side by side."""
    figures: defaultdict[str, dict[str, list[BlockSpread]]] = defaultdict(dict)
    for name, mine in rows.items():
        for row in mine:
            figure = f"{row.block} | layer {row.layer} | {row.heads}"
            figures[figure].setdefault(name, []).append(row)
    found, problems = list[DensityCell](), list[Problem]()
    for figure, groups in figures.items():
        shape, flat = densities(groups, figure=figure)
        found += shape
        problems += flat
    return found, problems


def _write(folder: Path, one: _Looking, found: _Found, names: Sequence[str]) -> None:
    """The records of one captioner, with the matrices of a few images."""
    folder.mkdir(parents=True, exist_ok=True)
    write_parquet(folder / "spreads.parquet", found.spreads, BlockSpread)
    write_parquet(folder / "inbound.parquet", found.inbound, Inbound)
    matrices, units = list[BlockCell](), list[UnitName]()
    scored = {row.image for row in found.spreads}
    shown = [name for name in names if name in scored][: one.settings.figures]
    for look in _looks(one, shown):
        if isinstance(look, Problem):
            continue  # it was looked at before and is counted there
        for heads in one.settings.heads:
            for layer in one.layers:
                for block in one.blocks:
                    if block != "pooled":
                        matrices += cells(look.inside, look.image, block, layer=layer, heads=heads)
        if isinstance(look.sight, Labelled):
            units += [
                UnitName(look.image, "label", unit, label.name)
                for unit, label in enumerate(look.sight.labels)
            ]
            tags = look.sight.regions.tags or [""] * len(look.sight.regions)
            units += [UnitName(look.image, "vision", unit, tag) for unit, tag in enumerate(tags)]
    write_parquet(folder / "cells.parquet", matrices, BlockCell)
    write_parquet(folder / "units.parquet", units, UnitName)
