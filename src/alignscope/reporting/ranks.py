"""How deep right answers were found, as pages tell it."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from alignscope.records import Rank


@dataclass(frozen=True)
class Direction:
    """How deep the right answers were found in one direction."""

    name: str
    queries: int
    candidates: int
    median_rank: float
    tied: int


def directions_of(ranks: Sequence[Rank]) -> list[Direction]:
    """Ranks summed up by direction."""
    found = []
    for name in sorted({rank.direction for rank in ranks}):
        here = [rank for rank in ranks if rank.direction == name]
        found.append(
            Direction(
                name=name,
                queries=len(here),
                candidates=max(rank.candidates for rank in here),
                median_rank=statistics.median(rank.rank for rank in here),
                tied=sum(rank.ties > 0 for rank in here),
            )
        )
    return found
