"""Benchmarks as users name them: one, several or a suite, from a model or from scores made elsewhere."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import alignscope
from alignscope.data.benchmarks.facts import Benchmark
from alignscope.data.benchmarks.hub import HubCopy
from alignscope.data.benchmarks.table import BENCHMARKS, SUITES
from alignscope.data.images import ImageFolder
from alignscope.data.regionfiles import RegionFile, open_regions
from alignscope.data.world.exported import exported_world
from alignscope.errors import BadInput
from alignscope.evaluation.baselines import baselines
from alignscope.files import write_json, write_parquet
from alignscope.models.protocols import PairScorer
from alignscope.models.zoo import open_model
from alignscope.records import Measurement, Question, Regions, Signature
from alignscope.reporting.pages import page
from alignscope.studies.benchmarking.evaluation import Evaluated
from alignscope.studies.benchmarking.evaluation import evaluate as run
from alignscope.studies.benchmarking.given_scores import evaluate_scores
from alignscope.studies.benchmarking.leakage import text_scores
from alignscope.studies.benchmarking.pairwise import check_able
from alignscope.studies.benchmarking.plan import Images
from alignscope.studies.clock import Progress
from alignscope.studies.output import RUN, claim
from alignscope.studies.pictures import regions_of

Scoring = Literal["likelihood", "information", "yes"]
MOST_FOR_BASELINES = 500_000  # items, which are held in memory; a larger benchmark gets none


@dataclass(frozen=True)
class Evaluation:
    """Finished evaluations: where they lie, their page, and each benchmark's numbers."""

    directory: Path
    report: Path
    runs: dict[str, Evaluated]


def evaluate(
    model: str | PairScorer | None,
    benchmarks: str | Sequence[str],
    annotations: Path | str | None = None,
    images: Path | str | None = None,
    *,
    out: Path | str = "runs/evaluate",
    regions: Path | str | Mapping[str, Regions] | None = None,
    calibrate: bool = True,
    scores: Path | str | None = None,
    probabilities: bool = False,
    captions: Path | str | None = None,
    hub: bool = False,
    allow_missing: bool = False,
    cache: Path | str | None = None,
    device: str = "cpu",
    dtype: str = "float32",
    match_index: int | None = None,
    scoring: Scoring | None = None,
    batch_size: int = 64,
    seed: int = 0,
    resume: bool = False,
    overwrite: bool = False,
    command: str = "",
    progress: Progress = lambda stage, done, total: None,
) -> Evaluation:
    """Evaluate a model on benchmarks, by their authors' rules and with intervals, ties and missing counted.

    `benchmarks` is a name, several, or a suite ("composition"). With one, `annotations` and `images` are
    its own; with several they hold a folder per name (`images` may be one folder for all). `scores` takes
    the place of a model. `regions` is a file (or a mapping by image key) for models that take regions of a
    detector in place of pixels; an exported world has its own. A matching head that ranks shuffled pairs
    above matched ones is refused, unless `calibrate` is off; `match_index` and `scoring` are `open_model`'s.
    `captions` trains a trigram model, the baseline of what texts alone tell. `hub` takes copies on the hub
    instead of files (extra `alignscope[hub]`), which downloads them.
    """
    names = named([benchmarks] if isinstance(benchmarks, str) else benchmarks)
    _check_scorer(model, scores, regions, names)
    target, is_suite = Path(out), len(names) > 1
    _check_folders([] if hub or not is_suite else names, annotations)
    scorer = _opened(model, names, device, dtype, match_index, scoring)
    if is_suite and _is_first():
        claim(target, _identity(names), resume=resume, overwrite=overwrite)
    runs: dict[str, Evaluated] = {}
    for name in names:
        where = target / name if is_suite else target
        facts, notes, pictures = _files(name, annotations, images, hub=hub, is_suite=is_suite)
        how: dict[str, Any] = {"seed": seed, "resume": resume, "overwrite": overwrite, "command": command}
        if scorer is None:
            how |= {"annotations": notes, "probabilities": probabilities}
            runs[name] = evaluate_scores(facts, Path(str(scores)), where, **how)
        else:
            how |= {"allow_missing": allow_missing, "batch_size": batch_size, "dtype": dtype}
            how |= {"cache": cache and Path(cache), "progress": _under(name, progress)}
            table = regions if isinstance(regions, Mapping) else _own(regions, name, is_suite)
            how |= _regions(scorer, facts, notes, pictures, table) | {"calibrate": calibrate}
            runs[name] = _from_model(scorer, facts, notes, pictures, where, how)
        if _is_first():
            _told(facts, notes, where, captions, seed)
    return _finished(Evaluation(target, target / "report.html", runs), is_suite=is_suite)


def _finished(found: Evaluation, *, is_suite: bool) -> Evaluation:
    """A suite's run and page are made when all of its benchmarks have theirs."""
    if is_suite and _is_first():
        identity = _identity(list(found.runs))
        write_json(found.directory / RUN, {**identity, "identity": identity, "finished": True})
        page(found.directory)
    return found


def _identity(names: Sequence[str]) -> dict[str, Any]:
    return {"kind": "suite", "version": alignscope.__version__, "runs": list(names)}


def _opened(
    model: str | PairScorer | None,
    names: Sequence[str],
    device: str,
    dtype: str,
    match_index: int | None,
    scoring: Scoring | None,
) -> PairScorer | None:
    """The model, where it can do what is asked."""
    if isinstance(model, str):
        model = open_model(model, device=device, dtype=dtype, match_index=match_index, scoring=scoring)
    elif match_index is not None or scoring is not None:
        raise BadInput(
            "got match_index or scoring for a model that is open: give its name, or leave them out"
        )
    if model is not None:
        for name in names:
            check_able(model, BENCHMARKS[name])
    return model


def _regions(
    model: PairScorer,
    benchmark: Benchmark,
    annotations: Path | None,
    images: Images | None,
    regions: Path | Mapping[str, Regions] | None,
) -> dict[str, Any]:
    """Where the regions of a benchmark's images are, in a file or in the world that was exported; remarks on them."""
    if benchmark.asks == "similarity":
        return {}
    table = open_regions(regions) if isinstance(regions, Path) else regions
    needs_world = model.traits.unit == "region" and table is None
    source = (exported_world(annotations) if needs_world else None) or images
    remarks = table.notes if isinstance(table, RegionFile) else ()
    return {"regions": regions_of(model, source, table), "remarks": remarks}


def _told(
    benchmark: Benchmark, annotations: Path | None, out: Path, captions: Path | str | None, seed: int
) -> None:
    """Baselines and the page of a finished run."""
    if annotations is not None:
        write_baselines(benchmark, annotations, out, captions=captions, seed=seed)
    page(out)


def _check_scorer(model: object, scores: object, regions: object, names: Sequence[str]) -> None:
    if (model is None) == (scores is None):
        raise BadInput("give a model (--model) or a file of scores made elsewhere (--scores), one of the two")
    if scores is not None and len(names) > 1:
        raise BadInput(f"one file of scores for {len(names)} benchmarks: evaluate them one by one")
    if scores is not None and regions is not None:
        raise BadInput("got regions with scores made elsewhere: regions are for a model, leave them out")


def _check_folders(names: Sequence[str], annotations: Path | str | None) -> None:
    """Refuse several benchmarks of which some are absent, before any of them runs."""
    absent = [name for name in names if annotations is None or not (Path(annotations) / name).exists()]
    if absent:
        there = " ".join(name for name in names if name not in absent)
        raise BadInput(
            f"{annotations}: got nothing named {', '.join(absent)}, wanted a folder or file of each benchmark's "
            f"name; put them there, or name the others alone ({there or 'none is there'})"
        )


def _from_model(
    model: PairScorer,
    benchmark: Benchmark,
    annotations: Path | None,
    images: Images | None,
    out: Path,
    how: dict[str, Any],
) -> Evaluated:
    if annotations is None:
        raise BadInput(f"no annotations for {benchmark.name}: give --annotations ({benchmark.files})")
    return run(model, benchmark, annotations, images, out, **how)


def _files(
    name: str,
    annotations: Path | str | None,
    images: Path | str | None,
    *,
    hub: bool,
    is_suite: bool,
) -> tuple[Benchmark, Path | None, Images | None]:
    """The benchmark, its annotations and its images: the user's files, or a copy on the hub."""
    if hub:
        copy = HubCopy(BENCHMARKS[name])
        return copy.benchmark, Path(copy.name), copy
    pictures = _own(images, name, is_suite)
    folder = None if pictures is None else ImageFolder(pictures)
    return BENCHMARKS[name], _own(annotations, name, is_suite), folder


def named(names: Sequence[str]) -> tuple[str, ...]:
    """Benchmarks by name, suites in place, each once."""
    found = [each for name in names for each in SUITES.get(name, (name,))]
    for name in found:
        BENCHMARKS[name]  # an unknown name says what it may have meant
    return tuple(dict.fromkeys(found))


def write_baselines(
    benchmark: Benchmark, annotations: Path, out: Path, *, captions: Path | str | None = None, seed: int = 0
) -> list[Measurement]:
    """What can be reached without an image, beside a run's numbers.

    A trigram model learns from `captions`, those of the benchmark itself left out.
    """
    questions = [line for line in benchmark.read(annotations) if isinstance(line, Question)]
    if len(questions) > MOST_FOR_BASELINES:
        return []
    sha = json.loads((out / RUN).read_text(encoding="utf-8"))["data"]["sha"]
    images = len({shown.key for question in questions for shown in question.images})
    signature = Signature(
        *("chance", benchmark.name, sha, len(questions), images, "no model", "none"),
        seed=seed,
        version=alignscope.__version__,
    )
    texts = {}
    if captions is not None:
        texts = text_scores([Path(captions)], questions)
        signature = replace(signature, method=f"trigram of {Path(captions).name}")
    found = baselines(questions, benchmark.asks, signature=signature, text_scores=texts, seed=seed)
    write_parquet(out / "baselines.parquet", found, Measurement)
    return found


def _own(folder: Path | str | None, name: str, is_one_of_many: bool) -> Path | None:
    """The folder of one benchmark; of several, the one of its name where there is one."""
    if folder is None:
        return None
    own = Path(folder) / name
    return own if is_one_of_many and own.exists() else Path(folder)


def _under(name: str, progress: Progress) -> Progress:
    """Progress with the benchmark's name before the stage."""
    return lambda stage, done, total: progress(f"{name}: {stage}", done, total)


def _is_first() -> bool:
    """Whether this process is the one that writes pages (torchrun starts several)."""
    return os.environ.get("RANK", "0") == "0"
