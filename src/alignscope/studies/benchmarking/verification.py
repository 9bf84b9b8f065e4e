"""A run of `alignscope evaluate` beside the numbers published of a model."""

from __future__ import annotations

import json
from pathlib import Path

from alignscope.errors import BadData, UnknownName
from alignscope.evaluation.published import Verified, verdict, verify
from alignscope.files import read_parquet
from alignscope.records import Measurement
from alignscope.studies.output import RUN


def verified(run: Path, model: str) -> dict[str, list[Verified]]:
    """Every published number of `model` beside that of the run, by benchmark, of each one of a suite.

    A model of which nothing is published on any is an `UnknownName`, which tells those of which something is.
    """
    found = _by_benchmark(run, model)
    if not any(found.values()):
        raise UnknownName("\n".join(verdict(name, model, []) for name in found))
    return found


def _by_benchmark(run: Path, model: str) -> dict[str, list[Verified]]:
    try:
        facts = json.loads((run / RUN).read_text(encoding="utf-8"))
        kind = facts.get("kind", facts.get("identity", {}).get("kind"))
    except (OSError, ValueError, AttributeError, RecursionError):
        raise BadData(f"{run}: no {RUN} in it, wanted the --out of `alignscope evaluate`") from None
    if kind in ("suite", "evaluate") and facts.get("finished") is False:
        raise BadData(f"{run}: a run that has not finished: go on with it by --resume first")
    if kind in ("suite", "evaluate") and "runs" not in facts and "benchmark" not in facts:
        raise BadData(f"{run}: its {RUN} names no benchmark: evaluate again with --overwrite")
    if kind == "suite":
        parts = [_by_benchmark(run / name, model) for name in facts["runs"]]
        return {name: lines for part in parts for name, lines in part.items()}
    if kind != "evaluate":
        raise BadData(f"{run}: a run of kind '{kind}', wanted one of `alignscope evaluate`")
    name = facts["benchmark"]["name"] if isinstance(facts["benchmark"], dict) else facts["benchmark"]
    if not (run / "measurements.parquet").is_file():
        raise BadData(f"{run}: no measurements.parquet in it: evaluate again with --overwrite")
    numbers = read_parquet(run / "measurements.parquet", Measurement)
    return {name: verify(name, numbers, model=model)}
