"""Probes of scenes: splits, controls, what is left out, and determinism."""

import builtins
import math
import warnings
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import f1_score
from sklearn.neural_network import MLPClassifier

from alignscope.errors import BadInput, LengthMismatch, MissingExtra
from alignscope.files import read_parquet, write_parquet
from alignscope.probing.scene_probes import BASELINES, CLASSIFIERS, ProbeSettings, jobs_of, probe, probed
from alignscope.probing.scene_samples import SceneStates, sampled, split_of
from alignscope.probing.scene_scores import scene_differences, scene_scores
from alignscope.records import ProbeJob, SceneProbe, SceneProbeCell

NAMES = ("beach", "road", "room")


def states_of(counts, *, signal, width=12, seed=0, name="pre-trained"):
    """States around one centre per scene, `signal` apart, with noise of deviation 1."""
    generator = np.random.default_rng(seed)
    scenes = tuple(name for name, many in zip(NAMES, counts, strict=False) for _ in range(many))
    centres = {one: signal * np.eye(width)[place] for place, one in enumerate(NAMES)}
    values = np.stack([centres[scene] for scene in scenes]) + generator.normal(size=(len(scenes), width))
    images = tuple(f"{place:04d}" for place in range(len(scenes)))
    return SceneStates(images, scenes, {name: values.astype(np.float32)})


def with_input(states, name, values):
    return replace(states, inputs={**states.inputs, name: values.astype(np.float32)})


def job(**options):
    usual = {"classifier": "logistic", "task": "scenes", "split": 70, "seed": 0}
    where = {"images": "all", "trained_on": "pre-trained", "tested_on": "pre-trained"}
    return ProbeJob(**{**where, **usual, **options})


@pytest.mark.parametrize(("split", "tested"), [(90, (2, 1)), (70, (6, 3)), (50, (10, 5))])
def test_splits_are_stratified_and_of_the_seed(split, tested):
    scenes = ["road"] * 20 + ["sea"] * 10 + ["sky"]
    cut = split_of(scenes, split=split, seed=3)
    assert [sum(scenes[place] == name for place in cut.test) for name in ("road", "sea")] == list(tested)
    assert cut.left_out == {"sky": 1}
    assert sorted([*cut.train, *cut.test]) == list(range(30))
    again, other = (split_of(scenes, split=split, seed=seed) for seed in (3, 4))
    assert np.array_equal(cut.test, again.test)
    assert not np.array_equal(cut.test, other.test)


def test_halves_are_tested():
    tested = [len(split_of(["road"] * many, split=90, seed=0).test) for many in (4, 5, 14, 15)]
    assert tested == [0, 1, 1, 2]


def test_a_forest_is_scikit_learns_own():
    states = states_of((20, 20, 20), signal=1.0)
    run, cells = probe(states, job(classifier="forest", seed=2))
    cut = split_of(states.scenes, split=70, seed=2)
    values, scenes = states.inputs["pre-trained"], np.array(states.scenes)
    forest = RandomForestClassifier(random_state=2).fit(values[cut.train], scenes[cut.train])
    said = forest.predict(values[cut.test])
    assert run.macro == pytest.approx(f1_score(scenes[cut.test], said, average="macro"))
    for cell in cells:
        here = (scenes[cut.test] == cell.scene) & (said == cell.predicted)
        assert cell.count == here.sum()
    assert sum(cell.count for cell in cells) == run.test_images == 18
    assert (run.train_images, run.scenes, run.iterations, run.is_converged) == (42, 3, 0, None)


@pytest.mark.parametrize("classifier", CLASSIFIERS)
@pytest.mark.parametrize("standardise", [False, True])
def test_scenes_far_apart_are_told_and_their_control_is_not(classifier, standardise):
    states = states_of((40, 40, 40), signal=12.0)
    run, _ = probe(states, job(classifier=classifier), standardise=standardise)
    assert run.micro == run.macro == run.weighted == run.train_micro == 1.0
    control, _ = probe(states, job(classifier=classifier, task="control"), standardise=standardise)
    assert control.micro < 0.65  # chance is one in three, of 36 images


def test_noise_says_as_much_as_its_control():
    """Over 40 seeds, mean F1 of noise and of the control lie within four standard errors of 1/3."""
    states = states_of((30, 30, 30), signal=0.0)
    for task in ("scenes", "control"):
        micro = [probe(states, job(task=task, split=50, seed=seed))[0].micro for seed in range(40)]
        # seeds share their images: the bound is that of three independent halves
        assert abs(np.mean(micro) - 1 / 3) < 4 * math.sqrt(1 / 3 * 2 / 3 / 90)
    learnt = probe(states, job(classifier="forest", task="control"))[0]
    assert learnt.train_micro == 1.0  # a forest learns any labels by heart


def test_the_control_keeps_the_split_and_how_often_each_label_comes():
    states = states_of((30, 20, 10), signal=5.0)
    real, control = (probe(states, job(task=task))[1] for task in ("scenes", "control"))
    for name in NAMES:
        asked = [sum(cell.count for cell in cells if cell.scene == name) for cells in (real, control)]
        assert asked[0] == asked[1] > 0


def test_baselines_know_frequencies_alone():
    states = states_of((70, 20, 10), signal=9.0)
    often = [probe(states, job(classifier="majority", seed=seed))[0] for seed in range(3)]
    assert {run.micro for run in often} == {0.7}
    assert often[0].macro == pytest.approx(2 * 0.7 / 1.7 / 3)
    drawn = [probe(states, job(classifier="drawn", split=50, seed=seed))[0].micro for seed in range(60)]
    assert np.mean(drawn) == pytest.approx(0.7**2 + 0.2**2 + 0.1**2, abs=0.04)


def test_inputs_meet_the_same_splits_and_transfers_use_both():
    states = states_of((30, 30, 30), signal=9.0)
    values = states.inputs["pre-trained"]
    states = with_input(states, "ablated", np.roll(values, 1, axis=1))  # the signal is elsewhere
    across = probe(states, job(tested_on="ablated"))[0]
    assert across.micro < 0.7
    assert probe(states, job(trained_on="ablated", tested_on="ablated"))[0].micro == 1.0
    settings = ProbeSettings(
        classifiers=("logistic",), splits=(50,), seeds=2, transfers=(("pre-trained", "ablated"),)
    )
    found = probed(states, settings)
    assert len(found.runs) == 2 * (len(BASELINES) + 3 * 2)  # three routes, two tasks
    assert across.train_images == 63
    assert {run.test_images for run in found.runs} == {45}


def test_what_cannot_be_probed_is_left_out_and_counted():
    states = states_of((20, 20, 3), signal=9.0)
    states.inputs["pre-trained"][4, 2] = np.nan
    states = with_input(states, "ablated", states.inputs["pre-trained"])
    states.inputs["ablated"][25] = np.inf
    states = replace(states, scenes=("", *states.scenes[1:]))
    settings = ProbeSettings(classifiers=("logistic",), splits=(90, 50), seeds=2, ceiling=15)
    found = probed(states, settings)
    assert [(one.scene, one.found, one.kept) for one in found.counts] == [
        ("beach", 18, 15),
        ("road", 19, 15),
        ("room", 3, 3),
    ]
    assert [(one.item, one.what) for one in found.problems] == [
        ("0000", "no scene label"),
        ("0004", "states that are not finite numbers: pre-trained, ablated"),
        ("0025", "states that are not finite numbers: ablated"),
        ("room", "3 images of the scene, wanted one or more in training and in test: scene left out"),
    ]
    assert [one.subject for one in found.problems] == ["all images"] * 3 + ["all images, split 90/10"]
    assert {(run.split, run.scenes) for run in found.runs} == {(90, 2), (50, 3)}


def test_one_scene_alone_is_no_probe():
    found = probed(states_of((20,), signal=1.0), ProbeSettings(splits=(70,)))
    assert found.runs == found.cells == ()
    assert [one.what for one in found.problems] == ["1 scenes to tell apart, wanted 2 or more"]


def test_held_out_images_alone():
    states = states_of((30, 30, 30), signal=9.0)
    held = frozenset(states.images[::3])
    settings = ProbeSettings(classifiers=("logistic",), splits=(50,), seeds=1, control=False)
    found = probed(states, settings, held_out=held)
    assert {(run.images, run.train_images, run.test_images) for run in found.runs} == {
        ("all", 45, 45),
        ("held out", 15, 15),
    }
    alone = sampled(states, images="held out", only=held)
    assert set(alone.states.images) == held
    nobody = probed(states, settings, held_out=frozenset())
    assert {run.images for run in nobody.runs} == {"all"}
    assert nobody.problems[0].subject == "held out images, split 50/50"


def test_down_sampling_is_of_its_seed():
    states = states_of((30, 5), signal=1.0)
    one, again, other = (sampled(states, ceiling=10, seed=seed).states for seed in (1, 1, 2))
    assert one.images == again.images != other.images
    assert [one.scenes.count(name) for name in ("beach", "road")] == [10, 5]
    places = [states.images.index(image) for image in one.images]
    assert np.array_equal(one.inputs["pre-trained"], states.inputs["pre-trained"][places])


@pytest.mark.parametrize("classifier", CLASSIFIERS)
def test_a_job_alone_decides_its_result(classifier):
    states = states_of((20, 20, 20), signal=1.0)
    before = states.inputs["pre-trained"].copy()
    first = probe(states, job(classifier=classifier))
    np.random.seed(1)
    assert probe(states, job(classifier=classifier), workers=2) == first
    assert np.array_equal(states.inputs["pre-trained"], before)


@pytest.mark.parametrize(("signal", "enough"), [(9.0, True), (0.0, False)])
def test_too_few_iterations_are_recorded(signal, enough):
    """As scikit-learn itself warns."""
    states = states_of((60, 60, 60), signal=signal, width=60)
    for classifier in ("mlp", "mlp-3"):
        run, _ = probe(states, job(classifier=classifier))
        assert run.is_converged is enough
    cut = split_of(states.scenes, split=70, seed=0)
    network = MLPClassifier((16,), solver="lbfgs", alpha=1, random_state=0)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        network.fit(states.inputs["pre-trained"][cut.train], np.array(states.scenes)[cut.train])
    assert bool(told) is not enough


def test_means_and_selectivity_over_seeds():
    states = states_of((40, 30, 20), signal=2.0)
    found = probed(states, ProbeSettings(classifiers=("logistic",), splits=(70,), seeds=4))
    lines = {
        (one.classifier, one.task, one.measure, one.scene): one
        for one in scene_scores(found.runs, found.cells)
    }
    by_task = {
        task: [run.macro for run in found.runs if run.classifier == "logistic" and run.task == task]
        for task in ("scenes", "control")
    }
    macro = lines["logistic", "scenes", "macro F1", "all"]
    assert macro.mean == pytest.approx(np.mean(by_task["scenes"]))
    assert macro.deviation == pytest.approx(np.std(by_task["scenes"], ddof=1))
    error = macro.deviation * math.sqrt(
        1 / 4 + 27 / 63
    )  # 63 images to train on and 27 to test, again and again
    low, high = stats.t.interval(0.95, 3, macro.mean, error)
    assert (macro.low, macro.high) == pytest.approx((low, min(high, 1.0)))
    majority = lines["majority", "scenes", "micro F1", "all"]  # 12 of 27 with every seed
    assert (majority.low, majority.mean, majority.high) == pytest.approx([12 / 27] * 3)
    gaps = np.subtract(by_task["scenes"], by_task["control"])
    selective = lines["logistic", "selectivity", "macro F1", "all"]
    assert (selective.mean, selective.deviation) == pytest.approx((gaps.mean(), gaps.std(ddof=1)))
    per_scene = [lines["logistic", "scenes", "F1", name] for name in NAMES]
    assert [one.images_per_run for one in per_scene] == [12, 9, 6]
    assert np.mean([one.mean for one in per_scene]) == pytest.approx(macro.mean)
    assert not any(one.task == "selectivity" for one in lines.values() if one.classifier in BASELINES)


def test_a_rare_scene_pulls_macro_but_not_micro():
    """Room looks just like beach: its 2 of 42 test images are taken for beach, worked by hand."""
    states = states_of((40, 40, 4), signal=12.0)
    centres = np.eye(12, dtype=np.float32)[[0] * 40 + [1] * 40 + [0] * 4]
    states = replace(states, inputs={"pre-trained": 12 * centres})
    run, cells = probe(states, job(split=50))
    assert {(cell.scene, cell.predicted): cell.count for cell in cells} == {
        ("beach", "beach"): 20,
        ("road", "road"): 20,
        ("room", "beach"): 2,
    }
    assert (run.micro, run.macro) == pytest.approx((40 / 42, (40 / 42 + 1 + 0) / 3))


def test_differences_are_of_the_same_splits():
    states = states_of((40, 40, 40), signal=3.0)
    weak = states_of((40, 40, 40), signal=0.5, seed=1).inputs["pre-trained"]
    states = with_input(states, "ablated", weak)
    found = probed(states, ProbeSettings(classifiers=("logistic",), splits=(70,), seeds=6, control=False))
    lines = scene_differences(found.runs)
    assert [one.measure for one in lines] == ["micro F1", "macro F1", "weighted F1"]
    mine, theirs = (
        np.array([run.micro for run in found.runs if run.trained_on == name])
        for name in ("pre-trained", "ablated")
    )
    [micro] = [one for one in lines if one.measure == "micro F1"]
    assert (micro.trained_on, micro.against_trained_on, micro.runs) == ("pre-trained", "ablated", 6)
    assert micro.difference == pytest.approx((mine - theirs).mean())
    error = (mine - theirs).std(ddof=1) * math.sqrt(1 / 6 + 36 / 84)
    assert micro.t == pytest.approx(micro.difference / error)
    assert micro.low == pytest.approx(micro.difference - stats.t.ppf(0.975, 5) * error)
    assert micro.p_holm == micro.p < 0.01


def test_records_are_flat(tmp_path):
    found = probed(states_of((9, 9), signal=3.0), ProbeSettings(classifiers=("mlp",), splits=(50,), seeds=1))
    for rows, record in ((found.runs, SceneProbe), (found.cells, SceneProbeCell)):
        write_parquet(tmp_path / "rows.parquet", rows, record)
        assert tuple(read_parquet(tmp_path / "rows.parquet", record)) == rows
    lines = scene_scores(found.runs, found.cells)
    write_parquet(tmp_path / "rows.parquet", lines, type(lines[0]))
    assert {one.reason for one in lines} == {"one seed: no interval"}


def test_bad_requests_say_what_was_wanted():
    states = states_of((9, 9), signal=1.0)
    with pytest.raises(BadInput, match=r"wanted some of forest, mlp"):
        jobs_of(states, ProbeSettings(classifiers=("tree",)))
    with pytest.raises(BadInput, match="percentages of training images"):
        jobs_of(states, ProbeSettings(splits=(100,)))
    with pytest.raises(BadInput, match="ceiling of 1"):
        sampled(states, ceiling=1)
    with pytest.raises(BadInput, match="wanted two of pre-trained"):
        jobs_of(states, ProbeSettings(transfers=(("pre-trained", "ablated"),)))
    narrow = with_input(states, "image embedding", np.zeros((18, 3)))
    with pytest.raises(BadInput, match=r"widths \[12, 3\]"):
        jobs_of(narrow, ProbeSettings(transfers=(("pre-trained", "image embedding"),)))
    with pytest.raises(BadInput, match="1 images more than once"):
        sampled(replace(states, images=("0001", *states.images[1:])))
    with pytest.raises(BadInput, match="none named 'nothing'"):
        sampled(replace(states, inputs={}))
    with pytest.raises(LengthMismatch, match="got 17 scenes for 18 images"):
        sampled(replace(states, scenes=states.scenes[1:]))


def test_without_scikit_learn_the_pip_line(monkeypatch):
    whole = builtins.__import__

    def without(name, *rest, **options):
        if name.startswith("sklearn"):
            raise ImportError(name)
        return whole(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtra, match=r"pip install 'alignscope\[probes\]'"):
        probe(states_of((9, 9), signal=1.0), job())
    assert probe(states_of((9, 9), signal=1.0), job(classifier="drawn"))[0].iterations == 0
