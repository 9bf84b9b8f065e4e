"""A run of `alignscope evaluate` beside the numbers published of a model."""

from __future__ import annotations

import json
from pathlib import Path

from alignscope.errors import BadData
from alignscope.evaluation.published import verdict, verify
from alignscope.files import read_parquet
from alignscope.records import Measurement
from alignscope.studies.output import RUN


def verification(run: Path, model: str) -> str:
    """Every published number of `model` beside that of the run, of each benchmark of a suite."""
    try:
        facts = json.loads((run / RUN).read_text(encoding="utf-8"))
        kind = facts.get("kind", facts.get("identity", {}).get("kind"))
    except (OSError, ValueError, AttributeError):
        raise BadData(f"{run}: no {RUN} in it, wanted the --out of `alignscope evaluate`") from None
    if kind in ("suite", "evaluate") and facts.get("finished") is False:
        raise BadData(f"{run}: a run that has not finished: go on with it by --resume first")
    if kind == "suite":
        return "\n\n".join(verification(run / name, model) for name in facts["runs"])
    if kind != "evaluate":
        raise BadData(f"{run}: a run of kind '{kind}', wanted one of `alignscope evaluate`")
    name = facts["benchmark"]["name"] if isinstance(facts["benchmark"], dict) else facts["benchmark"]
    numbers = read_parquet(run / "measurements.parquet", Measurement)
    return verdict(name, model, verify(name, numbers, model=model))
