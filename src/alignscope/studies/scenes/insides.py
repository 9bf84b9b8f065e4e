"""Captioners looked into image by image; what is found is kept as it comes, so that a stopped study goes on."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, final

from alignscope.errors import BadInput
from alignscope.files import read_jsonl, write_json, write_jsonl
from alignscope.models.captioners.inside import Inside, SeenInside
from alignscope.models.captioners.protocol import Sight
from alignscope.records import Labelled, Problem
from alignscope.studies.clock import Clock, Progress
from alignscope.studies.output import RUN
from alignscope.studies.scenes.images import Sights
from alignscope.studies.store import batches

PART = 32
"""Images whose records are kept together: a stopped study loses at most so many."""


@final
@dataclass(frozen=True, eq=False)
class Look:
    """An image, what the captioner saw of it, and what that looked like inside."""

    image: str
    sight: Sight
    inside: Inside


def drawn(names: Iterable[str], count: int | None, seed: int) -> tuple[list[str], list[Problem]]:
    """`count` of the images by seed, in the order they come in; fewer are told, None means all.

    >>> drawn(["a", "b"], 3, 0)[1][0].what
    '3 images wanted, 2 there: all are read'
    """
    every = list(names)
    if count is None or count == len(every):
        return every, []
    if count > len(every):
        what = f"{count} images wanted, {len(every)} there: all are read"
        return every, [Problem("", "images", what, "handled")]
    chosen = frozenset(random.Random(f"images read {seed}").sample(sorted(every), count))
    return [name for name in every if name in chosen], []


def looks(
    captioner: SeenInside,
    sights: Sights,
    images: Sequence[str],
    *,
    batch_size: int = 8,
    with_captions: bool = False,
) -> Iterator[Look | Problem]:
    """One pass over each image, with the captioner's own greedy caption where asked for; an image that cannot be
    opened or seen is a problem."""
    for some in batches(images, batch_size):
        opened: dict[str, Sight] = {}
        for image in some:
            try:
                opened[image] = sights[image]
            except BadInput as error:
                yield Problem(image, image, str(error), "unscored")
        yield from _looks(captioner, opened, with_captions=with_captions)


def losses(look: Look) -> list[Problem]:
    """What of a labelled image had no room in the captioner."""
    if not isinstance(look.sight, Labelled):
        return []
    seen = {
        kind: {unit for each, unit in zip(look.inside.kinds, look.inside.units, strict=True) if each == kind}
        for kind in ("label", "region")
    }
    told = []
    for kind, count, gone in (
        ("label", len(look.sight.labels), look.sight.without_labels),
        ("region", len(look.sight.regions), look.sight.without_regions),
    ):
        lost = set(range(count)) - gone - seen[kind]
        if lost:
            what = f"no room for {len(lost)} of {count} {kind}s: the captioner did not see them"
            told.append(Problem(look.image, look.image, what, "handled"))
    return told


def kept(
    folder: Path,
    images: Sequence[str],
    look: Callable[[Sequence[str]], Iterable[Mapping[str, Any]]],
    *,
    progress: Callable[[int, int], None],
) -> list[dict[str, Any]]:
    """The rows that `look` makes of some images at a time, from the files of an earlier run where they are there."""
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for number, some in enumerate(batches(images, PART)):
        path = folder / f"{number:06}.jsonl"
        progress(number * PART, len(images))
        if not path.exists():
            write_jsonl(path, look(some))
        rows += read_jsonl(path)
    progress(len(images), len(images))
    return rows


def staged(progress: Progress, stage: str) -> Callable[[int, int], None]:
    """Progress of one stage."""
    return lambda done, total: progress(stage, done, total)


def refused_if_empty(captioner: str, rows: Sequence[object], problems: Sequence[Problem]) -> None:
    """An error where not one image could be looked at."""
    if not rows:
        first = next((one for one in problems if one.action == "unscored"), None)
        why = f" (first: {first.subject}: {first.what})" if first else ""
        raise BadInput(f"{captioner} could look at none of the images{why}: correct what is given")


def write_run(
    out: Path,
    identity: Mapping[str, Any],
    clock: Clock,
    started: datetime,
    command: str,
    facts: Mapping[str, Any],
) -> None:
    """The run.json of a study that is done."""
    run = {**identity, "identity": identity, "finished": True, "command": command, **facts}
    write_json(out / RUN, run | {"started": started.isoformat(timespec="seconds"), "seconds": clock.laps})


def _looks(
    captioner: SeenInside, opened: Mapping[str, Sight], *, with_captions: bool
) -> Iterator[Look | Problem]:
    """A batch, or where one of its images is refused each image alone."""
    if not opened:
        return
    seen = list(opened.values())
    try:
        texts = [one.text for one in captioner.write(seen)] if with_captions else None
        found = captioner.inside(seen, texts=texts)
    except BadInput as error:
        if len(opened) > 1:
            for image, sight in opened.items():
                yield from _looks(captioner, {image: sight}, with_captions=with_captions)
        else:
            image = next(iter(opened))
            yield Problem(image, image, str(error), "unscored")
    else:
        for (image, sight), inside in zip(opened.items(), found, strict=True):
            yield Look(image, sight, inside)
