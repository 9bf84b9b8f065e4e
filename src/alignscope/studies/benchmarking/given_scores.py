"""Benchmarks measured from scores or ranks that were made elsewhere: models we cannot load count too."""

from __future__ import annotations

import datetime
import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import alignscope
from alignscope.data.benchmarks.facts import Benchmark, told_of, unread_by_subset
from alignscope.data.benchmarks.winoground import diwan_tags
from alignscope.data.rankfiles import bare_retrieval, read_ranks
from alignscope.data.scorefiles import bare_questions, read_scores
from alignscope.errors import BadData, BadInput
from alignscope.evaluation.official import measure
from alignscope.evaluation.retrieval import mean_recall, recall
from alignscope.files import write_json, write_jsonl, write_parquet
from alignscope.records import DRAWS, Measurement, OptionScore, Problem, Question, Rank, Signature
from alignscope.studies.benchmarking.evaluation import Evaluated
from alignscope.studies.output import RUN, claim

TAGS = "new_tag_assignments.json"


def evaluate_scores(
    benchmark: Benchmark,
    scores: Path,
    out: Path,
    *,
    annotations: Path | None = None,
    probabilities: bool = False,
    seed: int = 0,
    draws: int = DRAWS,
    resume: bool = False,
    overwrite: bool = False,
    command: str = "",
) -> Evaluated:
    """As `evaluate`, from a file of scores (for retrieval a folder of rank arrays) instead of a model.

    Without `annotations` the items are those that the file names. What a score file lacks or has too much
    is a problem by item; an item without a score is missing, never wrong.
    """
    digest = _digest(scores)
    identity = {
        "kind": "evaluate",
        "version": alignscope.__version__,
        "model": {"name": scores.stem, "fingerprint": digest},
        "benchmark": benchmark.name,
        "dtype": "as given",
        "settings": {"seed": seed, "draws": draws, "probabilities": probabilities},
    }
    started = datetime.datetime.now(datetime.UTC)
    told: list[Problem] = []
    questions = _questions(benchmark, scores, annotations, told)
    claim(out, identity, resume=resume, overwrite=overwrite)
    images = len({shown.key for question in questions for shown in question.images})
    signature = Signature(
        "official accuracy",
        benchmark.name,
        *(digest[:12], len(questions), images, scores.stem, digest[:12]),
        dtype="as given",
        seed=seed,
        version=alignscope.__version__,
    )
    how: dict[str, Any] = {"signature": signature, "draws": draws, "seed": seed}
    if benchmark.asks == "retrieval":
        numbers = _ranked(scores, questions, out, told, how)
    else:
        numbers = _scored(benchmark, scores, questions, annotations, out, told, probabilities, how)
    write_parquet(out / "measurements.parquet", numbers, Measurement)
    write_jsonl(out / "problems.jsonl", told)
    run: dict[str, Any] = {**identity, "identity": identity, "finished": True, "command": command}
    run["benchmark"] = told_of(benchmark)
    run["data"] = {"name": benchmark.name, "sha": digest[:12], "scores": scores.name}
    lost = {problem.item for problem in told if problem.action == "unscored"} - {""}
    run["counts"] = {
        "items": len(questions) - len(lost & {question.id for question in questions}),
        "missing": len(lost),
        "images": images,
        "problems": len(told),
    }
    write_json(out / RUN, run | {"started": started.isoformat(timespec="seconds"), "seed": seed})
    return Evaluated(out, tuple(numbers), len(told))


def _questions(
    benchmark: Benchmark, scores: Path, annotations: Path | None, told: list[Problem]
) -> Sequence[Question]:
    """What is asked: as the authors' files have it, or as far as the scores tell."""
    if annotations is None:
        if benchmark.asks == "retrieval":
            return bare_retrieval(scores)
        if benchmark.official.average == "groups":
            raise BadInput(
                f"{benchmark.name}: got scores without --annotations, but its authors average over groups, which "
                "scores do not tell: give the annotations"
            )
        beside = scores.parent.parent / TAGS
        tags = diwan_tags(beside) if benchmark.asks == "pairing" and beside.is_file() else None
        return bare_questions(scores, benchmark, tags=tags)
    lines = list(benchmark.read(annotations))
    told += [line for line in lines if isinstance(line, Problem)]
    questions = [line for line in lines if isinstance(line, Question)]
    if not questions:
        raise BadData(f"{annotations}: got no item, wanted {benchmark.files}; check the path")
    return questions


def _ranked(
    directory: Path, questions: Sequence[Question], out: Path, told: list[Problem], how: dict[str, Any]
) -> list[Measurement]:
    ranks: list[Rank] = []
    missing: Counter[str] = Counter({"image to text": 0, "text to image": 0})
    for one in read_ranks(directory, questions):
        if isinstance(one, Rank):
            ranks.append(one)
        else:
            told.append(one)
    missing["image to text"] = len(questions) - sum(rank.direction == "image to text" for rank in ranks)
    captions = sum(len(question.texts) for question in questions)
    missing["text to image"] = captions - sum(rank.direction == "text to image" for rank in ranks)
    write_parquet(out / "ranks.parquet", ranks, Rank)
    return [*recall(ranks, missing=missing, **how), *mean_recall(ranks, missing=missing, **how)]


def _scored(
    benchmark: Benchmark,
    scores: Path,
    questions: Sequence[Question],
    annotations: Path | None,
    out: Path,
    told: list[Problem],
    probabilities: bool,
    how: dict[str, Any],
) -> list[Measurement]:
    def read() -> Iterator[OptionScore]:
        for one in read_scores(scores, benchmark, questions, annotations=annotations):
            if isinstance(one, OptionScore):
                yield one
            else:
                told.append(one)

    asked = {question.id for question in questions}
    unread = {one.item for one in told if one.action == "unscored"} - {"", *asked}
    missing = unread_by_subset(unread, {*benchmark.sizes, *(question.subset for question in questions)})
    records = list(read())
    write_parquet(out / "scores.parquet", records, OptionScore)
    return measure(benchmark, records, missing=missing, probabilities=probabilities, **how)


def _digest(scores: Path) -> str:
    """Hash of a file, or of the arrays in a folder."""
    digest = hashlib.sha256()
    files = sorted(scores.glob("*.npy")) if scores.is_dir() else [scores]
    for path in files:
        try:
            digest.update(path.read_bytes())
        except OSError as error:
            raise BadData(
                f"{path}: got {error.strerror}, wanted a file of scores (JSONL), or for retrieval a folder "
                "of rank arrays; check the path"
            ) from None
    return digest.hexdigest()
