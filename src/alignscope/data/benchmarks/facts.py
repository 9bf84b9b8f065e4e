"""What is known of a benchmark: how to read it, how its authors count, whom to cite, where images are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from alignscope.records import Problem, Question

Asks = Literal["caption", "image", "pairing", "two captions", "retrieval", "similarity"]


@dataclass(frozen=True)
class Official:
    """How the authors count; the measuring itself is in the evaluation room.

    average: "items" is the share of items, "groups" the unweighted mean over `Question.group`,
        "subsets" that over subsets, "none" where only subsets are reported.
    least: items that a group needs to be counted (ARO's attributes: 25).
    left_out: groups the authors leave out (ARO's symmetric relations).
    """

    ties: Literal["wrong", "right"] = "wrong"
    average: Literal["items", "groups", "subsets", "none"] = "items"
    least: int = 1
    left_out: frozenset[str] = frozenset()
    source: str = ""  # file and lines of the authors' code


@dataclass(frozen=True)
class Benchmark:
    """One benchmark. `read` yields its items and what is wrong with its files, one by one.

    `read` takes the path of the annotations: the folder or the file that the authors publish.
    """

    name: str  # as on the command line
    title: str
    asks: Asks
    read: Callable[[Path], Iterator[Question | Problem]]
    official: Official
    citation: str
    url: str
    licence: str
    files: str  # what `--annotations` must hold
    images: str  # where images come from and what `--images` must hold; "" where none are needed
    hub: str = ""  # id of a copy on the hub, for the extra `datasets`
    sizes: dict[str, int] = field(default_factory=dict)  # items the authors count, by subset; "" for all


def told_of(benchmark: Benchmark) -> dict[str, str]:
    """What a run tells of its benchmark: whom to cite, under which licence."""
    names = ("name", "title", "citation", "licence", "url")
    return {name: getattr(benchmark, name) for name in names}


def subset_of(item: str, known: Collection[str]) -> str:
    """The subset in an id "SUBSET/KEY": the longest of `known`, or all before the last bar.

    >>> subset_of("Relation/spatial/vg/7", {"Relation/spatial/vg"}), subset_of("swap_obj/107", ())
    ('Relation/spatial/vg', 'swap_obj')
    """
    found = [name for name in known if name and item.startswith(f"{name}/")]
    return max(found, key=len, default=item.rpartition("/")[0])


def unread_by_subset(items: Iterable[str], known: Collection[str]) -> Counter[str]:
    """How many items could not be read, by subset; "" where the id tells none.

    What is no item but a whole file that is absent, named like a subset, is not counted.

    >>> unread_by_subset(["a/1", "a/2", "a", "7", "Size/large/hake"], {"a", "b"})
    Counter({'a': 2, '': 1})
    """
    counts = Counter(subset_of(item, known) for item in items if item not in known)
    return Counter({name: count for name, count in counts.items() if name in known or "/" not in name})
