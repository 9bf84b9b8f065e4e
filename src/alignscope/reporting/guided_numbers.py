"""Numbers of a study of guided captioners: who is in it, its effects by name, and tables made of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignscope.errors import BadData
from alignscope.records import Effect, Measurement, Trial
from alignscope.reporting.entries import SIGNS, Entry, gap, side
from alignscope.reporting.page import ROOM
from alignscope.reporting.run import Run, read_rows, read_run
from alignscope.reporting.wording import is_number

START, PEOPLE = "ce", "people"
EFFECTS, TRIALS = "effects.parquet", "trials.parquet"
ABOVE_CAPTIONS = "score above captions"
HUNDREDS = ("CIDEr",)  # scores that papers print times 100


@dataclass(frozen=True)
class Study:
    """A finished study as its page reads it."""

    directory: Path
    run: Run
    name: str
    seeds: tuple[int, ...]
    says: Mapping[str, str]  # captioners in the order of tables, the start first, people last
    scorers: Mapping[str, str]
    paid_by: Mapping[str, str]  # captioner: scorer, "" where none of the scorers pays
    effects: Mapping[tuple[str, str, str], Effect]  # captioner, measure, group
    trials: Mapping[tuple[str, str, str], Mapping[int, float]]  # by seed
    reasons: Mapping[tuple[str, str], str]  # captioner and measure that could not be measured
    paper: Mapping[str, Any]

    def effect(self, variant: str, measure: str, group: str = "all") -> Effect | None:
        """A captioner's number, None where nobody measured it."""
        return self.effects.get((variant, measure, group))

    @property
    def paid(self) -> dict[str, str]:
        """Captioners guided in the paper's way, by the scorer of their own name."""
        return {name: says for name, says in self.scorers.items() if name in self.says}

    def unit(self, scorer: str) -> str:
        """The unit of a scorer's scores, "" where nothing was scored."""
        found = (e.unit for (_, m, group), e in self.effects.items() if m == "score" and group == scorer)
        return next(found, "").replace(" x ", " × ")

    def printed(self, *path: str) -> str:
        """What the paper prints there, "" where it prints nothing."""
        value: Any = self.paper
        for name in path:
            value = value.get(name) if isinstance(value, Mapping) else None
        return value if isinstance(value, str) else ""

    def notes(self, stem: str) -> tuple[str, ...]:
        """What is to be known of a printed table."""
        return tuple(self.paper.get(stem, {}).get("notes", ()))


def read_study(directory: Path) -> Study:
    """Everything the page needs but examples and curves, which it reads where it shows them."""
    run, found = read_run(directory, ()), read_rows(directory / EFFECTS, Effect)
    study: Any = run.setting("study")
    if not isinstance(study, Mapping) or not found or not {"scorers", "guided", "seeds"} <= study.keys():
        raise BadData(
            f"{directory}: got no study of guided captioners with {EFFECTS}, wanted the --out of a finished one"
        )
    guided = {one["name"]: one for one in study["guided"]}
    says = {START: "CE", **{name: one["says"] for name, one in guided.items()}, PEOPLE: "people"}
    measured = {effect.variant for effect in found}
    trials: dict[tuple[str, str, str], dict[int, float]] = {}
    for trial in read_rows(directory / TRIALS, Trial):
        if trial.value is not None:
            trials.setdefault((trial.variant, trial.measure, trial.group), {})[trial.seed] = trial.value
    return Study(
        directory,
        run,
        study["name"],
        tuple(study["seeds"]),
        {name: called for name, called in says.items() if name in measured},
        {one["name"]: one["says"] for one in study["scorers"]},
        {name: one["scorer"] for name, one in guided.items()},
        {(e.variant, e.measure, e.group): e for e in found},
        trials,
        _reasons(directory, tuple(study["seeds"])),
        json.loads((ROOM / "papers" / "a.json").read_text(encoding="utf-8")),
    )


def _reasons(directory: Path, seeds: Iterable[int]) -> dict[tuple[str, str], str]:
    """Why texts have no value of a measure; of every text ("") where the measure could not run at all."""
    found = {}
    for seed in seeds:
        for one in read_rows(directory / f"seed-{seed}" / "texts" / "measurements.parquet", Measurement):
            if one.value is None and one.reason:
                source, bar, _ = one.group.partition(" | ")
                found[source if bar else "", one.measure] = one.reason
    return found


def template_of(study: Study, scorer: str, templates: Sequence[str]) -> str:
    """The template that bears a scorer's name, "" where none does."""
    names = {study.scorers[scorer].casefold(), scorer.casefold()}
    return next((name for name in templates if name.casefold() in names), "")


def side_of(effect: Effect | None) -> int:
    """On which side of the start a captioner's number lies; a number that is a difference, of 0."""
    if effect is None or not is_number(effect.value):
        return 0
    if effect.measure == ABOVE_CAPTIONS:
        return side(effect.low, effect.high)
    return side(effect.difference_low, effect.difference_high)


def entry_of(effect: Effect | None, paper: str = "", reason: str = "") -> Entry:
    """A cell of an effect, with what the paper prints in its place."""
    if effect is None:
        return Entry(paper=paper, reason=reason or "not measured")
    if not is_number(effect.value):
        lost = reason or f"unscored in all {effect.missing} seeds"
        return Entry(paper=paper, reason=lost, signature=effect.signature)
    times = times_of(effect)

    def scaled(value: float | None) -> float | None:
        return None if value is None else value * times

    return Entry(
        value=scaled(effect.value),
        low=scaled(effect.low),
        high=scaled(effect.high),
        difference=scaled(effect.difference),
        difference_low=scaled(effect.difference_low),
        difference_high=scaled(effect.difference_high),
        seeds=effect.seeds,
        above=effect.above,
        unit="percent" if effect.unit == "share" else effect.unit,
        reading=SIGNS[side_of(effect)],
        paper=paper,
        signature=effect.signature,
    )


def times_of(effect: Effect) -> float:
    """What a number is multiplied by to be shown as papers print it."""
    return 100.0 if effect.unit == "share" or effect.measure in HUNDREDS else 1.0


def gap_of(effect: Effect) -> str:
    """What an effect says against the start, or against 0 where its number is a difference."""
    times = times_of(effect)
    ends: Sequence[float | None] = (effect.difference, effect.difference_low, effect.difference_high)
    if effect.measure == ABOVE_CAPTIONS or effect.difference is None:
        ends = (effect.value, effect.low, effect.high)
    value, low, high = (None if end is None else end * times for end in ends)
    assert value is not None
    return gap(value, low, high)
