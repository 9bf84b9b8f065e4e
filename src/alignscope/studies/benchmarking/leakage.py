"""What of a benchmark a training list holds, what that does to a run's accuracy, and what text alone tells."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import alignscope
from alignscope.data.benchmarks.facts import Benchmark
from alignscope.data.benchmarks.table import BENCHMARKS
from alignscope.data.leaks import Overlap, Training, captions_unlike, overlaps, read_training
from alignscope.errors import BadData, OutputExists
from alignscope.evaluation.baselines import TextScore
from alignscope.evaluation.columns import in_columns
from alignscope.evaluation.leaks import accuracy_by_overlap, items_seen
from alignscope.files import as_row, stream_parquet, write_jsonl, write_parquet
from alignscope.language import ngrams
from alignscope.records import DRAWS, Measurement, OptionScore, Question, Signature
from alignscope.studies.output import RUN

SCORES = "scores.parquet"


@dataclass(frozen=True)
class Leaks:
    """What was found: a line per item, the numbers, what training lists held, items that could not be read."""

    items: list[Overlap]
    measurements: list[Measurement]
    training: Training
    unread: int


def find_leaks(
    benchmark: str,
    annotations: Path,
    training: Sequence[Path],
    out: Path,
    *,
    run: Path | None = None,
    overwrite: bool = False,
    draws: int = DRAWS,
    seed: int = 0,
) -> Leaks:
    """Compare a benchmark with training lists; a line per item goes to `out`, all numbers beside it as Parquet.

    With the directory of a `run`, its accuracy on clean items and on those that training saw.
    """
    numbers = numbers_beside(out)
    for path in (out, numbers):
        if path.exists() and not overwrite:
            raise OutputExists(f"{path} exists: give --overwrite or another --out")
    facts: Benchmark = BENCHMARKS[benchmark]
    seen = read_training(training)
    read, unread = hashlib.sha256(), 0

    def asked() -> Iterator[Question]:
        nonlocal unread
        for line in facts.read(annotations):
            read.update(json.dumps(as_row(line), sort_keys=True).encode())
            if isinstance(line, Question):
                yield line
            else:
                unread += line.action == "unscored"

    items = list(overlaps(asked(), facts.asks, seen))
    if not items:
        raise BadData(f"{annotations}: got no item of {benchmark}, wanted {facts.files}; check --annotations")
    sha, version = read.hexdigest()[:12], alignscope.__version__
    signature = Signature("", facts.name, sha, len(items), 0, "none", "none", version=version)
    measurements = items_seen(items, signature=signature)
    if run is not None:
        model, weights = _model(run)
        measurements += accuracy_by_overlap(
            items,
            in_columns(_scores(run, facts.name), benchmark=facts.name),
            asks=facts.asks,
            signature=replace(signature, model=model, weights=weights),
            draws=draws,
            seed=seed,
        )
    write_jsonl(out, items)
    write_parquet(numbers, measurements, Measurement)
    return Leaks(items, measurements, seen, unread)


def numbers_beside(out: Path) -> Path:
    """Where the numbers go.

    >>> numbers_beside(Path("runs/leaks.jsonl")).as_posix()
    'runs/leaks-measurements.parquet'
    """
    return out.parent / f"{out.stem}-measurements.parquet"


def text_scores(
    captions: Sequence[Path], questions: Sequence[Question], *, order: int = 3
) -> dict[str, TextScore]:
    """An n-gram model of files of captions, for `baselines`: probability, which prefers short texts, and per word.

    The model learns no caption of an image that is asked about, nor one that is a text of a question.
    """
    model = ngrams.train(captions_unlike(captions, questions), order)
    return {
        f"{order}-gram probability": model.logprob,
        f"{order}-gram probability per word": lambda text: (
            model.logprob(text) / (len(ngrams.words_of(text)) + 1)
        ),
    }


def _scores(run: Path, benchmark: str) -> Iterator[OptionScore]:
    """A run's scores of one benchmark, never all of them at once."""
    path = run / SCORES
    if not path.is_file():
        raise BadData(
            f"{run}: got no {SCORES} there, wanted the --out of `alignscope evaluate` on a benchmark whose items "
            "are right or wrong one by one (not retrieval); check --run"
        )
    return (score for score in stream_parquet(path, OptionScore) if score.benchmark == benchmark)


def _model(run: Path) -> tuple[str, str]:
    """The model's name and fingerprint, where the run says them."""
    try:
        said = json.loads((run / RUN).read_text(encoding="utf-8"))["model"]
        return str(said["name"]), str(said["fingerprint"])
    except (OSError, ValueError, KeyError, TypeError):
        return "unknown", "unknown"
