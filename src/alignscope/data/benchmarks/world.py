"""Foils of the built-in world, or of any user's pairs, asked like a benchmark: caption or foil?

The files are those of `alignscope world export`, or a `pairs.jsonl` of the same form.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from alignscope.data.benchmarks.facts import Benchmark, Official
from alignscope.data.benchmarks.reading import at_least_one
from alignscope.data.items import read_json
from alignscope.data.pairs import stream_pairs
from alignscope.data.world.export import MARK, PAIRS_FILE
from alignscope.errors import BadData
from alignscope.records import Item, Problem, Question, Shown


def read(annotations: Path) -> Iterator[Question | Problem]:
    """A question per foil, called KIND/ITEM, a second foil of the same kind KIND/ITEM@foil-2."""
    lines = stream_pairs(pairs_file(annotations))
    found = chain.from_iterable(chain(line.problems, *map(_questions, line.items)) for line in lines)
    yield from at_least_one(found, annotations, wanted="pairs with foils")


def pairs_file(annotations: Path) -> Path:
    """The file of pairs in a folder; a world that was not exported to its end is refused."""
    if not annotations.is_dir():
        return annotations
    mark = annotations / MARK
    if mark.exists():
        facts = read_json(mark, wanted="what `alignscope world export` writes last")
        if not isinstance(facts, dict) or facts.get("is_finished") is not True:
            raise BadData(f"{annotations}: got a world half exported, wanted a whole one; export it again")
    return annotations / PAIRS_FILE


def _questions(item: Item) -> Iterator[Question | Problem]:
    if not item.foils:
        yield Problem(item.id, item.image, "no foil: nothing to choose from", "unscored")
    seen: Counter[str] = Counter()
    for foil in item.foils:
        seen[foil.kind] += 1
        which = f"@foil-{seen[foil.kind]}" if seen[foil.kind] > 1 else ""
        yield Question(
            id=f"{foil.kind}/{item.id}{which}",
            subset=foil.kind,
            group=foil.kind,
            images=(Shown(item.image),),
            texts=(item.caption.text, foil.text),
        )


WORLD = Benchmark(
    name="world",
    title="The built-in world's foils",
    asks="caption",
    read=read,
    official=Official(average="items", source="this package"),
    citation="alignscope",
    url="",
    licence="Apache-2.0",
    files=f"the folder that `alignscope world export` wrote, with {PAIRS_FILE}",
    images="drawn by `alignscope world export`: its folder `images`",
)
PAIRS = Benchmark(
    name="pairs",
    title="Your own pairs",
    asks="caption",
    read=read,
    official=Official(average="items", source="this package"),
    citation="",
    url="",
    licence="yours",
    files=f"a file of pairs, or a folder with {PAIRS_FILE}",
    images="the files that `image` names in the lines",
)
