"""The pointing game: whether the hottest patch for a phrase lies on the thing it names.

Zhang et al. 2016 (Excitation Backprop, section 4.1). Differs: the point is the middle of a patch, with no
tolerance around the box, and a random patch's chance stands beside every hit.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from alignscope.errors import BadData
from alignscope.evaluation.intervals import clustered_bootstrap, measured, sample_of
from alignscope.records import DRAWS, Box, Measurement, PatchMap, Pointing, Signature


def pointing(patch_map: PatchMap, boxes: Sequence[Box], phrase: str) -> Pointing:
    """Where the hottest patch is (the first of equals), and whether that is inside one of the boxes.

    >>> two_by_two = PatchMap("a", "a.png", "a dog", "gradcam", 2, 2, (0.1, 0.7, 0.2, 0.7), Box(10, 0, 50, 40))
    >>> found = pointing(two_by_two, [Box(30, 0, 50, 20)], "a dog")
    >>> found.x, found.y, found.is_hit, found.chance
    (40.0, 10.0, True, 0.25)
    """
    if not all(map(math.isfinite, patch_map.heats)):
        raise BadData(
            f"item {patch_map.item}: its {patch_map.method} map has heats that are not finite numbers"
        )
    middles = patch_middles(patch_map)
    hottest = patch_map.heats.index(max(patch_map.heats))
    inside = [any(_holds(box, x, y) for box in boxes) for x, y in middles]
    x, y = middles[hottest]
    return Pointing(
        item=patch_map.item,
        image=patch_map.image,
        method=patch_map.method,
        phrase=phrase,
        x=x,
        y=y,
        is_hit=inside[hottest],
        chance=sum(inside) / len(inside),
    )


def patch_middles(patch_map: PatchMap) -> list[tuple[float, float]]:
    """The middle of every patch in the image's pixels, row by row."""
    view = patch_map.view
    width = (view.x2 - view.x1) / patch_map.columns
    height = (view.y2 - view.y1) / patch_map.rows
    return [
        (view.x1 + (column + 0.5) * width, view.y1 + (row + 0.5) * height)
        for row in range(patch_map.rows)
        for column in range(patch_map.columns)
    ]


def _holds(box: Box, x: float, y: float) -> bool:
    return box.x1 <= x < box.x2 and box.y1 <= y < box.y2


def pointing_game(
    pointings: Sequence[Pointing],
    *,
    signature: Signature,
    draws: int = DRAWS,
    seed: int = 0,
    level: float = 0.95,
) -> list[Measurement]:
    """Share of hits, a random patch's share, and the difference of the two, per method.

    A thing on which no patch has its middle (too small, or outside the view) cannot be hit: it is missing.
    Options of attribution that the signature names in `method` are kept after the method.
    """
    by_method: dict[str, list[Pointing]] = defaultdict(list)
    for one in pointings:
        by_method[one.method].append(one)
    numbers = []
    for method, found in sorted(by_method.items()):
        named = replace(signature, method=f"{method} {signature.method}".strip(), ties="first", seed=seed)
        fair = [one for one in found if one.chance > 0]
        shares = {
            "all": [float(one.is_hit) for one in fair],
            "chance": [one.chance for one in fair],
            "above chance": [one.is_hit - one.chance for one in fair],
        }
        for group, values in shares.items():
            sample = sample_of([(value, one.image) for value, one in zip(values, fair, strict=True)])
            interval = clustered_bootstrap(
                sample.values, sample.clusters, draws=draws, seed=seed, level=level
            )
            number = measured(
                interval,
                [sample],
                measure="pointing game",
                group=group,
                signature=named,
                missing=len(found) - len(fair),
                level=level,
                method=method,
            )
            numbers.append(number)
    return numbers
