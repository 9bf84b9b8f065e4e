"""Numbers of attribution in grids: methods, or classes of words, by what was measured of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from alignscope.records import WORD_CLASSES, Measurement
from alignscope.reporting.claims import GAINS, side
from alignscope.reporting.wording import interval_in_words, is_number, number, value_in_words

SHOWN_CLASSES = tuple(name for name in WORD_CLASSES if name != "other")
RATIO = "accuracy by ratio"
HALVES = {"low half": "ratio up to the median", "high half": "above it", "high minus low": "difference"}
VERDICTS = {
    "above": "better", "below": "worse", "not told": "not told apart", "too few": "too few images"
}  # fmt: skip
SCRAMBLED = "with scrambled weights"
UNSUPPORTED = "unsupported"
UNMEASURED = "not measured"

Look = Callable[[str, str, str], Measurement | None]


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


def lookup(numbers: Sequence[Measurement], unsupported: Collection[str]) -> Look:
    """A measurement by measure, group and method; of a method the model does not give, one without a value."""
    table = {(m.measure, m.group, m.method): m for m in numbers}

    def look(measure: str, group: str, method: str) -> Measurement | None:
        found = table.get((measure, group, method))
        if found is None and method in unsupported:
            return Measurement(measure, group, None, None, None, 0, 0, reason=UNSUPPORTED, method=method)
        return found

    return look


def heat_grid(methods: Sequence[str], look: Look) -> Grid | None:
    """Mean and median heat by method and class, the gap, and how often objects are hotter (paper B, figs. 1, 6)."""
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


def gain_grid(methods: Sequence[str], look: Look) -> Grid | None:
    """What each method's order of words gains over a random order, with both raw numbers below."""
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


def agreement_grid(methods: Sequence[str], look: Look) -> Grid | None:
    """Mean correlation of every two methods, and of each with itself under scrambled weights."""
    rows = []
    for i, method in enumerate(methods):
        pairs = [look("agreement", "~".join(sorted((method, other))), "") for other in methods[:-1]]
        cells = [_cell(m) if j < i else Cell() for j, m in enumerate(pairs)]
        rows.append((method, (*cells, _cell(look("agreement with scrambled", "all", method)))))
    columns = (*methods[:-1], SCRAMBLED)
    title = "Mean Spearman correlation of two maps of one caption’s words (1: same order, 0: none)"
    return _grid(Grid(title, "method", columns, tuple(rows)))


def pointing_grid(methods: Sequence[str], look: Look) -> Grid | None:
    """How often the hottest place lies on the thing, and a random one."""
    rows = []
    for method in methods:  # of words; a method that gives no image map is not measured here
        hits, chance, gap = (
            look("pointing game", group, method) for group in ("all", "chance", "above chance")
        )
        reading = VERDICTS.get(side(gap), "") if gap else ""
        rows.append((method, (_cell(hits), _cell(chance), _cell(gap, reading=reading))))
    columns = ("hottest place on the thing", "a random place", "difference")
    return _grid(Grid("Pointing game", "method", columns, tuple(rows)))


def phrase_grid(look: Look) -> Grid | None:
    """Cosine of captions with their phrases alone, by class (paper B, fig. 3)."""
    rows = tuple(
        (name, (_cell(m), Cell(str(m.items))))
        for name in WORD_CLASSES
        if (m := look("phrase similarity", name, "")) is not None
    )
    return _grid(Grid("Cosine of a caption with its phrases alone", "class", ("cosine", "phrases"), rows))


def ratio_grid(methods: Sequence[str], look: Look) -> Grid | None:
    """Accuracy in the two halves of the choices by ratio, and the difference (paper B, fig. 4)."""
    rows = tuple((method, tuple(_cell(look(RATIO, half, method)) for half in HALVES)) for method in methods)
    title = "Accuracy over choices whose caption gives relations less, and more, heat per heat of its objects"
    return _grid(Grid(title, "method", tuple(HALVES.values()), rows))


def _cell(m: Measurement | None, note: str = "", reading: str = "") -> Cell:
    if m is None:
        return Cell(UNMEASURED, is_scored=False)
    if not is_number(m.value):
        return Cell(value_in_words(m).removeprefix("unscored: "), is_scored=False)
    return Cell(value_in_words(m), interval_in_words(m), note, reading)


def _value(m: Measurement | None) -> str:
    return number(m.value, m.unit) if m and is_number(m.value) else ""  # type: ignore[arg-type]


def _grid(grid: Grid) -> Grid | None:
    """A grid in which something was measured, without rows and columns that nobody measured."""
    if not any(cell.is_scored and cell.value for _, cells in grid.rows for cell in cells):
        return None
    kept = [
        i
        for i in range(len(grid.columns))
        if any(cells[i].value not in ("", UNMEASURED, UNSUPPORTED) for _, cells in grid.rows)
    ]
    rows = tuple(
        (name, tuple(cells[i] for i in kept))
        for name, cells in grid.rows
        if any(cells[i].value not in ("", UNMEASURED) for i in kept)
    )
    return replace(grid, columns=tuple(grid.columns[i] for i in kept), rows=rows)
