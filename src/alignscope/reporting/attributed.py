"""Attribution as pages show it: which words the score listens to, under each method, and whether the map is right."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from markupsafe import Markup

from alignscope.records import WORD_CLASSES, Measurement
from alignscope.reporting.captions import ShadedCaption, shaded_captions
from alignscope.reporting.claims import (
    GAINS,
    agreement_sentence,
    faithful_sentences,
    object_sentence,
    phrase_sentence,
    pointing_sentence,
    side,
    warnings,
)
from alignscope.reporting.curves import Mean, curves_of, density_chart, line_chart
from alignscope.reporting.headline import heat_sentence
from alignscope.reporting.page import Row, rows_of
from alignscope.reporting.run import Run
from alignscope.reporting.wording import (
    METHODS,
    interval_in_words,
    is_number,
    method_order,
    number,
    value_in_words,
)

SHADED_CAPTIONS = 10
SHOWN_CLASSES = tuple(name for name in WORD_CLASSES if name != "other")
WORDS = (
    "heat",
    "heat median",
    "heat gap",
    "object above rest",
    "object above relation",
    "object above attribute",
)
RIGHT = ("deletion", "insertion", "comprehensiveness", "sufficiency", *GAINS)
AGREEMENT = ("agreement", "agreement with scrambled")
PHRASES = ("phrase similarity", "phrase similarity difference")
RATIO = "accuracy by ratio"
HALVES = {"low half": "ratio up to the median", "high half": "above it", "high minus low": "difference"}
VERDICTS = {
    "above": "better", "below": "worse", "not told": "not told apart", "too few": "too few images"
}  # fmt: skip
SCRAMBLED = "with scrambled weights"
UNSUPPORTED = "unsupported"
UNMEASURED = "not measured"


@dataclass(frozen=True)
class Cell:
    """A number in a grid; empty where the grid has no such place."""

    value: str = ""
    interval: str = ""
    note: str = ""
    reading: str = ""
    is_scored: bool = True


@dataclass(frozen=True)
class Grid:
    """Numbers by row (a method, a class) and column."""

    title: str
    first: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]


@dataclass(frozen=True)
class CaptionBlock:
    """One caption, shaded under each method."""

    rows: tuple[tuple[str, ShadedCaption], ...]


@dataclass(frozen=True)
class Attributed:
    """What the sections on attribution show; empty parts were not measured."""

    methods: tuple[str, ...]
    object_sentence: str
    heats: Grid | None
    densities: tuple[tuple[str, Markup], ...]
    captions: tuple[CaptionBlock, ...]
    words: list[Row]
    faithful: tuple[str, ...]
    warnings: tuple[str, ...]
    gains: Grid | None
    curves: tuple[tuple[str, Markup], ...]
    agreement_sentence: str
    agreement: Grid | None
    pointing_sentence: str
    pointing: Grid | None
    right: list[Row]
    ratios: tuple[tuple[str, Markup], ...]
    ratio_halves: Grid | None
    ratio_rows: list[Row]
    phrase_sentence: str
    phrases: Grid | None
    phrase_density: Markup
    phrase_rows: list[Row]

    @property
    def is_checked(self) -> bool:
        """Whether anything says how right the maps are."""
        return bool(self.right or self.curves)


def is_attribution(m: Measurement) -> bool:
    """Whether a measurement is shown with attribution."""
    return m.measure in (*WORDS, *RIGHT, *AGREEMENT, *PHRASES, RATIO, "pointing game")


def attributed(run: Run) -> Attributed:
    """Everything the pages show of a run's attributions."""
    numbers = [_named(m) for m in run.measurements if is_attribution(m)]
    methods = _methods(run, numbers)
    look = _lookup(numbers, _unsupported(run))
    right = [m for m in numbers if m.measure in (*RIGHT, *AGREEMENT, "pointing game")]
    return Attributed(
        methods=methods,
        object_sentence=object_sentence(numbers) if len(methods) > 1 else heat_sentence(numbers),
        heats=_heats(methods, look),
        densities=_densities(run, look),
        captions=_captions(run),
        words=_rows([m for m in numbers if m.measure in WORDS]),
        faithful=tuple(faithful_sentences(numbers)),
        warnings=tuple(warnings(numbers)),
        gains=_gains(methods, look),
        curves=_curves(run),
        agreement_sentence=agreement_sentence(numbers),
        agreement=_agreement(methods, look),
        pointing_sentence=pointing_sentence(numbers),
        pointing=_pointing(methods, look),
        right=_rows(right),
        ratios=_ratios(run),
        ratio_halves=_ratio_halves(methods, look),
        ratio_rows=_rows([m for m in numbers if m.measure == RATIO]),
        phrase_sentence=phrase_sentence(numbers),
        phrases=_phrases(look),
        phrase_density=_phrase_density(run, look),
        phrase_rows=rows_of([m for m in numbers if m.measure in PHRASES]),
    )


Look = Callable[[str, str, str], Measurement | None]


def _named(m: Measurement) -> Measurement:
    """Runs from before there were four methods name none: theirs was gradcam."""
    if m.measure in ("agreement", *PHRASES):  # theirs is in the group, or none
        return replace(m, method="")
    return m if m.method or m.measure not in WORDS else replace(m, method="gradcam")


def _methods(run: Run, numbers: Sequence[Measurement]) -> tuple[str, ...]:
    """Methods with numbers or heats, and those that the model is said not to give."""
    found = {m.method for m in numbers if m.measure in (*WORDS, *RIGHT)} | {heat.method for heat in run.heats}
    return tuple(sorted({*found, *_unsupported(run)} - {"random", ""}, key=method_order))


def _unsupported(run: Run) -> set[str]:
    said = {problem.what for problem in run.problems}
    return {method for method in METHODS if f"{method} is unsupported by this model" in said}


def _lookup(numbers: Sequence[Measurement], unsupported: Collection[str]) -> Look:
    table = {(m.measure, m.group, m.method): m for m in numbers}

    def look(measure: str, group: str, method: str) -> Measurement | None:
        found = table.get((measure, group, method))
        if found is None and method in unsupported:
            return Measurement(measure, group, None, None, None, 0, 0, reason=UNSUPPORTED, method=method)
        return found

    return look


def _cell(m: Measurement | None, note: str = "", reading: str = "") -> Cell:
    if m is None:
        return Cell(UNMEASURED, is_scored=False)
    if not is_number(m.value):
        return Cell(value_in_words(m).removeprefix("unscored: "), is_scored=False)
    return Cell(value_in_words(m), interval_in_words(m), note, reading)


def _value(m: Measurement | None) -> str:
    return number(m.value, m.unit) if m and is_number(m.value) else ""  # type: ignore[arg-type]


def _heats(methods: Sequence[str], look: Look) -> Grid | None:
    rows = []
    for method in methods:
        cells = []
        for name in SHOWN_CLASSES:
            median = _value(look("heat median", name, method))
            cells.append(_cell(look("heat", name, method), f"median {median}" if median else ""))
        cells.append(_cell(look("heat gap", "object-relation", method)))
        cells.append(_cell(look("object above relation", "all", method)))
        rows.append((method, tuple(cells)))
    columns = (*SHOWN_CLASSES, "object − relation", "captions with object above relation")
    return _grid(Grid("Mean heat of a word, by method and class", "method", columns, tuple(rows)))


def _grid(grid: Grid) -> Grid | None:
    """A grid in which something was measured, without columns that nobody measured."""
    if not any(cell.is_scored and cell.value for _, cells in grid.rows for cell in cells):
        return None
    kept = [
        i
        for i in range(len(grid.columns))
        if any(cells[i].value not in ("", UNMEASURED) for _, cells in grid.rows)
    ]
    rows = tuple((name, tuple(cells[i] for i in kept)) for name, cells in grid.rows)
    return replace(grid, columns=tuple(grid.columns[i] for i in kept), rows=rows)


def _gains(methods: Sequence[str], look: Look) -> Grid | None:
    rows = []
    for method in methods:
        cells = []
        for gain in GAINS:
            m, raw = look(gain, "all", method), gain.removesuffix(" gain")
            own, chance = _value(look(raw, "all", method)), _value(look(raw, "all", "random"))
            note = f"{own} against {chance}" if own and chance else ""
            cells.append(_cell(m, note, VERDICTS.get(side(m), "") if m else ""))
        rows.append((method, tuple(cells)))
    title = "Gain over a random order of words; below it the measure itself, against that of the random order"
    columns = tuple(gain.removesuffix(" gain") for gain in GAINS)
    return _grid(Grid(title, "method", columns, tuple(rows)))


def _agreement(methods: Sequence[str], look: Look) -> Grid | None:
    rows = []
    for i, method in enumerate(methods):
        pairs = [look("agreement", "~".join(sorted((method, other))), "") for other in methods[:-1]]
        cells = [_cell(m) if j < i else Cell() for j, m in enumerate(pairs)]
        rows.append((method, (*cells, _cell(look("agreement with scrambled", "all", method)))))
    columns = (*methods[:-1], SCRAMBLED)
    title = "Mean Spearman correlation of two maps of one caption’s words (1: same order, 0: none)"
    return _grid(Grid(title, "method", columns, tuple(rows)))


def _pointing(methods: Sequence[str], look: Look) -> Grid | None:
    rows = []
    for method in methods:  # of words; a method that gives no image map is not measured here
        hits, chance, gap = (
            look("pointing game", group, method) for group in ("all", "chance", "above chance")
        )
        reading = VERDICTS.get(side(gap), "") if gap else ""
        rows.append((method, (_cell(hits), _cell(chance), _cell(gap, reading=reading))))
    columns = ("hottest patch on the thing", "a random patch", "difference")
    return _grid(Grid("Pointing game", "method", columns, tuple(rows)))


def _phrases(look: Look) -> Grid | None:
    rows = tuple(
        (name, (_cell(m), Cell(str(m.items))))
        for name in WORD_CLASSES
        if (m := look("phrase similarity", name, "")) is not None
    )
    return _grid(Grid("Cosine of a caption with its phrases alone", "class", ("cosine", "phrases"), rows))


def _densities(run: Run, look: Look) -> tuple[tuple[str, Markup], ...]:
    names = {p.series.partition("/")[0] for p in run.points if p.figure == "heat density"}
    panels = []
    for method in sorted(names, key=method_order):
        curves = [
            c for c in curves_of(run.points, "heat density", under=f"{method}/") if c.name in SHOWN_CLASSES
        ]
        shown = [curve.name for curve in curves]
        means = [
            Mean(name, m.value) for name in shown if (m := look("heat", name, method)) and m.value is not None
        ]
        panels.append(
            (method, density_chart(curves, means, title=f"Heat under {method}", x_title="heat of a word"))
        )
    return tuple(panels)


def _phrase_density(run: Run, look: Look) -> Markup:
    curves = curves_of(run.points, "phrase similarity density")
    found = [(c.name, look("phrase similarity", c.name, "")) for c in curves]
    means = [Mean(name, m.value) for name, m in found if m and m.value is not None]
    title = "Cosine of captions with their phrases"
    return density_chart(curves, means, title=title, x_title="cosine") if curves else Markup("")


def _curves(run: Run) -> tuple[tuple[str, Markup], ...]:
    axes = {
        "deletion": ("hottest words removed first: lower is better", "share of words removed"),
        "insertion": ("hottest words put in first: higher is better", "share of words put in"),
    }
    found = []
    for name, (what, x_title) in axes.items():
        curves = sorted(curves_of(run.points, f"{name} curve"), key=lambda curve: method_order(curve.name))
        if curves:
            title = f"{name.capitalize()}: {what}"
            found.append((title, line_chart(curves, title=title, x_title=x_title)))
    return tuple(found)


def _ratios(run: Run) -> tuple[tuple[str, Markup], ...]:
    curves = sorted(curves_of(run.points, RATIO), key=lambda curve: method_order(curve.name))
    return tuple(
        (
            curve.name,
            line_chart(
                [curve],
                title=f"Accuracy by ratio under {curve.name}",
                x_title="heat of relation words / heat of object words, at most",
                unit="share",
            ),
        )
        for curve in curves
    )


def _ratio_halves(methods: Sequence[str], look: Look) -> Grid | None:
    rows = tuple((method, tuple(_cell(look(RATIO, half, method)) for half in HALVES)) for method in methods)
    title = "Accuracy over choices whose caption gives relations less, and more, heat per heat of its objects"
    return _grid(Grid(title, "method", tuple(HALVES.values()), rows))


def _captions(run: Run) -> tuple[CaptionBlock, ...]:
    texts = {patches.item: patches.text for patches in run.maps}
    texts |= {choice.item: choice.caption for choice in run.choices}
    texts |= {example.item: example.caption for example in run.examples}
    first = [example.item for example in run.examples]
    by_method = lambda heat: method_order(heat.method)  # noqa: E731
    heats = {name: list(group) for (_, name), group in groupby(sorted(run.heats, key=by_method), by_method)}
    if not heats:
        return ()
    leading = max(heats.values(), key=len)
    chosen = [caption.item for caption in shaded_captions(leading, texts, first, limit=SHADED_CAPTIONS)]
    shaded = {
        name: {c.item: c for c in shaded_captions(found, texts, chosen, limit=len(chosen))}
        for name, found in heats.items()
    }
    return tuple(
        CaptionBlock(tuple((name, captions[item]) for name, captions in shaded.items() if item in captions))
        for item in chosen
    )


def _rows(measurements: Sequence[Measurement]) -> list[Row]:
    """Rows of the full table, the method named with each measure."""
    ordered = sorted(measurements, key=lambda m: method_order(m.method) if m.method else (-1, ""))
    return [replace(row, label=_label(row.measurement)) for row in rows_of(ordered)]


def _label(m: Measurement) -> str:
    return f"{m.method}: {m.measure}" if m.method else m.measure
