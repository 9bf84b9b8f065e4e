"""The figures that a benchmark gives: one record each, printed as lines and written as JSON.

Ratios are taken within a round; told are their median and their quartiles over rounds. Seconds are of the
processor where nothing waits: other jobs of a busy machine leave those nearly alone, and a quiet machine's wall
clock agrees with them.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from alignscope.files import write_json


class Spent(NamedTuple):
    """Seconds on the wall's clock, and of all processor cores together."""

    wall: float
    processor: float


@dataclass(frozen=True)
class Figure:
    """A ratio beside a peer or a floor; `wanted` and `is_met` where an issue names a bound."""

    name: str
    ratio: float
    low: float | None  # quartiles over rounds; None of one round
    high: float | None
    wanted: str = ""
    is_met: bool | None = None
    note: str = ""


def figure(
    name: str,
    ratios: Sequence[float],
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    note: str = "",
) -> Figure:
    """The median of the rounds beside its bound.

    >>> figure("encoding", [1.0, 1.2, 1.1], at_most=1.1)
    Figure(name='encoding', ratio=1.1, low=1.05, high=1.15, wanted='at most 1.1', is_met=True, note='')
    """
    if at_least is not None and at_most is not None:
        raise ValueError(f"{name}: bounds {at_least} and {at_most}: give `at_least` or `at_most`, not both")
    middle = statistics.median(ratios)
    low = high = None
    if len(ratios) > 1:
        low, _, high = statistics.quantiles(ratios, n=4, method="inclusive")
    if at_least is not None:
        return Figure(name, middle, low, high, f"at least {at_least:g}", middle >= at_least, note)
    if at_most is not None:
        return Figure(name, middle, low, high, f"at most {at_most:g}", middle <= at_most, note)
    return Figure(name, middle, low, high, note=note)


def spent(call: Callable[[], object]) -> Spent:
    """What a call takes."""
    began, busy = time.perf_counter(), time.process_time()
    call()
    return Spent(time.perf_counter() - began, time.process_time() - busy)


def figure_of_times(
    name: str,
    over: Sequence[Spent],
    under: Sequence[Spent],
    *,
    scale: float = 1.0,
    at_least: float | None = None,
    at_most: float | None = None,
    note: str = "",
) -> Figure:
    """`scale * over / under` of every round by processor time; the wall clock's is in the note.

    Of several threads the wall clock's is taken: what waits for another thread spends no processor time.

    >>> figure_of_times("encoding", [Spent(9.0, 4.0)], [Spent(3.0, 2.0)], at_most=3).note
    'by processor time; 3.000 by the wall clock'
    """
    rounds = list(zip(over, under, strict=True))
    wall = [scale * a.wall / b.wall for a, b in rounds]
    busy = [scale * a.processor / b.processor for a, b in rounds]
    threads = int(os.environ.get("OMP_NUM_THREADS", "1"))
    ratios = busy if threads == 1 else wall
    how = f"by processor time; {shortly(statistics.median(wall))} by the wall clock"
    if threads > 1:
        how = f"{threads} threads, by the wall clock; {shortly(statistics.median(busy))} by processor time"
    note = "; ".join(filter(None, (note, how)))
    return figure(name, ratios, at_least=at_least, at_most=at_most, note=note)


def spread(found: Figure) -> str:
    """Its quartiles, for people."""
    if found.low is None or found.high is None:
        return "one round"
    return f"{shortly(found.low)} to {shortly(found.high)}"


def shortly(ratio: float) -> str:
    """Three digits that mean something.

    >>> shortly(0.98765), shortly(12.345), shortly(4567.8)
    ('0.988', '12.3', '4,568')
    """
    return f"{ratio:.3f}" if abs(ratio) < 10 else f"{ratio:.1f}" if abs(ratio) < 1000 else f"{ratio:,.0f}"


def verdict(found: Figure) -> str:
    """Whether the bound is met; nothing where no issue names one."""
    return "" if found.is_met is None else "met" if found.is_met else "NOT MET"


def line(found: Figure) -> str:
    """One figure as it is printed."""
    bound = f"  {found.wanted}: {verdict(found)}" if found.wanted else ""
    note = f"  ({found.note})" if found.note else ""
    return f"  {found.name:<66}{shortly(found.ratio):>8} x  {spread(found):<18}{bound}{note}\n"


def add_option(parser: argparse.ArgumentParser) -> None:
    """`--json FILE`, the same for every benchmark."""
    parser.add_argument("--json", type=Path, help="write the figures, and print them as the speed book does")


def tell(found: Sequence[Figure], path: Path | None) -> None:
    """Print and write the figures where `--json` was given."""
    if path is not None:
        sys.stdout.write("".join(map(line, found)))
        write_json(path, {"figures": [asdict(one) for one in found]})
