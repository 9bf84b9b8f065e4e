"""Probes of states that are known: means, what is kept, which images are compared, and what F1 must be."""

import importlib.util
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from alignscope.errors import BadData, BadInput, MissingExtra, Unsupported
from alignscope.files import read_jsonl, read_parquet
from alignscope.models.captioners.inside import Inside
from alignscope.probing.scene_probes import ProbeSettings
from alignscope.records import (
    Box,
    Label,
    Labelled,
    Measurement,
    Regions,
    SceneCount,
    SceneLabel,
    SceneProbe,
    SceneProbeCell,
    SceneProbeDifference,
    SceneProbeScore,
)
from alignscope.studies.scenes import probing as scene_probing
from alignscope.studies.scenes.ablated_images import Cuts
from alignscope.studies.scenes.images import NamedObjects, SceneImages
from alignscope.studies.scenes.probing import SceneSettings, joined, scene_probes
from alignscope.studies.scenes.states import mean_state, raw_state

NAMES = {"road": ["car", "sky"], "sea": ["boat", "sky"], "snow": ["ski", "sky"]}
NOUNS = ["car", "boat", "ski", "sky"]


class Fake:
    """States are one-hot for the noun of a label and zero for regions; one special is far off."""

    name, fingerprint = "fake", "f1"

    def __init__(self):
        self.seen, self.left = [], math.inf

    def inside(self, images, *, texts=None):
        found = []
        for seen in images:
            if not isinstance(seen, Labelled):
                raise Unsupported("takes labels")
            self.left -= 1
            if self.left < 0:
                raise BadData("stopped")
            self.seen.append(seen.regions.image)
            kinds, states = ["special"], [[100.0] * 4]
            for place, label in enumerate(seen.labels):
                gone = place in seen.without_labels
                kinds.append("padding" if gone else "label")
                states.append([float(label.name == noun) + (50 if gone else 0) for noun in NOUNS])
            for place in range(len(seen.regions)):
                kinds.append("padding" if place in seen.without_regions else "region")
                states.append([0.0] * 4)
            size = len(kinds)
            attention = torch.zeros(1, 1, size, size)
            units = (-1, *range(len(seen.labels)), *range(len(seen.regions)))
            found.append(Inside(tuple(kinds), units, attention, torch.tensor(states)))
        return found

    def write(self, images, *, beams=1, max_length=20):
        raise AssertionError("no caption is needed")


class Pixels(Fake):
    """The brightness of the picture in one patch."""

    name, fingerprint = "pixels", "p1"

    def inside(self, images, *, texts=None):
        if not all(isinstance(one, Image.Image) for one in images):
            raise Unsupported("takes pixels")
        bright = [[float(one.getpixel((0, 0))), 1.0] for one in images]
        return [Inside(("patch",), (0,), torch.ones(1, 1, 1, 1), torch.tensor([one])) for one in bright]


def image(name, scene):
    corners = [(0.0, 0.0, 8.0, 8.0), (10.0, 0.0, 18.0, 8.0)]
    labels = tuple(Label(noun, Box(*box)) for noun, box in zip(NAMES[scene], corners, strict=True))
    told = [float(scene == other) for other in NAMES]
    features = np.array([told, [0.0, 0.0, 0.0]], np.float32)
    return Labelled(Regions(name, 20, 10, np.array(corners, np.float32), features), labels)


def images_of(count=8, prefix="i", held=True, extra=(), **changes):
    scenes = {f"{prefix}{number:02d}": list(NAMES)[number % 3] for number in range(3 * count)}
    sights = {key: image(key, scene) for key, scene in scenes.items()}
    sights |= {key: image(key, "sea") for key in extra}
    told = {key: SceneLabel(key, scene, 1, 1) for key, scene in scenes.items()}
    told |= {key: SceneLabel(key, "", 0, 1, "no noun") for key in extra}
    return replace(
        SceneImages(prefix, prefix, sights, told, frozenset(sights) if held else frozenset()), **changes
    )


def reference():
    scenes = {f"r{number}": list(NAMES)[number % 3] for number in range(15)}
    return NamedObjects("train", "r", scenes, {key: tuple(NAMES[scene]) for key, scene in scenes.items()})


SETTINGS = SceneSettings(ProbeSettings(("logistic",), (50,), 2), Cuts(counts=(1,)))


def run(out, sets=None, *, models=None, settings=SETTINGS, told=None, **how):
    sets = {"test": images_of()} if sets is None else sets
    told = told or reference()
    models = {"A": Fake()} if models is None else models
    return scene_probes(models, sets, told, out, settings=settings, batch_size=5, **how)


def score(
    study, trained, tested=None, measure="micro F1", task="scenes", images="all", classifier="logistic"
):
    wanted = (images, trained, tested or trained, classifier, task, measure, "all")
    [one] = [
        one
        for one in study.scores
        if (one.images, one.trained_on, one.tested_on, one.classifier, one.task, one.measure, one.scene)
        == wanted
    ]
    return one


def test_states_are_means_of_what_is_there():
    seen = image("x", "road")
    whole = Fake().inside([seen])[0]
    kinds = frozenset({"label", "region", "patch"})
    assert mean_state(whole, kinds).tolist() == [0.25, 0, 0, 0.25]
    assert mean_state(whole, kinds | {"special"}).tolist() == pytest.approx([101 / 5, 20, 20, 101 / 5])
    gone = replace(seen, without_labels=frozenset({0}), without_regions=frozenset({0}))
    assert mean_state(Fake().inside([gone])[0], kinds).tolist() == [0, 0, 0, 0.5]
    assert raw_state(seen).tolist() == [0.5, 0, 0]
    assert raw_state(gone).tolist() == [0, 0, 0]
    nothing = replace(seen, without_labels=frozenset({0, 1}), without_regions=frozenset({0, 1}))
    assert np.isnan(mean_state(Fake().inside([nothing])[0], kinds)).all()
    assert np.isnan(raw_state(nothing)).all()


def test_probes_read_the_scene_until_its_object_is_gone(tmp_path):
    study = run(tmp_path / "run")
    for name in ("A", "regions"):
        assert score(study, name).mean == 1
        # all images look alike without the one object that differs: as good as naming one scene of three
        assert score(study, f"{name} without 1 (image)").mean == pytest.approx(1 / 3)
        assert score(study, name, f"{name} without 1 (image)").mean == pytest.approx(1 / 3)
    assert score(study, "A", task="selectivity").mean > 0.3
    assert score(study, "nothing", classifier="majority").mean == pytest.approx(1 / 3)
    out = tmp_path / "run"
    images = [row["image"] for row in read_jsonl(out / "states" / "images.jsonl")]
    facts = json.loads((out / "run.json").read_text())
    kept = np.load(out / facts["inputs"]["A without 1 (image)"])
    assert images == [f"i{number:02d}" for number in range(24)]
    assert kept.tolist() == [[0, 0, 0, 0.5]] * 24
    assert (facts["images"], facts["held out"]) == (24, 24)
    numbers = read_parquet(out / "measurements.parquet", Measurement)
    [one] = [
        one
        for one in numbers
        if (one.measure, one.group) == ("micro F1", "all | A | A | logistic | split 50 | all")
    ]
    assert (one.value, one.items, one.images, one.missing) == (1.0, 2, 12, 0)
    assert "model:fake" in one.signature
    for name, record in {
        "runs": SceneProbe, "cells": SceneProbeCell, "counts": SceneCount, "scores": SceneProbeScore,
        "differences": SceneProbeDifference,
    }.items():  # fmt: skip
        assert read_parquet(out / f"{name}.parquet", record)


def test_held_out_images_are_probed_again_alone(tmp_path):
    both = joined(images_of(6), images_of(6, prefix="t", held=False))
    assert list(both.sights) == [*images_of(6).sights, *images_of(6, prefix="t").sights]
    study = run(tmp_path / "run", {"test": both})
    tested = {
        (one.images, one.images_per_run)
        for one in study.scores
        if (one.measure, one.scene) == ("micro F1", "all")
    }
    assert tested == {("all", 18.0), ("held out", 9.0)}
    assert {(one.images, one.scene, one.found) for one in study.counts} >= {
        ("all", "sea", 12),
        ("held out", "sea", 6),
    }
    with pytest.raises(BadInput, match="18 images in i and in i"):
        joined(images_of(6), images_of(6))


def test_versions_of_the_same_images_are_inputs_of_their_own(tmp_path):
    bare = images_of()
    flat = {
        key: replace(seen, regions=replace(seen.regions, features=seen.regions.features * 0))
        for key, seen in bare.sights.items()
    }
    sets = {"with": images_of(), "bare": replace(bare, sights=flat)}
    study = run(tmp_path / "run", sets)
    assert score(study, "regions with").mean == 1
    assert score(study, "regions bare").mean == pytest.approx(1 / 3)
    assert score(study, "A bare").mean == 1
    assert score(study, "regions with", "regions bare").mean == pytest.approx(1 / 3)
    asked = {
        (one.trained_on, one.against_trained_on): one.question
        for one in study.differences
        if (one.trained_on, one.against_trained_on) == (one.tested_on, one.against_tested_on)
    }
    assert asked["A with", "regions with"] == "captioner"
    assert asked["regions with without 1 (image)", "regions bare without 1 (image)"] == "images"
    assert asked["A bare", "A bare without 1 (image)"] == "objects"
    assert asked["A with", "regions bare without 1 (image)"] == "captioner, images, objects"
    with pytest.raises(BadInput, match="sets of other images"):
        run(tmp_path / "other", {"one": images_of(), "two": images_of(prefix="x")})


def test_images_that_lack_something_are_left_out_of_all_inputs_and_counted(tmp_path):
    images = images_of(extra=["z0"])
    bald = replace(images.sights["i00"], labels=images.sights["i00"].labels[1:])
    images = replace(images, sights={**images.sights, "i00": bald})
    study = run(tmp_path / "run", {"test": images})
    assert {one.items for one in read_parquet(tmp_path / "run" / "measurements.parquet", Measurement)} == {2}
    told = {one.item: one.what for one in study.problems}
    assert told == {"z0": "no scene: no noun", "i00": "has 0 objects to take away by 'image'; wanted 1"}
    assert {(one.scene, one.found) for one in study.counts} == {("road", 7), ("sea", 8), ("snow", 8)}
    whole = run(tmp_path / "intact", {"test": images}, settings=replace(SETTINGS, cuts=Cuts(counts=())))
    assert {(one.scene, one.found) for one in whole.counts} == {("road", 8), ("sea", 8), ("snow", 8)}
    assert {one.trained_on for one in whole.scores} == {"A", "regions", "nothing"}


def test_rare_scenes_are_told(tmp_path):
    images = images_of(4)
    scenes = {**images.scenes, "i00": SceneLabel("i00", "house", 1, 1)}
    settings = replace(SETTINGS, cuts=Cuts(counts=()))
    study = run(tmp_path / "run", {"test": replace(images, scenes=scenes)}, settings=settings)
    [one] = [one for one in study.problems if one.item == "house"]
    assert "1 images of the scene" in one.what
    assert "scene left out" in one.what


def test_captioners_of_pixels_are_probed_as_they_are(tmp_path):
    images = images_of()
    bright = {
        key: Image.new("L", (1, 1), 100 * list(NAMES).index(label.scene))
        for key, label in images.scenes.items()
    }
    both = replace(images, pictures=bright)
    study = run(tmp_path / "both", {"test": both}, models={"A": Fake(), "P": Pixels()})
    assert {one.trained_on for one in study.scores} == {
        *("A", "A without 1 (image)", "P", "regions", "regions without 1 (image)", "nothing"),
    }
    assert score(study, "P").mean == 1
    alone = run(tmp_path / "alone", {"test": replace(images, sights=bright)}, models={"P": Pixels()})
    assert {one.trained_on for one in alone.scores} == {"P", "nothing"}
    told = [one for one in alone.problems if "pixels" in one.what]
    assert told, "no word of the cuts that were asked for"


def test_a_stopped_run_goes_on_with_the_states_and_probes_it_has(tmp_path, monkeypatch):
    one = run(tmp_path / "one")
    stopped = Fake()
    stopped.left = 20
    with pytest.raises(BadData, match="stopped"):
        run(tmp_path / "two", models={"A": stopped})
    stopped.left, stopped.seen = math.inf, []
    made, real = [], scene_probing.probe

    def probing(states, job, **how):
        made.append(job)
        if len(made) > 25:
            raise BadData("stopped again")
        return real(states, job, **how)

    monkeypatch.setattr(scene_probing, "probe", probing)
    with pytest.raises(BadData, match="again"):
        run(tmp_path / "two", models={"A": stopped}, resume=True)
    assert stopped.seen.count("i00") == 2  # for the width and the blocks it takes; its states are kept
    monkeypatch.setattr(scene_probing, "probe", real)
    stopped.seen = []
    two = run(tmp_path / "two", models={"A": stopped}, resume=True)
    assert stopped.seen == ["i00", "i00"]
    assert (two.scores, two.differences, two.counts) == (one.scores, one.differences, one.counts)


def test_without_scikit_learn_or_reference_nothing_begins(tmp_path, monkeypatch):
    with pytest.raises(BadInput, match="--intact"):
        scene_probes({"A": Fake()}, {"test": images_of()}, None, tmp_path / "run")
    with pytest.raises(BadInput, match=r"got classifiers \['forrest'\]"):
        scene_probes(
            *({"A": Fake()}, {"test": images_of()}, None, tmp_path / "run"),
            settings=SceneSettings(ProbeSettings(classifiers=("forrest",))),
        )
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="probes"):
        run(tmp_path / "run")
    assert not (tmp_path / "run").exists()
