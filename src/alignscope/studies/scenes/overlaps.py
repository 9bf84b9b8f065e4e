"""Overlaps of ranked objects as numbers with intervals, and tests between captioners over scenes.

Lists of drawn images are noisier, so draws lie below the overlap that they are draws of: intervals are symmetric
ones, which of seven kinds covered best (design/0014).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal, final

import numpy as np

from alignscope.evaluation.intervals import Interval, Sample, measured, symmetric
from alignscope.evaluation.paired_tests import wilcoxon
from alignscope.probing.diagnosticity import SceneObjects
from alignscope.probing.redrawn import Measure, Redrawn, over_scenes, redrawn
from alignscope.records import GroupTest, Measurement, RankedObject, RankOverlap, Signature

MEASURES: tuple[tuple[str, Measure], ...] = (("IoU", "iou"), ("average overlap", "average_overlap"))


@final
@dataclass(frozen=True, eq=False)
class Lists:
    """What the objects of each image are ranked by, image by image in one order, and those that tell of a scene."""

    attended: Sequence[SceneObjects]
    even: Sequence[SceneObjects]
    present: Sequence[SceneObjects]
    telling: Mapping[str, Sequence[RankedObject]]


def overlap_numbers(
    lists: Lists,
    overlaps: Sequence[RankOverlap],
    order: Literal["attended", "attended first"],
    *,
    signature: Signature,
    draws: int,
    seed: int,
) -> list[Measurement]:
    """IoU and average overlap at each depth, scene by scene and on average over scenes, images of a scene drawn again.

    "above even" is how much higher the overlap is than were all positions looked at alike, in the same draws.
    """
    fixed = {scene: [row.name for row in ranking] for scene, ranking in lists.telling.items()}
    pairs = by_orders(overlaps)
    depths = sorted({row.depth for row in overlaps})
    how: dict[str, Any] = {"depths": depths, "draws": draws, "seed": seed}
    made: dict[tuple[str, str], dict[tuple[str, int], Redrawn]] = {}
    numbers: list[Measurement] = []
    for (first, second), rows in pairs.items():
        mine = {"frequent": lists.present, "even attention": lists.even}.get(first, lists.attended)
        theirs = lists.present if second == "frequent" else fixed
        ordered: Any = ("frequent" if first == "frequent" else order, "frequent")
        made[first, second] = redrawn(mine, theirs, ordered, **how)
        group = f"{first}, {second}"
        numbers += _numbers(rows, made[first, second], group, lists.attended, signature)
    for first, second in pairs:
        if first == order and ("even attention", second) in made:
            numbers += _above_even(pairs, made, (first, second), lists.attended, signature)
    return numbers


def by_orders(rows: Sequence[RankOverlap]) -> dict[tuple[str, str], list[RankOverlap]]:
    """The overlaps of each pair of orders."""
    groups: dict[tuple[str, str], list[RankOverlap]] = {}
    for row in rows:
        groups.setdefault((row.first, row.second), []).append(row)
    return groups


def overlap_tests(found: Mapping[str, Sequence[RankOverlap]]) -> list[GroupTest]:
    """Wilcoxon's test over scenes of the overlaps of any two captioners, for each pair of orders and depth."""
    tests = []
    for first, second in combinations(found, 2):
        theirs = {(row.first, row.second, row.depth, row.scene): row.average_overlap for row in found[second]}
        pairs: dict[tuple[str, str, int], list[tuple[float | None, float | None]]] = {}
        for row in found[first]:
            if row.first.startswith("attended"):
                key = row.first, row.second, row.depth
                pairs.setdefault(key, []).append((row.average_overlap, theirs.get((*key, row.scene))))
        for (one, other, depth), mine in pairs.items():
            known = np.array([pair for pair in mine if None not in pair], dtype=np.float64).reshape(-1, 2)
            group = f"{first} and {second} | {one}, {other} | scenes"
            tests.append(wilcoxon(known[:, 0], known[:, 1], measure=f"average overlap@{depth}", group=group))
    return tests


def _numbers(
    rows: Sequence[RankOverlap],
    draws: Mapping[tuple[str, int], Redrawn],
    group: str,
    images: Sequence[SceneObjects],
    signature: Signature,
) -> list[Measurement]:
    """Every scene's overlaps at each depth, and their means."""
    found = []
    for name, field in MEASURES:
        for row in rows:
            value = getattr(row, field)
            of_scene = [one.image for one in images if one.scene == row.scene]
            interval = Interval(None, None, None, row.reason)
            if value is not None:
                interval = _interval(value, getattr(draws[row.scene, row.depth], field), len(of_scene))
            found.append(
                _measured(
                    interval, of_scene, f"{name}@{row.depth}", f"{group} | {row.scene}", signature, row.ties
                )
            )
        for depth in sorted({row.depth for row in rows}):
            values = [getattr(row, field) for row in rows if row.depth == depth]
            known = [value for value in values if value is not None]
            whole = Interval(None, None, None, "no scene has both lists")
            if known:
                redrawn_means = over_scenes(draws, depth, field)
                whole = _interval(float(np.mean(known)), redrawn_means, len(images))
            ties = sum(row.ties for row in rows if row.depth == depth)
            every = [one.image for one in images]
            found.append(
                _measured(
                    *(whole, every, f"{name}@{depth}", f"{group} | mean over scenes", signature, ties),
                    items=len(known),
                    missing=len(values) - len(known),
                )
            )
    return found


def _above_even(
    rows: Mapping[tuple[str, str], Sequence[RankOverlap]],
    draws: Mapping[tuple[str, str], Mapping[tuple[str, int], Redrawn]],
    orders: tuple[str, str],
    images: Sequence[SceneObjects],
    signature: Signature,
) -> list[Measurement]:
    """The mean over scenes above that of even attention, of scenes that have both."""
    found = []
    evenly = ("even attention", orders[1])
    for name, field in MEASURES:
        for depth in sorted({row.depth for row in rows[orders]}):
            other = {row.scene: getattr(row, field) for row in rows[evenly] if row.depth == depth}
            gaps = [
                getattr(row, field) - other[row.scene]
                for row in rows[orders]
                if row.depth == depth and None not in (getattr(row, field), other.get(row.scene))
            ]
            interval = Interval(None, None, None, "no scene has both lists")
            if gaps:
                gap_draws = over_scenes(draws[orders], depth, field) - over_scenes(
                    draws[evenly], depth, field
                )
                interval = _interval(float(np.mean(gaps)), gap_draws, len(images), least=-1.0)
            group = f"{orders[0]}, {orders[1]} | above even attention"
            every = [one.image for one in images]
            missing = len({row.scene for row in rows[orders]}) - len(gaps)
            found.append(
                _measured(
                    interval,
                    every,
                    f"{name}@{depth}",
                    group,
                    signature,
                    0,
                    items=len(gaps),
                    missing=missing,
                )
            )
    return found


def _interval(value: float, draws: np.ndarray, images: int, *, least: float = 0.0) -> Interval:
    """The value with what its draws say, between `least` and 1."""
    if images < 2:
        return Interval(value, None, None, "one image: no interval")
    return symmetric(value, draws, least=least, most=1.0)


def _measured(
    interval: Interval,
    images: Sequence[str],
    measure: str,
    group: str,
    signature: Signature,
    ties: int,
    *,
    items: int = 1,
    missing: int = 0,
) -> Measurement:
    return measured(
        interval,
        [Sample(np.zeros(len(images)), list(images))],
        measure=measure,
        group=group,
        signature=signature,
        unit="overlap",
        items=items if interval.value is not None else 0,
        ties=ties,
        missing=missing if interval.value is not None or missing else 1,
    )
