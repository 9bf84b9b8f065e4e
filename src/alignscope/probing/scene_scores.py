"""F1 of scene probes, their means over seeds, selectivity, and differences on the same splits.

All intervals are of the corrected variance of repeated random splits (Nadeau and Bengio 2003).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import fmean, stdev
from typing import TypeVar

import numpy as np
from jaxtyping import Float, Int

from alignscope.evaluation.paired import holm
from alignscope.evaluation.trials import student_quantile, student_share
from alignscope.records import (
    SceneProbe,
    SceneProbeCell,
    SceneProbeDifference,
    SceneProbeScore,
)

Arm = tuple[str, str, str, str, str, int]  # images, trained on, tested on, classifier, task, split
One = TypeVar("One", SceneProbe, SceneProbeCell)

MEASURES = {"micro F1": "micro", "macro F1": "macro", "weighted F1": "weighted"}
TRAIN = {"train micro F1": "train_micro"}
ROUNDING = 1e-12
"""Differences of F1 that are no further apart are the same: shares of images are not so near each other."""


@dataclass(frozen=True, eq=False)
class F1Scores:
    """F1 of each class and its averages: over images (micro), over classes (macro), by test images of each."""

    by_class: Float[np.ndarray, " scene"]
    micro: float
    macro: float
    weighted: float


def f1_scores(confused: Int[np.ndarray, "scene predicted"]) -> F1Scores:
    """F1 from a confusion matrix; a class neither there nor predicted has 0, and micro F1 is accuracy.

    >>> found = f1_scores(np.array([[3, 1], [0, 0]]))
    >>> found.micro, found.macro, found.weighted
    (0.75, 0.42857142857142855, 0.8571428571428571)
    """
    right, there, said = np.diag(confused), confused.sum(axis=1), confused.sum(axis=0)
    either = there + said
    by_class = np.divide(2.0 * right, either, out=np.zeros(len(confused)), where=either > 0)
    total = confused.sum()
    return F1Scores(
        by_class, float(right.sum() / total), float(by_class.mean()), float(by_class @ there / total)
    )


def scene_scores(runs: Sequence[SceneProbe], cells: Sequence[SceneProbeCell]) -> list[SceneProbeScore]:
    """Means over seeds: averages and F1 of each scene, and the same of selectivity where there is a control."""
    by_arm = _arms(runs)
    by_scene = {arm: _f1_by_scene(mine) for arm, mine in _arms(cells).items()}
    lines = []
    for arm, mine in by_arm.items():
        control = (*arm[:4], "control", arm[5])
        for name, values in _values(mine, by_scene[arm]).items():
            lines.append(_score(arm, name, values, mine))
            if arm[4] == "scenes" and control in by_arm and name[0] not in TRAIN:
                base = _values(by_arm[control], by_scene[control])[name]
                gaps = {
                    seed: (f1 - base[seed][0], many) for seed, (f1, many) in values.items() if seed in base
                }
                selective = (*arm[:4], "selectivity", arm[5])
                lines.append(_score(selective, name, gaps, [*mine, *by_arm[control]]))
    return lines


def scene_differences(
    runs: Sequence[SceneProbe], inputs: Mapping[str, Mapping[str, str]] = {}
) -> list[SceneProbeDifference]:
    """Each pair of inputs under the same classifier, task and split, the first minus the second.

    `inputs` tells what each input is: its captioner, set of images, objects. In what a pair differs is its question,
    and Holm's correction is over the lines of one question in one table (images, classifier, task, split, measure).
    """
    groups: dict[tuple[str, str, str, int], list[Arm]] = defaultdict(list)
    by_arm = {arm: {run.seed: run for run in mine} for arm, mine in _arms(runs).items()}
    for arm in by_arm:
        groups[arm[0], arm[3], arm[4], arm[5]].append(arm)
    lines = [
        replace(
            _difference(one, other, measure, by_arm[one], by_arm[other]),
            question=_question(one, other, inputs),
        )
        for arms in groups.values()
        for one, other in combinations(arms, 2)
        for measure in MEASURES
    ]
    families: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for place, line in enumerate(lines):
        if line.p is not None:
            table = line.images, line.classifier, line.task, line.split, line.measure
            families[*table, line.question].append(place)
    for places in families.values():
        corrected = holm([p for place in places if (p := lines[place].p) is not None])
        for place, p_holm in zip(places, corrected, strict=True):
            lines[place] = replace(lines[place], p_holm=p_holm, family=len(places))
    return lines


def _question(one: Arm, other: Arm, inputs: Mapping[str, Mapping[str, str]]) -> str:
    """In what two arms differ: what they were trained on, and whether either was tested elsewhere."""
    (_, trained, tested, *_), (_, against, against_tested, *_) = one, other
    first, second = inputs.get(trained, {"input": trained}), inputs.get(against, {"input": against})
    apart = [name for name, value in first.items() if second.get(name) != value]
    is_transfer = trained != tested or against != against_tested
    return ", ".join([*(["transfer"] if is_transfer else []), *apart])


@dataclass(frozen=True)
class CorrectedTest:
    """A corrected resampled t-test; None where differences have no variance or there is one."""

    mean: float
    deviation: float | None
    low: float | None
    high: float | None
    t: float | None
    p: float | None
    reason: str = ""


def corrected_resampled(differences: Sequence[float], *, test_over_train: float) -> CorrectedTest:
    """Student's test and 95 % interval of a mean over random splits with variance (1/n + test/train) s^2 (Nadeau and Bengio 2003).

    >>> found = corrected_resampled([0.1, 0.2, 0.3], test_over_train=1 / 9)
    >>> round(found.t, 4), round(found.p, 4)
    (3.0, 0.0955)
    """
    mean = fmean(differences)
    if len(differences) < 2:
        return CorrectedTest(mean, None, None, None, None, None, "one seed: no test")
    deviation = stdev(differences)
    if math.isclose(min(differences), max(differences), abs_tol=ROUNDING):
        reason = "the same difference with every seed: no test"
        return CorrectedTest(mean, 0.0, None, None, None, None, reason)
    freedom = len(differences) - 1
    error = deviation * math.sqrt(1 / len(differences) + test_over_train)
    half = student_quantile(0.975, freedom) * error
    t = mean / error
    p = max(0.0, 2 * (1 - student_share(abs(t), freedom)))  # not below rounding
    return CorrectedTest(mean, deviation, mean - half, mean + half, t, p)


def _arms(records: Iterable[One]) -> dict[Arm, list[One]]:
    """Runs or cells that differ in nothing but their seed."""
    arms: dict[Arm, list[One]] = defaultdict(list)
    for one in records:
        arms[one.images, one.trained_on, one.tested_on, one.classifier, one.task, one.split].append(one)
    return arms


def _f1_by_scene(cells: Sequence[SceneProbeCell]) -> dict[str, dict[int, tuple[float, int]]]:
    """F1 and test images of each scene, by seed."""
    there: dict[tuple[str, int], int] = defaultdict(int)
    said: dict[tuple[str, int], int] = defaultdict(int)
    right: dict[tuple[str, int], int] = defaultdict(int)
    for cell in cells:
        there[cell.scene, cell.seed] += cell.count
        said[cell.predicted, cell.seed] += cell.count
        right[cell.scene, cell.seed] += cell.count if cell.scene == cell.predicted else 0
    found: dict[str, dict[int, tuple[float, int]]] = defaultdict(dict)
    for (scene, seed), many in sorted(there.items()):
        found[scene][seed] = (2 * right[scene, seed] / (many + said[scene, seed]), many)
    return found


def _values(
    runs: Sequence[SceneProbe], by_scene: Mapping[str, dict[int, tuple[float, int]]]
) -> dict[tuple[str, str], dict[int, tuple[float, int]]]:
    """By measure and scene: a value and how many test images it rests on, by seed."""
    whole = {
        (measure, "all"): {
            run.seed: (getattr(run, field), run.train_images if measure in TRAIN else run.test_images)
            for run in runs
        }
        for measure, field in {**MEASURES, **TRAIN}.items()
    }
    return {**whole, **{("F1", scene): values for scene, values in by_scene.items()}}


def _score(
    arm: Arm, name: tuple[str, str], values: Mapping[int, tuple[float, int]], runs: Sequence[SceneProbe]
) -> SceneProbeScore:
    found = [value for value, _ in values.values()]
    whole = corrected_resampled(found, test_over_train=runs[0].test_images / runs[0].train_images)
    is_same = whole.deviation is not None and whole.low is None  # with every seed
    low, high = (whole.mean, whole.mean) if is_same else (whole.low, whole.high)
    if arm[4] != "selectivity" and low is not None and high is not None:
        low, high = max(low, 0.0), min(high, 1.0)  # where F1 can lie
    return SceneProbeScore(
        *arm,
        *name,
        mean=whole.mean,
        deviation=whole.deviation,
        low=low,
        high=high,
        runs=len(found),
        images_per_run=fmean(many for _, many in values.values()),
        not_converged=sum(run.is_converged is False for run in runs),
        reason="" if len(found) > 1 else "one seed: no interval",
    )


def _difference(
    one: Arm, other: Arm, measure: str, first: Mapping[int, SceneProbe], second: Mapping[int, SceneProbe]
) -> SceneProbeDifference:
    seeds = sorted(first.keys() & second.keys())
    field = MEASURES[measure]
    run = first[seeds[0]]
    test = corrected_resampled(
        [getattr(first[seed], field) - getattr(second[seed], field) for seed in seeds],
        test_over_train=run.test_images / run.train_images,
    )
    return SceneProbeDifference(
        images=one[0],
        trained_on=one[1],
        tested_on=one[2],
        against_trained_on=other[1],
        against_tested_on=other[2],
        classifier=one[3],
        task=one[4],
        split=one[5],
        measure=measure,
        difference=test.mean,
        deviation=test.deviation,
        low=test.low,
        high=test.high,
        t=test.t,
        p=test.p,
        p_holm=None,
        runs=len(seeds),
        reason=test.reason,
    )
