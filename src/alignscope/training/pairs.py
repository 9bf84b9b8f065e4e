"""The pairs of a recipe, opened: batches to train on, pairs to validate on, and what their words allow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from alignscope.language.replacements import Candidates
from alignscope.models.dual.vision import ImageTransform
from alignscope.records import FOIL_KINDS, Caption, Problem
from alignscope.training.engine import Engine
from alignscope.training.loading import Loader, batches, steps_of
from alignscope.training.metrics import Seen, Watch
from alignscope.training.places import PlacedSamples
from alignscope.training.samples import SampleStream, StreamedSample
from alignscope.training.settings import DataPlan, FineTuning, ParquetData, ShardData, ValidationPlan
from alignscope.training.sources import open_samples
from alignscope.training.streaming import open_stream
from alignscope.training.validation import Held, held
from alignscope.training.worded import Coverage, Replacements, candidates_of, classed, coverage

LOOKED_AT = 10_000
"""Captions of a stream that speak for all: its coverage, and the words that replace others."""


@dataclass(frozen=True)
class Pairs:
    """What a run trains on and looks at; `coverage` is None where no loss asks for words."""

    name: str
    sha: str
    count: int | None  # samples of an epoch; None of a stream
    source: Loader
    samples: PlacedSamples | SampleStream
    candidates: Candidates | None
    coverage: Coverage | None
    held: Held | None
    held_sha: str | None
    problems: tuple[Problem, ...]  # of all data as a whole; unreadable images come with their batch

    @property
    def shas(self) -> str:
        """What a run that goes on must find again: data and, where there are any, the pairs looked at."""
        return self.sha if self.held_sha is None else f"{self.sha} and {self.held_sha}"


@dataclass(frozen=True)
class _Words:
    """What the captions of the data say, and what had to be done about it."""

    coverage: Coverage
    replacements: Replacements  # of perturbation
    foils: Replacements  # of made negatives


@dataclass(frozen=True)
class _LookedAt:
    """The pairs of a validation, the hash of their data and what of these cannot be used."""

    pairs: Held | None
    sha: str | None
    problems: tuple[Problem, ...]


def open_pairs(
    recipe: FineTuning, transform: ImageTransform, engine: Engine, *, workers: int, watch: Watch
) -> Pairs:
    """Everything a recipe reads. The first process opens and parses, the others are given what it found."""
    makes_negatives = recipe.negatives is not None and recipe.negatives.source == "made"
    needs_words = recipe.attribution is not None or makes_negatives
    own = recipe.negatives.kinds if recipe.negatives and recipe.negatives.source == "own" else ()

    def opened() -> tuple[PlacedSamples | SampleStream, _Words | None, _LookedAt]:
        samples = _open(recipe.data, recipe.seed, needs_words, own, watch)
        words = _words(samples, recipe) if needs_words else None
        plan = recipe.validation
        return samples, words, _held(plan, recipe, needs_words, watch) if plan else _LookedAt(None, None, ())

    samples, words, looked_at = engine.first(opened)
    source = batches(
        samples,
        batch=recipe.batch,
        seed=recipe.seed,
        steps=recipe.steps or steps_of(samples, epochs=recipe.epochs, batch=recipe.batch),
        transform=transform,
        augmentation=recipe.augmentation,
        negatives=recipe.negatives,
        candidates=words.foils.candidates if words else None,
        classed=classed if isinstance(samples, SampleStream) and needs_words else None,
        rank=engine.rank,
        world=engine.world,
        workers=workers,
    )
    problems = list(() if isinstance(samples, SampleStream) else samples.problems)
    if words is not None:
        problems += [*words.replacements.problems, *words.foils.problems]
    problems += looked_at.problems
    return Pairs(
        samples.name,
        samples.sha,
        None if isinstance(samples, SampleStream) else len(samples),
        source,
        samples,
        words.replacements.candidates if words else None,
        words.coverage if words else None,
        looked_at.pairs,
        looked_at.sha,
        tuple(dict.fromkeys(problems)),
    )


def _open(
    plan: DataPlan, seed: int, needs_words: bool, foil_kinds: Sequence[str], watch: Watch
) -> PlacedSamples | SampleStream:
    if isinstance(plan, ShardData | ParquetData):
        return open_stream(plan, seed=seed)

    def progress(stage: str, done: int, total: int) -> None:
        watch(Seen(stage, done, total))

    return open_samples(plan, seed=seed, needs_words=needs_words, foil_kinds=foil_kinds, progress=progress)


def _words(samples: PlacedSamples | SampleStream, recipe: FineTuning) -> _Words:
    """Of samples with places all captions are looked at, of a stream the first ones of its first epoch."""
    if isinstance(samples, SampleStream):
        captions = classed(
            [one.sample.caption for one in _first(samples, LOOKED_AT, [])]
        )  # problems come with their batch
        every: Callable[[], Iterable[Caption]] = lambda: captions  # noqa: E731
    else:
        every = samples.captions
    words = candidates_of(every, name=samples.name)
    phrases = candidates_of(every, name=samples.name, phrases=True)
    foils = phrases if recipe.negatives and recipe.negatives.exclusive else words
    if recipe.attribution and recipe.attribution.exclusive:
        apart = replace(words.candidates, together=phrases.candidates.together)
        words = replace(words, candidates=apart)
    return _Words(coverage(every()), words, foils)


def _held(plan: ValidationPlan, recipe: FineTuning, needs_words: bool, watch: Watch) -> _LookedAt:
    samples = _open(plan.data, recipe.seed, needs_words, FOIL_KINDS, watch)
    if not isinstance(samples, SampleStream):
        return _LookedAt(held(samples, pairs=plan.pairs, seed=recipe.seed), samples.sha, samples.problems)
    problems: list[Problem] = []
    found = _first(samples, plan.pairs, problems)
    captions: Sequence[Caption] = [one.sample.caption for one in found]
    worded = classed(captions) if needs_words else captions
    return _LookedAt(Held.of_stream(found, worded), samples.sha, tuple(problems))


def _first(stream: SampleStream, count: int, problems: list[Problem]) -> list[StreamedSample]:
    """The first usable samples; what is met on the way to them is added to the problems."""
    found: list[StreamedSample] = []
    for one in stream.read(0):
        if isinstance(one, Problem):
            problems.append(one)
        else:
            found.append(one)
        if len(found) == count:
            break
    return found
