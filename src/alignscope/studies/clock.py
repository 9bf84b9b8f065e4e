"""How far the stages of a run are, and how long they took."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import final

Progress = Callable[[str, int, int], None]
"""Told the stage, what of it is done and how much there is."""


@final
class Clock:
    """Seconds per stage, from the end of the one before."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.monotonic()

    def lap(self, stage: str) -> None:
        """A stage is over."""
        now = time.monotonic()
        self.laps[stage] = round(now - self._last, 2)
        self._last = now
