"""Whether scores tell pairs that belong together from pairs that do not."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from alignscope.errors import BadData, LengthMismatch
from alignscope.evaluation.intervals import Interval, cluster_draws, interval_of
from alignscope.records import DRAWS


def matching_auc(
    matched: Float[np.ndarray, " matched"],
    shuffled: Float[np.ndarray, " shuffled"],
    *,
    draws: int = DRAWS,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Share of comparisons that a matched pair wins against a shuffled one, ties half (Mann and Whitney 1947).

    Both hold a score per image, one with its own text and one with that of another: images are what the
    interval draws anew, so that both scores of an image stay together.

    >>> matching_auc(np.array([2.0, 1.0]), np.array([0.0, 1.0])).value
    0.875
    """
    if len(matched) != len(shuffled):
        raise LengthMismatch(
            f"{len(shuffled)} shuffled for {len(matched)} matched pairs: give both per image"
        )
    if not (np.isfinite(matched).all() and np.isfinite(shuffled).all()):
        raise BadData("got scores that are not finite: leave them out and count them as missing")
    if len(matched) == 0:
        return Interval(None, None, None, "nothing scored")
    difference = matched[:, None] - shuffled[None, :]
    wins = (difference > 0) + (difference == 0) / 2  # (matched, shuffled)
    value = float(wins.mean())
    if len(matched) == 1:
        return Interval(value, None, None, "one image: no interval")
    redrawn = [
        ((drawn @ wins) * drawn).sum(axis=1) / len(matched) ** 2
        for drawn in cluster_draws(len(matched), draws=draws, seed=seed)
    ]
    return interval_of(value, np.concatenate(redrawn), level)
