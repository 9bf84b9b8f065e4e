"""Data sets read chunk by chunk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, final, runtime_checkable

from PIL.Image import Image

from alignscope.records import Item, ItemSource, Problem


@runtime_checkable
class Chunk(Protocol):
    """Some items with their images, and what was wrong with the rest."""

    @property
    def items(self) -> Sequence[Item]: ...
    @property
    def problems(self) -> Sequence[Problem]: ...
    @property
    def sha(self) -> str: ...  # hash of everything that decides a score
    def image(self, key: str) -> Image: ...


@runtime_checkable
class Stream(Protocol):
    """A data set that gives the same chunks each time; `lines` is how many captions it may hold."""

    @property
    def name(self) -> str: ...
    @property
    def sha(self) -> str: ...
    @property
    def lines(self) -> int: ...
    def chunks(self, size: int) -> Iterator[Chunk]: ...
    def image(self, key: str) -> Image: ...


@final
@dataclass(frozen=True)
class Slice:
    """A few of a source's items, and what was wrong with those that are told with them."""

    source: ItemSource | Stream
    items: Sequence[Item]
    problems: Sequence[Problem]

    @property
    def sha(self) -> str:
        return self.source.sha

    def image(self, key: str) -> Image:
        """The image of a key."""
        return self.source.image(key)


@final
class Whole:
    """A data set that lies in memory, as a stream."""

    def __init__(self, source: ItemSource) -> None:
        self._source = source
        self.name = source.name
        self.lines = len(source.items)

    @property
    def sha(self) -> str:
        """The source's own hash."""
        return self._source.sha

    def chunks(self, size: int) -> Iterator[Chunk]:
        """Items in their order."""
        for start in range(0, self.lines, size):
            problems = self._source.problems if start == 0 else ()
            yield Slice(self._source, self._source.items[start : start + size], problems)

    def image(self, key: str) -> Image:
        """The image of a key."""
        return self._source.image(key)
