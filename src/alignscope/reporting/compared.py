"""Up to five audits side by side: the same measures of each, from their records alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from alignscope.errors import BadData
from alignscope.records import Measurement
from alignscope.reporting.grids import UNMEASURED, Cell, Grid
from alignscope.reporting.headline import answer
from alignscope.reporting.page import render, write_page
from alignscope.reporting.run import Run, read_run
from alignscope.reporting.wording import (
    counted,
    interval_in_words,
    is_number,
    kind_in_words,
    kind_order,
    section_of,
    value_in_words,
)

MOST = 5
HEARD = ("heat gap", "object above rest", "pointing game")


@dataclass(frozen=True)
class Compared:
    """Everything the template shows."""

    names: tuple[str, ...]
    answers: tuple[tuple[str, str], ...]  # name and what its own page says first
    data: tuple[tuple[str, str], ...]  # name and the data it was measured on
    is_same_data: bool
    grids: tuple[Grid, ...]
    others: tuple[Grid, ...]
    problems: tuple[tuple[str, int], ...]


Section = tuple[str, Callable[[Measurement], bool]]

SECTIONS: tuple[Section, ...] = (
    ("Accuracy by kind of wrong caption", lambda m: section_of(m.measure) == "accuracy"),
    ("What the score listens to", lambda m: m.measure in HEARD and m.group != "chance"),
    ("Fall of the score after words were replaced", lambda m: section_of(m.measure) == "drop"),
    ("Matched against shuffled pairs", lambda m: section_of(m.measure) == "calibration"),
    ("Retrieval", lambda m: section_of(m.measure) == "recall"),
)


def compared_page(directories: Sequence[Path], target: Path) -> Path:
    """Write the page of two to five finished audits, whole or not at all; returns its path."""
    if not 2 <= len(directories) <= MOST:
        raise BadData(f"got {len(directories)} audits, wanted 2 to {MOST}: name that many directories")
    if len({directory.resolve() for directory in directories}) < len(directories):
        raise BadData(f"got a directory twice in {', '.join(map(str, directories))}: name each audit once")
    runs = [_audit(directory) for directory in directories]
    return write_page(target, render("compared.html", compared(runs, apart(directories))))


def apart(directories: Sequence[Path]) -> list[str]:
    """What tells paths apart, without what they begin or end with alike.

    >>> apart([Path("/runs/start/seed-0/audit"), Path("/runs/tuned/seed-0/audit")])
    ['start', 'tuned']
    >>> apart([Path("/runs/a"), Path("/runs/a/b")])
    ['a', 'a/b']
    """
    parts = [list(directory.resolve().parts) for directory in directories]
    for end in (0, -1):
        while all(len(each) > 1 for each in parts) and len({each[end] for each in parts}) == 1:
            for each in parts:
                each.pop(end)
    return ["/".join(each) for each in parts]


def compared(runs: Sequence[Run], places: Sequence[str]) -> Compared:
    """The runs' measures in grids with a column per run; `places` tell runs of one name apart."""
    models = [str(run.setting("model", "name") or place) for run, place in zip(runs, places, strict=True)]
    names = [
        f"{model} ({place})" if models.count(model) > 1 else model
        for model, place in zip(models, places, strict=True)
    ]
    data = [f"{run.setting('data', 'name')}, {run.setting('data', 'sha')}" for run in runs]
    grids = [_grid(title, chosen, runs, names) for title, chosen in SECTIONS]
    rest = _grid("All other measures", lambda m: not any(chosen(m) for _, chosen in SECTIONS), runs, names)
    return Compared(
        names=tuple(names),
        answers=tuple((n, answer(run.measurements, n)) for n, run in zip(names, runs, strict=True)),
        data=tuple(zip(names, data, strict=True)),
        is_same_data=len(set(data)) == 1,
        grids=tuple(grid for grid in grids if grid.rows),
        others=(rest,) if rest.rows else (),
        problems=tuple((name, run.problems.total) for name, run in zip(names, runs, strict=True)),
    )


def _audit(directory: Path) -> Run:
    run = read_run(directory)
    kind = run.setting("kind")
    if kind != "audit" or not run.settings.get("finished"):
        state = "" if run.settings.get("finished") else "an unfinished "
        raise BadData(f"{directory}: got {state}{kind!r}, wanted a finished audit: name its --out")
    return run


def _grid(
    title: str, chosen: Callable[[Measurement], bool], runs: Sequence[Run], names: Sequence[str]
) -> Grid:
    """A row for each measure that any run has, in the order met; what a run lacks is said."""
    tables = [{(m.measure, m.method, m.group): m for m in run.measurements if chosen(m)} for run in runs]
    keys = list(dict.fromkeys(key for table in tables for key in table))
    if keys and all(measure == "accuracy" for measure, _, _ in keys):
        keys.sort(key=lambda key: kind_order(key[2]))
    rows = tuple((_label(*key), tuple(_cell(table.get(key)) for table in tables)) for key in keys)
    return Grid(title, "measure", tuple(names), rows)


def _label(measure: str, method: str, group: str) -> str:
    if measure == "accuracy":
        return kind_in_words(group)
    told = measure if group in ("", "all") else f"{measure}, {group}"
    return f"{told} ({method})" if method else told


def _cell(m: Measurement | None) -> Cell:
    if m is None:
        return Cell(UNMEASURED, is_scored=False)
    if not is_number(m.value):
        return Cell(value_in_words(m), is_scored=False)
    told = [
        f"n {m.items}",
        *([counted(m.ties, "tie")] if m.ties else []),
        *([f"{m.missing} missing"] if m.missing else []),
    ]
    return Cell(value_in_words(m), interval_in_words(m), ", ".join(told))
