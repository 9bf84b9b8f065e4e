"""Numbers made of subsets' accuracies: the axes of VL-CheckList, the columns of paper B's tables.

A `Tree` is a mean of means: of the subsets it names, each inner group first averaged by itself.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from alignscope.data.benchmarks.vl_checklist import SOURCES

Tree: TypeAlias = str | tuple[Any, ...]  # of trees again


@dataclass(frozen=True)
class Aggregate:
    """One number of a table: mean of means over subsets, or over the items with a tag."""

    group: str
    tree: Tree
    facet: str = ""  # question asked of an item, where it is asked several
    by: str = "subset"  # or "tag"
    measure: str = "paper B accuracy"


def weights(tree: Tree, present: Collection[str]) -> dict[str, float]:
    """The weight of every subset in a mean of means, those that are absent left out at their level.

    >>> weights((("a", "b"), "c"), {"a", "b", "c"})
    {'a': 0.25, 'b': 0.25, 'c': 0.5}
    >>> weights((("a", "b"), "c"), {"a", "c"})
    {'a': 0.5, 'c': 0.5}
    """
    if isinstance(tree, str):
        return {tree: 1.0} if tree in present else {}
    inner = [found for found in (weights(branch, present) for branch in tree) if found]
    return {name: weight / len(inner) for found in inner for name, weight in found.items()}


def leaves(tree: Tree) -> list[str]:
    """The subsets a tree names.

    >>> leaves((("a", "b"), "c"))
    ['a', 'b', 'c']
    """
    return [tree] if isinstance(tree, str) else [name for branch in tree for name in leaves(branch)]


def _axis(axis: str, files: Sequence[str]) -> Tree:
    """Files by their data source, "vg_obj" and "vg_subj" being of one."""
    sources = dict.fromkeys(name.partition("_")[0] for name in files)
    return tuple(
        tuple(f"{axis}/{name}" for name in files if name.partition("_")[0] == source) for source in sources
    )


AXES: dict[str, Tree] = {
    f"{axis[0]}-{axis.rpartition('/')[2]}": _axis(axis, files) for axis, files in SOURCES.items()
}
"""The 13 axes of VL-CheckList: mean over the files of a data source, then over sources (radar.py 122-137)."""


def _axes(letter: str) -> Tree:
    return tuple(tree for axis, tree in AXES.items() if axis.startswith(f"{letter}-"))


AGGREGATES: dict[str, tuple[Aggregate, ...]] = {
    "sugarcrepe": (
        Aggregate("Relation", "replace_rel"),
        Aggregate("Attribute", ("add_att", "replace_att", "swap_att")),
    ),
    "vl-checklist": (
        *(Aggregate(axis, tree, measure="official accuracy") for axis, tree in AXES.items()),
        Aggregate("Relation", _axes("R")),
        Aggregate("Attribute", _axes("A")),
    ),
    "valse": (Aggregate("Relation", (("actant-swap", "action-replacement"), "relations")),),
    "svo-probes": (Aggregate("Relation", "verb"),),
    "comvg": (Aggregate("Relation", "verb"),),
    "winoground": tuple(
        Aggregate(facet, "clean", facet=facet, by="tag") for facet in ("text", "image", "group")
    ),
}
"""What is made of a benchmark's subsets; sources: sheet B.7 of the papers' reference, MACCO's evaluator."""

_TABLE_5: tuple[tuple[tuple[str, str, str], ...], ...] = (
    (("aro-relation", "official accuracy", "all"), ("aro-attribute", "official accuracy", "all")),
    (("sugarcrepe", "paper B accuracy", "Relation"), ("sugarcrepe", "paper B accuracy", "Attribute")),
    (("vl-checklist", "paper B accuracy", "Relation"), ("vl-checklist", "paper B accuracy", "Attribute")),
    (("valse", "paper B accuracy", "Relation"),),
    (("comvg", "paper B accuracy", "Relation"),),
)


def table_5_average(figures: Mapping[tuple[str, str, str], float]) -> float | None:
    """The average of paper B's Table 5, from numbers by benchmark, measure and group; None where one lacks.

    ARO, SugarCrepe and VL-CheckList give the mean of relation and attribute, VALSE and ComVG one number each.
    """
    if any(key not in figures for column in _TABLE_5 for key in column):
        return None
    columns = [sum(figures[key] for key in column) / len(column) for column in _TABLE_5]
    return sum(columns) / len(columns)
