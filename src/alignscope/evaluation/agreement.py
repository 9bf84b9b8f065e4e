"""Whether two attributions of a caption rank its words alike: Spearman's rank correlation.

Between methods, and between a model and itself with its weights scrambled, where an attribution that
tells of what was learned should not stay the same (Adebayo et al. 2018, sanity checks).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
from jaxtyping import Float

from alignscope.evaluation.intervals import clustered_bootstrap, measured, sample_of
from alignscope.records import DRAWS, Agreement, Attribution, Measurement, Signature

SCRAMBLED = " scrambled"
"""After the name of a method whose heats come from the model with scrambled weights, before its number."""
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
    *,
    scramble: int,
) -> list[Agreement]:
    """Each method with itself, from a model and from the same model with its weights scrambled.

    `scramble` is the number of the scramble: one tells little, they differ more than captions do.
    """
    by_item, other = _by_item(attributions), _by_item(scrambled)
    return [
        _agreement(
            key, heats, method, other.get(key, {}), method, second_name=f"{method}{SCRAMBLED} {scramble}"
        )
        for key, heats in by_item.items()
        for method in heats
    ]


def agreement_summary(
    agreements: Sequence[Agreement],
    *,
    signature: Signature,
    draws: int = DRAWS,
    seed: int = 0,
    level: float = 0.95,
) -> list[Measurement]:
    """Mean correlation over captions: "agreement" per pair, "agreement with scrambled" per method.

    The interval of the latter is over scrambles, which are the clusters, not over images. A caption without
    a correlation is missing. A signature that names options of attribution in `method` keeps them after
    the methods compared.
    """
    pairs: dict[str, list[Agreement]] = defaultdict(list)
    scrambled: dict[str, list[Agreement]] = defaultdict(list)
    for one in agreements:
        if one.second.startswith(one.first + SCRAMBLED):
            scrambled[one.first].append(one)
        else:
            pairs["~".join(sorted((one.first, one.second)))].append(one)
    how = {"draws": draws, "seed": seed, "level": level}
    numbers = []
    for pair, rows in sorted(pairs.items()):
        named = replace(signature, seed=seed, method=f"{pair} {signature.method}".strip())
        numbers.append(_number("agreement", pair, rows, [row.image for row in rows], named, how))
    for method, rows in sorted(scrambled.items()):
        named = replace(signature, seed=seed, method=f"{method} {signature.method}".strip())
        clusters = [row.second for row in rows]
        number = _number("agreement with scrambled", "all", rows, clusters, named, how)
        over = f"interval over {len(set(clusters))} scrambles"
        images = len({row.image for row in rows if row.correlation is not None})
        numbers.append(replace(number, method=method, images=images, reason=number.reason or over))
    return numbers


def _number(
    measure: str,
    group: str,
    rows: Sequence[Agreement],
    clusters: Sequence[str],
    signature: Signature,
    how: dict[str, Any],
) -> Measurement:
    known = [
        (row.correlation, cluster)
        for row, cluster in zip(rows, clusters, strict=True)
        if row.correlation is not None
    ]
    sample = sample_of(known)
    return measured(
        clustered_bootstrap(sample.values, sample.clusters, **how),
        [sample],
        measure=measure,
        group=group,
        signature=signature,
        unit="correlation",
        missing=len(rows) - len(known),
        level=how["level"],
    )


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
