"""What the scores of all shards come to: counts, the limit of what may go without one, mean and quantiles."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

import alignscope
from alignscope.errors import BadData
from alignscope.evaluation.intervals import Interval, Sample, clustered_ratio
from alignscope.files import sha_of, write_jsonl
from alignscope.records import Measurement, Problem, Signature
from alignscope.studies.shards.one_shard import ShardFacts

QUANTILES = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
AT_LEAST = 1000
"""Samples over which the share without a score is counted, as in training: an early one stops no run."""


def facts_of(path: Path) -> ShardFacts:
    """The signature of a shard as it was written."""
    try:
        return ShardFacts(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise BadData(f"{path}: no signature of a shard ({error}): delete it and give --resume") from None


def telling(facts: ShardFacts) -> int:
    """How many problems a shard has."""
    return facts.unscored + bool(facts.broken)


def limit_of(known: Sequence[ShardFacts], *, shards: int, unscored: float) -> None:
    """BadData where more samples have no score, or more shards are broken, than the share that is allowed.

    Counted over at least so many samples, or shards, that a single one does not stop a run that allows any.
    """
    samples, lost = sum(facts.samples for facts in known), [facts for facts in known if facts.unscored]
    broken = [facts for facts in known if facts.broken]
    without = sum(facts.unscored for facts in lost)
    if without > unscored * max(samples, AT_LEAST):
        raise BadData(
            f"{without} of {samples} samples have no score, more than the share of {unscored:g} that `unscored` "
            f"allows, as those of {lost[0].shard}; its table of scores says why, sample by sample. Repair the data, or "
            "go on with --resume and a larger --unscored"
        )
    if len(broken) > max(unscored * shards, bool(unscored)):
        raise BadData(
            f"{len(broken)} of {len(known)} shards could not be read to their end, of {shards}, more than the share of "
            f"{unscored:g} that `unscored` allows; the first, {broken[0].shard}: {broken[0].broken}. Repair them (and "
            "delete their files of scores), or go on with --resume and a larger --unscored"
        )


def numbers(tables: Sequence[Path], known: Sequence[ShardFacts], *, name: str) -> list[Measurement]:
    """Mean and quantiles of all scores: memory for one number of four bytes per sample."""
    scored = sum(facts.scored for facts in known)
    if not scored:
        first = next((facts.broken for facts in known if facts.broken), "their tables of scores say why")
        raise BadData(f"no sample of {name} could be scored; {first}")
    about = Signature(
        "score",
        name,
        sha_of([facts.sha for facts in known]),
        scored,
        scored,
        known[0].model,
        known[0].weights[:12],
        dtype=known[0].dtype,
        version=alignscope.__version__,
    )
    missing = sum(facts.unscored for facts in known)
    return [row for measure in ("score", "cosine") for row in _measured(measure, tables, about, missing)]


def _measured(measure: str, tables: Sequence[Path], about: Signature, missing: int) -> Iterator[Measurement]:
    columns = [_column(table, measure) for table in tables]
    values = np.concatenate(columns)
    if not len(values):  # cosines of a model that has none
        return
    told: dict[str, Any] = {"items": len(values), "images": len(values), "missing": missing}
    told |= {"unit": measure, "signature": str(replace(about, measure=measure))}
    mean = _mean([column for column in columns if len(column)])
    yield Measurement(f"mean {measure}", "all", mean.value, mean.low, mean.high, **told, reason=mean.reason)
    for share, value in zip(QUANTILES, np.quantile(values, QUANTILES), strict=True):
        reason = "a quantile of all samples: no interval"
        yield Measurement(
            f"{measure} quantile", f"{share:.0%}", float(value), None, None, **told, reason=reason
        )


def _mean(columns: Sequence[Float[np.ndarray, " sample"]]) -> Interval:
    """The mean of all samples with an interval from shards drawn anew, because a shard's samples hang together."""
    sums = np.array([column.sum(dtype=np.float64) for column in columns])
    counts = np.array([len(column) for column in columns], dtype=np.float64)
    if len(columns) == 1:
        return Interval(float(sums[0] / counts[0]), None, None, "one shard: no interval")
    shards = np.arange(len(columns))
    return clustered_ratio(Sample(sums, shards), Sample(counts, shards))


def _column(table: Path, name: str) -> Float[np.ndarray, " sample"]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(table, columns=[name]).column(name).drop_null().to_numpy()
    except (pa.ArrowException, OSError, KeyError) as error:
        raise BadData(
            f"{table}: no table of scores ({error}): delete it and its .json, and give --resume"
        ) from None


def write_problems(path: Path, tables: Sequence[Path], known: Sequence[ShardFacts]) -> int:
    """Every sample without a score and every broken shard as one line; returns how many."""
    return write_jsonl(path, _problems(tables, known))


def _problems(tables: Sequence[Path], known: Sequence[ShardFacts]) -> Iterator[Problem]:
    import pyarrow.parquet as pq

    for table, facts in zip(tables, known, strict=True):
        if facts.broken:
            yield Problem(facts.shard, facts.shard, facts.broken, "unscored")
        if facts.unscored:
            for row in pq.read_table(table, columns=["key", "problem"]).to_pylist():
                if row["problem"]:
                    yield Problem(f"{facts.shard}/{row['key']}", row["key"], row["problem"], "unscored")
