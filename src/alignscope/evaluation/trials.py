"""What a way of training does, over seeds: means and differences to a baseline with the same seeds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from alignscope.errors import BadInput
from alignscope.records import Effect, Trial
from alignscope.records.student import student_mean as student_mean
from alignscope.records.student import student_quantile as student_quantile
from alignscope.records.student import student_share as student_share

Key = tuple[str, str, str]  # measure, method, group


def effects(
    trials: Sequence[Trial], *, baseline: str, level: float = 0.95, signature: str = ""
) -> list[Effect]:
    """One effect per variant and number, in the order of the trials; pairs of seeds where both have a value.

    The differences are paired: seed 3 of a variant began where seed 3 of the baseline began and saw the
    same batches.
    """
    values: dict[tuple[str, Key], dict[int, float | None]] = defaultdict(dict)
    units: dict[Key, str] = {}
    for trial in trials:
        key = (trial.measure, trial.method, trial.group)
        if trial.seed in values[trial.variant, key]:
            raise BadInput(
                f"two values of {' '.join(key)} for {trial.variant}, seed {trial.seed}: wanted one"
            )
        values[trial.variant, key][trial.seed] = trial.value
        units[key] = trial.unit
    if all(variant != baseline for variant, _ in values):
        raise BadInput(f"no trial of the baseline '{baseline}' among {', '.join({v for v, _ in values})}")
    return [
        _effect(variant, key, units[key], found, values.get((baseline, key), {}), baseline, level, signature)
        for (variant, key), found in values.items()
    ]


def _effect(
    variant: str,
    key: Key,
    unit: str,
    found: dict[int, float | None],
    base: dict[int, float | None],
    baseline: str,
    level: float,
    signature: str,
) -> Effect:
    known = [value for value in found.values() if value is not None]
    pairs = [
        value - other
        for seed, value in found.items()
        if value is not None and (other := base.get(seed)) is not None
    ]
    mean = student_mean(known, level=level) if known else None
    gap = student_mean(pairs, level=level) if pairs and variant != baseline else None
    measure, method, group = key
    return Effect(
        variant,
        measure,
        group,
        unit,
        mean.value if mean else None,
        mean.low if mean else None,
        mean.high if mean else None,
        len(known),
        len(found) - len(known),
        baseline,
        gap.value if gap else None,
        gap.low if gap else None,
        gap.high if gap else None,
        sum(pair > 0 for pair in pairs),
        level,
        f"{measure}|{signature}|variant:{variant}|seeds:{len(known)}|interval:student" if signature else "",
        method,
    )
