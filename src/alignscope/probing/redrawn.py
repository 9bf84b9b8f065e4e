"""How sure overlaps of ranked objects are: images of a scene drawn again, objects ranked anew in each draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from alignscope.errors import LengthMismatch
from alignscope.probing.diagnosticity import Order, SceneObjects, counted
from alignscope.records import DRAWS

Measure = Literal["iou", "average_overlap"]
Ranks = Int[np.ndarray, "draw rank"]


@dataclass(frozen=True, eq=False)
class Redrawn:
    """Overlaps in each draw, down to one depth."""

    iou: Float[np.ndarray, " draw"]
    average_overlap: Float[np.ndarray, " draw"]


def redrawn(
    first: Sequence[SceneObjects],
    second: Sequence[SceneObjects] | Mapping[str, Sequence[str]],
    orders: tuple[Order, Order],
    *,
    depths: Sequence[int],
    draws: int = DRAWS,
    seed: int = 0,
) -> dict[tuple[str, int], Redrawn]:
    """By scene and depth, the overlap of two orders of objects where a scene's images are drawn with replacement.

    Both orders are of the same images, drawn together, or the second is a ranking per scene that stays as it is.
    Calls with the same images, draws and seed draw the same, so that differences between calls are paired.
    """
    scenes = sorted({one.scene for one in first})
    found: dict[tuple[str, int], Redrawn] = {}
    for number, scene in enumerate(scenes):
        mine = [one for one in first if one.scene == scene]
        if isinstance(second, Mapping):
            theirs, fixed = [], list(second.get(scene, ()))
        else:
            theirs, fixed = [one for one in second if one.scene == scene], []
            if [one.image for one in mine] != [one.image for one in theirs]:
                raise LengthMismatch(f"two orders of '{scene}' of different images: give the same ones")
        names = sorted({name for one in (*mine, *theirs) for name in one.values} | set(fixed))
        generator = np.random.default_rng([seed, number])
        weights = generator.multinomial(len(mine), np.full(len(mine), 1 / len(mine)), size=draws)
        most = max(depths)
        one = _ranks(weights, *_table(mine, names, orders[0]), most, nothing=-1)
        if isinstance(second, Mapping):
            places = [names.index(name) for name in fixed[:most]]
            row = np.array([*places, *[-2] * (most - len(places))], dtype=np.int64)
            other = np.broadcast_to(row, (draws, most))
        else:
            other = _ranks(weights, *_table(theirs, names, orders[1]), most, nothing=-2)
        for depth in depths:
            found[scene, depth] = _overlap(one[:, :depth], other[:, :depth])
    return found


def over_scenes(
    found: Mapping[tuple[str, int], Redrawn], depth: int, measure: Measure
) -> Float[np.ndarray, " draw"]:
    """The mean over scenes in each draw, of scenes that have both lists in it."""
    rows = np.stack([getattr(one, measure) for (_, at), one in found.items() if at == depth])
    known = ~np.isnan(rows)
    total = np.where(known, rows, 0).sum(axis=0)
    return np.divide(total, known.sum(axis=0), out=np.full(len(total), np.nan), where=known.any(axis=0))


def _table(
    images: Sequence[SceneObjects], names: Sequence[str], order: Order
) -> tuple[Float[np.ndarray, "image name"], Bool[np.ndarray, "image name"]]:
    """What each image adds to an object's value, and whether it has the object in this order."""
    place = {name: column for column, name in enumerate(names)}
    values = np.zeros((len(images), len(names)))
    there = np.zeros(values.shape, dtype=bool)
    for row, one in enumerate(images):
        for name, value in counted(one.values, order).items():
            values[row, place[name]], there[row, place[name]] = value, True
    return values, there


def _ranks(
    weights: Int[np.ndarray, "draw image"],
    values: Float[np.ndarray, "image name"],
    there: Bool[np.ndarray, "image name"],
    most: int,
    *,
    nothing: int,
) -> Ranks:
    """The best objects of each draw by place, equal ones by name; `nothing` where a list has ended."""
    totals = np.where(weights @ there > 0, weights @ values, -np.inf)
    ranks = np.full((len(weights), most), nothing, dtype=np.int64)
    best = np.argsort(-totals, axis=1, kind="stable")[:, :most]
    is_there = np.take_along_axis(totals, best, axis=1) > -np.inf
    ranks[:, : best.shape[1]] = np.where(is_there, best, nothing)
    return ranks


def _overlap(first: Ranks, second: Ranks) -> Redrawn:
    """IoU and average overlap of two lists in each draw, NaN where one is empty; as `evaluation.rankings`."""
    same = first[:, :, None] == second[:, None, :]
    shared = same.cumsum(axis=1).cumsum(axis=2)
    depths = np.arange(1, first.shape[1] + 1)
    by_depth = shared[:, depths - 1, depths - 1]
    lengths = (first >= 0).sum(axis=1), (second >= 0).sum(axis=1)
    short = np.minimum(*lengths)
    union = lengths[0] + lengths[1] - by_depth[:, -1]
    nothing = np.full(len(first), np.nan)
    iou = np.divide(by_depth[:, -1], union, out=nothing.copy(), where=short > 0)
    agreement = np.where(depths <= short[:, None], by_depth / depths, 0).sum(axis=1)
    return Redrawn(iou, np.divide(agreement, short, out=nothing, where=short > 0))
