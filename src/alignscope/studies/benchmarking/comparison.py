"""Two runs side by side, from their records alone: which is better, by how much, and is it chance."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from rich import box
from rich.console import Console
from rich.table import Table

from alignscope.data.benchmarks.table import BENCHMARKS
from alignscope.errors import BadData, OutputExists, UnwritableOutput
from alignscope.evaluation.columns import Columns, in_columns
from alignscope.evaluation.paired import (
    Answers,
    Paired,
    answers_of,
    answers_of_choices,
    answers_of_ranks,
    compared,
    compared_correlations,
    corrected,
)
from alignscope.files import read_parquet, stream_parquet, write_parquet
from alignscope.records import DRAWS, Choice, Measurement, OptionScore, Rank
from alignscope.studies.output import RUN

SCORES, CHOICES, RANKS = "scores.parquet", "choices.parquet", "ranks.parquet"
OUT = ("comparison.parquet", "measurements.parquet")

Key = tuple[str, str]  # benchmark and question


@dataclass(frozen=True)
class Comparison:
    """What two runs say of the same items; `only_in` names what one of them lacks altogether."""

    first: str
    second: str
    lines: tuple[Paired, ...]
    only_in: dict[str, tuple[str, ...]]
    measurements: tuple[Measurement, ...]

    def __str__(self) -> str:
        return comparison_text(self)


def compare(
    first: Path,
    second: Path,
    *,
    out: Path | None = None,
    overwrite: bool = False,
    draws: int = DRAWS,
    seed: int = 0,
    level: float = 0.95,
) -> Comparison:
    """Compare two run directories, the second minus the first, and write the records to `out`.

    Runs of `evaluate` (scores.parquet, one or in folders of benchmarks) and of `audit` (choices.parquet,
    ranks.parquet).
    """
    one, other = _answers(first), _answers(second)
    how = {"draws": draws, "seed": seed, "level": level}
    lines = [line for key in one if key in other for line in _lines(key, one[key], other[key], how)]
    if not lines:
        raise BadData(
            f"{first} holds {_named(one)}, {second} {_named(other)}: give two runs on the same benchmark"
        )
    if not any(line.items for line in lines):
        raise BadData(
            f"{first} and {second}: no item of {_named(one)} is scored in both; scores made elsewhere name their "
            "items as a model's run does where they are evaluated with --annotations"
        )
    rows = tuple(corrected(lines))
    only_in = {
        str(directory): tuple(" ".join(key).strip() for key in mine if key not in theirs)
        for directory, mine, theirs in ((first, one, other), (second, other, one))
    }
    numbers = tuple(number for row in rows for number in _measurements(row, f"{first} -> {second}"))
    found = Comparison(str(first), str(second), rows, only_in, numbers)
    if out is not None:
        _write(found, out, overwrite=overwrite)
    return found


def comparison_text(comparison: Comparison) -> str:
    """One line per benchmark and subset, what could not be paired below."""
    levels = {f"{100 * line.level:g} %" for line in comparison.lines}
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    for name in ("benchmark", "subset"):
        table.add_column(name, overflow="fold")
    for name in (
        "A",
        "B",
        "B - A",
        f"{' / '.join(sorted(levels))} interval",
        "only A",
        "only B",
        "p",
        "Holm p",
        "n",
    ):
        table.add_column(name, justify="right", no_wrap=True)
    previous = ""
    for line in comparison.lines:
        name = " ".join((line.benchmark, line.question)).strip()
        interval = "" if line.low is None else f"{_points(line.low)} to {_points(line.high)}"
        numbers = (_share(line.first), _share(line.second), _points(line.difference), interval)
        counts = (str(line.first_only_right), str(line.second_only_right), _p(line.p), _p(line.p_holm))
        table.add_row("" if name == previous else name, line.subset, *numbers, *counts, str(line.items))
        previous = name
    out = io.StringIO()
    Console(file=out, width=120, color_system=None, force_terminal=False, markup=False).print(table)
    said = [f"A: {comparison.first}", f"B: {comparison.second}"]
    said += [text.rstrip() for text in out.getvalue().rstrip().splitlines()]
    return "\n".join([*said, "", *_remarks(comparison)])


def _remarks(comparison: Comparison) -> Iterator[str]:
    yield (
        "Percent of the items that both scored, a tie being wrong (spearman: x 100). p: McNemar's exact test, "
        "of images where these have several items; Holm p: corrected for the benchmarks compared."
    )
    for line in comparison.lines:
        if line.subset == "all" and (line.alone_in_first or line.alone_in_second):
            name = " ".join((line.benchmark, line.question)).strip()
            yield f"{name}: {line.alone_in_first} items scored in A alone, {line.alone_in_second} in B alone"
    for directory, names in comparison.only_in.items():
        if names:
            yield f"only in {directory}: {', '.join(names)}"


def _answers(directory: Path) -> dict[Key, Answers | Columns]:
    """What a run has right, by benchmark and question; scores themselves where texts' similarity is asked."""
    if not directory.is_dir():
        raise BadData(f"{directory}: no such folder; give the --out of an evaluate or audit")
    found: dict[Key, Answers | Columns] = {}
    for folder in (directory, *sorted(each for each in directory.iterdir() if each.is_dir())):
        if (folder / SCORES).is_file():
            found |= _scored(folder / SCORES)
        if (folder / CHOICES).is_file():
            found[_data_name(folder), ""] = answers_of_choices(read_parquet(folder / CHOICES, Choice))
        if (folder / RANKS).is_file():
            answers = answers_of_ranks(read_parquet(folder / RANKS, Rank))
            found |= {(_data_name(folder), question): each for question, each in answers.items()}
    if not found:
        raise BadData(
            f"{directory}: got no {SCORES}, {CHOICES} or {RANKS} with answers; wanted a finished run"
        )
    return found


def _scored(path: Path) -> dict[Key, Answers | Columns]:
    found: dict[Key, Answers | Columns] = {}
    for benchmark in _benchmarks(path):
        options = (option for option in stream_parquet(path, OptionScore) if option.benchmark == benchmark)
        columns, asks = in_columns(options, benchmark=benchmark), _asks(benchmark)
        if asks == "similarity":
            found[benchmark, "spearman"] = columns
        else:
            found |= {(benchmark, question): each for question, each in answers_of(columns, asks).items()}
    return found


def _lines(
    key: Key, first: Answers | Columns, second: Answers | Columns, how: dict[str, Any]
) -> list[Paired]:
    if isinstance(first, Columns) and isinstance(second, Columns):
        return [compared_correlations(key[0], first, second, **how)]
    if isinstance(first, Answers) and isinstance(second, Answers):
        return compared(*key, first, second, **how)
    raise BadData(f"{key[0]}: one run holds scores, the other answers; give two runs of one kind")


def _asks(benchmark: str) -> str:
    """What a benchmark asks; one that is not in the registry gives captions to choose from."""
    return BENCHMARKS[benchmark].asks if benchmark in BENCHMARKS else "caption"


def _benchmarks(path: Path) -> list[str]:
    try:
        return sorted(pq.read_table(path, columns=["benchmark"])["benchmark"].unique().to_pylist())
    except (pa.ArrowInvalid, KeyError) as error:
        raise BadData(f"{path}: not a Parquet file of OptionScore records: {error}") from None


def _data_name(directory: Path) -> str:
    """The name of the data of a run as its run.json says it."""
    try:
        run: Any = json.loads((directory / RUN).read_text(encoding="utf-8"))
        identity = run["identity"]
        return str(identity["benchmark"] if "benchmark" in identity else identity["data"]["name"])
    except (OSError, ValueError, KeyError, TypeError):
        return directory.name


def _measurements(line: Paired, runs: str) -> Iterator[Measurement]:
    group = " | ".join(part for part in (line.benchmark, line.question, line.subset) if part)
    counts = f"only the first right: {line.first_only_right}, only the second: {line.second_only_right}"
    reason = "; ".join(filter(None, (counts, line.reason)))
    missing = line.alone_in_first + line.alone_in_second
    kind, unit = ("spearman", "correlation") if line.question == "spearman" else ("accuracy", "share")
    if kind == "spearman":
        reason = line.reason
    for measure, value, low, high, of in (
        (f"{kind} difference", line.difference, line.low, line.high, unit),
        ("McNemar p", line.p, None, None, "probability"),
        ("McNemar p (Holm)", line.p_holm, None, None, "probability"),
    ):
        if value is not None or measure.endswith("difference"):
            yield Measurement(
                measure,
                group,
                value,
                low,
                high,
                line.items,
                line.images,
                missing=missing,
                unit=of,
                level=line.level,
                reason=reason,
                signature=f"{measure}|runs:{runs}|items:{line.items}|images:{line.images}|ties:wrong",
            )


def _write(comparison: Comparison, out: Path, *, overwrite: bool) -> None:
    paths = [out / name for name in OUT]
    held = [path for path in paths if path.exists()]
    if held and not overwrite:
        raise OutputExists(f"{held[0]} exists: give --overwrite or another --out")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnwritableOutput(f"cannot write to {out} ({error.strerror}): give another --out") from None
    write_parquet(paths[0], comparison.lines, Paired)
    write_parquet(paths[1], comparison.measurements, Measurement)


def _named(found: dict[Key, Answers | Columns]) -> str:
    return ", ".join(sorted({benchmark for benchmark, _ in found}))


def _share(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.2f}"


def _points(value: float | None) -> str:
    return "" if value is None else f"{100 * value:+.2f}"


def _p(value: float | None) -> str:
    return "" if value is None else "<0.0001" if value < 1e-4 else f"{value:.4f}"
