"""Images without their most informative objects, and what that does to captions (paper C, section 6, Figs. 5-7, Table 5).

An object is taken away with all its labels and all regions assigned to it. Which ones: "image", the default, takes
the m of its objects that tell most of its scene, "scene" the scene's own top m, all of which it must show; either way
of those with a PMI above 0. The paper does not say which; the objects it lists fit "image". Controls take other
objects of the image.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np

from alignscope.evaluation.associations import informative
from alignscope.evaluation.intervals import clustered_bootstrap, measured, sample_of
from alignscope.evaluation.paired import mcnemar
from alignscope.evaluation.paired_tests import mann_whitney, two_sample_z
from alignscope.models.captioners.inside import Written
from alignscope.probing.tagging import region_tags
from alignscope.records import (
    DRAWS,
    Ablated,
    Association,
    GroupTest,
    Labelled,
    Measurement,
    Problem,
    Signature,
)

Reading = Literal["image", "scene", "random", "least"]
ALL_CHANGED = "every caption changed: none is left that stayed the same"


class Without(NamedTuple):
    """An image with objects taken away: what was chosen, by which reading, and the image as it is now."""

    scene: str
    reading: str
    objects: tuple[str, ...]
    seen: Labelled


def chosen_objects(
    labelled: Labelled,
    scene: str,
    associations: Sequence[Association],
    count: int,
    *,
    reading: Reading = "image",
    seed: int = 0,
    besides: Collection[str] = (),
) -> tuple[str, ...] | Problem:
    """The names of `count` objects to take away, or why the image has not so many.

    "least" takes the present objects that tell least of the scene, "random" any by `seed` and the image's name;
    neither takes those of `besides` (give the informative ones).
    """
    there = {
        label.name for place, label in enumerate(labelled.labels) if place not in labelled.without_labels
    }
    order = informative(associations, scene)
    telling = [row.name for row in order if (row.pmi or 0) > 0]
    if reading == "scene":
        wanted = tuple(telling[:count])
        if len(wanted) < count:
            what = f"its scene has {len(wanted)} informative objects; wanted {count}"
            return _problem(labelled, scene, what)
        absent = [name for name in wanted if name not in there]
        return _problem(labelled, scene, f"lacks {', '.join(absent)}") if absent else wanted
    if reading == "image":
        names = [name for name in telling if name in there]
    elif reading == "least":
        names = [row.name for row in reversed(order) if row.name in there and row.name not in besides]
    else:
        names = sorted(there - set(besides))
        generator = np.random.default_rng([seed, zlib.crc32(labelled.regions.image.encode())])
        names = [names[place] for place in generator.permutation(len(names))]
    if len(names) < count:
        return _problem(
            labelled, scene, f"has {len(names)} objects to take away by '{reading}'; wanted {count}"
        )
    return tuple(names[:count])


def without_objects(
    labelled: Labelled,
    objects: Collection[str],
    *,
    is_tags_only: bool = False,
    is_repacked: bool = False,
) -> Labelled:
    """The image with all labels of these names, and the regions assigned to them, as padding that nothing attends to.

    `is_tags_only` leaves the regions (for labels without boxes); `is_repacked` deletes in place of padding.
    """
    labels = {place for place, label in enumerate(labelled.labels) if label.name in objects}
    tags = [] if is_tags_only else region_tags(labelled)
    gone = replace(
        labelled,
        without_labels=labelled.without_labels | labels,
        without_regions=labelled.without_regions | {tag.region for tag in tags if tag.name in objects},
    )
    return repacked(gone) if is_repacked else gone


def repacked(labelled: Labelled) -> Labelled:
    """The image with what is taken away deleted, so that the rest moves up."""
    keep = np.array(
        [place not in labelled.without_regions for place in range(len(labelled.regions))], dtype=bool
    )
    places = np.flatnonzero(keep).tolist()
    regions = labelled.regions

    def kept(values: Sequence[str]) -> tuple[str, ...]:
        return tuple(values[place] for place in places) if values else ()

    fewer = replace(
        regions,
        boxes=regions.boxes[keep],
        features=regions.features[keep],
        tags=kept(regions.tags),
        confidences=regions.confidences[keep] if len(regions.confidences) else regions.confidences,
        attributes=kept(regions.attributes),
        attribute_confidences=(
            regions.attribute_confidences[keep]
            if len(regions.attribute_confidences)
            else regions.attribute_confidences
        ),
    )
    labels = tuple(
        label for place, label in enumerate(labelled.labels) if place not in labelled.without_labels
    )
    return Labelled(fewer, labels)


def without_informative(
    images: Mapping[str, Labelled],
    scenes: Mapping[str, str],
    associations: Sequence[Association],
    count: int,
    *,
    reading: Reading = "image",
    seed: int = 0,
    is_tags_only: bool = False,
    is_repacked: bool = False,
) -> tuple[dict[str, Without], list[Problem]]:
    """Every image of a scene without `count` of its objects, and the images that are left as they are, with why.

    Controls ("random", "least") are made of images that "image" takes too, and leave its objects in place.
    """
    of_scene: defaultdict[str, list[Association]] = defaultdict(list)
    for row in associations:
        of_scene[row.scene].append(row)
    made: dict[str, Without] = {}
    problems = []
    for key, labelled in images.items():
        scene = scenes.get(key, "")
        if not scene:
            problems.append(_problem(labelled, "", "has no scene: nothing is informative of it"))
            continue
        objects = chosen_objects(
            labelled, scene, of_scene[scene], count, reading="scene" if reading == "scene" else "image"
        )
        if reading in ("random", "least") and not isinstance(objects, Problem):
            objects = chosen_objects(
                labelled, scene, of_scene[scene], count, reading=reading, seed=seed, besides=objects
            )
        if isinstance(objects, Problem):
            problems.append(objects)
            continue
        seen = without_objects(labelled, objects, is_tags_only=is_tags_only, is_repacked=is_repacked)
        made[key] = Without(scene, reading, objects, seen)
    return made, problems


def ablated(before: Labelled, after: Without, written_before: Written, written_after: Written) -> Ablated:
    """What a captioner wrote of an image with and without the objects; changed where the texts differ at all."""
    return Ablated(
        image=before.regions.image,
        scene=after.scene,
        count=len(after.objects),
        reading=after.reading,
        objects="|".join(after.objects),
        labels_removed=_left(len(before.labels), before.without_labels)
        - _left(len(after.seen.labels), after.seen.without_labels),
        regions_removed=_left(len(before.regions), before.without_regions)
        - _left(len(after.seen.regions), after.seen.without_regions),
        before=written_before.text,
        after=written_after.text,
        confidence_before=written_before.confidence,
        confidence_after=written_after.confidence,
        is_changed=written_before.text != written_after.text,
    )


def summarised(
    rows: Iterable[Ablated],
    *,
    signature: Signature,
    missing: Mapping[tuple[str, int], int] | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> list[Measurement]:
    """Share of changed captions, and confidence after and its shift where unchanged (Figs. 6, 7), per reading and m.

    "all" pools over m, as the paper's 41 and 13 % do. `missing` counts the images that lack the objects, by
    reading and m; a shift above 0 is confidence lost.
    """
    missing = missing or {}
    groups: defaultdict[tuple[str, int | None], list[Ablated]] = defaultdict(list)
    for key in missing:
        groups[key]  # a row also where no image has the objects
        groups[key[0], None]
    for row in rows:
        groups[row.reading, row.count].append(row)
        groups[row.reading, None].append(row)
    numbers = []
    for (reading, count), mine in groups.items():
        lacking = sum(many for (name, m), many in missing.items() if name == reading and count in (None, m))
        same = [row for row in mine if not row.is_changed]
        for measure, unit, values in (
            ("captions changed", "share", [(float(row.is_changed), row.image) for row in mine]),
            (
                "confidence after, unchanged",
                "probability",
                [(row.confidence_after, row.image) for row in same],
            ),
            (
                "confidence shift, unchanged",
                "probability",
                list(zip(shifts(mine).tolist(), [row.image for row in same], strict=True)),
            ),
        ):
            sample = sample_of(values)
            number = measured(
                clustered_bootstrap(sample.values, sample.clusters, draws=draws, seed=seed),
                [sample],
                measure=measure,
                group=f"{reading} | m={count or 'all'}",
                signature=signature,
                unit=unit,
                missing=lacking,
            )
            numbers.append(number if values or not mine else replace(number, reason=ALL_CHANGED))
    return numbers


def shifts(rows: Iterable[Ablated]) -> np.ndarray:
    """Confidence before less confidence after, of unchanged captions (Fig. 7): below 0 where it is higher after."""
    return np.array(
        [row.confidence_before - row.confidence_after for row in rows if not row.is_changed], dtype=np.float64
    )


def shifts_compared(
    first: Iterable[Ablated], second: Iterable[Ablated], *, group: str = ""
) -> list[GroupTest]:
    """Do two sets of images shift differently (the paper's z = 0.13, test unnamed)? By ranks and by means."""
    one, other = shifts(first), shifts(second)
    return [
        test(one, other, measure="confidence shift", group=group) for test in (mann_whitney, two_sample_z)
    ]


def changes_compared(first: Iterable[Ablated], second: Iterable[Ablated], *, group: str = "") -> GroupTest:
    """Does one captioner change more captions than another (paper: 41 and 13 %)? McNemar's exact test of images both wrote of.

    The same image with another m or reading counts as another; the statistic is how many captions the first alone
    changed, the effect the difference of the shares.
    """
    theirs = {(row.image, row.reading, row.count): row.is_changed for row in second}
    pairs = [
        (row.is_changed, theirs[key])
        for row in first
        if (key := (row.image, row.reading, row.count)) in theirs
    ]
    name, effect = ("McNemar", "captions changed", group), "difference of shares"
    if not pairs:
        return GroupTest(
            *name, None, None, 0, 0, 0, None, None, None, None, effect, "no image that both wrote of"
        )
    count = len(pairs)
    one, other = (sum(pair[side] for pair in pairs) / count for side in (0, 1))
    only = sum(mine and not their for mine, their in pairs), sum(their and not mine for mine, their in pairs)
    ties = count - sum(only)
    p = mcnemar(*only)
    return GroupTest(
        *name, one, other, count, count, ties, float(only[0]), None, p, one - other, effect_name=effect
    )


def _left(many: int, gone: Collection[int]) -> int:
    return many - len(gone)


def _problem(labelled: Labelled, scene: str, what: str) -> Problem:
    return Problem(labelled.regions.image, scene, what, "unscored")
