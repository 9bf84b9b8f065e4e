"""How near a caption's embedding is to those of its phrases encoded alone (paper B, figure 3)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from alignscope.evaluation.densities import PLACES, curves
from alignscope.evaluation.intervals import clustered_bootstrap, measured, sample_of
from alignscope.records import DRAWS, WORD_CLASSES, Measurement, PhraseSimilarity, Point, Signature


def phrase_similarities(
    records: Sequence[PhraseSimilarity],
    *,
    signature: Signature,
    draws: int = DRAWS,
    seed: int = 0,
    level: float = 0.95,
) -> list[Measurement]:
    """Mean cosine of captions with their phrases, by class of phrase; items are phrases.

    A cosine that is not finite counts as missing; a class without phrases has no row.
    """
    how: dict[str, Any] = {"signature": signature, "draws": draws, "seed": seed, "level": level}
    return list(_by_class("phrase similarity", records, **how))


def phrase_densities(records: Sequence[PhraseSimilarity], *, places: int = PLACES) -> list[Point]:
    """How those cosines are distributed: figure "phrase similarity density", one series per class."""
    groups: dict[str, np.ndarray] = {
        group: np.array([record.similarity for record in records if record.word_class == group], np.float64)
        for group in WORD_CLASSES
    }
    finite = {group: values[np.isfinite(values)] for group, values in groups.items()}
    return curves("phrase similarity density", finite, places=places)


def paired_difference(
    before: Sequence[PhraseSimilarity],
    after: Sequence[PhraseSimilarity],
    *,
    signature: Signature,
    draws: int = DRAWS,
    seed: int = 0,
    level: float = 0.95,
) -> list[Measurement]:
    """Mean over phrases of what one model's cosine exceeds another's by: "phrase similarity difference".

    Phrases are paired by image, item, class and text; one that a caption has twice counts once. A phrase
    that only one model has, or whose cosine is not finite under one, is missing.
    """
    first, second = _by_phrase(before), _by_phrase(after)
    pairs = []
    for key in dict.fromkeys([*first, *second]):
        gain = second[key].similarity - first[key].similarity if key in first and key in second else np.nan
        pairs.append(replace(first.get(key) or second[key], similarity=float(gain)))
    how: dict[str, Any] = {"signature": signature, "draws": draws, "seed": seed, "level": level}
    return list(_by_class("phrase similarity difference", pairs, **how))


def _by_phrase(records: Iterable[PhraseSimilarity]) -> dict[tuple[str, ...], PhraseSimilarity]:
    return {(record.image, record.item, record.word_class, record.phrase): record for record in records}


def _by_class(
    measure: str,
    records: Sequence[PhraseSimilarity],
    *,
    signature: Signature,
    draws: int,
    seed: int,
    level: float,
) -> Iterator[Measurement]:
    for group in WORD_CLASSES:
        mine = [record for record in records if record.word_class == group]
        sample = sample_of([(r.similarity, r.image) for r in mine if np.isfinite(r.similarity)])
        if mine:
            yield measured(
                clustered_bootstrap(sample.values, sample.clusters, draws=draws, seed=seed, level=level),
                [sample],
                measure=measure,
                group=group,
                signature=replace(signature, seed=seed),
                unit="cosine",
                missing=len(mine) - len(sample.values),
                level=level,
            )
