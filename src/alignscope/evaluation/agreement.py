"""Whether two attributions of a caption rank its words alike: Spearman's rank correlation.

Between methods, and between a model and itself with its weights scrambled, where an attribution that
tells of what was learned should not stay the same (Adebayo et al. 2018, sanity checks).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
from jaxtyping import Float

from alignscope.evaluation.intervals import clustered_bootstrap, measured, sample_of
from alignscope.records import Agreement, Attribution, Measurement, Signature

SCRAMBLED = " scrambled"
"""Ends the name of a method whose heats come from the model with scrambled weights."""
FEWEST_WORDS = 3

Heats = Mapping[int, float]


def spearman(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Rank correlation, equal values sharing their average rank; None where it is not defined.

    >>> spearman([0.1, 0.2, 0.9], [5, 6, 7]), spearman([0.1, 0.2, 0.9], [6, 6, 6])
    (1.0, None)
    """
    if len(first) < FEWEST_WORDS or not (np.isfinite(first).all() and np.isfinite(second).all()):
        return None
    one, other = _centred_ranks(first), _centred_ranks(second)
    size = np.sqrt((one @ one) * (other @ other))
    return float(one @ other / size) if size > 0 else None


def agreements(
    attributions: Sequence[Attribution], *, methods: Sequence[str] | None = None
) -> list[Agreement]:
    """Every pair of methods for every caption, over the words both attribute.

    A caption that one of the methods gives nothing for agrees on 0 words. `methods` defaults to those of
    `attributions`; name them where the captions come in parts.
    """
    names = {one.method for one in attributions} if methods is None else set(methods)
    by_item = _by_item(attributions)
    return [
        _agreement(key, heats, first, heats, second, second_name=second)
        for key, heats in by_item.items()
        for first, second in combinations(sorted(names), 2)
    ]


def scrambled_agreement(
    attributions: Sequence[Attribution],
    scrambled: Sequence[Attribution],
) -> list[Agreement]:
    """Each method with itself, from a model and from the same model with scrambled weights."""
    by_item, other = _by_item(attributions), _by_item(scrambled)
    return [
        _agreement(key, heats, method, other.get(key, {}), method, second_name=method + SCRAMBLED)
        for key, heats in by_item.items()
        for method in heats
    ]


def agreement_summary(
    agreements: Sequence[Agreement],
    *,
    signature: Signature,
    draws: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> list[Measurement]:
    """Mean correlation over captions: "agreement" per pair, "agreement with scrambled" per method.

    A caption without a correlation is missing. A signature that names options of attribution in `method`
    keeps them after the methods compared.
    """
    found: dict[tuple[str, str], list[Agreement]] = defaultdict(list)
    for one in agreements:
        found[one.first, one.second].append(one)
    numbers = []
    for (first, second), rows in sorted(found.items()):
        is_scrambled = second == first + SCRAMBLED
        pair = first if is_scrambled else "~".join(sorted((first, second)))
        sample = sample_of([(row.correlation, row.image) for row in rows if row.correlation is not None])
        number = measured(
            clustered_bootstrap(sample.values, sample.clusters, draws=draws, seed=seed, level=level),
            [sample],
            measure="agreement with scrambled" if is_scrambled else "agreement",
            group="all" if is_scrambled else pair,
            signature=replace(signature, seed=seed, method=f"{pair} {signature.method}".strip()),
            unit="correlation",
            missing=len(rows) - len(sample.values),
            level=level,
        )
        numbers.append(replace(number, method=first) if is_scrambled else number)
    return numbers


def _agreement(
    key: tuple[str, str],
    heats: Mapping[str, Heats],
    first: str,
    other: Mapping[str, Heats],
    second: str,
    *,
    second_name: str,
) -> Agreement:
    one, two = heats.get(first, {}), other.get(second, {})
    common = sorted(set(one) & set(two))
    correlation = spearman([one[place] for place in common], [two[place] for place in common])
    return Agreement(*key, first, second_name, len(common), correlation)


def _by_item(attributions: Sequence[Attribution]) -> dict[tuple[str, str], dict[str, Heats]]:
    """Per item and image, per method, the heat at each word's position."""
    found: dict[tuple[str, str], dict[str, Heats]] = defaultdict(dict)
    for one in attributions:
        found[one.item, one.image][one.method] = {word.position: word.heat for word in one.words}
    return found


def _centred_ranks(values: Sequence[float]) -> Float[np.ndarray, " value"]:
    """Average ranks minus their mean; halves, so that sums of their products are exact."""
    _, place, counts = np.unique(
        np.asarray(values, dtype=np.float64), return_inverse=True, return_counts=True
    )
    return (np.cumsum(counts) - (counts - 1) / 2)[place] - (len(values) + 1) / 2
