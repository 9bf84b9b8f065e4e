"""Names to things: a table of "module:attribute" lines, imported on first use.

Other packages add lines through the entry-point group `alignscope.<kind>`; a name that the table
has already keeps its meaning.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, final

from alignscope.errors import UnknownName


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A sentence that names the nearest known name, or lists all of them.

    >>> did_you_mean("Tiny_CLIP", ["tiny-clip", "other"])
    "did you mean 'tiny-clip'?"
    >>> did_you_mean("zzz", ["b", "a"])
    'known: a, b'
    """
    folded = {each.casefold(): each for each in sorted(known)}
    near = difflib.get_close_matches(name.casefold(), folded, n=1)
    return f"did you mean '{folded[near[0]]}'?" if near else f"known: {', '.join(folded.values()) or 'none'}"


@final
class Registry:
    """A lazy table of one kind of thing.

    >>> things = Registry("number", {"pi": "math:pi"})
    >>> round(things["pi"], 2)
    3.14
    >>> things["pie"]
    Traceback (most recent call last):
    ...
    alignscope.errors.UnknownName: no number named 'pie': did you mean 'pi'?
    """

    def __init__(self, kind: str, lines: Mapping[str, str]) -> None:
        self.kind = kind
        self._lines = dict(lines)

    def _all(self) -> dict[str, str]:
        plugins = {e.name: e.value for e in entry_points(group=f"alignscope.{self.kind}")}
        return {**plugins, **self._lines}

    def source(self, name: str) -> str:
        """The package that a line is from, with its version where it is another's."""
        theirs = () if name in self._lines else entry_points(group=f"alignscope.{self.kind}", name=name)
        told = [f"{each.dist.name} {each.dist.version}" for each in theirs if each.dist is not None]
        return told[-1] if told else "alignscope"

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._all()))

    def __contains__(self, name: object) -> bool:
        return name in self._all()

    def __getitem__(self, name: str) -> Any:
        lines = self._all()
        if name not in lines:
            raise UnknownName(f"no {self.kind} named '{name}': {did_you_mean(name, lines)}")
        try:
            return EntryPoint(name, lines[name], f"alignscope.{self.kind}").load()
        except Exception as error:
            error.add_note(f"while importing the {self.kind} '{name}' from {lines[name]}")
            raise
