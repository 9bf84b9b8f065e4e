"""Ablations with captioners whose captions are known: what changes is counted by hand, in plain code."""

import json
import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from alignscope.errors import BadData, BadInput, OutputExists, Unsupported
from alignscope.files import read_jsonl, read_parquet
from alignscope.models.captioners.inside import Inside, Written
from alignscope.records import (
    Ablated,
    Association,
    Box,
    GroupTest,
    Label,
    Labelled,
    Measurement,
    Point,
    Regions,
    RegionTag,
    SceneLabel,
    TagCoverage,
)
from alignscope.studies.scenes.ablated_images import Cuts
from alignscope.studies.scenes.ablation import AblationSettings, ablation
from alignscope.studies.scenes.images import NamedObjects, SceneImages


def there(seen):
    """Names and regions that are not taken away."""
    names = [one.name for place, one in enumerate(seen.labels) if place not in seen.without_labels]
    return names, [place for place in range(len(seen.regions)) if place not in seen.without_regions]


class Fake:
    """Names `word` where a label does, else how many labels there are if `counts`; surer the fewer regions."""

    def __init__(self, word, *, counts=False, patches=False):
        self.name, self.fingerprint, self.word = f"fake {word}", f"{word}-{counts}", word
        self.counts, self.patches, self.asked, self.left = counts, patches, [], math.inf

    def inside(self, images, *, texts=None):
        found = []
        for seen in images:
            if self.patches or not isinstance(seen, Labelled):
                raise Unsupported("takes pixels")
            names, regions = there(seen)
            kinds = ("label",) * len(names) + ("region",) * len(regions)
            one = torch.zeros(1, 1, len(kinds), len(kinds)), torch.zeros(len(kinds), 2)
            stay = [place for place in range(len(seen.labels)) if place not in seen.without_labels]
            found.append(Inside(kinds, (*stay, *regions), *one))
        return found

    def write(self, images, *, beams=1, max_length=20):
        found = []
        for seen in images:
            self.left -= 1
            if self.left < 0:
                raise BadData("stopped")
            names, regions = there(seen)
            self.asked.append((seen.regions.image, tuple(names), tuple(regions)))
            text = f"a {self.word}" if self.word in names else "a thing"
            confidence = 0.9 - 0.1 * len(regions) - (0.01 if seen.regions.image < "i05" else 0)
            found.append(Written(f"{len(names)} things" if self.counts else text, confidence))
        return found


def image(name, names, *, boxes=True):
    """One region per label, each where the label is, and one far from all."""
    corners = [(10.0 * place, 0.0, 10.0 * place + 8, 8.0) for place in range(len(names) + 1)]
    labels = tuple(
        Label(noun, Box(*corner) if boxes else None) for noun, corner in zip(names, corners, strict=False)
    )
    features = np.ones((len(corners), 3), np.float32)
    return Labelled(Regions(name, 100, 10, np.array(corners, np.float32), features), labels)


def images_of(rows, name="test", held=True, **changes):
    """{image: (scene, labels)} as a set of images."""
    sights = {key: image(key, names, **changes) for key, (_, names) in rows.items()}
    scenes = {
        key: SceneLabel(key, scene, 1, 1, "" if scene else "tie of road and sea with 1 of 3 captions")
        for key, (scene, _) in rows.items()
    }
    return SceneImages(name, name, sights, scenes, frozenset(rows) if held else frozenset())


ROWS = {
    "i00": ("road", ["car", "sign", "sky"]),
    "i01": ("road", ["car", "car", "sky"]),
    "i02": ("road", ["sky", "person"]),
    "i03": ("sea", ["boat", "sky"]),
    "i04": ("sea", ["boat", "surf", "person"]),
    "i05": ("", ["boat"]),
    "i06": ("road", ["sign", "person", "car"]),
    "i07": ("sea", []),
}
# road and sea, four images each: sky and person in half of both, so that they tell nothing
REFERENCE = {
    **{f"r{number}": ("road", ["car", "sky"]) for number in range(2)},
    **{f"r{number}": ("road", ["car", "person", "sign"]) for number in range(2, 4)},
    **{f"s{number}": ("sea", ["boat", "sky"]) for number in range(2)},
    **{f"s{number}": ("sea", ["boat", "person", "surf"]) for number in range(2, 4)},
}


def reference(rows=REFERENCE):
    scenes, objects = ({key: row[side] for key, row in rows.items()} for side in (0, 1))
    return NamedObjects("train", "r", scenes, {key: tuple(names) for key, names in objects.items()})


SETTINGS = AblationSettings(Cuts(counts=(1, 2), minimum=2), draws=50)


def run(out, models, sets=None, *, settings=SETTINGS, told=None, **how):
    sets = {"test": images_of(ROWS)} if sets is None else sets
    return ablation(models, sets, told or reference(), out, settings=settings, batch_size=3, **how)


def rows_of(out, model, name="test"):
    return read_parquet(out / "images" / name / "captions" / f"{model}.parquet", Ablated)


def number(study, measure, group):
    [one] = [one for one in study.measurements if (one.measure, one.group) == (measure, group)]
    return one


def test_captions_change_where_the_word_goes(tmp_path):
    study = run(tmp_path / "run", {"A": Fake("car"), "B": Fake("boat")})
    # of equal PMI (1 bit) by name: road car, sign; sea boat, surf
    taken = {
        ("i00", 1): "car", ("i00", 2): "car|sign", ("i01", 1): "car", ("i03", 1): "boat", ("i04", 1): "boat",
        ("i04", 2): "boat|surf", ("i06", 1): "car", ("i06", 2): "car|sign",
    }  # fmt: skip
    for model, word in (("A", "car"), ("B", "boat")):
        rows = rows_of(tmp_path / "run", model)
        assert {(row.image, row.count): row.objects for row in rows} == taken
        for row in rows:
            labels = ROWS[row.image][1]
            gone = sum(name in row.objects.split("|") for name in labels)
            assert row.is_changed == (word in labels)
            assert (row.before, row.after) == ((f"a {word}" if word in labels else "a thing"), "a thing")
            assert row.labels_removed == row.regions_removed == gone
            assert row.confidence_after - row.confidence_before == pytest.approx(0.1 * gone)
    assert number(study, "captions changed", "A | test | image | m=1").value == 3 / 5
    assert number(study, "captions changed", "A | test | image | m=all").value == 5 / 8
    assert number(study, "captions changed", "B | test | image | m=2").value == 1 / 3
    assert number(study, "captions changed", "A | test | image | m=1").missing == 3
    assert number(study, "captions changed", "A | test | image | m=all").missing == 3 + 5
    # unchanged of A: i03 (a label of two, then one) and i04: one region less is .1 more confidence
    assert number(study, "confidence shift, unchanged", "A | test | image | m=1").value == pytest.approx(-0.1)
    before = number(study, "confidence before, unchanged", "A | test | image | m=1").value
    assert before == pytest.approx(((0.9 - 0.3 - 0.01) + (0.9 - 0.4 - 0.01)) / 2)
    gap = number(study, "captions changed, difference", "A - B | test | image | m=1")
    assert gap.value == pytest.approx(3 / 5 - 2 / 5)
    assert "model:fake car,fake boat" in gap.signature
    assert gap.missing == 3
    sizes = number(study, "images without objects", "images | test | image | m=2")
    assert (sizes.value, sizes.missing) == (3, 5)
    reasons = {
        one.measure: one.value
        for one in study.measurements
        if one.group == "images | test | image | m=2" and "left out" in one.measure
    }
    assert sum(reasons.values()) == 5
    assert reasons["images left out: no scene: tie of road and sea with 1 of 3 captions"] == 1
    assert reasons["images left out: has 1 objects to take away by 'image'; wanted 2"] == 2  # i01, i03
    assert reasons["images left out: has 0 objects to take away by 'image'; wanted 2"] == 2  # i02, i07
    covered = number(study, "regions with a label", "images | test")
    regions = sum(len(names) + 1 for scene, names in ROWS.values() if scene)
    assert covered.value == pytest.approx((regions - 7) / regions)  # one region of each image is far off


def test_tests_are_paired_on_images(tmp_path):
    study = run(tmp_path / "run", {"A": Fake("car"), "B": Fake("boat")})
    by_group = {(one.test, one.group): one for one in study.tests}
    one = by_group["McNemar", "test | A against B | image | m=1"]
    assert (one.statistic, one.first, one.second, one.first_items, one.ties) == (3.0, 3 / 5, 2 / 5, 5, 0)
    assert one.p == pytest.approx(2 * sum(math.comb(5, k) for k in range(3)) / 2**5)  # 3 of 5 coins
    sure = by_group["Wilcoxon", "A | test | before against after | image | m=1"]
    assert (sure.first_items, sure.effect) == (2, -1.0)
    assert sure.p == 0.5  # both rise: two of four signs are as far
    assert not any("m=all" in one.group for one in study.tests)


def test_readings_and_their_controls(tmp_path):
    rows = {"i0": ("road", ["car", "sky", "person"]), "i1": ("road", ["sign", "sky", "person"])}
    every = ("image", "scene", "random", "least")
    settings = replace(SETTINGS, cuts=Cuts(counts=(1, 2), readings=every, minimum=2))
    study = run(tmp_path / "run", {"A": Fake("car")}, {"test": images_of(rows)}, settings=settings)
    taken = {(row.reading, row.image, row.count): row.objects for row in rows_of(tmp_path / "run", "A")}
    assert taken["image", "i0", 1] == taken["scene", "i0", 1] == "car"
    assert taken["image", "i1", 1] == "sign"
    assert ("scene", "i1", 1) not in taken
    assert ("scene", "i0", 2) not in taken
    assert {taken["random", name, 1] for name in rows} <= {"sky", "person"}
    assert {taken["least", name, 1] for name in rows} <= {"sky", "person"}
    lacks = "images left out: lacks some of its scene's objects"
    assert number(study, lacks, "images | test | scene | m=2").value == 2
    told = {one.group for one in study.tests if one.test == "McNemar"}
    assert "A | test | image against random | m=1" in told
    [one] = [one for one in study.tests if one.group == "A | test | image against least | m=1"]
    assert (one.first, one.second, one.first_items) == (0.5, 0.0, 2)


def test_each_version_is_captioned_once_and_a_stopped_run_goes_on(tmp_path):
    whole, stopped = Fake("car"), Fake("car")
    settings = replace(SETTINGS, cuts=Cuts(counts=(1, 2), readings=("image", "scene"), minimum=2))
    one = run(tmp_path / "one", {"A": whole}, settings=settings)
    assert max(Counter(whole.asked).values()) == 1
    stopped.left = 7
    with pytest.raises(BadData, match="stopped"):
        run(tmp_path / "two", {"A": stopped}, settings=settings)
    kept = len([*read_jsonl(tmp_path / "two" / "work" / "0-0" / "000000.jsonl")])
    assert kept
    first = list(stopped.asked)
    stopped.left, stopped.asked = math.inf, []
    two = run(tmp_path / "two", {"A": stopped}, settings=settings, resume=True)
    assert len(stopped.asked) < len(whole.asked)
    assert {*first, *stopped.asked} == {*whole.asked}
    assert two.measurements == one.measurements
    assert rows_of(tmp_path / "two", "A") == rows_of(tmp_path / "one", "A")
    assert not (tmp_path / "two" / "work").exists()
    assert json.loads((tmp_path / "two" / "run.json").read_text())["finished"]
    with pytest.raises(OutputExists, match="another run"):
        run(tmp_path / "two", {"A": Fake("boat")}, settings=settings, resume=True)


def test_sets_of_other_images_are_tested_by_shift_the_same_images_by_what_changed(tmp_path):
    other = images_of({f"o{key}": row for key, row in ROWS.items()}, name="other")
    again = images_of({key: (scene, names[:1]) for key, (scene, names) in ROWS.items()}, name="again")
    sets = {"test": images_of(ROWS), "other": other, "again": again}
    study = run(tmp_path / "run", {"A": Fake("car", counts=False)}, sets)
    groups = {(one.test, one.measure, one.group) for one in study.tests}
    assert ("Mann-Whitney", "confidence shift", "A | test against other | image | m=all") in groups
    assert ("two-sample z", "confidence shift", "A | test against other | image | m=1") in groups
    assert ("McNemar", "captions changed", "A | test against again | image | m=1") in groups
    assert not any("test against again" in group and test != "McNemar" for test, _, group in groups)
    assert {path.name for path in (tmp_path / "run" / "images").iterdir()} == {*sets}


def test_labels_without_boxes_are_refused_or_taken_away_alone(tmp_path):
    boxless = {"test": images_of(ROWS, boxes=False)}
    with pytest.raises(BadInput, match=r"none with a box.*--tags-only"):
        run(tmp_path / "run", {"A": Fake("car")}, boxless)
    settings = replace(SETTINGS, cuts=replace(SETTINGS.cuts, is_tags_only=True))
    study = run(tmp_path / "run", {"A": Fake("car")}, boxless, settings=settings)
    rows = rows_of(tmp_path / "run", "A")
    assert {row.regions_removed for row in rows} == {0}
    assert all(row.labels_removed for row in rows)
    covered = number(study, "regions with a label", "images | test")
    assert (covered.value, covered.missing) == (None, 7)
    assert number(study, "captions changed", "A | test | image | m=1").value == 3 / 5


def test_one_image_without_boxes_or_with_a_broken_line_is_left_out_and_counted(tmp_path):
    class Broken(dict):
        def __getitem__(self, key):
            if key == "i03":
                raise BadData("labels.tsv:4: got no JSON")
            return super().__getitem__(key)

    images = images_of(ROWS)
    sights = Broken({key: images.sights[key] for key in ROWS})
    dict.__setitem__(sights, "i00", image("i00", ROWS["i00"][1], boxes=False))
    study = run(tmp_path / "run", {"A": Fake("boat")}, {"test": replace(images, sights=sights)})
    assert number(study, "captions changed", "A | test | image | m=1").missing == 3 + 2
    told = {(one.item, one.what) for one in study.problems}
    assert ("i03", "labels.tsv:4: got no JSON") in told
    assert ("i00", "3 of 3 labels have no box: no region can be given them") in told


def test_captioners_that_lose_nothing_are_refused_by_name(tmp_path):
    with pytest.raises(Unsupported, match=r"got B \(fake boat\).*probe scenes"):
        run(tmp_path / "run", {"A": Fake("car"), "B": Fake("boat", patches=True)})
    assert not (tmp_path / "run").exists()


def test_scenes_that_nothing_tells_of_are_told(tmp_path):
    rare = {**REFERENCE, "z": ("desert", ["cactus"])}
    rows = {**ROWS, "i08": ("desert", ["cactus"])}
    study = run(tmp_path / "run", {"A": Fake("car")}, {"test": images_of(rows)}, told=reference(rare))
    [one] = [one for one in study.problems if one.item == "desert"]
    assert one.what.startswith("1 images: no object tells of the scene")
    [left] = [one for one in study.problems if one.item == "i08" and "m=1" in one.subject]
    assert "has 0 objects" in left.what
    rows = read_parquet(tmp_path / "run" / "associations.parquet", Association)
    assert {row.name for row in rows if row.scene == "desert" and row.pmi is None} >= {"cactus"}
    with pytest.raises(BadInput, match="no image with a scene"):
        run(tmp_path / "none", {"A": Fake("car")}, told=NamedObjects("none", "n", {}, {}))


def test_images_that_are_also_of_reference_are_told(tmp_path):
    both = {
        **REFERENCE,
        "i00": ROWS["i00"],
        "i05": ("road", ["car"]),
    }  # the second has no scene where it is ablated
    for told, wanted in ((both, "PMI is of 10 images of which 1 are ablated"), (REFERENCE, "")):
        study = run(tmp_path / f"run{len(told)}", {"A": Fake("car")}, told=reference(told))
        assert [wanted in one.what for one in study.problems if "PMI is" in one.what] == [True] * bool(wanted)


def test_records_are_there_to_draw(tmp_path):
    run(tmp_path / "run", {"A": Fake("word", counts=False)})
    out = tmp_path / "run"
    tags = read_parquet(out / "images" / "test" / "tags.parquet", RegionTag)
    assert {(tag.image, tag.name) for tag in tags if tag.is_best} == {
        (key, name) for key, (scene, names) in ROWS.items() for name in names if scene
    }
    assert len(read_parquet(out / "images" / "test" / "coverage.parquet", TagCoverage)) == 7
    points = read_parquet(out / "points.parquet", Point)
    assert {point.figure for point in points} >= {"confidence after, unchanged"}
    assert {point.series for point in points} == {"A | test | image"}
    assert read_parquet(out / "measurements.parquet", Measurement)
    assert read_parquet(out / "tests.parquet", GroupTest)
