"""Ablated captions and scene probes as tables for a terminal, short: the rest is in the files beside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from alignscope.records import GroupTest, Measurement, SceneProbeDifference, SceneProbeScore
from alignscope.reporting.probes import columns_text
from alignscope.reporting.wording import counted

SHOWN = ("micro F1", "macro F1", "weighted F1")
CHANGED, ABLATED = "captions changed", "images without objects"
MANY = 24  # differences: more are not listed


def ablation_text(measurements: Sequence[Measurement], tests: Sequence[GroupTest]) -> str:
    """How many captions change and how sure the others are, by captioner; what was ablated; what is tested.

    >>> print(ablation_text([], []))
    nothing was measured
    """
    counts = {one.group.rpartition(" | m=")[2] for one in measurements if " | m=" in one.group}
    if len(counts - {"all"}) == 1:  # all is the same then
        measurements = [one for one in measurements if not one.group.endswith(" | m=all")]
    own = [one for one in measurements if not one.group.startswith("images | ")]
    compared = [one for one in own if one.measure == f"{CHANGED}, difference"]
    material = [one for one in measurements if one.group.startswith("images | ")]
    told = [
        replace(one, measure="images captioned without them") if one.measure == ABLATED else one
        for one in material
        if not one.measure.startswith("images left out: ")
    ]
    done = [one for one in tests if one.p is not None]
    shown = [columns_text([one for one in own if one not in compared])]
    shown += [columns_text(compared)] if compared else []
    shown += [columns_text(told)] if told else []
    shown += ["\n".join(map(_tested, done))] if done else []
    more = len(tests) - len(done)
    notes = [f"{counted(more, 'test')} could not be made: see tests.parquet"] if more else []
    notes += (
        ["why images were left out: measurements.parquet, image by image problems.jsonl"]
        if len(told) < len(material)
        else []
    )
    return "\n\n".join([*shown, *(["\n".join(notes)] if notes else [])])


def scenes_text(scores: Sequence[SceneProbeScore], differences: Sequence[SceneProbeDifference]) -> str:
    """Mean F1 over seeds with its interval: rows are probes, columns measures; then inputs compared by macro F1.

    Per-scene F1, control task and what probes learnt by heart are in the files.

    >>> print(scenes_text([], []))
    nothing was measured
    """
    rows = [one for one in scores if one.measure in SHOWN and one.task in ("scenes", "selectivity")]
    table = columns_text([_as_number(one) for one in rows], first=SHOWN)
    gaps = [_gap(one) for one in differences if one.measure == "macro F1" and one.task == "scenes"]
    gaps = [gap for gap in gaps if gap]
    if len(gaps) > MANY:
        gaps = [f"{len(gaps)} differences between inputs, with tests: differences.parquet"]
    elif gaps:
        gaps.append(
            "Holm's p is over the lines of a table that ask the same, how many and what stands behind it"
        )
    return "\n\n".join([table, *(["\n".join(gaps)] if gaps else [])])


def probe_in_words(one: SceneProbeScore | SceneProbeDifference) -> str:
    """Which probe, of which images, on which split.

    >>> probe_in_words(SceneProbeScore("all", "A", "A, ablated", "mlp", "scenes", 90, "F1", "sea", .5, *[None] * 3, 1, 9, 0))
    'all | A, tested on A, ablated | mlp | 90/10'
    """
    return " | ".join(
        [one.images, _input(one.trained_on, one.tested_on), one.classifier, f"{one.split}/{100 - one.split}"]
    )


def _input(trained_on: str, tested_on: str) -> str:
    return trained_on if trained_on == tested_on else f"{trained_on}, tested on {tested_on}"


def _as_number(one: SceneProbeScore) -> Measurement:
    name = probe_in_words(one) + (" | selectivity" if one.task == "selectivity" else "")
    return Measurement(
        name, one.measure, one.mean, one.low, one.high, one.runs, round(one.images_per_run), reason=one.reason
    )


def _gap(one: SceneProbeDifference) -> str:
    """A difference of probes with states; those against a baseline are in the files."""
    if one.trained_on == "nothing" or one.p_holm is None:
        return ""
    against = _input(one.against_trained_on, one.against_tested_on)
    interval = (
        f" ({100 * one.low:.1f} to {100 * one.high:.1f})"
        if one.low is not None and one.high is not None
        else ""
    )
    return (
        f"macro F1, {probe_in_words(one)} less {against}: {100 * one.difference:+.1f}{interval}, "
        f"p {_p(one.p)}, Holm {_p(one.p_holm)} of {one.family} ({one.question})"
    )


def _tested(one: GroupTest) -> str:
    """A test in a line."""
    name = f"{one.test}, {one.measure} | {one.group}"
    sizes = str(one.first_items)
    if one.first_items != one.second_items:
        sizes += f" and {one.second_items}"
    effect = f", {one.effect_name} {one.effect:.3f}" if one.effect is not None else ""
    return f"{name}: n {sizes}, p {_p(one.p)}{effect}"


def _p(p: float | None) -> str:
    return "-" if p is None else f"{p:.3f}" if p >= 0.001 else "<.001"
