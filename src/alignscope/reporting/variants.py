"""The page of a study of variants: what each way of training does beside the baseline, over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from markupsafe import Markup

from alignscope.errors import BadData
from alignscope.records import FOIL_KINDS, Effect
from alignscope.reporting.entries import SIGNS, Table, grid_of, side, signatures_in
from alignscope.reporting.grids import Cell, Grid
from alignscope.reporting.page import render, write_page
from alignscope.reporting.run import Run, read_rows, read_run
from alignscope.reporting.table_files import write_tables
from alignscope.reporting.variants_paper import MEAN, TABLE_1, printed_in_paper, tables_of
from alignscope.reporting.wording import METHODS, enumerated, is_number, kind_in_words, kind_order, number

EFFECTS = "effects.parquet"
START = "start"
NAMED = 3  # variants that a headline names; of more it says how many
OVERALL = ("accuracy", "", "all kinds (macro)")
OVER_TABLE_1 = (MEAN, "", "Table 1")
Key = tuple[str, str, str]  # measure, method, group
Look = Mapping[tuple[str, Key], Effect]
RECALLS = {
    f"R@{k} {short}": (f"recall@{k}", "", direction)
    for k in (1, 5)
    for short, direction in (("text", "image to text"), ("image", "text to image"))
}
SIMILARITY = {
    "object phrase": ("phrase similarity", "", "object"),
    "attribute phrase": ("phrase similarity", "", "attribute"),
    "relation phrase": ("phrase similarity", "", "relation"),
}
OF_BENCHMARKS = {
    "official accuracy": "By the authors’ rule",
    "paper B accuracy": "As paper B counts",
    "recall@1": "Recall at 1",
    "recall@5": "Recall at 5",
    "spearman": "Spearman with human judgement",
    "pearson": "Pearson with human judgement",
}
"""Measures of benchmarks in the order of the page; all others are in effects.parquet."""
COSTS = {"seconds per step": ("seconds per step", "", "all"), "lambda": ("lambda", "", "all")}


@dataclass(frozen=True)
class Printed:
    """A table of the paper with this study's numbers."""

    stem: str
    place: str
    grid: Grid  # of columns that this study has something for
    rest: Grid | None  # as printed, where it has nothing
    notes: tuple[str, ...]
    signatures: tuple[str, ...]


@dataclass(frozen=True)
class Page:
    """What the template shows."""

    run: Run
    name: str
    headline: str
    findings: tuple[str, ...]
    says: tuple[tuple[str, str], ...]  # variants and what they are
    baseline: str
    seeds: tuple[int, ...]
    paper: Mapping[str, Any]
    comparable: str
    printed: tuple[Printed, ...]  # nothing where the study has none of the paper's variants
    grids: tuple[tuple[str, str, tuple[Grid, ...]], ...]  # heading, remark, tables
    audits: tuple[tuple[str, tuple[Markup, ...]], ...]
    signatures: tuple[str, ...]


def variants_page(directory: Path) -> Path:
    """Write directory/report.html and tables/ from the records of a finished study; returns the page's path."""
    page = page_of(directory)
    if tables := tables_of(
        _look(read_rows(directory / EFFECTS, Effect)), page.paper, on_benchmarks=_is_on_benchmarks(page.run)
    ):
        write_tables(tables.values(), directory, against=page.baseline)
    return write_page(directory / "report.html", render("variants.html", page))


def findings_of(directory: Path) -> tuple[str, ...]:
    """What a finished study found, as sentences with numbers."""
    page = page_of(directory)
    return (f"{page.headline}.", *page.findings)


def page_of(directory: Path) -> Page:
    """Sort the effects into the page's tables."""
    run, found = read_run(directory, ()), read_rows(directory / EFFECTS, Effect)
    study: Any = run.setting("study")
    if not isinstance(study, Mapping) or not found:
        raise BadData(f"{directory}: got no study with {EFFECTS}, wanted the --out of a finished one")
    says = {START: "before training"} | {one["name"]: one["says"] for one in study["variants"]}
    names = [name for name in says if any(effect.variant == name for effect in found)]
    look, paper = _look(found), printed_in_paper()
    baseline, seeds = study["baseline"], tuple(study["seeds"])
    is_real = _is_on_benchmarks(run)
    parts = [f"benchmarks/{one['name']}" for one in study.get("benchmarks", ())]
    return Page(
        run=run,
        name=study["name"],
        headline=capital(headline(look, says, baseline, OVER_TABLE_1 if is_real else OVERALL)),
        findings=tuple(
            sentences(look, {name: says[name] for name in names}, baseline, TABLE_1 if is_real else None)
        ),
        says=tuple((name, says[name]) for name in names),
        baseline=says[baseline],
        seeds=seeds,
        paper=paper,
        comparable=paper["comparable_on_benchmarks" if is_real else "comparable"],
        printed=tuple(
            _printed(table, paper, is_real)
            for table in tables_of(look, paper, on_benchmarks=is_real).values()
        ),
        grids=tuple(_sections(names, says, look, found, is_real)),
        audits=tuple((says[name], tuple(_links(directory, name, seeds, parts))) for name in names),
        signatures=tuple(
            sorted({effect.signature.partition("|")[2].partition("|variant")[0] for effect in found})
        ),
    )


def _look(found: Sequence[Effect]) -> Look:
    return {(effect.variant, (effect.measure, effect.method, effect.group)): effect for effect in found}


def _is_on_benchmarks(run: Run) -> bool:
    """Whether a study is on the benchmarks themselves, not on the world."""
    return bool(run.setting("study", "benchmarks"))


def _printed(table: Table, paper: Mapping[str, Any], is_real: bool) -> Printed:
    """A table in two: columns with numbers of this study beside the paper's, and the paper's alone."""
    told = paper[table.stem]
    both = [any(row[n].value is not None for _, row in table.rows) for n in range(len(table.columns))]
    alone = Grid(
        f"As printed, of what is not in {'this study' if is_real else 'the world'}",
        table.first,
        tuple(column for column, has in zip(table.columns, both, strict=True) if not has),
        tuple(
            (name, tuple(Cell(one.paper or "none") for one, has in zip(row, both, strict=True) if not has))
            for name, row in table.rows
        ),
    )
    kept = replace(
        table,
        columns=tuple(column for column, has in zip(table.columns, both, strict=True) if has),
        rows=tuple(
            (name, tuple(one for one, has in zip(row, both, strict=True) if has)) for name, row in table.rows
        ),
    )
    rest = alone if alone.columns else None
    signatures = tuple(signatures_in(table))
    notes = (*(() if is_real else told["in_world"]), *told["notes"])
    return Printed(table.stem, told["place"], grid_of(kept), rest, notes, signatures)


def headline(look: Look, says: Mapping[str, str], baseline: str, overall: Key = OVERALL) -> str:
    """Which variants lie above the baseline in the overall number, and which below, as far as the seeds tell."""
    over = "all kinds" if overall == OVERALL else "the columns of Table 1 in this study"
    told = {
        "answer more foils": _told(look, overall, 1),
        "answer fewer": _told(look, overall, -1),
    }
    trained = [name for name in says if name not in (START, baseline)]
    parts = [
        f"{enumerated([says[name] for name in names]) if len(names) <= NAMED else f'{len(names)} of {len(trained)} variants'} "
        f"{verb}"
        for verb, names in told.items()
        if names
    ]
    rest = f"than {says[baseline]}, over {over}"
    return (
        f"{'; '.join(parts)} {rest}"
        if parts
        else f"No variant is told apart from {says[baseline]}, over {over}"
    )


def capital(text: str) -> str:
    """The text with a capital at its start."""
    return text[:1].upper() + text[1:]


def sentences(
    look: Look, says: Mapping[str, str], baseline: str, columns: Mapping[str, Key] | None = None
) -> list[str]:
    """One finding per variant: where it is above or below the baseline with an interval that leaves 0 out.

    Compared are `columns`, by their names; kinds of foil without them.
    """
    what = "kind of foil" if columns is None else "column of Table 1"
    if columns is None:
        kinds = dict.fromkeys(key for _, key in look if key[0] == "accuracy" and key[2] != "all")
        columns = {kind_in_words(key[2]): key for key in sorted(kinds, key=lambda key: kind_order(key[2]))}
    said = []
    for name, called in says.items():
        parts = []
        for sign, verb in ((1, "above"), (-1, "below")):
            told = [
                f"{column} ({_gap(effect)})"
                for column, key in columns.items()
                if (effect := look.get((name, key))) is not None and _side(effect) == sign
            ]
            parts += [f"{verb} it in {enumerated(told)}"] if told else []
        if name != baseline:
            said.append(f"{capital(called)}: {'; '.join(parts) or f'no {what} told apart from it'}.")
    return said


def _told(look: Look, key: Key, sign: int) -> list[str]:
    """Trained variants whose effect lies on one side of zero."""
    return [
        variant
        for (variant, of), effect in look.items()
        if of == key and variant != START and _side(effect) == sign
    ]


def _side(effect: Effect) -> int:
    """1 or -1 where the interval of the difference leaves zero out."""
    return side(effect.difference_low, effect.difference_high)


def _sections(
    names: Sequence[str], says: Mapping[str, str], look: Look, found: Sequence[Effect], is_real: bool
) -> list[tuple[str, str, tuple[Grid, ...]]]:
    """Heading, remark and tables of each part of the page; a part nobody measured is left out."""
    foiled = [e.group for e in found if e.measure == "accuracy" and e.group != "all" and not is_real]
    kinds = sorted({*foiled}, key=kind_order)
    foils = {kind_in_words(kind): ("accuracy", "", kind) for kind in kinds}
    own = [kind for kind in kinds if kind in FOIL_KINDS]
    nearer = {kind_in_words(kind): ("paraphrase nearer", "", kind) for kind in own}
    nearer["all kinds"] = ("paraphrase nearer", "", "all subsets (macro)")
    ranked = {kind_in_words(kind): ("paraphrase spearman", "", f"{kind}_reworded") for kind in own}
    ranked["all pairs"] = ("paraphrase spearman", "", "all")
    halves = {m: ("accuracy by ratio", m, "high minus low") for m in METHODS}
    of_benchmarks = [(title, _columns_of(measure, found)) for measure, title in OF_BENCHMARKS.items()]
    tables: list[tuple[str, str, list[tuple[str, Mapping[str, Key]]]]] = [
        ("Benchmarks", "Each on its own files; its parts and all other measures are in effects.parquet.", of_benchmarks),
        ("Caption or foil", "Share of captions preferred to their foil (paper B, tables 1, 2 and 5).", [("Accuracy", foils)]),
        ("Retrieval", "Among all scenes of the test (paper B, table 3).", [("Recall", RECALLS)]),
        (
            "Text against text",
            "Captions with a true paraphrase and foils in its wording, no image (paper B, table 4): share of "
            "captions and paraphrases nearer to each other than to the foil (chance 33.3 %), and the rank "
            "correlation of their cosines with 1 for paraphrases and 0 for foils.",
            [("Paraphrase nearer", nearer), ("Spearman", ranked)],
        ),
        (
            "Which words the score listens to",
            "All four attributions, whichever was trained (paper B, figures 1 and 6).",
            [(method, _heat_columns(method)) for method in METHODS],
        ),
        (
            "Caption and its phrases",
            "Cosine of a caption with a phrase of it alone (paper B, figure 3); accuracy in the half of the choices "
            "with more relation heat per object heat minus that in the other half (figure 4).",
            [("Cosine", SIMILARITY), ("High minus low half", halves)],
        ),
        ("Cost", "Of a training step, on the machine it ran on.", [("Cost", COSTS)]),
    ]  # fmt: skip
    parts = []
    for heading, remark, columns in tables:
        grids = [_grid(title, names, says, keys, look) for title, keys in columns]
        kept = tuple(grid for grid in grids if grid is not None)
        if kept:
            parts.append((heading, remark, kept))
    return parts


def _columns_of(measure: str, found: Sequence[Effect]) -> Mapping[str, Key]:
    """Benchmarks with a measure, and paper B's or retrieval's parts of them, by their names."""
    groups = dict.fromkeys(e.group for e in found if e.measure == measure)
    whole = measure in ("official accuracy", "spearman", "pearson")
    return {
        group.replace(" | ", ", "): (measure, "", group)
        for group in groups
        if not (whole and " | " in group) and (" | " in group or whole)
    }


def _heat_columns(method: str) -> Mapping[str, Key]:
    return {
        **{name: ("heat", method, name) for name in ("object", "attribute", "relation")},
        "object − relation": ("heat gap", method, "object-relation"),
        "object above attribute": ("object above attribute", method, "all"),
        "object above relation": ("object above relation", method, "all"),
    }


def _grid(
    title: str, names: Sequence[str], says: Mapping[str, str], columns: Mapping[str, Key], look: Look
) -> Grid | None:
    kept = {head: key for head, key in columns.items() if any((name, key) in look for name in names)}
    if not kept:
        return None
    rows = tuple((says[name], tuple(_cell(look.get((name, key))) for key in kept.values())) for name in names)
    return Grid(title, "variant", tuple(kept), rows)


def _cell(effect: Effect | None) -> Cell:
    """The mean over seeds; below it the difference to the baseline with its interval."""
    if effect is None:
        return Cell("not measured", is_scored=False)
    if not is_number(effect.value):
        return Cell(f"unscored in all {effect.missing} seeds", is_scored=False)
    value = f"{_plain(effect.value, effect)}{' %' if effect.unit == 'share' else ''}"  # type: ignore[arg-type]
    if effect.difference is None:
        half = _half(effect.low, effect.high, effect)
        return Cell(value, half.removeprefix(" "))
    return Cell(value, _gap(effect), reading=SIGNS[_side(effect)])


def _gap(effect: Effect) -> str:
    """A difference with its sign and half its interval, shares in points.

    >>> _gap(Effect("v", "m", "g", "share", 0, 0, 0, 5, 0, "b", -0.03, -0.042, -0.018, 0, .95, ""))
    '−3.0 ± 1.2'
    >>> _gap(Effect("v", "m", "g", "cosine", 0, 0, 0, 5, 0, "b", -0.001, -0.012, 0.01, 0, .95, ""))
    '+0.00 ± 0.01'
    """
    value = effect.difference
    assert value is not None
    half = _half(effect.difference_low, effect.difference_high, effect)
    text = _plain(value, effect)
    return f"{'' if text.startswith('−') else '+'}{text}{half}"


def _half(low: float | None, high: float | None, effect: Effect) -> str:
    return "" if low is None or high is None else f" ± {_plain((high - low) / 2, effect)}"


def _plain(value: float, effect: Effect) -> str:
    """A number in its unit; one that rounds to zero has no sign."""
    size = abs(value)
    if effect.unit in ("correlation", "cosine"):
        text = f"{size:.2f}"
    else:
        text = f"{100 * size:.1f}" if effect.unit == "share" else number(size, effect.unit)
    return f"−{text}" if value < 0 and float(text) else text


def _links(directory: Path, name: str, seeds: Sequence[int], parts: Sequence[str]) -> list[Markup]:
    """The audits and evaluations of a variant that lie beside the page."""
    return [
        Markup('<a href="{0}">seed {1}{2}</a>').format(
            f"{name}/seed-{seed}/{part}/report.html", seed, "" if part == "audit" else f", {Path(part).name}"
        )
        for seed in seeds
        for part in ("audit", *parts, "pairs")
        if (directory / name / f"seed-{seed}" / part / "report.html").is_file()
    ]
