"""Batches of a run: which pairs a step sees, their pixels, their wrong captions.

Everything follows from (seed, step, row), so that neither workers nor processes nor a resumption change a
batch. An epoch of samples with places is a permutation of them, drawn by (seed, epoch); what is left over
when it is cut into whole batches is not seen in that epoch, and is another rest in the next. A stream's
epoch is cut the same way. A process reads its contiguous rows of each batch: all shares together are the
batch of one process. Of a stream every process reads all bytes and decodes its own rows only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import NamedTuple, final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import DataLoader

from alignscope.data.images import decode_image
from alignscope.errors import BadData, BadImage, BadInput, BadRecipe
from alignscope.files import read_jsonl, write_jsonl
from alignscope.language.replacements import Candidates
from alignscope.models.dual.vision import ImageTransform
from alignscope.records import Caption, Problem
from alignscope.training.augmentation import TrainingTransform
from alignscope.training.negatives import hard_negatives
from alignscope.training.samples import Batch, Sample, Samples, SampleStream, StreamedSample
from alignscope.training.settings import Augmentation, NegativePlan
from alignscope.training.streaming import whole_batches

Source = int | StreamedSample
"""Where a row comes from: a place, or bytes of a stream."""
Classed = Callable[[Sequence[Caption]], Sequence[Caption]]

CACHED_BYTES = 2 * 10**9
"""Most bytes of pixels that are kept, where no augmentation changes them."""
TRIES = 20
"""Images tried for one row before the data are given up."""


@dataclass(frozen=True)
class _Job:
    """A step's rows of one process, and what may take an unreadable one's place."""

    step: int
    epoch: int
    rows: tuple[tuple[int, Source], ...]  # each with its number in the whole batch
    others: Sequence[Source]
    problems: tuple[Problem, ...] = ()


class _Row(NamedTuple):
    sample: Sample
    pixels: Float[Tensor, "channel height width"]


@dataclass
class _Tally:
    """What a batch had to try."""

    tried: int = 0
    problems: list[Problem] = field(default_factory=list)


@final
@dataclass(frozen=True, eq=False)
class Loader:
    """The batches of a run from any step on: a function of recipe and step, not of what went before."""

    samples: Samples | SampleStream
    steps: int
    reader: _Reader
    batch: int
    seed: int
    rank: int
    world: int
    workers: int

    def __call__(self, first: int) -> Iterator[Batch]:
        """This process's shares of the batches from step `first` to the run's last."""
        if not 0 <= first <= self.steps:
            raise BadInput(f"got step {first} to begin with, wanted one from 0 to {self.steps}")
        if isinstance(self.samples, SampleStream):
            jobs = self._stream_jobs(self.samples, first)
        else:
            jobs = self._place_jobs(len(self.samples), first)
        if not self.workers:
            yield from map(self.reader.batch, jobs)
            return
        loader = DataLoader(
            self.reader,
            batch_size=None,
            sampler=jobs,
            num_workers=self.workers,
            collate_fn=_as_it_is,
            generator=torch.Generator(),  # else it draws a number from the run's own
        )
        for found in loader:
            if isinstance(found, BadInput):
                raise found
            yield found

    def _share(self, sources: Sequence[Source]) -> tuple[tuple[int, Source], ...]:
        each = self.batch // self.world
        return tuple(enumerate(sources))[self.rank * each : (self.rank + 1) * each]

    def _place_jobs(self, places: int, first: int) -> Iterator[_Job]:
        per_epoch = places // self.batch
        epoch, order = -1, np.zeros(0, dtype=np.int64)
        for step in range(first, self.steps):
            if step // per_epoch != epoch:
                epoch = step // per_epoch
                order = np.random.default_rng([self.seed, epoch]).permutation(places)
            start = step % per_epoch * self.batch
            ahead = np.roll(order, -start)[: 2 * self.batch].tolist()
            here, others = ahead[: self.batch], ahead[self.batch :]
            yield _Job(step, epoch, self._share(here), others or here)

    def _stream_jobs(self, stream: SampleStream, first: int) -> Iterator[_Job]:
        following = pairwise(whole_batches(stream, batch=self.batch, first=first))
        for step, (piece, after) in zip(range(first, self.steps), following, strict=False):
            problems = piece.problems if self.rank == 0 else ()  # every process meets them
            yield _Job(step, piece.epoch, self._share(piece.samples), after.samples, problems)


def batches(
    samples: Samples | SampleStream,
    *,
    batch: int,
    seed: int,
    steps: int,
    transform: ImageTransform,
    augmentation: Augmentation | None = None,
    negatives: NegativePlan | None = None,
    candidates: Candidates | None = None,
    classed: Classed | None = None,
    rank: int = 0,
    world: int = 1,
    workers: int = 0,
) -> Loader:
    """The batches of a run, from any step on, as process `rank` of `world` sees them.

    transform: `TransformersDualEncoder.image_transform`.
    candidates: words that made wrong captions draw from.
    classed: gives a stream's captions their words; None where the run needs none.
    workers: processes that read images; none where pixels are kept in memory, which is done without an
        augmentation where those of all samples fit into `CACHED_BYTES`.
    """
    placed = None if isinstance(samples, SampleStream) else samples
    if batch < 1 or steps < 0 or workers < 0 or not 0 <= rank < world or batch % world:
        raise BadRecipe(
            f"got a batch of {batch} for process {rank} of {world}, {steps} steps and {workers} workers: "
            "wanted a batch that divides evenly by the processes, and no negative number"
        )
    if placed is not None and len(placed) < batch:
        raise BadRecipe(
            f"got {len(placed)} samples for batches of {batch}: wanted a batch of at most so many"
        )
    if negatives and negatives.form == "full" and placed is None:
        raise BadRecipe(
            "got negatives of the full form for a stream, which knows no similar images: wanted text"
        )
    if negatives and negatives.source == "made" and candidates is None:
        raise BadRecipe("got negatives to be made without candidates: wanted words by class to draw from")
    height, width = transform.size
    fits = placed is not None and len(placed) * 3 * height * width * 4 <= CACHED_BYTES
    is_cached = fits and augmentation is None
    reader = _Reader(
        placed,
        TrainingTransform(transform, augmentation),
        seed,
        negatives,
        candidates,
        classed,
        {} if is_cached else None,
    )
    return Loader(samples, steps, reader, batch, seed, rank, world, 0 if is_cached else workers)


def steps_of(samples: Samples | SampleStream, *, epochs: int, batch: int) -> int:
    """Steps of so many epochs in whole batches; a stream's length is not known."""
    if isinstance(samples, SampleStream):
        raise BadRecipe(f"got epochs = {epochs} for a stream, whose length is not known: wanted steps")
    return epochs * (len(samples) // batch)


@final
@dataclass(frozen=True, eq=False)
class _Reader:
    """Makes the batch of a job; in worker processes too."""

    samples: Samples | None  # None for a stream, whose jobs hold its samples
    transform: TrainingTransform
    seed: int
    negatives: NegativePlan | None
    candidates: Candidates | None
    classed: Classed | None
    kept: dict[str, Float[Tensor, "channel height width"]] | None

    def __getitem__(self, job: _Job) -> Batch | BadInput:
        try:
            return self.batch(job)
        except BadInput as error:  # raised where a person sees it, not in a worker's traceback
            return error

    def batch(self, job: _Job) -> Batch:
        """The pairs of a job, with wrong captions and similar images where the run has them."""
        tally = _Tally(len(job.problems), list(job.problems))
        rows = [(number, self._row(job, number, source, tally)) for number, source in job.rows]
        if self.classed is not None:
            captions = self.classed([row.sample.caption for _, row in rows])
            rows = [
                (number, row._replace(sample=replace(row.sample, caption=caption)))
                for (number, row), caption in zip(rows, captions, strict=True)
            ]
        similar = None
        if self.negatives and self.negatives.form == "full":
            found = [(number, self._similar(job, number, row.sample, tally)) for number, row in rows]
            similar = self._stacked(job, [(number, row) for number, row in found if row], "similar")
        whole = self._stacked(job, rows, "own")
        return replace(whole, neighbours=similar, problems=tuple(tally.problems), tried=tally.tried)

    def _row(self, job: _Job, number: int, source: Source, tally: _Tally) -> _Row:
        """The pair of a row; in place of one that cannot be read another, drawn by chance."""
        random = self._random("row", job.step, number)
        row = self._opened(source, job.epoch, random, tally)
        others = random.sample(job.others, min(TRIES, len(job.others))) if row is None else []
        for other in others:
            row = self._opened(other, job.epoch, random, tally)
            if row is not None:
                break
        if row is None:
            raise BadData(
                f"step {job.step}: got {len(others) + 1} unreadable images one after another, wanted some that "
                f"open; check the data (the last: {tally.problems[-1].what})"
            )
        return row

    def _similar(self, job: _Job, number: int, sample: Sample, tally: _Tally) -> _Row | None:
        """A similar image with its caption, drawn by chance; None where there is none that can be read."""
        random = self._random("similar", job.step, number)
        for place in random.sample(sample.neighbours, len(sample.neighbours)):
            row = self._opened(place, job.epoch, random, tally)
            if row is not None:
                return row
        return None

    def _opened(self, source: Source, epoch: int, random: Random, tally: _Tally) -> _Row | None:
        tally.tried += 1
        try:
            if isinstance(source, StreamedSample):
                sample = source.sample
                return _Row(sample, self.transform(decode_image(source.content, sample.image).image, random))
            assert self.samples is not None
            sample = self.samples.draw(source, epoch)
            return _Row(sample, self._pixels(self.samples, sample.image, random))
        except BadImage as error:
            tally.problems.append(Problem(sample.image, sample.image, str(error), "handled"))
            return None

    def _pixels(self, samples: Samples, key: str, random: Random) -> Float[Tensor, "channel height width"]:
        if self.kept is None:
            return self.transform(samples.image(key), random)
        if key not in self.kept:
            self.kept[key] = self.transform(samples.image(key), random)
        return self.kept[key]

    def _stacked(self, job: _Job, rows: Sequence[tuple[int, _Row]], part: str) -> Batch:
        """Rows as one batch, with wrong captions of all pairs."""
        foils = [self._foils(job, row.sample, number, part) for number, row in rows]
        empty = torch.zeros(0, 3, *self.transform.transform.size)
        return Batch(
            torch.stack([row.pixels for _, row in rows]) if rows else empty,
            tuple(row.sample.image for _, row in rows),
            tuple(row.sample.caption for _, row in rows),
            tuple(foil for own in foils for foil in own),
            foil_rows=tuple(place for place, own in enumerate(foils) for _ in own),
        )

    def _foils(self, job: _Job, sample: Sample, number: int, part: str) -> list[str]:
        """Some of a caption's wrong captions, drawn by chance; fewer where there are not so many.

        Made ones are of kinds in an order of chance, at most one of each, and the same within an epoch.
        """
        plan = self.negatives
        if plan is None:
            return []
        random = self._random(part, job.step, number)
        if plan.source == "own":
            return random.sample(sample.foils, min(plan.each, len(sample.foils)))
        assert self.candidates is not None
        seed, made = Random(f"{self.seed}/{job.epoch}").getrandbits(32), dict[str, None]()
        for kind in random.sample(plan.kinds, len(plan.kinds)):
            if len(made) == plan.each:
                break
            found = hard_negatives(sample.caption, self.candidates, kinds=(kind,), seed=seed)
            made |= dict.fromkeys(foil.text for foil in found)
        return list(made)

    def _random(self, what: str, step: int, number: int) -> Random:
        return Random(f"{self.seed}/{what}/{step}/{number}")


def _as_it_is(found: Batch | BadInput) -> Batch | BadInput:
    return found


@dataclass(frozen=True)
class Quarantined:
    """An image that could not be read, why, and at which step it was first met."""

    name: str
    reason: str
    step: int


@final
class Quarantine:
    """Images that could not be read, kept in a file by name; says when there are too many of them.

    path: a JSONL file; None where another process writes it.
    limit: what share of the images tried may fail, counted over at least `at_least` of them, so that an
        early one does not stop a run: give no more than an epoch has.
    step, tried, unreadable: where a run is taken up; what the file says of later steps is forgotten.
    """

    def __init__(
        self,
        path: Path | None,
        *,
        limit: float,
        at_least: int = 1000,
        step: int = 0,
        tried: int = 0,
        unreadable: int = 0,
    ) -> None:
        self._path, self._limit, self._at_least = path, limit, at_least
        self.tried, self.unreadable = tried, unreadable
        before = read_jsonl(path) if path is not None and path.exists() else ()
        rows = [Quarantined(**row) for row in before]
        self._rows = {row.name: row for row in rows if row.step < step}
        if path is not None and rows:
            write_jsonl(path, self.rows)

    @property
    def rows(self) -> tuple[Quarantined, ...]:
        """Every name once, with the step that met it first."""
        return tuple(self._rows.values())

    def add(self, problems: Sequence[Problem], tried: int, *, step: int) -> None:
        """Count what all processes tried in a step; BadData once too much of it failed."""
        self.tried, self.unreadable = self.tried + tried, self.unreadable + len(problems)
        known = len(self._rows)
        for problem in problems:
            self._rows.setdefault(problem.item, Quarantined(problem.item, problem.what, step))
        if self._path is not None and len(self._rows) > known:
            write_jsonl(self._path, self.rows)
        if self.unreadable > self._limit * max(self.tried, self._at_least):
            first = "; ".join(f"{row.name}: {row.reason}" for row in self.rows[:3])
            raise BadData(
                f"{self.unreadable} of {self.tried} images could not be read, more than the share of "
                f"{self._limit:g} that `unreadable` allows; {len(self._rows)} by name in quarantine.jsonl, "
                f"the first: {first}. Repair the data or allow a larger "
                f"share, and begin anew (--overwrite): both change what a resumption has to find"
            )
