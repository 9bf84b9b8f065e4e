"""Progress on stderr, a bar per stage with the time that is left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.progress import TimeRemainingColumn as EtaColumn


@contextmanager
def bars() -> Iterator[Callable[[str, int, int], None]]:
    """Within the `with`, call the function with (stage, done, total); stages appear as they come."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), EtaColumn())
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True)) as progress:
        tasks: dict[str, object] = {}

        def show(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = progress.add_task(stage, total=total)
            progress.update(tasks[stage], completed=done, total=total)  # type: ignore[arg-type]

        yield show
