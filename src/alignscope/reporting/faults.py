"""The problems of a run, counted while they are read, so that a page's memory does not grow with them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import final

from alignscope.records import Problem

LISTED = 200
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[-+]?\d+)?")


@dataclass(frozen=True)
class Faults:
    """How many problems there were, the first of them, and (what, action, times), most frequent first."""

    total: int
    listed: tuple[Problem, ...]
    groups: tuple[tuple[str, str, int], ...]


def counted(problems: Iterable[Problem]) -> Faults:
    """Problems by what they were and what was done; numbers that vary are left out.

    >>> [group] = counted(Problem(i, "", f"{i} of 7 words", "handled") for i in "35").groups
    >>> group
    ('… of 7 words', 'handled', 2)
    """
    total = 0
    listed: list[Problem] = []
    groups: dict[tuple[str, str], _Group] = {}
    for problem in problems:
        total += 1
        if len(listed) < LISTED:
            listed.append(problem)
        kind = NUMBER.sub("", problem.what), problem.action
        groups.setdefault(kind, _Group(problem.what)).add(problem.what)
    rows = [(group.text(), action, group.times) for (_, action), group in groups.items()]
    return Faults(total, tuple(listed), tuple(sorted(rows, key=lambda row: -row[2])))


@final
class _Group:
    """Texts that differ in their numbers alone."""

    def __init__(self, first: str) -> None:
        self.times = 0
        self._first = first
        self._numbers: list[str] = NUMBER.findall(first)

    def add(self, text: str) -> None:
        pairs = zip(self._numbers, NUMBER.findall(text), strict=True)
        self._numbers = [one if one == other else "…" for one, other in pairs]
        self.times += 1

    def text(self) -> str:
        kept = iter(self._numbers)
        return NUMBER.sub(lambda _: next(kept), self._first)
