"""Attention and diagnosticity as tables for a terminal, short: the rest is in the files beside."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from alignscope.records import GroupTest, Measurement, RankedObject
from alignscope.reporting.probes import columns_text
from alignscope.reporting.wording import counted, interval_in_words, number, value_in_words

SPREAD = ("mean std", "mean mass")
ENDS = (" | mean over scenes", " | above even attention")
TOP = 5
"""Objects of a scene that are named."""


def attention_text(measurements: Sequence[Measurement], tests: Sequence[GroupTest], path: Path) -> str:
    """Mean spread and mass by block with a column per captioner, inbound attention, and tests of two captioners.

    Of several layers the first and the last are shown.

    >>> print(attention_text([], [], Path("m.parquet")))
    nothing was measured
    """
    ends = _ends(measurements)
    shown = [
        one
        for one in measurements
        if one.measure in (*SPREAD, "inbound attention") and _layer(one.group) in ends[_first(one.group)]
    ]
    own = {_first(one.group): None for one in shown}
    lines = [columns_text(shown, first=list(own))]
    if len(shown) < len(measurements):
        lines.append(f"{len(measurements) - len(shown)} more, of other numbers and layers, in {path}")
    told = [one for one in tests if f"mean {one.measure}" in SPREAD and _is_end(one.group, ends)]
    lines += verdicts_text(told, of=len(tests))
    return "\n".join(lines)


def diagnosticity_text(
    measurements: Sequence[Measurement],
    ranked: Mapping[str, Sequence[RankedObject]],
    tests: Sequence[GroupTest],
    path: Path,
) -> str:
    """The most attended, frequent and telling objects by scene, then overlaps on average over scenes, and tests.

    >>> print(diagnosticity_text([], {}, [], Path("m.parquet")))
    nothing was measured
    """
    lines = []
    for name, rows in ranked.items():
        lists: defaultdict[str, defaultdict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        for row in sorted(rows, key=lambda row: row.rank):
            if row.rank <= TOP and row.order != "even attention":
                lists[row.scene][row.order].append(row.name)
        counts = {row.scene: row.images for row in rows if row.order == "frequent"}
        for scene, orders in lists.items():
            if scene in counts:
                lines.append(f"{name}, {scene} ({counts[scene]} images)")
                lines += [f"  {order + ':':<16} {', '.join(names)}" for order, names in orders.items()]
    means = [one for one in measurements if one.group.endswith(ENDS)]
    lines.append(columns_text([_turned(one) for one in means]))
    covered = [one for one in measurements if one.measure == "regions with a label"]
    lines += [
        f"{_first(one.group)}: {one.measure} {value_in_words(one)} ({interval_in_words(one) or one.reason})"
        for one in covered
    ]
    more = len(measurements) - len(means) - len(covered)
    lines += [f"{more} more, scene by scene, in {path}"] if more else []
    lines += verdicts_text([one for one in tests if " | even attention" not in one.group], of=len(tests))
    return "\n".join(lines)


def verdicts_text(tests: Sequence[GroupTest], *, of: int) -> list[str]:
    """A line per test, those without a pair in one, and how many there are in all, for p is of each alone."""
    if not tests:
        return []
    lines = [verdict(one) for one in tests if one.first_items]
    lacking = [one.group.partition(" | ")[2] for one in tests if not one.first_items]
    named = "; ".join(dict.fromkeys(lacking))
    lines += [f"no images to compare in {counted(len(lacking), 'test')}: {named}"] if lacking else []
    return [*lines, f"p is of each test alone, of {of}: correct it where several are read together"]


def verdict(one: GroupTest) -> str:
    """One test.

    >>> verdict(GroupTest("Wilcoxon", "std", "a and b | pooled", 0.1, 0.2, 9, 9, 1, 3.0, -2.1, 0.03, -0.8, "rank-biserial"))
    'a and b | pooled: std, medians 0.100 and 0.200, Wilcoxon p 0.03, rank-biserial -0.80, 9 pairs, 1 tie'
    """
    ties = f", {counted(one.ties, 'tie')}" if one.ties else ""
    count = f"{counted(one.first_items, 'pair')}{ties}"
    middle = (
        f", medians {number(one.first, 'score')} and {number(one.second, 'score')}"
        if one.test != "Pearson" and one.first is not None and one.second is not None
        else ""
    )
    head = f"{one.group}: {one.measure}{middle}"
    if one.p is None or one.effect is None:
        return f"{head}, {one.test} unscored: {one.reason}, {count}"
    p = "below 0.0001" if one.p < 0.0001 else f"{one.p:.2g}"
    return f"{head}, {one.test} p {p}, {one.effect_name} {one.effect:.2f}, {count}"


def _turned(one: Measurement) -> Measurement:
    """The same with a column per measure and a row per captioner and pair of orders."""
    captioner, _, rest = one.group.partition(" | ")
    return replace(one, measure=f"{captioner}: {rest.removesuffix(' | mean over scenes')}", group=one.measure)


def _first(group: str) -> str:
    return group.partition(" | ")[0]


def _layer(group: str) -> int:
    """The layer that a group is of; 0 where it names none."""
    numbers = [part for part in group.split(" | ") if part.startswith("layer ")]
    return int(numbers[0].removeprefix("layer ")) if numbers else 0


def _ends(measurements: Sequence[Measurement]) -> dict[str, set[int]]:
    """First and last of the layers that each captioner was asked for."""
    layers: defaultdict[str, set[int]] = defaultdict(set)
    for one in measurements:
        if one.measure in SPREAD:
            layers[_first(one.group)].add(_layer(one.group))
    found: defaultdict[str, set[int]] = defaultdict(set)
    found.update({name: {min(every), max(every)} for name, every in layers.items()})
    return found


def _is_end(group: str, ends: Mapping[str, set[int]]) -> bool:
    return any(_layer(group) in every for name, every in ends.items() if name in _first(group).split(" and "))
