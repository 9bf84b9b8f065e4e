"""What a study of scene captioners says of paper C's claims: which hold, which do not, and which cannot be told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import median

from alignscope.records import GroupTest
from alignscope.reporting.entries import gap
from alignscope.reporting.run import read_rows
from alignscope.reporting.scenes_ablation_findings import (
    attention_alone,
    background,
    confidence,
    present,
    reliance,
    robust,
    spread,
    survival,
    tuned_probe,
    two_sets,
)
from alignscope.reporting.scenes_numbers import (
    CAPTIONERS,
    FIRST,
    OBJECT,
    SCENE,
    Study,
    Values,
    gaps,
    minus,
    over_seeds,
    parts_of,
)
from alignscope.reporting.scenes_tables import ABOVE, attended_order, blocks_of, overlap_measures
from alignscope.reporting.scenes_verdicts import (
    BEYOND,
    CONTRARY,
    SUPPORTED,
    UNTOLD,
    Finding,
    mean_text,
    told,
    verdict_of,
)
from alignscope.reporting.wording import enumerated


def findings(study: Study) -> tuple[Finding, ...]:
    """All claims that the records speak of, in the order of the paper."""
    made = (one(study) for one in ALL)
    return tuple(
        replace(one, claim=study.printed("claims", one.key)) for one in made if one is not None and one.says
    )


def headline(found: Sequence[Finding]) -> str:
    """How many claims hold, how many do not, and how many cannot be told."""
    counts = Counter(one.verdict for one in found)
    words = {
        SUPPORTED: ("holds here", "hold here"),
        CONTRARY: ("does not", "do not"),
        UNTOLD: ("cannot be told",) * 2,
    }
    parts = [
        f"{counts[verdict]} {both[counts[verdict] > 1]}" for verdict, both in words.items() if counts[verdict]
    ]
    claims = len(found) - counts[BEYOND]
    return (
        f"Of {claims} claims of paper C {enumerated(parts)}" if parts else "No claim of paper C was measured"
    )


def _attention(study: Study, measure: str, block: str = "pooled", way: str = FIRST) -> tuple[Values, Values]:
    found = [study.values("attention", measure, f"{name} | {block} | {way}") for name in CAPTIONERS]
    return found[0], found[1]


def _evenness(study: Study) -> Finding | None:
    """Standard deviation in the first layer, by block, with tests within seeds."""
    before, after = _attention(study, "mean std")
    if not (before and after):
        return None
    mean, tests = over_seeds(gaps(after, before)), _tests(study)
    verdict = verdict_of(mean, -1)
    if len(study.seeds) == 1 and tests and (tests[0].p or 0.0) < 0.05:
        verdict = SUPPORTED if (tests[0].effect or 0.0) > 0 else CONTRARY  # object above scene
    says = (
        f"standard deviation × 100 of all relations is {mean_text(before, 100)} after object captions and "
        f"{mean_text(after, 100)} after scene captions ({told(mean, times=100)}). {_by_block(study)} {_tested(tests)}"
    )
    return Finding("even", "More even attention", verdict, says.strip())


def _by_block(study: Study) -> str:
    groups: dict[int, list[str]] = {-1: [], 1: [], 0: []}
    for block in blocks_of(study):
        before, after = _attention(study, "mean std", block)
        mean = over_seeds(gaps(after, before))
        if block != "pooled" and mean is not None:
            groups[mean.side].append(f"{block} ({gap(100 * mean.value, None, None)})")
    words = {-1: "lower in", 1: "higher in", 0: "not told apart in"}
    parts = [f"{words[side]} {enumerated(names)}" for side, names in groups.items() if names]
    return f"By block it is {'; '.join(parts)}." if parts else ""


def _tests(study: Study) -> list[GroupTest]:
    """Wilcoxon's test over the images of each seed: standard deviations of object against scene captions."""
    group = f"{OBJECT} and {SCENE} | pooled | {FIRST}"
    return [
        one
        for seed in study.seeds
        for one in read_rows(study.directory / f"seed-{seed}" / "attention" / "tests.parquet", GroupTest)
        if (one.measure, one.group) == ("std", group) and one.p is not None
    ]


def _tested(found: Sequence[GroupTest]) -> str:
    """What the tests of the seeds say, with the sign of scene against object captions."""
    if not found:
        return ""
    effect = median(-(one.effect or 0.0) for one in found)
    low = sum((one.p or 0.0) < 0.05 for one in found)
    return (
        f"Over images within a seed, Wilcoxon’s paired test has p < .05 in {low} of {len(found)} seeds; the median "
        f"rank-biserial effect is {gap(effect, None, None)} (+1: higher after scene captions in every image)."
    )


def _mass(study: Study) -> Finding | None:
    """Whether the attention mass stays."""
    before, after = _attention(study, "mean mass")
    if not (before and after):
        return None
    mean = over_seeds(gaps(after, before))
    share = over_seeds({seed: 100 * (after[seed] / before[seed] - 1) for seed in before if seed in after and before[seed]})  # fmt: skip
    verdict = CONTRARY if mean and mean.side else UNTOLD
    says = f"mass {mean_text(before)} and {mean_text(after)} ({told(share, unit=' percent')})."
    if verdict == UNTOLD:
        says += " An interval that holds zero does not show that it stays."
    return Finding("mass", "At a similar mass", verdict, says)


def _whatever_mass(study: Study) -> Finding | None:
    """Evenness by numbers that neither mass nor the number of heads can move."""
    parts, means = [], []
    for measure, says in (("mean gini", "Gini of rows"), ("mean entropy", "entropy in bits")):
        before, after = _attention(study, measure)
        mean = over_seeds(gaps(after, before))
        if mean is not None:
            parts.append(f"{says} {mean_text(before)} and {mean_text(after)} ({told(mean)})")
            means.append(mean if measure == "mean gini" else minus(mean))
    before, after = _attention(study, "mean std", way="layer 0 | mean")
    by_mean = over_seeds(gaps(after, before))
    if by_mean is not None:
        parts.append(f"with the mean of heads in place of the highest, standard deviation × 100 changes by {told(by_mean, times=100)}")  # fmt: skip
    if not means:
        return None
    sides = {one.side for one in means}
    verdict = SUPPORTED if sides == {-1} else CONTRARY if sides == {1} else UNTOLD
    more = " Gini and entropy do not agree." if len(sides) > 1 else ""
    return Finding("holistic", "More even whatever the mass", verdict, f"{'; '.join(parts)}.{more}")


def _separator(study: Study) -> Finding | None:
    """Whether vision attends more to the last special token, the [SEP] after labels, in the last layer than in the first."""
    found: dict[str, dict[tuple[int, int], Values]] = {}
    for group in study.groups("attention", "inbound attention"):
        name, what, layer, heads = parts_of(group)
        if heads == "max" and what.endswith("from vision"):
            place = int(what.split()[1]), int(layer.removeprefix("layer "))
            found.setdefault(name, {})[place] = study.values("attention", "inbound attention", group)
    parts, means = [], []
    for name, says in CAPTIONERS.items():
        last = max((special for special, _ in found.get(name, {})), default=0)
        layers = sorted(layer for special, layer in found.get(name, {}) if special == last)
        if len(layers) > 1:
            mean = over_seeds(gaps(found[name][last, layers[-1]], found[name][last, layers[0]]))
            means += [mean] if mean is not None else []
            parts.append(f"{says} {told(mean)}")
    if not means:
        return None
    sides = {one.side for one in means}
    verdict = SUPPORTED if sides == {1} else CONTRARY if sides == {-1} else UNTOLD
    says = f"attention from vision to the last special token, last layer minus first: {'; '.join(parts)}."
    return Finding("separator", "Attention converges on [SEP]", verdict, says)


def _overlap(study: Study, second: str, key: str, about: str) -> Finding | None:
    """Attended objects against even attention's, at every depth."""
    pair = f"{attended_order(study)}, {second}"
    measures = [name for name in overlap_measures(study) if name.startswith("average")]
    found = {}
    for measure in measures:
        mean = study.mean("diagnosticity", measure, f"{SCENE} | {pair} | {ABOVE}")
        if mean is not None:
            found[measure.partition("@")[2]] = mean
    if not found:
        return None
    sides = {one.side for one in found.values()}
    verdict = SUPPORTED if sides == {1} else CONTRARY if -1 in sides and 1 not in sides else UNTOLD
    own = enumerated([mean_text(study.values("diagnosticity", f"average overlap@{k}", f"{SCENE} | {pair} | mean over scenes")) for k in found])  # fmt: skip
    above = "; ".join(f"at {k} {told(mean)}" for k, mean in found.items())
    says = f"average overlap of the scene captioner at {enumerated(list(found))} is {own}; above what even attention gives: {above}. {_tuned(study, pair, measures)}"
    if verdict != SUPPORTED:
        says += " Objects that are often there get much attention in all, however it is spread; the paper has no such baseline."
    return Finding(key, about, verdict, says)


def _tuned(study: Study, pair: str, measures: Sequence[str]) -> str:
    """Whether scene captions change the overlap."""
    if not measures:
        return ""
    last = measures[-1]
    found = [
        study.values("diagnosticity", last, f"{name} | {pair} | mean over scenes") for name in CAPTIONERS
    ]
    return f"Against object captions it changes by {told(over_seeds(gaps(found[1], found[0])))} at {last.partition('@')[2]}."  # fmt: skip


def _correlated(study: Study) -> Finding | None:
    """IoU and average overlap over scenes and depths."""
    found = {}
    for seed in study.seeds:
        path = study.directory / f"seed-{seed}" / "diagnosticity" / "tests.parquet"
        for one in read_rows(path, GroupTest):
            if one.test == "Pearson" and one.group == f"{SCENE} | {attended_order(study)}, frequent" and one.effect is not None:  # fmt: skip
                found[seed] = one.effect
    mean = over_seeds(found)
    if mean is None:
        return None
    return Finding("correlated", "Both overlaps correlate", verdict_of(mean, 1), f"Pearson’s r over scenes and depths is {told(mean)} (paper .81).")  # fmt: skip


ALL: tuple[Callable[[Study], Finding | None], ...] = (
    _evenness,
    _mass,
    _whatever_mass,
    _separator,
    lambda study: _overlap(study, "frequent", "frequent", "Attended objects are those frequent in the scene"),
    lambda study: _overlap(study, "pmi", "telling", "Attended objects are those telling of the scene"),
    _correlated,
    survival,
    reliance,
    confidence,
    spread,
    two_sets,
    present,
    tuned_probe,
    robust,
    attention_alone,
    background,
)
