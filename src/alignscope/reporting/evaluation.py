"""The page of `alignscope evaluate`: one benchmark, or the index of a suite; from records alone."""

from __future__ import annotations

import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from markupsafe import Markup

from alignscope.errors import BadData
from alignscope.records import Measurement
from alignscope.reporting.answered import Answered, answered
from alignscope.reporting.charts import WHOLE, Axis
from alignscope.reporting.glossary import BENCHMARK_GLOSSARY, Entry
from alignscope.reporting.grids import Cell, Grid
from alignscope.reporting.official import (
    BAR,
    RULE,
    Numbers,
    Said,
    headline,
    in_order,
    is_whole,
    official_result,
    our_result,
    summed,
)
from alignscope.reporting.page import Row, render, row_of, rows_of, write_page
from alignscope.reporting.ranks import Direction, directions_of
from alignscope.reporting.run import (
    BASELINES,
    MEASUREMENTS,
    PROBLEMS,
    SCORES,
    Run,
    read_rows,
    read_run,
    read_settings,
)
from alignscope.reporting.wording import group_in_words, interval_in_words, is_number, value_in_words

ENDS = 10  # parts shown of the best and of the worst


@dataclass(frozen=True)
class Parts:
    """Parts of a benchmark, too many for one table: the worst, the best, and those between."""

    title: str
    worst: list[Row]
    best: list[Row]
    between: list[Row]


@dataclass(frozen=True)
class Page:
    """Everything the template shows."""

    run: Run
    model: str
    benchmark: str
    headline: str
    rule: str
    missing: int
    chance: str
    official: list[Row]
    ours: list[Row]
    parts: tuple[Parts, ...]
    questions: Grid | None
    baselines: list[Row]
    baseline_parts: list[Row]
    other: list[Row]
    answered: Answered
    directions: list[Direction]
    glossary: tuple[Entry, ...]


@dataclass(frozen=True)
class Suite:
    """The index of several benchmarks."""

    run: Run
    model: str
    headline: str
    grid: Grid
    unfinished: list[str]


def evaluation_page(directory: Path) -> Path:
    """Write directory/report.html from the records beside it, whole or not at all; returns its path."""
    return write_page(directory / "report.html", render("evaluation.html", page_of(directory)))


def suite_page(directory: Path) -> Path:
    """Write the index of a suite, and the page of each of its finished runs; returns the index's path."""
    run = read_run(directory, ())
    names = run.setting("runs")
    if not isinstance(names, list) or not all(map(_is_name, names)):
        raise BadData(
            f"{directory / 'run.json'}: got runs {names!r}, wanted a list of names of directories beside it; "
            "run the suite again"
        )
    rows, unfinished, models = [], [], [run.setting("model", "name")]
    for name in names:
        settings = directory / name / "run.json"
        if settings.exists() and read_settings(settings).get("finished"):
            evaluation_page(directory / name)
            models.append(read_run(directory / name, ()).setting("model", "name"))
            rows.append(_suite_row(name, directory / name))
        else:
            unfinished.append(name)
    model = str(next(filter(None, models), "the model"))
    said = f"{model} on {len(rows)} benchmark{'s' if len(rows) != 1 else ''}"
    columns = ("by the authors’ rule", "ours: all items", "ties", "missing")
    grid = Grid("Benchmarks, each with its own page", "benchmark", columns, tuple(rows))
    return write_page(
        directory / "report.html", render("suite.html", Suite(run, model, said, grid, unfinished))
    )


def _is_name(name: object) -> bool:
    return isinstance(name, str) and name not in ("", "..") and name == Path(name).name


def page_of(directory: Path) -> Page:
    """Sort the records into the page's sections."""
    run = read_run(directory, (MEASUREMENTS, PROBLEMS))
    numbers = in_order(run.measurements)
    baselines = [*numbers.baselines, *read_rows(directory / BASELINES, Measurement)]
    main = summed(baselines)
    chance = _chance(baselines)
    axis = Axis(0.0, 1.0, reference=chance.value) if chance else WHOLE
    model = str(run.setting("model", "name") or run.setting("data", "scores") or "the scores given")
    benchmark = _title(run)
    return Page(
        run=run,
        model=model,
        benchmark=benchmark,
        headline=headline(numbers, model, benchmark),
        rule=numbers.rule,
        missing=numbers.whole.missing if numbers.whole else 0,
        chance=value_in_words(chance, digits=2) if chance else "",
        official=_rows(numbers.official, axis, numbers.rule),
        ours=_rows(numbers.ours, axis),
        parts=tuple(
            _parts(title, found, axis)
            for title, numbers_of_parts in (
                ("By the authors’ rule", numbers.official_parts),
                ("Ours, ties wrong", numbers.our_parts),
            )
            if (found := [m for m in numbers_of_parts if BAR not in m.group])
        ),
        questions=_question_grid([m for m in numbers.official_parts if BAR in m.group]),
        baselines=[_baseline(m, axis) for m in main],
        baseline_parts=[_baseline(m, axis) for m in baselines if m not in main],
        other=list(map(_to_two_places, rows_of(numbers.other))),
        answered=answered(directory / SCORES),
        directions=directions_of(run.ranks),
        glossary=BENCHMARK_GLOSSARY,
    )


def _title(run: Run) -> str:
    """The benchmark's title, or its name where the run says no more."""
    paths = (("benchmark", "title"), ("benchmark", "name"), ("benchmark",), ("data", "name"))
    found = (run.setting(*path) for path in paths)
    return next((one for one in found if one and isinstance(one, str)), "an unnamed benchmark")


def _chance(baselines: Sequence[Measurement]) -> Measurement | None:
    """What guessing reaches over all items, where that is one number."""
    said = ("chance", "all"), ("baseline", "chance"), ("baseline chance", "all")
    return next((m for m in baselines if (m.measure, m.group) in said and is_number(m.value)), None)


def _rows(measurements: Sequence[Measurement], axis: Axis, rule: str = "") -> list[Row]:
    """Rows to two places, as results are published, the group in words; the rule said above the table is not said again."""
    rows = [row_of(m, axis) if m.unit == "share" else rows_of([m])[0] for m in measurements]
    return [
        replace(
            _to_two_places(row),
            detail=group_in_words(row.detail, is_averaged=m.measure.startswith("official")),
            remark="" if rule and row.remark == RULE + rule else row.remark.removeprefix(RULE),
            is_summary=is_whole(m),
        )
        for row, m in zip(rows, measurements, strict=True)
    ]


def _parts(title: str, found: Sequence[Measurement], axis: Axis) -> Parts:
    """Worst first; what could not be scored is between."""
    scored = sorted((m for m in found if is_number(m.value)), key=lambda m: (m.value, m.group))
    unscored = [m for m in found if not is_number(m.value)]
    ends = min(ENDS, len(scored) // 2)
    middle = [*scored[ends : len(scored) - ends], *unscored]
    worst, best = scored[:ends], scored[len(scored) - ends :][::-1]
    return Parts(title, _rows(worst, axis), _rows(best, axis), _rows(middle, axis))


def _question_grid(found: Sequence[Measurement]) -> Grid | None:
    """Parts by the question asked of them."""
    if not found:
        return None
    table = {tuple(m.group.split(BAR, 1)): m for m in found}
    questions, parts = (tuple(dict.fromkeys(key[place] for key in table)) for place in (0, 1))
    rows = tuple((part, tuple(_question_cell(table.get((q, part))) for q in questions)) for part in parts)
    return Grid("By the authors’ rule, question by question", "part", questions, rows)


def _question_cell(m: Measurement | None) -> Cell:
    if m is None or not is_number(m.value):
        return Cell(value_in_words(m), is_scored=False) if m else Cell()
    return Cell(value_in_words(m, digits=2), interval_in_words(m, digits=2), note=f"n {m.items}")


def _baseline(m: Measurement, axis: Axis) -> Row:
    """A baseline's row; it is named in its measure, or in the group of a measure "baseline"."""
    named = m.measure.removeprefix("baseline").strip(" :")
    group = group_in_words(m.group) if named else "all items (micro)"
    return replace(_to_two_places(row_of(m, axis)), label=named or m.group, detail=group)


def _to_two_places(row: Row) -> Row:
    """A row with value and interval as results are published."""
    m = row.measurement
    return replace(row, value=value_in_words(m, digits=2), interval=interval_in_words(m, digits=2))


def _suite_row(name: str, directory: Path) -> tuple[str, tuple[Cell, ...]]:
    run = read_run(directory, ())
    numbers = in_order(run.measurements)
    result = official_result(numbers)
    link = Markup('<a href="{}/report.html">{}</a>').format(urllib.parse.quote(name), _title(run))
    ours = our_result(numbers) if numbers.ours else Said("", "")
    return link, (_cell(result), _cell(ours), *_counts(numbers))


def _cell(said: Said) -> Cell:
    if said.value == "unscored":
        return Cell(f"unscored: {said.note or 'no reason was recorded'}", is_scored=False)
    return Cell(said.value, note=said.note)


def _counts(numbers: Numbers) -> tuple[Cell, Cell]:
    whole = numbers.whole
    if whole is None:
        return Cell(), Cell()
    every = whole.items + whole.missing
    return Cell(f"{whole.ties:,}", note=f"of {whole.items:,}"), Cell(
        f"{whole.missing:,}", note=f"of {every:,}"
    )
