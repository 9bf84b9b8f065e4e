"""Captions and foils told one by one, for models whose scores are probabilities of a match."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from alignscope.errors import BadData
from alignscope.evaluation.columns import Columns

EVEN = 0.5


def matched(
    columns: Columns,
) -> tuple[Float[np.ndarray, " item"], Float[np.ndarray, " item"]]:
    """Per item whether its caption is said to match, and the share of its foils said not to; NaN unscored.

    A caption must be above one half, a foil at or below it (Parcalabescu et al. 2022, lxmert_valse_eval.py
    lines 86-105).
    """
    known = columns.scores[np.isfinite(columns.scores)]
    if len(known) and (known.min() < 0 or known.max() > 1):
        raise BadData(
            f"got scores from {known.min():.4g} to {known.max():.4g}, wanted probabilities between 0 and 1: "
            "measure without `probabilities`"
        )
    is_caption, count = columns.second == 0, len(columns.items)
    scores = np.where(np.isfinite(columns.scores), columns.scores, np.nan)
    captions = np.full(count, np.nan)
    captions[columns.item[is_caption]] = scores[is_caption]
    items, foils = columns.item[~is_caption], scores[~is_caption]
    number = np.bincount(items, minlength=count)
    rejected = np.bincount(items, np.where(np.isnan(foils), np.nan, foils <= EVEN), minlength=count)
    share = np.divide(rejected, number, out=np.full(count, np.nan), where=number > 0)
    is_known = ~(np.isnan(captions) | np.isnan(share))
    return (
        np.where(is_known, (captions > EVEN).astype(np.float64), np.nan),
        np.where(is_known, share, np.nan),
    )
