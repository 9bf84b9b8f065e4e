"""Numbers and tests of ablated captions, by captioner, set of images, reading and number of objects.

Tests between captioners and between readings are paired on images, for each number of objects. Two sets of images
are tested by the shift of confidence (Fig. 7), or where they are the same images in two versions by what changed.
Of "m=all" images come once for each number: intervals resample images, tests of sets do not and are the paper's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, NamedTuple, final

import numpy as np

from alignscope.evaluation.densities import curves
from alignscope.evaluation.intervals import (
    Interval,
    clustered_bootstrap,
    clustered_difference,
    measured,
    sample_of,
)
from alignscope.evaluation.paired_tests import wilcoxon
from alignscope.models.captioners.inside import SeenInside
from alignscope.probing.ablating import changes_compared, shifts, shifts_compared, summarised
from alignscope.probing.tagging import mean_coverage
from alignscope.records import Ablated, GroupTest, Measurement, Point, Problem, Signature, TagCoverage
from alignscope.studies.scenes.ablated_images import Cut, Cuts


class Arm(NamedTuple):
    """One captioner's captions of one set of images."""

    captioner: str
    images: str


@final
@dataclass(frozen=True, eq=False)
class AblatedSet:
    """What was found of one set of images."""

    rows: dict[str, list[Ablated]]  # by captioner
    coverage: list[TagCoverage]
    lacking: Counter[tuple[Cut, str]]
    problems: list[Problem]
    untagged: int  # images in which no label has a region to be about


def ablation_numbers(
    models: Mapping[str, SeenInside],
    found: Mapping[str, AblatedSet],
    cuts: Cuts,
    *,
    signed: Mapping[str, Signature],
    draws: int,
    seed: int,
) -> list[Measurement]:
    """By captioner, set, reading and m; then captioners against each other, and what there was to ablate."""
    numbers = []
    how: dict[str, Any] = {"draws": draws, "seed": seed}
    for model, one in models.items():
        for name, mine in found.items():
            own = replace(signed[name], model=one.name, weights=one.fingerprint[:12])
            missing: dict[tuple[str, int], int] = {cut: _lacking(mine, cut) for cut in cuts.each()}
            rows = mine.rows[model]
            some = summarised(rows, signature=own, missing=missing, **how)
            some += [_before(rows, row, own, how) for row in some if row.measure.startswith("confidence a")]
            numbers += [replace(row, group=f"{model} | {name} | {row.group}") for row in some]
    for (first, one), (second, other) in combinations(models.items(), 2):
        for name, mine in found.items():
            pair = f"{one.name},{other.name}", f"{one.fingerprint[:12]},{other.fingerprint[:12]}"
            own = replace(signed[name], model=pair[0], weights=pair[1])
            for reading, count in _groups(cuts):
                both = [_of(mine.rows[model], reading, count) for model in (first, second)]
                group = f"{first} - {second} | {name} | {reading} | m={count or 'all'}"
                many = [count] if count else cuts.counts
                lacking = sum(
                    _lacking(mine, cut) for cut in cuts.each() if cut[0] == reading and cut[1] in many
                )
                gap = _difference(*both, group=group, signature=own, how=how)
                numbers.append(replace(gap, missing=lacking))
    for name, mine in found.items():
        numbers += _material(name, mine, cuts, signed[name], draws)
    return numbers


def _before(rows: Sequence[Ablated], like: Measurement, signature: Signature, how: Any) -> Measurement:
    """Confidence before, of the captions whose confidence after is `like`."""
    reading, _, count = like.group.partition(" | m=")
    mine = _of(rows, reading, None if count == "all" else int(count))
    sample = sample_of([(row.confidence_before, row.image) for row in mine if not row.is_changed])
    number = measured(
        clustered_bootstrap(sample.values, sample.clusters, **how),
        [sample],
        measure="confidence before, unchanged",
        group=like.group,
        signature=signature,
        unit=like.unit,
        missing=like.missing,
    )
    return number if len(sample.values) else replace(number, reason=like.reason)


def _difference(
    first: Sequence[Ablated], second: Sequence[Ablated], *, group: str, signature: Signature, how: Any
) -> Measurement:
    """How many more captions the first captioner changed, images of both drawn together."""
    samples = [sample_of([(float(row.is_changed), row.image) for row in rows]) for rows in (first, second)]
    return measured(
        clustered_difference(samples[0], samples[1], **how),
        samples,
        measure="captions changed, difference",
        group=group,
        signature=signature,
        items=len(first),
    )


def _material(name: str, mine: AblatedSet, cuts: Cuts, signature: Signature, draws: int) -> list[Measurement]:
    """Coverage of regions by labels, and how many images each cut could be made of (Table 5), and why not."""
    share = mean_coverage(mine.coverage, signature=signature, draws=draws)
    numbers = [replace(share, group=f"images | {name}", missing=share.missing + mine.untagged)]
    first = next(iter(mine.rows.values()))
    for cut in cuts.each():
        group = f"images | {name} | {cut[0]} | m={cut[1]}"
        lacking = _lacking(mine, cut)
        counts = {"images without objects": (len(_of(first, *cut)), lacking)}
        counts |= {
            f"images left out: {why}": (many, 0)
            for (other, why), many in sorted(mine.lacking.items())
            if other == cut
        }
        numbers += [
            measured(
                Interval(float(many), None, None, "a count: no interval"),
                [],
                measure=measure,
                group=group,
                signature=signature,
                unit="items",
                items=many,
                missing=missing,
            )
            for measure, (many, missing) in counts.items()
        ]
    return numbers


def ablation_tests(found: Mapping[str, AblatedSet], cuts: Cuts) -> list[GroupTest]:
    """Between captioners, readings and sets, and confidence before against after."""
    tests: list[GroupTest] = []
    arms = {Arm(model, name): rows for name, one in found.items() for model, rows in one.rows.items()}
    for (one, first), (other, second) in combinations(arms.items(), 2):
        if one.images != other.images and one.captioner != other.captioner:
            continue
        same = one.images if one.images == other.images else one.captioner
        differ = f"{one.captioner} against {other.captioner}"
        if one.captioner == other.captioner:
            differ = f"{one.images} against {other.images}"
        is_paired = bool({row.image for row in first} & {row.image for row in second})
        for reading, count in _groups(cuts):
            both = _of(first, reading, count), _of(second, reading, count)
            group = f"{same} | {differ} | {reading} | m={count or 'all'}"
            if is_paired and count is not None:
                tests.append(changes_compared(*both, group=group))
            elif not is_paired:
                tests += shifts_compared(*both, group=group)
    for arm, rows in arms.items():
        for reading, count in cuts.each():
            same_words = [row for row in _of(rows, reading, count) if not row.is_changed]
            before = np.array([row.confidence_before for row in same_words], dtype=np.float64)
            after = np.array([row.confidence_after for row in same_words], dtype=np.float64)
            group = f"{arm.captioner} | {arm.images} | before against after | {reading} | m={count}"
            tests.append(wilcoxon(before, after, measure="confidence, unchanged", group=group))
        for (first_reading, other_reading), count in (
            (pair, count) for pair in combinations(cuts.readings, 2) for count in cuts.counts
        ):
            mine = [
                [replace(row, reading="") for row in _of(rows, reading, count)]
                for reading in (first_reading, other_reading)
            ]
            group = f"{arm.captioner} | {arm.images} | {first_reading} against {other_reading} | m={count}"
            tests.append(changes_compared(*mine, group=group))
    return tests


def ablation_points(found: Mapping[str, AblatedSet]) -> list[Point]:
    """Densities of confidence after and of its shift, where captions are unchanged (Figs. 6 and 7), m pooled."""
    after: dict[str, Any] = {}
    shift: dict[str, Any] = {}
    for name, one in found.items():
        for model, rows in one.rows.items():
            for reading in dict.fromkeys(row.reading for row in rows):
                mine = _of(rows, reading, None)
                series = f"{model} | {name} | {reading}"
                same = [row.confidence_after for row in mine if not row.is_changed]
                after[series] = np.array(same, dtype=np.float64)
                shift[series] = shifts(mine)
    return [*curves("confidence after, unchanged", after), *curves("confidence shift, unchanged", shift)]


def _groups(cuts: Cuts) -> list[tuple[str, int | None]]:
    """Every reading with every number, and with all of them."""
    return [(reading, count) for reading in cuts.readings for count in (*cuts.counts, None)]


def _of(rows: Iterable[Ablated], reading: str, count: int | None) -> list[Ablated]:
    return [row for row in rows if row.reading == reading and count in (None, row.count)]


def _lacking(mine: AblatedSet, cut: Cut) -> int:
    return sum(many for (other, _), many in mine.lacking.items() if other == cut)
