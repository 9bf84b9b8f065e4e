"""`probe diagnosticity` as a study: objects ranked by hand from the attention itself, what cannot be asked, what is counted."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import pytest
from looked_into import Drawn, Pixels, labelled, scenes
from PIL import Image

from alignscope.errors import BadInput
from alignscope.files import read_parquet
from alignscope.models.captioners.seen import open_seen
from alignscope.records import Association, Measurement, RankedObject, RankOverlap, RegionTag
from alignscope.studies.scenes.diagnosticity import DiagnosticitySettings, diagnosticity
from alignscope.studies.scenes.images import (
    NamedObjects,
    WorldImages,
    named_objects,
    objects_of,
    scene_images,
)

OBJECTS = {
    "i0": ["car", "traffic light", "man"],
    "i1": ["car", "man"],
    "i2": ["car", "traffic light", "car"],
    "i3": ["boat", "man"],
    "i4": ["boat", "bird"],
    "i5": ["bird", "boat", "man"],
}
SCENES = {"i0": "road", "i1": "road", "i2": "road", "i3": "sea", "i4": "sea", "i5": "sea"}
QUICK = DiagnosticitySettings(draws=40, minimum=1, depths=(2, 3))


def made(**more):
    return scenes({image: labelled(image, names) for image, names in OBJECTS.items()}, SCENES, **more)


def by_hand(settings, captioner, images):
    """Mass of each object of a scene: the columns of its pieces, and of region 0 where boxes are asked for."""
    totals = defaultdict(lambda: defaultdict(float))
    for image, names in OBJECTS.items():
        inside = captioner.inside([images.sights[image]])[0]
        top = inside.attention[{"first": 0, "last": -1}[settings.layer]].numpy()
        top = top.max(0) if settings.heads == "max" else top.mean(0)
        own = defaultdict(float)
        rows = [place for place, kind in enumerate(inside.kinds) if kind == "region"]
        for name in set(names):
            for place, (kind, unit) in enumerate(zip(inside.kinds, inside.units, strict=True)):
                is_label = kind == "label" and names[unit] == name
                is_assigned = kind == "region" and unit == 0 and settings.assign == "boxes"
                if is_label or is_assigned:
                    own[name] += sum(float(top[row, place]) for row in rows)
        if settings.order == "attended first":
            own = {max(own, key=own.get): 3.0}  # divided by the three images of the scene
        for name, value in own.items():
            totals[SCENES[image]][name] += value / 3
    return totals


@pytest.mark.parametrize(
    "settings",
    [
        QUICK,
        DiagnosticitySettings(draws=40, minimum=1, depths=(2, 3), assign="none", heads="mean", layer="last"),
        DiagnosticitySettings(draws=40, minimum=1, depths=(2, 3), order="attended first"),
    ],
    ids=["boxes", "labels alone", "first"],
)
def test_attended_objects_are_those_of_the_attention_itself(settings, tmp_path):
    images = made()
    diagnosticity({"m": Drawn()}, images, objects_of(images), tmp_path, settings=settings)
    rows = read_parquet(tmp_path / "models" / "m" / "ranked.parquet", RankedObject)
    want = by_hand(settings, Drawn(), images)
    for scene, values in want.items():
        got = [row for row in rows if (row.scene, row.order) == (scene, settings.order)]
        assert [row.name for row in got] == sorted(values, key=lambda name: (-values[name], name))
        for row in got:
            assert row.value == pytest.approx(values[row.name], abs=1e-5)
    often = [(row.name, row.value) for row in rows if (row.scene, row.order) == ("road", "frequent")]
    assert often == [("car", 3.0), ("man", 2.0), ("traffic light", 2.0)]


def test_overlaps_and_pmi_worked_by_hand(tmp_path):
    images = made()
    found = diagnosticity({"m": Drawn()}, images, objects_of(images), tmp_path, settings=QUICK)
    assert "PMI is of 6 images of which 6 are looked at" in found.problems[-1].what
    told = {
        (one.scene, one.name): one for one in read_parquet(tmp_path / "associations.parquet", Association)
    }
    assert told["road", "car"].pmi == pytest.approx(math.log2(3 * 6 / (3 * 3)))
    assert told["road", "man"].pmi == pytest.approx(math.log2(2 * 6 / (3 * 4)))
    assert told["road", "boat"].pmi is None
    rows = read_parquet(tmp_path / "models" / "m" / "ranked.parquet", RankedObject)
    lists = defaultdict(list)
    for row in sorted(rows, key=lambda row: row.rank):
        lists[row.scene, row.order].append(row.name)
    assert lists["road", "pmi"] == ["car", "traffic light", "man"]
    overlaps = read_parquet(tmp_path / "models" / "m" / "overlaps.parquet", RankOverlap)
    assert Counter((row.first, row.second) for row in overlaps) == {
        (first, second): 4
        for first, second in [
            ("attended", "frequent"),
            ("attended", "pmi"),
            ("even attention", "frequent"),
            ("even attention", "pmi"),
            ("frequent", "pmi"),
        ]
    }
    for row in overlaps:
        one, other = (lists[row.scene, order][: row.depth] for order in (row.first, row.second))
        assert row.iou == len({*one} & {*other}) / len({*one} | {*other})
        shares = [len({*one[:d]} & {*other[:d]}) / d for d in range(1, row.depth + 1)]
        assert row.average_overlap == pytest.approx(sum(shares) / len(shares))
    numbers = {(one.measure, one.group): one for one in found.measurements}
    means = [row.iou for row in overlaps if (row.first, row.second, row.depth) == ("attended", "frequent", 2)]
    whole = numbers["IoU@2", "m | attended, frequent | mean over scenes"]
    assert whole.value == pytest.approx(np.mean(means))
    assert (whole.items, whole.images) == (2, 6)
    evenly = numbers["IoU@2", "m | even attention, frequent | mean over scenes"]
    gap = numbers["IoU@2", "m | attended, frequent | above even attention"]
    assert gap.value == pytest.approx(whole.value - evenly.value)
    assert numbers["IoU@2", "m | attended, frequent | road"].images == 3
    for one in found.measurements:
        if one.unit == "overlap" and one.low is not None:
            least = -1.0 if one.group.endswith("above even attention") else 0.0
            assert least <= one.low <= one.value <= one.high <= 1.0
    assert numbers["regions with a label", "m | all"].value == pytest.approx(1 / 3)
    assert list(found.measurements) == read_parquet(tmp_path / "measurements.parquet", Measurement)
    assert {one.group for one in found.tests} >= {"m | attended, frequent", "m | attended, pmi"}
    tags = read_parquet(tmp_path / "models" / "m" / "tags.parquet", RegionTag)
    assert {(tag.region, tag.iou) for tag in tags} == {(0, 1.0)}


def test_even_attention_ranks_objects_by_their_columns(tmp_path):
    images = made()
    settings = DiagnosticitySettings(draws=10, minimum=1, assign="none", depths=(2,))
    diagnosticity({"m": Drawn()}, images, objects_of(images), tmp_path, settings=settings)
    rows = read_parquet(tmp_path / "models" / "m" / "ranked.parquet", RankedObject)
    got = {row.name: row.value for row in rows if (row.scene, row.order) == ("road", "even attention")}
    # positions: i0 has 4 pieces, [SEP], 3 regions; i1 2 pieces; i2 4; each region gives 1/n to each
    want = {
        "car": (3 / 8 + 3 / 6 + 2 * 3 / 8) / 3,
        "traffic light": (2 * 3 / 8 + 2 * 3 / 8) / 3,
        "man": (3 / 8 + 3 / 6) / 3,
    }
    assert got == pytest.approx(want)


def test_regions_by_their_own_tags_add_to_labels_of_that_name_alone(tmp_path):
    sights = {
        image: replace(seen, regions=replace(seen.regions, tags=("man", "background", "car")))
        for image, seen in made().sights.items()
    }
    images = scenes(sights, SCENES)
    settings = DiagnosticitySettings(draws=10, minimum=1, assign="own", depths=(2,))
    found = diagnosticity({"m": Drawn()}, images, objects_of(images), tmp_path, settings=settings)
    attended = {(row.scene, row.name): row.value for row in found.ranked["m"] if row.order == "attended"}
    assert {name for _, name in attended} == {"car", "traffic light", "man", "boat", "bird"}
    total = 0.0
    for image in ("i3", "i5"):  # of sea, those with a man
        inside = Drawn().inside([sights[image]])[0]
        kinds, top = np.array(inside.kinds), inside.attention[0].numpy().max(0)
        columns = [place for place in range(len(kinds)) if kinds[place] == "label"]
        columns = [place for place in columns if OBJECTS[image][inside.units[place]] == "man"]
        columns.append(int((kinds == "region").argmax()))  # the first region
        total += top[kinds == "region"][:, columns].sum(dtype=np.float64)
    assert attended["sea", "man"] == pytest.approx(total / 3, rel=1e-5)
    tagged = {(one.image, one.region) for one in read_parquet(tmp_path / "models/m/tags.parquet", RegionTag)}
    assert ("i4", 0) not in tagged
    assert ("i0", 2) in tagged


def test_two_captioners_are_tested_over_scenes(tmp_path):
    images = made()
    found = diagnosticity(
        {"a": Drawn(), "b": Drawn(seed=5)}, images, objects_of(images), tmp_path, settings=QUICK
    )
    tests = [one for one in found.tests if one.test == "Wilcoxon"]
    assert [(one.group, one.measure) for one in tests] == [
        ("a and b | attended, frequent | scenes", "average overlap@2"),
        ("a and b | attended, frequent | scenes", "average overlap@3"),
        ("a and b | attended, pmi | scenes", "average overlap@2"),
        ("a and b | attended, pmi | scenes", "average overlap@3"),
    ]
    assert {one.first_items for one in tests} == {2}


def test_images_without_a_scene_and_rare_scenes_are_counted(tmp_path):
    sights = {image: labelled(image, names) for image, names in OBJECTS.items()}
    sights |= {"i6": labelled("i6", ["cup"]), "i7": labelled("i7", ["cup"]), "i8": labelled("i8", [])}
    images = scenes(sights, {**SCENES, "i6": "", "i7": "kitchen", "i8": "road"})
    found = diagnosticity({"m": Drawn()}, images, objects_of(made()), tmp_path, settings=QUICK)
    told = {(one.subject, one.what, one.action) for one in found.problems}
    assert ("i6", "none of 3 captions names a scene", "unscored") in told
    assert ("i7", "1 image of the scene 'kitchen', wanted at least 2", "unscored") in told
    assert ("i8", "m: no labels: it counts without objects", "handled") in told
    frequent = [row for row in found.ranked["m"] if row.order == "frequent"]
    assert {row.scene: row.images for row in frequent} == {"road": 4, "sea": 3}


def test_a_scene_that_the_reference_lacks_is_unscored(tmp_path):
    of_road = {image: tuple(OBJECTS[image]) for image in ("i0", "i1", "i2")}
    reference = NamedObjects("other", "x", dict.fromkeys(of_road, "road"), of_road)
    found = diagnosticity({"m": Drawn()}, made(), reference, tmp_path, settings=QUICK)
    numbers = {(one.measure, one.group): one for one in found.measurements}
    sea = numbers["IoU@2", "m | attended, pmi | sea"]
    assert (sea.value, sea.missing, sea.reason) == (None, 1, "no objects in the second list")
    assert numbers["IoU@2", "m | attended, pmi | mean over scenes"].missing == 1


def test_what_cannot_be_asked_is_refused(tmp_path):
    images = made(pictures={image: Image.new("RGB", (4, 4)) for image in OBJECTS})
    boxless = scenes({image: labelled(image, names, box=None) for image, names in OBJECTS.items()}, SCENES)
    for captioner, given, settings, said in [
        (
            Pixels("pixels"),
            images,
            QUICK,
            "m sees 4 patches and no labels.*`alignscope probe attention` looks",
        ),
        (
            Drawn(),
            boxless,
            QUICK,
            "i0: 3 of 3 labels have no box.*columns of their labels alone, with --assign none",
        ),
        (Drawn(), images, DiagnosticitySettings(assign="own"), "i0: the regions have no tags of their own"),
        (Drawn(), images, DiagnosticitySettings(layer="9"), "got layer 9 of m, which has 2 layers"),
        (Drawn(), images, DiagnosticitySettings(layer="all"), "wanted one: objects are ranked by one layer"),
        (Drawn(), images, DiagnosticitySettings(persistence=1.0), "a persistence between 0 and 1"),
        (Drawn(), images, DiagnosticitySettings(scene_images=4), "none of 6 images is of a scene"),
    ]:
        with pytest.raises(BadInput, match=said):
            diagnosticity({"m": captioner}, given, objects_of(images), tmp_path / "out", settings=settings)
    alone = DiagnosticitySettings(draws=10, minimum=1, assign="none")
    found = diagnosticity({"m": Drawn()}, boxless, objects_of(images), tmp_path / "out", settings=alone)
    assert not any(one.measure == "regions with a label" for one in found.measurements)


def test_the_small_vinvl_of_the_package_on_the_world(tmp_path):
    images = scene_images(WorldImages(size=60))
    reference = named_objects(WorldImages("train", 400, feature_width=1))
    settings = DiagnosticitySettings(draws=50)
    found = diagnosticity({"m": open_seen("tiny-vinvl")}, images, reference, tmp_path, settings=settings)
    numbers = {(one.measure, one.group): one for one in found.measurements}
    got = numbers["average overlap@5", "m | attended, frequent | mean over scenes"]
    assert got.items == 8
    assert got.value > 0.4  # of eight scenes, whose objects differ: chance is far below
    assert found.problems == ()
