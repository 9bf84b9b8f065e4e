"""A run of `alignscope evaluate` beside the numbers published of a model."""

from __future__ import annotations

import json
from pathlib import Path

from alignscope.errors import BadData, UnknownName
from alignscope.evaluation.published import verdict, verify
from alignscope.files import read_parquet
from alignscope.records import Measurement
from alignscope.studies.output import RUN


def verification(run: Path, model: str) -> str:
    """Every published number of `model` beside that of the run, of each benchmark of a suite.

    A model of which nothing is published is an `UnknownName`, which tells those of which something is.
    """
    try:
        facts = json.loads((run / RUN).read_text(encoding="utf-8"))
        kind = facts.get("kind", facts.get("identity", {}).get("kind"))
    except (OSError, ValueError, AttributeError):
        raise BadData(f"{run}: no {RUN} in it, wanted the --out of `alignscope evaluate`") from None
    if kind in ("suite", "evaluate") and facts.get("finished") is False:
        raise BadData(f"{run}: a run that has not finished: go on with it by --resume first")
    if kind == "suite":
        return "\n\n".join(_in_suite(run / name, model) for name in facts["runs"])
    if kind != "evaluate":
        raise BadData(f"{run}: a run of kind '{kind}', wanted one of `alignscope evaluate`")
    name = facts["benchmark"]["name"] if isinstance(facts["benchmark"], dict) else facts["benchmark"]
    numbers = read_parquet(run / "measurements.parquet", Measurement)
    lines = verify(name, numbers, model=model)
    if not lines:
        raise UnknownName(verdict(name, model, lines))
    return verdict(name, model, lines)


def _in_suite(run: Path, model: str) -> str:
    """One benchmark of a suite; that nothing is published of it stops none of the others."""
    try:
        return verification(run, model)
    except UnknownName as error:
        return str(error)
