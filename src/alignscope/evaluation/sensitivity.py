"""How far a score falls when nouns are wrong, beside other words being wrong."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from alignscope.evaluation.intervals import (
    Interval,
    Sample,
    clustered_bootstrap,
    clustered_difference,
    clustered_ratio,
    measured,
    sample_of,
)
from alignscope.records import DRAWS, EditedScore, Measurement, Signature

NOUNS, OTHER = "wrong nouns", "random other words"


@dataclass(frozen=True)
class CaptionDrop:
    """One caption under one kind of edit, averaged over its draws."""

    image: str
    drop: float
    drop_per_word: float


def score_drops(
    edits: Sequence[EditedScore],
    *,
    signature: Signature,
    missing: int = 0,
    draws: int = DRAWS,
    seed: int = 0,
    level: float = 0.95,
) -> list[Measurement]:
    """Score lost to each kind of edit, in all and per word replaced, and nouns against other words.

    Draws are averaged within a caption first, so that items are captions and each counts the same.
    A caption with an unusable record (score not finite, no word replaced) is missing for that edit,
    and so is one that has other edits but not this one; `missing` adds captions without any record.
    Comparisons use captions that have both edits; those with only one are missing there.
    """
    signature = replace(signature, ties="wrong", seed=seed)
    captions = {(edit.image, edit.item) for edit in edits}
    kinds = [NOUNS, OTHER, *sorted({edit.edit for edit in edits} - {NOUNS, OTHER})]
    drops = {kind: _by_caption([edit for edit in edits if edit.edit == kind]) for kind in kinds}
    numbers = []
    for kind in kinds:
        for measure, values in (
            ("score drop", [(one.drop, one.image) for one in drops[kind].values()]),
            ("score drop per word", [(one.drop_per_word, one.image) for one in drops[kind].values()]),
        ):
            sample = sample_of(values)
            numbers.append(
                measured(
                    clustered_bootstrap(sample.values, sample.clusters, draws=draws, seed=seed, level=level),
                    [sample],
                    measure=measure,
                    group=kind,
                    signature=signature,
                    unit="score",
                    missing=len(captions - set(drops[kind])) + missing,
                    level=level,
                )
            )
    both = sorted(set(drops[NOUNS]) & set(drops[OTHER]))
    return numbers + _compared(
        [drops[NOUNS][caption] for caption in both],
        [drops[OTHER][caption] for caption in both],
        missing=len(captions) - len(both) + missing,
        signature=signature,
        draws=draws,
        seed=seed,
        level=level,
    )


def _compared(
    nouns: Sequence[CaptionDrop],
    others: Sequence[CaptionDrop],
    *,
    missing: int,
    signature: Signature,
    draws: int,
    seed: int,
    level: float,
) -> list[Measurement]:
    """Gap, ratio and share of captions over the same captions; equal drops are ties, worth nothing."""
    first = sample_of([(one.drop, one.image) for one in nouns])
    second = sample_of([(one.drop, one.image) for one in others])
    gaps = [(noun.drop - other.drop, noun.image) for noun, other in zip(nouns, others, strict=True)]
    share = sample_of([(float(gap > 0), image) for gap, image in gaps])

    def number(
        measure: str, interval: Interval, samples: Sequence[Sample], unit: str, ties: int
    ) -> Measurement:
        return measured(
            interval,
            samples,
            measure=measure,
            group="nouns against others",
            signature=signature,
            unit=unit,
            items=len(gaps),
            ties=ties,
            missing=missing,
            level=level,
        )

    gap = clustered_difference(first, second, draws=draws, seed=seed, level=level)
    ratio = clustered_ratio(first, second, draws=draws, seed=seed, level=level)
    above = clustered_bootstrap(share.values, share.clusters, draws=draws, seed=seed, level=level)
    return [
        number("drop gap", gap, [first, second], "score", 0),
        number("drop ratio", ratio, [first, second], "ratio", 0),
        number("nouns drop more", above, [share], "share", sum(gap == 0 for gap, _ in gaps)),
    ]


def _by_caption(edits: Sequence[EditedScore]) -> dict[tuple[str, str], CaptionDrop]:
    """Captions all of whose records can be used; the others are left out and counted above."""
    grouped: dict[tuple[str, str], list[EditedScore]] = defaultdict(list)
    for edit in edits:
        grouped[edit.image, edit.item].append(edit)
    return {
        caption: CaptionDrop(
            image=caption[0],
            drop=fmean(_drop(edit) for edit in records),
            drop_per_word=fmean(_drop(edit) / edit.words_replaced for edit in records),
        )
        for caption, records in grouped.items()
        if all(map(_is_usable, records))
    }


def _is_usable(edit: EditedScore) -> bool:
    return math.isfinite(edit.caption_score) and math.isfinite(edit.edited_score) and edit.words_replaced > 0


def _drop(edit: EditedScore) -> float:
    return edit.caption_score - edit.edited_score
