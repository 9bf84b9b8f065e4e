"""What ablated captions and probes say of paper C's claims, and how much of a scene is background and how much objects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from statistics import fmean

from alignscope.records import GroupTest
from alignscope.reporting.entries import gap, plain
from alignscope.reporting.run import read_rows
from alignscope.reporting.scenes_numbers import (
    CAPTIONERS,
    NOTHING,
    OBJECT,
    RAW,
    SCENE,
    Probe,
    Study,
    Values,
    cuts_of,
    gaps,
    minus,
    over_seeds,
    parts_of,
    sets_of,
)
from alignscope.reporting.scenes_probe_tables import (
    counts_of,
    fewest_cut,
    find,
    gain,
    hardest,
    image_sets,
    rarest,
    scores_of,
)
from alignscope.reporting.scenes_tables import changed, naming, per_seed, shift_deviation, shifts
from alignscope.reporting.scenes_verdicts import (
    BEYOND,
    CONTRARY,
    UNTOLD,
    Finding,
    mean_text,
    told,
    verdict_of,
)
from alignscope.reporting.wording import enumerated

FEW = 10
"""Unchanged captions of a seed below which their confidence says nothing."""


def survival(study: Study) -> Finding | None:
    """Captions changed by what is most telling, in each set of images."""
    sets = sets_of(study)
    parts, first = [], None
    for images in sets:
        before, after = (changed(study, name, images, "image") for name in CAPTIONERS)
        mean = over_seeds(gaps(after, before))
        alone = study.mean(
            "ablation", "captions changed, difference", f"{OBJECT} - {SCENE} | {images} | image | m=all"
        )
        if mean is not None and mean.seeds == 1 and alone is not None:
            mean = minus(alone)
        first = first or mean
        parts.append(f"{images}: {mean_text(before, 100)} percent of object captions change and {mean_text(after, 100)} percent of scene captions ({told(mean, times=100, unit=' points')})")  # fmt: skip
    if first is None:
        return None
    says = f"{'; '.join(parts)}. The paper has 41 and 13 percent. An object caption that names what is gone must change to stay true, a scene caption need not."
    return Finding("survive", "Scene captions survive ablation more often", verdict_of(first, -1), says)


def reliance(study: Study) -> Finding | None:
    """Whether the most telling objects matter more than the least telling ones, to scene captions."""
    controls = [reading for reading in ("least", "random") if reading in cuts_of(study)]
    if not controls or not sets_of(study):
        return None
    parts, first = [], None
    for images in sets_of(study):
        own, other = (changed(study, SCENE, images, reading, "1") for reading in ("image", controls[0]))
        mean = over_seeds(gaps(own, other))
        first = first or mean
        before, after = (naming(study, images, "image", field) for field in ("before", "after"))
        named = f"; the name of the scene is in {mean_text(before, 100)} percent of captions before and {mean_text(after, 100)} after" if before else ""  # fmt: skip
        parts.append(f"{images}: one most telling object gone changes {mean_text(own, 100)} percent of scene captions, one {CONTROL[controls[0]]} {mean_text(other, 100)} ({told(mean, times=100, unit=' points')}){named}")  # fmt: skip
    if first is None:
        return None
    return Finding("reliance", "Scene captions rely on telling objects", verdict_of(first, 1), f"{'; '.join(parts)}.")  # fmt: skip


CONTROL = {"least": "least telling object", "random": "other object by chance"}


def confidence(study: Study) -> Finding | None:
    """Whether object captions that stay are the surer ones."""
    return _sureness(
        study, "sure", "Unchanged object captions are surer", "confidence after",
        lambda name, images: study.values("ablation", "confidence after, unchanged", f"{name} | {images} | image | m=all"), 1.0,
    )  # fmt: skip


def spread(study: Study) -> Finding | None:
    """Whether the shift of confidence varies less for scene captions."""
    found = _sureness(
        study, "steady", "Confidence of scene captions varies less", "standard deviation × 100 of the shift",
        lambda name, images: shift_deviation(study, name, images, "image"), 100.0,
    )  # fmt: skip
    if found is None:
        return None
    images = sets_of(study)[0]
    parts = []
    for name, says in CAPTIONERS.items():
        mean = over_seeds(study.values("ablation", "confidence shift, unchanged", f"{name} | {images} | image | m=all"))  # fmt: skip
        parts += [f"{says} {told(mean, times=100)}"] if mean is not None else []
    more = f" The shift itself (before minus after, × 100; negative: surer after): {'; '.join(parts)}." if parts else ""  # fmt: skip
    return replace(found, says=found.says + more)


def _sureness(
    study: Study, key: str, about: str, says: str, values: Callable[[str, str], Values], times: float
) -> Finding | None:
    if not sets_of(study):
        return None
    images = sets_of(study)[0]
    before, after = (values(name, images) for name in CAPTIONERS)
    counts = [per_seed(study, name, images, "image", lambda rows: float(len(shifts(rows)))) for name in CAPTIONERS]  # fmt: skip
    many = [fmean(one.values()) if one else 0.0 for one in counts]
    mean = over_seeds(gaps(after, before))
    few = min(many) < FEW
    text = f"{images}: {says} {mean_text(before, times)} for object captions and {mean_text(after, times)} for scene captions ({told(mean, times=times)}), of {many[0]:.0f} and {many[1]:.0f} unchanged captions a seed."
    text += f" Fewer than {FEW} are too few to say." if few else ""
    return Finding(key, about, UNTOLD if few else verdict_of(mean, -1), text)


def present(study: Study) -> Finding | None:
    """Scenes in states before any scene caption, above chance and above shuffled labels."""
    first = next(iter(image_sets(study)), "")
    one, raw = find(study, OBJECT, first), find(study, RAW, first)
    own = scores_of(study, one)
    if not own:
        return None
    chance = study.scores(Probe(NOTHING, NOTHING, "all", "drawn", hardest(study)))
    above = over_seeds(gaps(own, chance))
    select = over_seeds(scores_of(study, one, task="selectivity"))
    apart = over_seeds(gaps(own, scores_of(study, raw)))
    says = f"macro F1 of the object captioner’s states is {mean_text(own)}, above labels drawn by chance by {told(above)}, above shuffled labels by {told(select)}."
    if apart is not None:
        says += f" Against the detector’s features alone it is {told(apart)}"
        says += ": what the probe finds need not come from the captioner." if apart.side <= 0 else "."
    return Finding("present", "Scenes are in the states before fine-tuning", verdict_of(above, 1), says)


def tuned_probe(study: Study) -> Finding | None:
    """Whether scene captions help the rare scenes more than the frequent ones."""
    scenes = counts_of(study)
    rare = rarest(study)
    frequent = [scene for scene in scenes if scene not in rare]
    few, many = gain(study, rare), gain(study, frequent) if frequent else {}
    every = over_seeds(gain(study, list(scenes))) if scenes else None
    if not few:
        return None
    apart = over_seeds(gaps(few, many))
    sizes = [kept for _, kept in scenes.values()]
    says = (
        f"macro F1 changes by {told(every)} with scene captions; in the scenes with fewest images ({enumerated(list(rare))}) "
        f"F1 by {told(over_seeds(few))}, in the others by {told(over_seeds(many))}: the difference is {told(apart)}. "
        f"Scenes have {min(sizes):.0f} to {max(sizes):.0f} images."
    )
    return Finding("rare", "Fine-tuning helps rare scenes most", verdict_of(apart, 1), says)


def robust(study: Study) -> Finding | None:
    """Whether probes lose by ablation."""
    first, cut = next(iter(image_sets(study)), ""), fewest_cut(study, "image")
    if cut is None:
        return None
    parts, means = [], []
    for name, says in CAPTIONERS.items():
        whole = scores_of(study, find(study, name, first))
        mean = over_seeds(gaps(scores_of(study, find(study, name, first, cut)), whole))
        if mean is not None:
            means.append(mean)
            parts.append(f"{says} {told(mean)}")
    if not means:
        return None
    verdict = CONTRARY if any(mean.side < 0 for mean in means) else UNTOLD
    says = f"macro F1 without the most telling object: {'; '.join(parts)} (the paper: −.01 and −.08)."
    says += " Intervals that hold zero do not show that nothing is lost." if verdict == UNTOLD else ""
    return Finding("robust", "Probes do not mind ablation", verdict, says)


def attention_alone(study: Study) -> Finding | None:
    """Whether what probes read in states stays as it was, as it would if only attention changed."""
    first = next(iter(image_sets(study)), "")
    before, after = (scores_of(study, find(study, name, first)) for name in CAPTIONERS)
    mean = over_seeds(gaps(after, before))
    if mean is None:
        return None
    says = f"macro F1 of the last states is {mean_text(before)} before and {mean_text(after)} after ({told(mean)})."
    if mean.side:
        says += (
            " So the states change too; and attention among labels and regions is the same for any caption."
        )
    return Finding("alone", "Mainly attention changes", CONTRARY if mean.side else UNTOLD, says)


def two_sets(study: Study) -> Finding | None:
    """Whether confidence shifts alike in two sets of images of which one was trained on."""
    parts, apart = [], []
    for name, says in CAPTIONERS.items():
        found = [
            one
            for seed in study.seeds
            for one in read_rows(study.directory / f"seed-{seed}" / "ablation" / "tests.parquet", GroupTest)
            if one.test == "Mann-Whitney" and one.group.startswith(f"{name} | ") and one.p is not None
            and one.group.endswith(" | image | m=all")
        ]  # fmt: skip
        if found:
            apart.append(sum((one.p or 0.0) < 0.05 for one in found) == len(found))
            sets = enumerated(list(dict.fromkeys(parts_of(one.group)[1] for one in found)))
            parts.append(f"{says} ({sets}): z {', '.join(plain(one.z or 0.0) for one in found)}, p {', '.join(f'{one.p:.2f}' for one in found)} by seed")  # fmt: skip
    if not parts:
        return None
    text = f"Mann-Whitney’s test of the shifts: {'; '.join(parts)}. A test that finds nothing does not show that they are alike."
    return Finding("alike", "Test and training images shift alike", CONTRARY if all(apart) else UNTOLD, text)


def background(study: Study) -> Finding | None:
    """How much of a scene is the cue of its background, and how much objects."""
    sets = image_sets(study)
    if len(sets) < 2:
        return None
    most, least = (fewest_cut(study, reading) for reading in ("image", "least"))
    parts = []
    for name in (*CAPTIONERS, RAW):
        whole = [scores_of(study, find(study, name, images), "micro F1") for images in sets[:2]]
        if not all(whole):
            continue
        parts.append(f"{BY[name]}: micro F1 {mean_text(whole[0])} ({sets[0]}) and {mean_text(whole[1])} ({sets[1]})")  # fmt: skip
        for images, own in zip(sets[:2], whole, strict=True):
            for cut, says in ((most, "most telling"), (least, "least telling")):
                mean = over_seeds(gaps(scores_of(study, find(study, name, images, cut), "micro F1"), own)) if cut else None  # fmt: skip
                parts[-1] += (
                    f"; without its {says} object ({images}) {gap(mean.value, mean.low, mean.high)}"
                    if mean is not None
                    else ""
                )
    return Finding("background", "Background against objects", BEYOND, "\n".join(f"{part}." for part in parts))  # fmt: skip


BY = {**{name: f"states after {says}" for name, says in CAPTIONERS.items()}, RAW: "detector’s features"}
