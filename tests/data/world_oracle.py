"""Plain, slow truth about the world: relations from pixels and boxes, captions read back from their text.

Shares no code with the sampler's relations nor with the grammar's truth check.
"""

from __future__ import annotations

import re
from itertools import permutations
from typing import NamedTuple

import numpy as np

from alignscope.data.world.render import render
from alignscope.data.world.scene import WorldScene
from alignscope.data.world.shapes import shape_mask

NOUN = "ball|box|tent|star|cross|heart|moon|ring|tree|house|boat|fish"
FINISH = "pale|dark|striped|dotted|glossy|framed"
SAME = {
    "left of": ("left of", "to the left of"),
    "right of": ("right of", "to the right of"),
    "above": ("above", "over"),
    "below": ("below", "under"),
    "inside": ("inside", "within"),
    "touching": ("touching", "against"),
    "pulling": ("pulling", "towing"),
}
OPENING = "there is|a picture of|a photo of|here is|we see"
THING = rf"a (?:(?:small|large) )?(?:(?:{FINISH}) )?(?:{NOUN})"
WORDING = "|".join(wording for wordings in SAME.values() for wording in wordings)
PLACE = (
    "on the beach|in the forest|on the street|in the kitchen|in the snow|at night|in the desert|in the garden"
)
CAPTION = re.compile(
    rf"(?:(?:{OPENING}) )?(?P<first>{THING})(?: (?:is )?(?P<relation>{WORDING}) (?P<second>{THING}))?"
    rf"(?P<others>(?: and (?:also )?{THING})*)(?: (?P<place>{PLACE}))?"
)


class Claim(NamedTuple):
    """What a text says: things as sets of words, a relation of the first to the second, a scene."""

    things: tuple[frozenset[str], ...]
    relation: str | None
    scene: str | None


def read(text: str) -> Claim:
    """The claim of a caption; fails on a text that the grammar should not make."""
    found = CAPTION.fullmatch(text)
    assert found, f"not a sentence of the grammar: {text!r}"
    parts = [found["first"], found["second"], *re.findall(THING, found["others"])]
    things = tuple(frozenset(part.split()[1:]) for part in parts if part)
    relation = next((name for name, wordings in SAME.items() if found["relation"] in wordings), None)
    return Claim(things, relation, found["place"].split()[-1] if found["place"] else None)


def says_true(text: str, scene: WorldScene, facts: set[tuple[int, str, int]]) -> bool:
    """Whether different objects make a caption true, given the relations that hold."""
    claim = read(text)
    if claim.scene not in (None, scene.scene):
        return False
    seen = [{o.noun, o.finish, o.size} for o in scene.objects]
    return any(
        all(thing <= seen[place] for thing, place in zip(claim.things, places, strict=True))
        and (claim.relation is None or (places[0], claim.relation, places[1]) in facts)
        for places in permutations(range(len(seen)), len(claim.things))
    )


def placed_mask(scene: WorldScene, place: int) -> np.ndarray:
    """Where the shape of an object lies in the picture."""
    thing, canvas = scene.objects[place], np.zeros((64, 64), bool)
    shape = shape_mask(thing.noun, thing.size_px)
    top, left = int(thing.box.y1), int(thing.box.x1)
    canvas[top : top + shape.shape[0], left : left + shape.shape[1]] = shape
    return canvas


def grown(mask: np.ndarray) -> np.ndarray:
    """The mask and its eight neighbours."""
    wide = np.pad(mask, 1)
    return np.any([wide[1 + r : 65 + r, 1 + c : 65 + c] for r in (-1, 0, 1) for c in (-1, 0, 1)], axis=0)


def seen_relations(scene: WorldScene) -> set[tuple[int, str, int]]:
    """Every nameable relation, from boxes, from shapes in contact, and from the knot in the picture."""
    facts = set()
    masks = [placed_mask(scene, place) for place in range(len(scene.objects))]
    for i, j in permutations(range(len(masks)), 2):
        a, b = scene.objects[i].box, scene.objects[j].box
        if _within(a, b):
            facts.add((i, "inside", j))
        if _within(a, b) or _within(b, a):
            continue
        if (grown(masks[i]) & masks[j]).any():
            facts.add((i, "touching", j))
        dx, dy = (b.x1 + b.x2 - a.x1 - a.x2) / 2, (b.y1 + b.y2 - a.y1 - a.y2) / 2
        for name, holds in (
            ("left of", dx >= 6),
            ("right of", dx <= -6),
            ("above", dy >= 6),
            ("below", dy <= -6),
        ):
            if holds:
                facts.add((i, name, j))
        if _pulls(scene, i, j, masks):
            facts.add((i, "pulling", j))
    return facts


def _within(a, b) -> bool:
    return a.x1 >= b.x1 and a.y1 >= b.y1 and a.x2 <= b.x2 and a.y2 <= b.y2


def _pulls(scene: WorldScene, i: int, j: int, masks: list[np.ndarray]) -> bool:
    """Whether rope-coloured pixels fill the gap from i to j and thicken to a knot at i."""
    a, b = scene.objects[i].box, scene.objects[j].box
    low, high = (int(a.x2), int(b.x1)) if a.x2 <= b.x1 else (int(b.x2), int(a.x1))
    if high - low < 5:
        return False
    off = np.abs(render(scene).astype(int) - (92, 60, 40)).max(-1)
    thickness = ((off <= 6) & ~np.any(masks, axis=0))[:, low:high].sum(0)
    row = int((a.y1 + a.y2 + b.y1 + b.y2) / 4)
    is_rope = bool((off[row - 3 : row + 3, low:high] <= 6).any(0).all()) and bool((thickness >= 2).all())
    near, far = (thickness[:5], thickness[-5:]) if a.x2 <= b.x1 else (thickness[-5:], thickness[:5])
    return is_rope and near.max() >= 6 > far.max()
