"""Which scene an image shows, read by classifiers from states of a captioner (paper C, section 7 and appendix D).

The paper tells neither seeds nor whether its splits are stratified: here they are, with ten seeds, and all
inputs meet the same splits. "Three-layer" network is read as one hidden layer of 16 ("mlp"); "mlp-3" has three. It
does not tell whether states were standardised: they are not unless asked. Random forest and lbfgs are
scikit-learn's defaults otherwise (100 trees; 200 iterations, and whether they were enough is recorded);
logistic regression is the linear probe, with C = 1.

The control task follows Hewitt and Liang (2019), who give each word type a random label, the same in training
and test: a probe that learns types by heart can pass it. Images do not recur, so here labels are shuffled over the
images of each part of the split. That control can be passed by nothing; its F1 is what label frequencies alone
give, and what the probe can learn by heart shows in its F1 on its own training images.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

import numpy as np
from jaxtyping import Float32, Int

from alignscope.errors import BadInput, MissingExtra
from alignscope.probing.scene_samples import NOTHING, SceneStates, sampled, split_of
from alignscope.probing.scene_scores import f1_scores
from alignscope.records import ProbeJob, Problem, SceneCount, SceneProbe, SceneProbeCell

CLASSIFIERS = ("forest", "mlp", "mlp-3", "logistic")
BASELINES = ("drawn", "majority")
"""Without states: labels drawn as often as in the training images, and the most frequent one."""

_BASELINE_STREAM, _CONTROL_STREAM = 1, 2  # of random numbers, beside that of the split


@dataclass(frozen=True)
class ProbeSettings:
    """What is probed and how: `splits` are percentages of training images, `ceiling` the most images of a scene.

    `transfers` are pairs of inputs, trained on the first and tested on the second.
    """

    classifiers: tuple[str, ...] = ("forest", "mlp", "logistic")
    splits: tuple[int, ...] = (90, 70, 50)
    seeds: int = 10
    transfers: tuple[tuple[str, str], ...] = ()
    control: bool = True
    standardise: bool = False
    ceiling: int | None = None


@dataclass(frozen=True)
class ProbedScenes:
    """All runs of a set of states."""

    runs: tuple[SceneProbe, ...]
    cells: tuple[SceneProbeCell, ...]
    counts: tuple[SceneCount, ...]
    problems: tuple[Problem, ...]


def probed(
    states: SceneStates,
    settings: ProbeSettings = ProbeSettings(),
    *,
    held_out: frozenset[str] | None = None,
    workers: int = 1,
) -> ProbedScenes:
    """Every probe on all images and, where `held_out` names some, on those alone; `workers` grow trees."""
    runs: list[SceneProbe] = []
    cells: list[SceneProbeCell] = []
    counts: list[SceneCount] = []
    problems: list[Problem] = []
    for images in ["all"] if held_out is None else ["all", "held out"]:
        only = None if images == "all" else held_out
        sample = sampled(states, images=images, ceiling=settings.ceiling, only=only)
        jobs, unfit = jobs_of(sample.states, settings, images=images)
        for job in jobs:
            run, confused = probe(sample.states, job, standardise=settings.standardise, workers=workers)
            runs.append(run)
            cells += confused
        counts += sample.counts
        problems += [*sample.problems, *unfit]
    return ProbedScenes(tuple(runs), tuple(cells), tuple(counts), tuple(problems))


def jobs_of(
    states: SceneStates, settings: ProbeSettings, *, images: str = "all"
) -> tuple[list[ProbeJob], list[Problem]]:
    """Every probe of the settings, baselines included, and which scenes or whole splits cannot be probed."""
    _check_settings(states, settings)
    routes = [*((name, name) for name in states.inputs), *settings.transfers]
    tasks = ["scenes", "control"] if settings.control else ["scenes"]
    jobs: list[ProbeJob] = []
    problems: list[Problem] = []
    for split in settings.splits:
        cut = split_of(states.scenes, split=split, seed=0)
        told = f"{images} images, split {split}/{100 - split}"
        for scene, count in cut.left_out.items():
            what = f"{count} images of the scene, wanted one or more in training and in test: scene left out"
            problems.append(Problem(scene, told, what, "unscored"))
        left = len({states.scenes[place] for place in cut.test})
        if left < 2:
            problems.append(
                Problem("split", told, f"{left} scenes to tell apart, wanted 2 or more", "unscored")
            )
            continue
        for seed in range(settings.seeds):
            jobs += [ProbeJob(images, NOTHING, NOTHING, name, "scenes", split, seed) for name in BASELINES]
            jobs += [
                ProbeJob(images, *route, classifier, task, split, seed)
                for route, classifier, task in product(routes, settings.classifiers, tasks)
            ]
    return jobs, problems


def probe(
    states: SceneStates, job: ProbeJob, *, standardise: bool = False, workers: int = 1
) -> tuple[SceneProbe, list[SceneProbeCell]]:
    """One probe trained and tested; the same numbers for any number of workers."""
    cut = split_of(states.scenes, split=job.split, seed=job.seed)
    names, labels = np.unique(
        np.array(states.scenes)[np.concatenate([cut.train, cut.test])], return_inverse=True
    )
    known, asked = labels[: len(cut.train)], labels[len(cut.train) :]
    if job.task == "control":  # within the parts, so that both keep how often each label comes
        generator = np.random.default_rng([job.seed, _CONTROL_STREAM])
        known, asked = generator.permutation(known), generator.permutation(asked)
    if job.classifier in BASELINES:
        fitted, remembered, said = None, *_without_states(job, known, len(asked))
    else:
        fitted = _fitted(states.inputs[job.trained_on][cut.train], known, job, standardise, workers)
        remembered = fitted.predict(states.inputs[job.trained_on][cut.train])
        said = fitted.predict(states.inputs[job.tested_on][cut.test])
    confused = np.zeros((len(names), len(names)), dtype=np.int64)
    np.add.at(confused, (asked, said), 1)
    scores = f1_scores(confused)
    steps, limit = _iterations(fitted)
    run = SceneProbe(
        **asdict(job),
        scenes=len(names),
        train_images=len(known),
        test_images=len(asked),
        micro=scores.micro,
        macro=scores.macro,
        weighted=scores.weighted,
        train_micro=float((remembered == known).mean()),
        iterations=steps,
        is_converged=steps < limit if steps else None,
    )
    cells = [
        SceneProbeCell(**asdict(job), scene=str(names[i]), predicted=str(names[j]), count=int(confused[i, j]))
        for i, j in np.argwhere(confused)
    ]
    return run, cells


def _without_states(
    job: ProbeJob, known: Int[np.ndarray, " train"], tested: int
) -> Iterator[Int[np.ndarray, " image"]]:
    """What a baseline says of training and of test images."""
    if job.classifier == "majority":
        often = int(np.bincount(known).argmax())
        yield from (np.full(many, often) for many in (len(known), tested))
    else:
        generator = np.random.default_rng([job.seed, _BASELINE_STREAM])
        yield from (generator.choice(known, size=many) for many in (len(known), tested))


def _fitted(
    values: Float32[np.ndarray, "image width"],
    labels: Int[np.ndarray, " image"],
    job: ProbeJob,
    standardise: bool,
    workers: int,
) -> Any:
    """A fitted classifier of scikit-learn; trees grow in threads, but vote one by one: sums keep their order."""
    try:
        from sklearn.ensemble import RandomForestClassifier
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression
        from sklearn.neural_network import MLPClassifier
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
    except ImportError as error:
        raise MissingExtra("probes of scenes", "pip install 'alignscope[probes]'") from error
    seed = job.seed
    make: dict[str, Callable[[], Any]] = {
        "forest": lambda: RandomForestClassifier(random_state=seed, n_jobs=workers),
        "mlp": lambda: MLPClassifier((16,), solver="lbfgs", alpha=1.0, random_state=seed),
        "mlp-3": lambda: MLPClassifier((16, 16, 16), solver="lbfgs", alpha=1.0, random_state=seed),
        "logistic": lambda: LogisticRegression(max_iter=1000),
    }
    model = make[job.classifier]()
    if standardise and job.classifier != "forest":
        model = make_pipeline(StandardScaler(), model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # recorded with the run
        model.fit(values, labels)
    return model.set_params(n_jobs=1) if job.classifier == "forest" else model


def _iterations(fitted: Any) -> tuple[int, int]:
    """How many iterations a classifier took, 0 where it has none, and its limit."""
    last = fitted[-1] if hasattr(fitted, "steps") else fitted
    if not hasattr(last, "n_iter_"):
        return 0, 0
    return int(np.max(last.n_iter_)), last.max_iter


def check_probes(settings: ProbeSettings) -> None:
    """Refuse what no states could be probed with, before any are made."""
    if settings.seeds < 1 or not settings.splits or not all(0 < split < 100 for split in settings.splits):
        raise BadInput(
            f"got {settings.seeds} seeds and splits {settings.splits}, wanted one seed or more and percentages of "
            "training images between 1 and 99"
        )
    unknown = set(settings.classifiers) - set(CLASSIFIERS)
    if unknown:
        raise BadInput(f"got classifiers {sorted(unknown)}, wanted some of {', '.join(CLASSIFIERS)}")


def _check_settings(states: SceneStates, settings: ProbeSettings) -> None:
    check_probes(settings)
    for route in settings.transfers:
        missing = set(route) - set(states.inputs)
        if missing:
            raise BadInput(f"got a transfer between {route}, wanted two of {', '.join(states.inputs)}")
        widths = [states.inputs[name].shape[1] for name in route]
        if widths[0] != widths[1]:
            raise BadInput(
                f"got a transfer between states of widths {widths}, wanted the same width: {route}"
            )
