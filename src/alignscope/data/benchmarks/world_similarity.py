"""Whether the built-in world's captions are nearer to their paraphrases than to their foils (after paper B, table 4).

Two benchmarks over the same texts, those of `alignscope world export`: "world-similarity" asks for the similarity of
two texts as STS does, 1 for a paraphrase and 0 for a foil, and needs no images; "world-paraphrases" asks which two of
caption, paraphrase and foil belong together, as SugarCrepe++ does. A foil comes twice: as it is, one change away from
the caption, nearer to it in its words than the paraphrase ("swap_object"); and in the paraphrase's wording
("swap_object_reworded"), so that the wording gives no answer.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from alignscope.data.benchmarks.facts import Benchmark, Official
from alignscope.data.benchmarks.world import pairs_file
from alignscope.data.pairs import stream_pairs
from alignscope.data.world.export import PAIRS_FILE
from alignscope.data.world.grammar import realise
from alignscope.data.world.paraphrases import paraphrase, understood
from alignscope.records import Item, Problem, Question, Shown


@dataclass(frozen=True)
class Triple:
    """A caption, the same said otherwise, and a foil."""

    subset: str
    key: str  # unique in the subset
    image: str
    caption: str
    paraphrase: str
    foil: str


def read_similarity(annotations: Path) -> Iterator[Question | Problem]:
    """Two questions a triple: SUBSET/ITEM@paraphrase with gold 1, SUBSET/ITEM@foil with gold 0."""
    for one in triples(annotations):
        if isinstance(one, Problem):
            yield one
            continue
        for what, text, gold in (("paraphrase", one.paraphrase, 1.0), ("foil", one.foil, 0.0)):
            key = f"{one.subset}/{one.key}@{what}"
            yield Question(key, one.subset, one.subset, (), (one.caption, text), gold=gold)


def read_paraphrases(annotations: Path) -> Iterator[Question | Problem]:
    """A question a triple, called SUBSET/ITEM, its texts in the order right, right, wrong."""
    for one in triples(annotations):
        if isinstance(one, Problem):
            yield one
            continue
        texts = (one.caption, one.paraphrase, one.foil)
        yield Question(f"{one.subset}/{one.key}", one.subset, one.subset, (Shown(one.image),), texts)


def triples(annotations: Path) -> Iterator[Triple | Problem]:
    """Two triples a foil, of an exported world or of a file of pairs in the world's sentences."""
    for line in stream_pairs(pairs_file(annotations)):
        yield from line.problems
        for item in line.items:
            yield from _triples(item)


def _triples(item: Item) -> Iterator[Triple | Problem]:
    same = _reworded(item.caption.text, item.id)
    if same is None:
        yield Problem(item.id, item.caption.text, "no sentence of the world's grammar: it has no paraphrase", "unscored")  # fmt: skip
        return
    if not item.foils:
        yield Problem(item.id, item.image, "no foil: nothing to compare with", "unscored")
    seen: Counter[str] = Counter()
    for foil in item.foils:
        seen[foil.kind] += 1
        key = f"{item.id}@foil-{seen[foil.kind]}" if seen[foil.kind] > 1 else item.id
        yield Triple(foil.kind, key, item.image, item.caption.text, same, foil.text)
        other = _reworded(foil.text, item.id)
        if other is None:
            what = "no sentence of the world's grammar: it is not reworded"
            yield Problem(f"{foil.kind}_reworded/{key}", foil.text, what, "unscored")
            continue
        yield Triple(f"{foil.kind}_reworded", key, item.image, item.caption.text, same, other)


def _reworded(text: str, item: str) -> str | None:
    """The same said otherwise; all texts of an item are turned in the same way."""
    statement = understood(text)
    if statement is None:
        return None
    return realise(paraphrase(statement, rng=random.Random(f"paraphrase {item}"))).text


_FILES = f"the folder that `alignscope world export` wrote, with {PAIRS_FILE}"
WORLD_SIMILARITY = Benchmark(
    name="world-similarity",
    title="The built-in world: similarity of paraphrases and foils",
    asks="similarity",
    read=read_similarity,
    official=Official(
        average="items", source="this package; as STS-B, gold 1 for paraphrases and 0 for foils"
    ),
    citation="alignscope",
    url="",
    licence="Apache-2.0",
    files=_FILES,
    images="",
)
WORLD_PARAPHRASES = Benchmark(
    name="world-paraphrases",
    title="The built-in world: caption and paraphrase against a foil",
    asks="two captions",
    read=read_paraphrases,
    official=Official(average="items", source="this package; counted as SugarCrepe++ (ITT, TOT)"),
    citation="alignscope",
    url="",
    licence="Apache-2.0",
    files=_FILES,
    images="drawn by `alignscope world export`: its folder `images`",
)
