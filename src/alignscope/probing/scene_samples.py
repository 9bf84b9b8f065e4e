"""Which images scene probes are trained and tested on: sampled, down-sampled and split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int

from alignscope.errors import BadInput, LengthMismatch
from alignscope.records import Problem, SceneCount

NOTHING = "nothing"
"""What baselines are trained on; no input may be called so."""


@dataclass(frozen=True, eq=False)
class SceneStates:
    """States of images under each input, and the scene of each image."""

    images: tuple[str, ...]
    scenes: tuple[str, ...]
    inputs: Mapping[str, Float32[np.ndarray, "image width"]]


@dataclass(frozen=True)
class Sampled:
    """The images that can be probed, how many there are of each scene, and what was left out."""

    states: SceneStates
    counts: tuple[SceneCount, ...]
    problems: tuple[Problem, ...]


@dataclass(frozen=True, eq=False)
class Split:
    """Places of training and test images; `left_out` counts images of scenes too rare for this split."""

    train: Int[np.ndarray, " train"]
    test: Int[np.ndarray, " test"]
    left_out: dict[str, int]


def sampled(
    states: SceneStates,
    *,
    images: str = "all",
    ceiling: int | None = None,
    only: frozenset[str] | None = None,
    seed: int = 0,
) -> Sampled:
    """Images with a scene and finite states under every input, `ceiling` of a scene at most, drawn by seed.

    An image that lacks one input is left out of all of them, so that inputs are compared on the same images.
    """
    _check(states)
    if ceiling is not None and ceiling < 2:
        raise BadInput(
            f"got a ceiling of {ceiling} images of a scene, wanted 2 or more: one to train, one to test"
        )
    finite = {name: np.isfinite(values).all(axis=1) for name, values in states.inputs.items()}
    problems, usable = [], []
    for place, (image, scene) in enumerate(zip(states.images, states.scenes, strict=True)):
        if only is not None and image not in only:
            continue
        broken = [name for name, rows in finite.items() if not rows[place]]
        if not scene:
            problems.append(Problem(image, f"{images} images", "no scene label", "unscored"))
        elif broken:
            what = f"states that are not finite numbers: {', '.join(broken)}"
            problems.append(Problem(image, f"{images} images", what, "unscored"))
        else:
            usable.append(place)
    scenes = np.array(states.scenes)
    order = np.random.default_rng(seed).permutation(np.array(usable, dtype=np.int64))
    kept, counts = [], []
    for scene in sorted({states.scenes[place] for place in usable}):
        members = order[scenes[order] == scene]
        kept.append(members[:ceiling])
        counts.append(SceneCount(images, scene, len(members), len(kept[-1])))
    chosen = np.sort(np.concatenate([np.zeros(0, dtype=np.int64), *kept]))
    return Sampled(
        SceneStates(
            tuple(states.images[place] for place in chosen),
            tuple(states.scenes[place] for place in chosen),
            {name: values[chosen] for name, values in states.inputs.items()},
        ),
        tuple(counts),
        tuple(problems),
    )


def split_of(scenes: Sequence[str], *, split: int, seed: int) -> Split:
    """A stratified split: of each scene the nearest whole number to its share is tested, halves rounded up.

    >>> cut = split_of(["road"] * 5 + ["sea"] * 4, split=90, seed=0)
    >>> len(cut.train), len(cut.test), cut.left_out
    (4, 1, {'sea': 4})
    """
    names = np.array(scenes)
    order = np.random.default_rng(seed).permutation(len(names))
    none = np.zeros(0, dtype=np.int64)
    train, test, left_out = [none], [none], {}
    for scene in sorted(set(scenes)):
        members = order[names[order] == scene]
        tested = (len(members) * (100 - split) + 50) // 100
        if 0 < tested < len(members):
            test.append(members[:tested])
            train.append(members[tested:])
        else:
            left_out[scene] = len(members)
    return Split(np.sort(np.concatenate(train)), np.sort(np.concatenate(test)), left_out)


def _check(states: SceneStates) -> None:
    twice = [image for image, times in Counter(states.images).items() if times > 1]
    if twice:
        raise BadInput(
            f"got {len(twice)} images more than once ({twice[0]}), wanted each once: training would see its test"
        )
    if not states.inputs or NOTHING in states.inputs:
        raise BadInput(f"got inputs {list(states.inputs)}, wanted one or more, none named '{NOTHING}'")
    for name, many in [
        ("scenes", len(states.scenes)),
        *((name, len(rows)) for name, rows in states.inputs.items()),
    ]:
        if many != len(states.images):
            raise LengthMismatch(f"got {many} {name} for {len(states.images)} images, wanted one each")
