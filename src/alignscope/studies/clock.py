"""How long the stages of a run took."""

from __future__ import annotations

import time
from typing import final


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
