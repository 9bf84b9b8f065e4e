"""Processes of one thread each that work side by side."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from threading import Thread
from typing import Any

ONE_THREAD = {
    name: "1"
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
} | {"OMP_WAIT_POLICY": "PASSIVE"}
"""Read when numpy and torch are imported: four processes of four threads each took ten times as long."""


@contextmanager
def workers(processes: int) -> Iterator[ProcessPoolExecutor]:
    """A pool of fresh processes that begin with `ONE_THREAD`; the environment is as it was afterwards.

    After an error jobs that have not begun are not done.
    """
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(ONE_THREAD)
    try:
        with ProcessPoolExecutor(processes, get_context("spawn"), _end_with_parent) as pool:
            try:
                yield pool
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _end_with_parent() -> None:
    """Have this process end when the one that began it does, also by a kill: else it would write into a directory
    that a resumed run has claimed, or wait for ever."""
    parent = parent_process()
    assert parent is not None

    def wait_and_end() -> None:
        wait([parent.sentinel])
        os._exit(1)

    Thread(target=wait_and_end, daemon=True).start()


def in_stages(
    stages: Mapping[str, Sequence[Any]],
    work: Callable[[Any], None],
    *,
    processes: int,
    progress: Callable[[str, int, int], None],
) -> None:
    """Do the jobs of one stage side by side, then those of the next; `work` and jobs go to other processes."""
    with workers(processes) as pool:
        for stage, jobs in stages.items():
            running = [pool.submit(work, job) for job in jobs]
            for number, job in enumerate(as_completed(running), start=1):
                job.result()
                progress(stage, number, len(jobs))
