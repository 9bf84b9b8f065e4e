"""Processes side by side: fresh ones of one thread, and nothing begun after an error."""

from __future__ import annotations

import os
import time

import pytest

from alignscope.studies.workers import ONE_THREAD, workers


def test_workers_have_one_thread_and_the_environment_is_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    before = dict(os.environ)
    with workers(1) as pool:
        assert {name: pool.submit(os.getenv, name).result() for name in ONE_THREAD} == ONE_THREAD
        assert pool.submit(os.getpid).result() != os.getpid()
    assert dict(os.environ) == before


def test_after_an_error_nothing_is_begun_that_waits() -> None:
    """A study of hours tells its error once the jobs at work are done, not after all that stand in line."""
    waiting = []

    def work() -> None:
        with workers(1) as pool:
            failing = pool.submit(int, "on purpose")
            waiting.extend(pool.submit(time.sleep, 0.2) for _ in range(20))
            failing.result()

    began = time.monotonic()
    with pytest.raises(ValueError, match="on purpose"):
        work()
    assert sum(one.cancelled() for one in waiting) > 15
    assert time.monotonic() - began < 0.2 * len(waiting)
