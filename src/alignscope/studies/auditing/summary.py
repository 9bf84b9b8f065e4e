"""From the saved records of attribution to numbers and curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from alignscope.attribution.options import Options
from alignscope.evaluation.agreement import agreement_summary
from alignscope.evaluation.densities import heat_densities
from alignscope.evaluation.faithfulness import curves, faithfulness_summary
from alignscope.evaluation.heats import measure_heats, read_heat_columns
from alignscope.evaluation.phrases import phrase_densities, phrase_similarities
from alignscope.evaluation.pointing import pointing_game
from alignscope.evaluation.ratios import accuracy_below, accuracy_by_ratio
from alignscope.files import read_jsonl, read_parquet
from alignscope.records import (
    Agreement,
    Choice,
    Faithfulness,
    Measurement,
    PhraseSimilarity,
    Point,
    Pointing,
    ScoreCurve,
    Signature,
)
from alignscope.studies.auditing.map_checks import Plan


@dataclass(frozen=True)
class Summary:
    """Numbers for tables and points for figures."""

    measurements: list[Measurement]
    points: list[Point]


def summarised(
    out: Path, plan: Plan, *, signature: Signature, choices: Sequence[Choice] | None = None
) -> Summary:
    """Everything that the attribution records in `out` say; `choices` join accuracy to it (paper B, fig. 4)."""
    how: dict[str, Any] = {"draws": plan.draws, "seed": plan.seed}
    faithful = read_parquet(out / "faithfulness.parquet", Faithfulness)
    agreements = read_parquet(out / "agreements.parquet", Agreement)
    pointings = read_parquet(out / "pointings.parquet", Pointing)
    similarities = read_parquet(out / "phrases.parquet", PhraseSimilarity)
    steps = [
        ScoreCurve(**{**row, "values": tuple(row["values"])}) for row in read_jsonl(out / "curves.jsonl")
    ]
    checked = {(one.item, one.image) for one in agreements}
    tested = {(one.item, one.image) for one in faithful}
    named = replace(signature, method=in_words(plan.options))
    measurements: list[Measurement] = []
    points: list[Point] = []
    for method in plan.methods:  # one at a time: the columns of a large run are what takes memory
        columns = read_heat_columns([out / "heats.parquet"], methods=[method])
        measurements += measure_heats(columns, signature=named, **how)
        points += heat_densities(columns)
        if choices is not None:
            measurements += accuracy_by_ratio(choices, columns, signature=named, **how)
            points += accuracy_below(choices, columns, **how)
    measurements += [
        *faithfulness_summary(faithful, signature=named, missing=len(checked - tested), **how),
        *agreement_summary(agreements, signature=named, **how),
        *pointing_game(pointings, signature=signature, **how),
        *phrase_similarities(similarities, signature=signature, **how),
    ]
    points += [*curves(steps, **how), *phrase_densities(similarities)]
    return Summary(measurements, points)


def in_words(options: Options) -> str:
    """Options as a signature tells them.

    >>> in_words(Options(draws=1))
    'layers=all,tokens=spelled,temperature=1.0,variant=replace,draws=1,normalize=method,seed=0'
    """
    return ",".join(f"{name}={value}" for name, value in asdict(options).items())
