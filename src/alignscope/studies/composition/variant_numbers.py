"""What is measured of each model of a study of variants: the audit in the world, or benchmarks and the user's pairs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from alignscope.attribution.options import METHODS
from alignscope.data.benchmarks.table import BENCHMARKS
from alignscope.data.images import ImageFolder
from alignscope.data.world.world import World
from alignscope.errors import AlignscopeError, BadImage
from alignscope.evaluation.aggregates import table_5_average
from alignscope.files import read_parquet
from alignscope.models.protocols import PairScorer
from alignscope.records import Measurement, Problem, Question, Trial
from alignscope.reporting.variants_paper import MEAN, MEANS, TABLE_1
from alignscope.studies.auditing.audit import Settings, audit
from alignscope.studies.auditing.map_checks import Plan
from alignscope.studies.benchmarking.suite import evaluate
from alignscope.studies.output import is_finished
from alignscope.studies.public import attribute_to

SIMILARITY, PARAPHRASES, WORLD = "world-similarity", "world-paraphrases", "world"
AUDIT, BENCHMARK_RUNS, PAIRS = "audit", "benchmarks", "pairs"
TEXT_ONLY = "TOT | "
PARAPHRASED = 300
"""Scenes whose captions are paraphrased: each gives some fifteen texts."""


@final
@dataclass(frozen=True)
class BenchmarkPlan:
    """A benchmark by its name and where its files are; with `allow_missing` on the items that are there."""

    name: str
    annotations: str
    images: str = ""
    allow_missing: bool = False


@final
@dataclass(frozen=True)
class PairsPlan:
    """The user's own captions, whose words' attribution is measured; about `checked` of them are checked."""

    captions: str
    images: str
    checked: int = 200


@final
@dataclass(frozen=True)
class OnWorld:
    """An audit on scenes of the world's test split, and texts against texts."""

    scenes: int
    checked: int


@final
@dataclass(frozen=True)
class OnBenchmarks:
    """Benchmarks, and attributions of the user's pairs."""

    benchmarks: tuple[BenchmarkPlan, ...]
    pairs: PairsPlan | None


def is_measured(what: OnWorld | OnBenchmarks, place: Path) -> bool:
    """Whether all that is to be measured of a model is there."""
    parts = [AUDIT, SIMILARITY, PARAPHRASES] if isinstance(what, OnWorld) else _parts(what).values()
    return all(is_finished(place / part) for part in parts)


def measure(what: OnWorld | OnBenchmarks, model: PairScorer, place: Path, world: Path) -> None:
    """All of it, what is finished left as it is; `world` holds the exported scenes of the world's texts."""
    if isinstance(what, OnWorld):
        settings = Settings(plan=Plan(METHODS, checked=what.checked))
        audit(model, World("test", size=what.scenes), place / AUDIT, settings=settings, resume=True)
        evaluate(model, SIMILARITY, world, out=place / SIMILARITY, resume=True)
        evaluate(model, PARAPHRASES, world, world / "images", out=place / PARAPHRASES, resume=True)
        return
    for one in what.benchmarks:
        out = place / BENCHMARK_RUNS / one.name
        if not is_finished(out):
            evaluate(
                model,
                one.name,
                one.annotations,
                one.images or None,
                out=out,
                allow_missing=one.allow_missing,
                resume=True,
            )
    if what.pairs and not is_finished(place / PAIRS):
        pairs = {"pairs": what.pairs.captions, "images": what.pairs.images, "checked": what.pairs.checked}
        attribute_to(model, place / PAIRS, resume=True, **pairs)  # type: ignore[arg-type]


def data_of(what: OnWorld | OnBenchmarks, place: Path) -> str:
    """The data as signatures say it; of benchmarks each with its hash and what is missing, as a model's runs tell."""
    if isinstance(what, OnWorld):
        return f"world-test|scenes:{what.scenes}"
    told = []
    for name, part in _parts(what).items():
        run: Any = json.loads((place / part / "run.json").read_text(encoding="utf-8"))
        counts = run.get("counts", {"missing": 0})  # of pairs: what has no image is among their problems
        lost = counts["missing"]
        lacks = f"[{lost} of {lost + counts['items']} missing]" if lost else ""
        told.append(f"{name}@{run['data']['sha'][:6]}{lacks}")
    return ",".join(told)


def _parts(what: OnBenchmarks) -> dict[str, str]:
    """Where the runs of a model lie, by what they are on."""
    parts = {one.name: f"{BENCHMARK_RUNS}/{one.name}" for one in what.benchmarks}
    return parts | ({PAIRS: PAIRS} if what.pairs else {})


def trials_of(what: OnWorld | OnBenchmarks, name: str, seed: int, place: Path) -> Iterator[Trial]:
    """What was measured of a model, and what its training cost."""
    found = _in_world(name, seed, place) if isinstance(what, OnWorld) else _on_data(what, name, seed, place)
    yield from found
    for measured, value in _costs(place / "training" / "model" / "training.json").items():
        yield Trial(name, seed, measured, "all", value, "seconds" if "seconds" in measured else "number")


def _in_world(name: str, seed: int, place: Path) -> Iterator[Trial]:
    for m in _measured(place / AUDIT):
        yield Trial(name, seed, m.measure, m.group, m.value, m.unit, m.method)
    for m in _measured(place / SIMILARITY):
        if m.measure == "spearman":
            yield Trial(name, seed, "paraphrase spearman", m.group, m.value, m.unit)
    for m in _measured(place / PARAPHRASES):
        if m.measure == "accuracy" and m.group.startswith(TEXT_ONLY):
            yield Trial(name, seed, "paraphrase nearer", m.group.removeprefix(TEXT_ONLY), m.value, m.unit)


def _on_data(what: OnBenchmarks, name: str, seed: int, place: Path) -> Iterator[Trial]:
    """Every number of every benchmark under its name, the means that paper B makes of them, and the pairs'."""
    figures: dict[tuple[str, str, str], float | None] = {}
    for one in what.benchmarks:
        for m in _measured(place / BENCHMARK_RUNS / one.name):
            group = one.name if m.group == "all" else f"{one.name} | {m.group}"
            figures[m.measure, m.method, group] = m.value
            yield Trial(name, seed, m.measure, group, m.value, m.unit, m.method)
    for group, value in means_of(figures).items():
        yield Trial(name, seed, MEAN, group, value, "share")
    if what.pairs:
        for m in _measured(place / PAIRS):
            yield Trial(name, seed, m.measure, m.group, m.value, m.unit, m.method)


def means_of(figures: Mapping[tuple[str, str, str], float | None]) -> dict[str, float]:
    """Paper B's means over benchmarks: those of Table 5 where all of their parts are there, and that of Table 1.

    >>> means_of({("official accuracy", "", "aro-relation"): 0.5, ("official accuracy", "", "aro-attribute"): 0.75})
    {'ARO': 0.625, 'Table 1': 0.625}
    """
    known = {key: value for key, value in figures.items() if value is not None}
    means = {
        group: sum(known[key] for key in keys) / len(keys)
        for group, keys in MEANS.items()
        if all(key in known for key in keys)
    }
    parted = ((measure, group.partition(" | "), value) for (measure, _, group), value in known.items())
    average = table_5_average(
        {(part[0], measure, part[2] or "all"): value for measure, part, value in parted}
    )
    if average is not None:
        means["Table 5"] = average
    columns = [known[key] for key in TABLE_1.values() if key in known]
    if columns:
        means["Table 1"] = sum(columns) / len(columns)
    return means


def missing_of_benchmarks(what: OnBenchmarks) -> Iterator[str]:
    """What of benchmarks and pairs is not there: files, items that cannot be read, images."""
    for one in what.benchmarks:
        yield from _missing(one)
    if what.pairs:
        places = {"captions": what.pairs.captions, "images": what.pairs.images}
        yield from (
            f"[{PAIRS}] {entry}: nothing at {path}"
            for entry, path in places.items()
            if not Path(path).exists()
        )


def _missing(plan: BenchmarkPlan) -> Iterator[str]:
    facts, place = BENCHMARKS[plan.name], f"[benchmarks.{plan.name}]"
    folder = ImageFolder(Path(plan.images)) if plan.images else None
    wanted = {"annotations": (plan.annotations, facts.files), "images": (plan.images, facts.images)}
    absent = {
        entry: (path, says) for entry, (path, says) in wanted.items() if path and not Path(path).exists()
    }
    yield from (
        f"{place} {entry}: nothing at {path}, wanted {says}" for entry, (path, says) in absent.items()
    )
    if absent:
        return
    total, lost, first = 0, 0, ""
    known: dict[str, str] = {}
    try:
        for line in facts.read(Path(plan.annotations)):
            if isinstance(line, Problem):
                fault = f"{line.subject}: {line.what}" if line.action == "unscored" else None
            else:
                fault = _fault(line, folder, known) if folder is not None else ""
            total += fault is not None
            lost += bool(fault)
            first = first or fault or ""
    except AlignscopeError as error:
        yield f"{place} annotations: {error}"
        return
    if not total:
        yield f"{place} annotations: no item in {plan.annotations}, wanted {facts.files}"
    elif lost == total or (lost and not plan.allow_missing):
        rest = (
            ""
            if lost == total
            else ", or give its table in the study allow_missing = true to have it said in every signature"
        )
        yield f"{place}: {lost:,} of {total:,} items cannot be scored, such as {first}: put them there{rest}"


def _fault(question: Question, folder: ImageFolder, known: dict[str, str]) -> str:
    """Why an image of a question is not there, "" where all are."""
    for shown in question.images:
        if shown.key not in known:
            try:
                known[shown.key] = "" if folder.path(shown.key).is_file() else f"no file {shown.key}"
            except BadImage as error:
                known[shown.key] = str(error)
        if known[shown.key]:
            return known[shown.key]
    return ""


def _measured(directory: Path) -> list[Measurement]:
    return read_parquet(directory / "measurements.parquet", Measurement)


def _costs(path: Path) -> Mapping[str, float | None]:
    """Seconds of a step and the weight of the attribution loss, where the training wrote them."""
    if not path.exists():
        return {}
    made: Any = json.loads(path.read_text(encoding="utf-8"))
    return {"seconds per step": made["seconds"] / made["steps"], "lambda": made["lambda"]}
