"""How near a caption's embedding is to those of its phrases encoded alone (paper B, figure 3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

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
    numbers = []
    for group in WORD_CLASSES:
        mine = [record for record in records if record.word_class == group]
        sample = sample_of([(r.similarity, r.image) for r in mine if np.isfinite(r.similarity)])
        if mine:
            number = measured(
                clustered_bootstrap(sample.values, sample.clusters, draws=draws, seed=seed, level=level),
                [sample],
                measure="phrase similarity",
                group=group,
                signature=replace(signature, seed=seed),
                unit="cosine",
                missing=len(mine) - len(sample.values),
                level=level,
            )
            numbers.append(number)
    return numbers


def phrase_densities(records: Sequence[PhraseSimilarity], *, places: int = PLACES) -> list[Point]:
    """How those cosines are distributed: figure "phrase similarity density", one series per class."""
    groups: dict[str, np.ndarray] = {
        group: np.array([record.similarity for record in records if record.word_class == group], np.float64)
        for group in WORD_CLASSES
    }
    finite = {group: values[np.isfinite(values)] for group, values in groups.items()}
    return curves("phrase similarity density", finite, places=places)
