"""Probes of scenes in states of a captioner (paper C, section 7): runs, what they confuse, means and differences.

`images` says which images were probed ("all" or "held out": those that fine-tuning never saw); `split` is the
percentage of images that the probe was trained on; `task` is "scenes", or "control" where labels were shuffled.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ProbeJob:
    """One probe to train: everything but the states that decides its result."""

    images: str
    trained_on: str  # an input: "pre-trained", "fine-tuned ablated", ...; "nothing" for a baseline
    tested_on: str
    classifier: str
    task: str
    split: int
    seed: int


@dataclass(frozen=True)
class SceneProbe:
    """F1 of one trained probe; `train_micro` is its F1 on what it was trained on: what it could learn by heart.

    `iterations` is 0 for a classifier without any; `is_converged` is False where the limit stopped it.
    """

    images: str
    trained_on: str
    tested_on: str
    classifier: str
    task: str
    split: int
    seed: int
    scenes: int
    train_images: int
    test_images: int
    micro: float
    macro: float
    weighted: float
    train_micro: float
    iterations: int = 0
    is_converged: bool | None = None


@dataclass(frozen=True)
class SceneProbeCell:
    """A cell of one probe's confusion matrix: test images of `scene` taken for `predicted`; empty ones are not listed."""

    images: str
    trained_on: str
    tested_on: str
    classifier: str
    task: str
    split: int
    seed: int
    scene: str
    predicted: str
    count: int


@dataclass(frozen=True)
class SceneProbeScore:
    """A mean over seeds with its standard deviation and 95 % interval.

    Splits of the same images overlap, so values of different seeds hang together: the interval has the variance
    that Nadeau and Bengio (2003) correct for that, and ends where F1 can lie. Task "selectivity" is F1 of the
    scenes minus F1 of the control, seed by seed. `images_per_run` are the test images that the number rests on:
    of one scene where the measure is of one.
    """

    images: str
    trained_on: str
    tested_on: str
    classifier: str
    task: str
    split: int
    measure: str  # "micro F1", "macro F1", "weighted F1", "train micro F1", "F1"
    scene: str  # "all" but for "F1"
    mean: float
    deviation: float | None
    low: float | None
    high: float | None
    runs: int
    images_per_run: float
    not_converged: int
    reason: str = ""


@dataclass(frozen=True)
class SceneProbeDifference:
    """First input minus second, on the same splits with the same seeds.

    `t`, `p` and the 95 % interval are of the corrected resampled t-test (Nadeau and Bengio 2003), whose variance
    grows by test over training images because training sets overlap. None where `reason` says why.

    `question` says in what the inputs differ: "captioner", "images" (the set), "objects" (what was taken away),
    several of these, or "transfer" (the same probe, tested elsewhere). `p_holm` is Holm's over a family of lines: the
    same question in the same table, of the same images, classifier, task, split and measure; `family` counts them.
    """

    images: str
    trained_on: str
    tested_on: str
    against_trained_on: str
    against_tested_on: str
    classifier: str
    task: str
    split: int
    measure: str
    difference: float
    deviation: float | None
    low: float | None
    high: float | None
    t: float | None
    p: float | None
    p_holm: float | None
    runs: int
    reason: str = ""
    question: str = "input"
    family: int = 0


@dataclass(frozen=True)
class SceneCount:
    """How many images of a scene there are to probe, and how many were kept where frequent scenes are down-sampled."""

    images: str
    scene: str
    found: int
    kept: int
