"""Progress on stderr, a bar per stage with the time that is left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import TimeRemainingColumn as EtaColumn
from rich.text import Text

if TYPE_CHECKING:
    from alignscope.training.metrics import Seen

SECONDS_BETWEEN_LINES = 5.0
SECONDS_OF_SILENCE = 30.0


@contextmanager
def bars() -> Iterator[Callable[[str, int, int], None]]:
    """Within the `with`, call the function with (stage, done, total); stages appear as they come.

    Where stderr is no terminal there are no bars, but a line every half minute with the time that is left.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _now_and_then(console)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), EtaColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        tasks: dict[str, object] = {}

        def show(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = progress.add_task(stage, total=total)
            progress.update(tasks[stage], completed=done, total=total)  # type: ignore[arg-type]

        yield show


def _now_and_then(console: Console) -> Callable[[str, int, int], None]:
    spoken = time.monotonic()
    begun: dict[str, tuple[float, int]] = {}  # when a stage was first seen, and how far it was then
    known: dict[str, int] = {}

    def show(stage: str, done: int, total: int) -> None:
        nonlocal spoken
        now = time.monotonic()
        if stage not in begun or done < known[stage]:  # or begins anew
            begun[stage] = now, done
        known[stage] = done
        if now - spoken >= SECONDS_OF_SILENCE:
            spoken = now
            line = f"{stage} {done}/{total}  {_left(done, total, *begun[stage])}"
            console.print(line.rstrip(), markup=False, highlight=False, soft_wrap=True)

    return show


class _Numbered(Progress):
    """Bars, and below them a line of numbers for each stage that has some, wrapped where it is long."""

    def get_renderables(self) -> Iterator[RenderableType]:
        yield self.make_tasks_table(self.tasks)
        for task in self.tasks:
            if task.fields["numbers"]:
                yield Text(f"{task.description}: {task.fields['numbers']}")


@contextmanager
def training_bars(*, shown: bool = True) -> Iterator[Callable[[Seen], None]]:
    """As `bars` for a training, whose newest numbers stand below the bars.

    Where stderr is no terminal, a line every few seconds, with the time that is left, and one with the last
    numbers of each stage.
    """
    console = Console(stderr=True, quiet=not shown)
    if not console.is_terminal:
        yield _lines(console)
        return
    columns = (TextColumn("{task.description}"), BarColumn(20), MofNCompleteColumn(), EtaColumn())
    with _Numbered(*columns, console=console) as progress:
        tasks: dict[str, TaskID] = {}

        def show(seen: Seen) -> None:
            if seen.stage not in tasks:
                tasks[seen.stage] = progress.add_task(seen.stage, total=seen.total, numbers="")
            progress.update(tasks[seen.stage], completed=seen.done, total=seen.total)
            if seen.numbers:
                progress.update(tasks[seen.stage], numbers=_told(seen.numbers))

        yield show


def _lines(console: Console) -> Callable[[Seen], None]:
    spoken = -SECONDS_BETWEEN_LINES
    known: dict[str, Seen] = {}
    begun: dict[str, tuple[float, int]] = {}  # when a stage was first seen, and how far it was then

    def show(seen: Seen) -> None:
        nonlocal spoken
        before = known.get(seen.stage, seen)
        begins_anew = seen.done < before.done
        if begins_anew or seen.stage not in begun:
            begun[seen.stage] = time.monotonic(), seen.done
        numbers = seen.numbers if begins_anew else {**before.numbers, **seen.numbers}
        known[seen.stage] = replace(seen, numbers=numbers)
        is_end = seen.done >= seen.total and seen.numbers
        if is_end or time.monotonic() - spoken >= SECONDS_BETWEEN_LINES:
            spoken = time.monotonic()
            left = _left(seen.done, seen.total, *begun[seen.stage])
            line = f"{seen.stage} {seen.done}/{seen.total}  {left}{_told(numbers)}"
            console.print(line.rstrip(), markup=False, highlight=False, soft_wrap=True)

    return show


def _left(done: int, total: int, since: float, before: int) -> str:
    """The time a stage still takes at the speed it had so far; nothing where that is not known."""
    if not before < done < total:
        return ""
    seconds = (time.monotonic() - since) / (done - before) * (total - done)
    return f"left {timedelta(seconds=round(seconds))}  "


def _told(numbers: Mapping[str, float]) -> str:
    """Numbers in one line.

    >>> _told({"loss": 2.30259, "lr": 5e-7, "samples/s": 120.0})
    'loss 2.303  lr 5e-07  samples/s 120'
    """
    return "  ".join(f"{name} {value:.4g}" for name, value in numbers.items())
