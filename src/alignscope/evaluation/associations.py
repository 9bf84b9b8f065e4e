"""Which objects tell of a scene: pointwise mutual information over images (Church and Hanks 1990; paper C, section 6).

PMI(s, o) = log2 p(s, o) / (p(s) p(o)), where an image either is of scene s or not and has object o or not. NPMI is
PMI / -log2 p(s, o) (Bouma 2009), between -1 and 1.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Literal

from alignscope.errors import BadData, LengthMismatch
from alignscope.records import Association

MINIMUM = 5
"""Images that must show object and scene together: rare objects have the highest PMI by chance."""


def associations(
    scenes: Sequence[str],
    objects: Sequence[Collection[str]],
    *,
    minimum: int = MINIMUM,
    smoothing: float = 0.0,
) -> list[Association]:
    """Every scene with every object of the images, by name; an object that an image has twice counts once.

    `smoothing` is added to each of the four counts of a pair (of the scene or not, with the object or not). Pairs
    seen together in fewer images than `minimum`, or never, have no value and a reason.
    """
    if len(scenes) != len(objects):
        raise LengthMismatch(f"{len(scenes)} scenes for {len(objects)} images' objects: wanted one to one")
    if minimum < 0 or smoothing < 0 or "" in scenes:
        raise BadData(
            f"minimum {minimum}, smoothing {smoothing}, {list(scenes).count('')} images without a scene: wanted "
            "neither below 0, and images that have a scene; leave the others out and count them"
        )
    of_scene = Counter(scenes)
    of_object = Counter(name for names in objects for name in set(names))
    together = Counter(
        (scene, name) for scene, names in zip(scenes, objects, strict=True) for name in set(names)
    )
    return [
        _association(
            scene,
            name,
            (together[scene, name], of_scene[scene], of_object[name], len(scenes)),
            minimum,
            smoothing,
        )
        for scene in sorted(of_scene)
        for name in sorted(of_object)
    ]


def informative(
    rows: Iterable[Association], scene: str, *, by: Literal["pmi", "npmi"] = "pmi"
) -> list[Association]:
    """The objects of a scene that have a value, the highest first, equal ones by name."""
    scored = [row for row in rows if row.scene == scene and getattr(row, by) is not None]
    return sorted(scored, key=lambda row: (-getattr(row, by), row.name))


def pmi(together: float, first: float, second: float, total: float) -> float:
    """Bits that two things tell of each other, from counts above 0 of both, either, and all.

    >>> pmi(5, 10, 10, 20), pmi(10, 10, 10, 40)
    (0.0, 2.0)
    """
    return math.log2(together * total / (first * second))


def npmi(together: float, first: float, second: float, total: float) -> float:
    """PMI over its highest value, -log2 p(s, o): 1 where neither comes alone; undefined where both are always there.

    >>> npmi(10, 10, 10, 40)
    1.0
    """
    return pmi(together, first, second, total) / -math.log2(together / total)


def _association(
    scene: str, name: str, counts: tuple[int, int, int, int], minimum: int, smoothing: float
) -> Association:
    together, of_scene, of_object, images = counts
    smooth = together + smoothing, of_scene + 2 * smoothing, of_object + 2 * smoothing, images + 4 * smoothing
    if together < minimum:
        reason = f"together in {together} images, wanted {minimum}"
    elif smooth[0] == 0:
        reason = "never together: no PMI without smoothing"
    elif smooth[0] == smooth[3]:
        return Association(scene, name, *counts, pmi(*smooth), None, "always together: no NPMI")
    else:
        return Association(scene, name, *counts, pmi(*smooth), npmi(*smooth))
    return Association(scene, name, *counts, None, None, reason)
