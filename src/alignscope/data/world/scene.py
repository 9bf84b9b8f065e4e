"""Scenes of the built-in world: what is there, where it is, and every relation that holds.

Each noun owns a shape and a hue, as on the web colour seldom tells two kinds apart; what varies is
surface finish and size. Nouns follow Zipf(1) in each scene type with an order of their own, so that
some nouns tell the scene (high PMI). Centres are either aligned within 2 pixels or at least 6 apart
on each axis: no relation is ever a matter of taste.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache, cached_property
from itertools import accumulate, islice
from typing import Literal

from alignscope.data.world.shapes import NOUNS, contact_shift, extent, hole_centre
from alignscope.records import Box, Relation

FINISHES: tuple[str, ...] = ("pale", "dark", "striped", "dotted", "glossy", "framed")
SIZES: tuple[str, ...] = ("small", "large")
RELATIONS: tuple[str, ...] = ("left of", "right of", "above", "below", "inside", "touching", "pulling")
SCENES: tuple[str, ...] = ("beach", "forest", "street", "kitchen", "snow", "night", "desert", "garden")
CONVERSES: dict[str, str] = {
    "left of": "right of",
    "right of": "left of",
    "above": "below",
    "below": "above",
    "touching": "touching",
}
SPLITS = ("train", "val", "test")
Split = Literal["train", "val", "test"]

SIDE = 64  # pixels
BACKGROUND_RATE = 0.8
OBJECT_COUNT_WEIGHTS = (0.10, 0.48, 0.28, 0.14)  # 1 to 4 objects
PAIR_WEIGHTS = {"horizontal": 0.30, "vertical": 0.30, "inside": 0.16, "touching": 0.14, "pulling": 0.10}
ALIGNED_PX, APART_PX = 2.0, 6.0
VARIANTS, GRAINS = 4, 16
_BUCKETS: tuple[Split, ...] = ("train", "train", "val", "test")
_STRIDES = (1, 5, 7, 11)
_PIXELS = {"small": (13, 15), "large": (21, 24), "hollow": (36, 38), "inner": (12, 13)}


@dataclass(frozen=True)
class WorldObject:
    """One thing: a noun with a finish and a size, drawn so that it fills `box`."""

    noun: str
    finish: str
    size: str
    box: Box
    size_px: int
    is_hollow: bool = False

    @property
    def centre(self) -> tuple[float, float]:
        """Middle of the box in pixels."""
        return (self.box.x1 + self.box.x2) / 2, (self.box.y1 + self.box.y2) / 2


@dataclass(frozen=True)
class WorldScene:
    """Objects, every nameable relation that holds, and the scene type with or without its cue.

    `main` has at most one relation per pair of objects: the one a person would name.
    """

    id: str
    objects: tuple[WorldObject, ...]
    relations: tuple[Relation, ...]
    main: tuple[Relation, ...]
    scene: str
    has_background: bool
    variant: int = 0  # of the background cue
    grain: int = 0  # of the pixel noise

    @cached_property
    def facts(self) -> frozenset[tuple[int, str, int]]:
        """All relations as (subject, name, target)."""
        return frozenset((fact.subject, fact.name, fact.target) for fact in self.relations)


def holds(scene: WorldScene, subject: int, relation: str, target: int) -> bool:
    """Whether a nameable relation is true of two objects of the scene."""
    return (subject, relation, target) in scene.facts


@cache
def noun_order(scene: str) -> tuple[str, ...]:
    """Nouns of a scene type, most frequent first; the r-th has weight 1/r.

    >>> noun_order("beach")[:3], noun_order("forest")[:3]
    (('ball', 'box', 'tent'), ('box', 'moon', 'fish'))
    """
    place = SCENES.index(scene)
    stride = _STRIDES[place % len(_STRIDES)]
    return tuple(NOUNS[(place + rank * stride) % len(NOUNS)] for rank in range(len(NOUNS)))


def split_of(scene: WorldScene) -> Split:
    """The one split a picture may belong to: a hash of all that decides its pixels, noise left out."""
    things = sorted(
        (o.noun, o.finish, o.is_hollow, o.box.x1, o.box.y1, o.box.x2, o.box.y2) for o in scene.objects
    )
    ropes = sorted(fact for fact in scene.facts if fact[1] == "pulling")
    ends = [(scene.objects[i].noun, scene.objects[j].noun) for i, _, j in ropes]
    cue = (scene.scene, scene.variant) if scene.has_background else None
    return _BUCKETS[zlib.crc32(repr((things, ends, cue)).encode()) % len(_BUCKETS)]


def stream_scenes(*, seed: int, split: Split) -> Iterator[WorldScene]:
    """Endless scenes of one split; the same seed gives the same scenes in the same order."""
    rng = random.Random(f"scenes {seed} {split}")
    number = 0
    while True:
        scene = _draw_scene(rng, f"{split}-{seed}-{number:06d}", split)
        if scene is not None:
            yield scene
            number += 1


def sample_scenes(n: int, *, seed: int, split: Split) -> list[WorldScene]:
    """The first `n` scenes of a split; scene i does not depend on `n`."""
    return list(islice(stream_scenes(seed=seed, split=split), n))


Links = dict[tuple[int, int], str]


def _draw_scene(rng: random.Random, name: str, split: Split) -> WorldScene | None:
    """One scene, moved about until it falls into the split; None where it would not."""
    label = SCENES[int(rng.random() * len(SCENES))]
    count = 1 + _weighted(rng, OBJECT_COUNT_WEIGHTS)
    nouns = _draw_nouns(rng, label, count)
    links: Links = {}
    if count == 1:
        objects = [_placed(rng, nouns[0], _draw_kind(rng, 0.5))]
    else:
        objects, links = _draw_pair(rng, nouns[0], nouns[1])
        for noun in nouns[2:]:
            _try_to_add(rng, objects, noun, has_rope="pulling" in links.values())
    order = list(range(len(objects)))
    rng.shuffle(order)
    place = {old: new for new, old in enumerate(order)}
    links = {(place[i], place[j]): name for (i, j), name in links.items()}
    scene = _related(name, tuple(objects[old] for old in order), links, label, rng)
    for _ in range(8):
        if split_of(scene) == split:
            return scene
        scene = replace(scene, objects=_moved(rng, scene.objects))
    return None


def _weighted(rng: random.Random, weights: tuple[float, ...]) -> int:
    point = rng.random() * sum(weights)
    for place, weight in enumerate(weights):
        point -= weight
        if point < 0:
            return place
    return len(weights) - 1


@cache
def _zipf_ends(places: int) -> tuple[float, ...]:
    return tuple(accumulate(1 / (rank + 1) for rank in range(places)))


def _draw_nouns(rng: random.Random, label: str, count: int) -> list[str]:
    """Different nouns, by Zipf(1) over the scene's own order."""
    order, ends = noun_order(label), _zipf_ends(len(NOUNS))
    chosen: list[str] = []
    while len(chosen) < count:
        point = rng.random() * ends[-1]
        noun = next(order[rank] for rank, end in enumerate(ends) if point < end)
        if noun not in chosen:
            chosen.append(noun)
    if rng.random() < 0.5:
        chosen[:2] = chosen[1::-1]
    return chosen


def _draw_kind(rng: random.Random, small_share: float) -> str:
    return "small" if rng.random() < small_share else "large"


def _between(rng: random.Random, low: int, high: int) -> int:
    return low + int(rng.random() * (high - low + 1))


def _thing(rng: random.Random, noun: str, kind: str) -> WorldObject:
    """An object at the origin."""
    size_px = _between(rng, *_PIXELS[kind])
    width, height = extent(noun, size_px)
    size = "small" if kind in ("small", "inner") else "large"
    finish = FINISHES[int(rng.random() * len(FINISHES))]
    return WorldObject(
        noun, finish, size, Box(0.0, 0.0, float(width), float(height)), size_px, kind == "hollow"
    )


def _at(thing: WorldObject, x: int, y: int) -> WorldObject:
    width, height = thing.box.x2 - thing.box.x1, thing.box.y2 - thing.box.y1
    box = Box(float(x), float(y), x + width, y + height)
    return WorldObject(thing.noun, thing.finish, thing.size, box, thing.size_px, thing.is_hollow)


def _placed(rng: random.Random, noun: str, kind: str) -> WorldObject:
    thing = _thing(rng, noun, kind)
    right, bottom = SIDE - 1 - int(thing.box.x2), SIDE - 1 - int(thing.box.y2)
    return _at(thing, _between(rng, 1, right), _between(rng, 1, bottom))


def _draw_pair(rng: random.Random, first: str, second: str) -> tuple[list[WorldObject], Links]:
    """Two objects in a layout whose main relation is plain to see."""
    family = tuple(PAIR_WEIGHTS)[_weighted(rng, tuple(PAIR_WEIGHTS.values()))]
    if family == "inside":
        return _nested(rng, first, second), {(0, 1): "inside"}
    is_vertical = family == "vertical" or (family == "touching" and rng.random() < 0.5)
    a, b = (_thing(rng, noun, _draw_kind(rng, 0.5)) for noun in (first, second))
    lengths = [int(o.box.y2 if is_vertical else o.box.x2) for o in (a, b)]
    widths = [int(o.box.x2 if is_vertical else o.box.y2) for o in (a, b)]
    jitter = 0
    if family == "touching":
        shift = contact_shift(a.noun, a.size_px, b.noun, b.size_px, is_vertical)
    else:
        room = SIDE - 2 - sum(lengths)
        shift = lengths[0] + _between(rng, 9 if family == "pulling" else 4, min(22, room))
        jitter = _between(rng, -1, 1)
    offset = round((widths[0] - widths[1]) / 2) + jitter
    along = _between(rng, 1, SIDE - 1 - max(shift + lengths[1], lengths[0]))
    low = max(1, 1 - offset)
    across = _between(rng, low, max(low, SIDE - 1 - max(widths[0], offset + widths[1])))
    spots = ((along, across), (along + shift, across + offset))
    placed = [_at(o, *(spot[::-1] if is_vertical else spot)) for o, spot in zip((a, b), spots, strict=True)]
    if family not in ("touching", "pulling"):
        return placed, {}
    return placed, {((0, 1) if rng.random() < 0.5 else (1, 0)): family}


def _nested(rng: random.Random, inner: str, outer: str) -> list[WorldObject]:
    holder = _placed(rng, outer, "hollow")
    thing = _thing(rng, inner, "inner")
    x, y = hole_centre(outer, holder.size_px)
    left = round(holder.box.x1 + x - thing.box.x2 / 2)
    top = round(holder.box.y1 + y - thing.box.y2 / 2)
    return [_at(thing, left, top), holder]


def _try_to_add(rng: random.Random, objects: list[WorldObject], noun: str, *, has_rope: bool) -> None:
    """Append one more object where it is clearly apart and clearly aligned or not; or give up.

    With a rope between the first two objects, their whole span stays free.
    """
    thing = _thing(rng, noun, _draw_kind(rng, 0.7))
    width, height = thing.box.x2, thing.box.y2
    for _ in range(30):
        x, y = _between(rng, 1, SIDE - 1 - int(width)), _between(rng, 1, SIDE - 1 - int(height))
        other = objects[int(rng.random() * len(objects))]
        lines_up = rng.random()
        if lines_up < 0.4:
            x = int(other.centre[0] - width / 2)
        elif lines_up < 0.8:
            y = int(other.centre[1] - height / 2)
        if min(x, y) < 1 or x + width > SIDE - 1 or y + height > SIDE - 1:
            continue
        if has_rope and not _is_beside(x, y, width, height, _span(objects[0].box, objects[1].box)):
            continue
        if all(_is_clear(x, y, width, height, o) for o in objects):
            objects.append(_at(thing, x, y))
            return


def _is_clear(x: int, y: int, width: float, height: float, other: WorldObject) -> bool:
    across, down = other.centre
    dx, dy = abs(x + width / 2 - across), abs(y + height / 2 - down)
    if ALIGNED_PX < dx < APART_PX or ALIGNED_PX < dy < APART_PX:
        return False
    return _is_beside(x, y, width, height, other.box)


def _is_beside(x: int, y: int, width: float, height: float, box: Box) -> bool:
    """Whether at least 3 pixels lie between a box at (x, y) and another."""
    gap = 3
    return x >= box.x2 + gap or x + width + gap <= box.x1 or y >= box.y2 + gap or y + height + gap <= box.y1


def _span(a: Box, b: Box) -> Box:
    return Box(min(a.x1, b.x1), min(a.y1, b.y1), max(a.x2, b.x2), max(a.y2, b.y2))


def _related(
    name: str, objects: tuple[WorldObject, ...], links: Links, label: str, rng: random.Random
) -> WorldScene:
    """The scene with all its relations worked out from where the objects are."""
    relations: list[Relation] = []
    main: list[Relation] = []
    for i in range(len(objects)):
        for j in range(i + 1, len(objects)):
            special = {pair: links[pair] for pair in ((i, j), (j, i)) if pair in links}
            for (subject, target), relation in special.items():
                relations.append(Relation(subject, relation, target))
                main.append(relations[-1])
                if relation == "touching":
                    relations.append(Relation(target, relation, subject))
            if "inside" in special.values():
                continue
            (x1, y1), (x2, y2) = objects[i].centre, objects[j].centre
            for gap, other_gap, forth, back in (
                (x2 - x1, y2 - y1, "left of", "right of"),
                (y2 - y1, x2 - x1, "above", "below"),
            ):
                if abs(gap) >= APART_PX:
                    first, second = (forth, back) if gap > 0 else (back, forth)
                    relations += [Relation(i, first, j), Relation(j, second, i)]
                    if abs(other_gap) <= ALIGNED_PX and not special:
                        main.append(Relation(i, first, j))
    return WorldScene(
        id=name,
        objects=objects,
        relations=tuple(relations),
        main=tuple(main),
        scene=label,
        has_background=rng.random() < BACKGROUND_RATE,
        variant=int(rng.random() * VARIANTS),
        grain=int(rng.random() * GRAINS),
    )


def _moved(rng: random.Random, objects: tuple[WorldObject, ...]) -> tuple[WorldObject, ...]:
    """All objects moved together, still within the picture."""
    left, right = min(o.box.x1 for o in objects), max(o.box.x2 for o in objects)
    top, bottom = min(o.box.y1 for o in objects), max(o.box.y2 for o in objects)
    dx = _between(rng, int(1 - left), int(SIDE - 1 - right))
    dy = _between(rng, int(1 - top), int(SIDE - 1 - bottom))
    return tuple(_at(o, int(o.box.x1) + dx, int(o.box.y1) + dy) for o in objects)
