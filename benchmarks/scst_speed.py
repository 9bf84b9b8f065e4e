"""Times a self-critical step: beside the sum of its parts, and beside a loop that encodes and scores the plain way.

Run: OMP_NUM_THREADS=1 .venv/bin/python benchmarks/scst_speed.py

A small captioner of the world is trained by cross-entropy for a while, so that captions end as they do later. Then,
for each scorer and round, in turn and on the same images: the step of the package with its update; its parts alone
(greedy captions, samples, their reward, backward and update); and a plain step, which looks at its images anew (the
world's detector for the captioner, picture or regions for the scorer) and scores one pair of image and caption at a
time. Of a scorer with two towers there is a better plain step too, which encodes an image once a step and not once a
caption. Ratios are taken within a round; told are median, quartiles and the wanted bound.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import torch

from alignscope.models.captioners.autoregressive import AutoregressiveCaptioner
from alignscope.models.captioners.captioner_loading import open_captioner
from alignscope.models.captioners.protocol import Generated
from alignscope.models.protocols import PairScorer, Picture, is_dual
from alignscope.models.zoo import open_model
from alignscope.training import captioning
from alignscope.training.captioning import move
from alignscope.training.captioning_material import Material, Part, material, mean_of
from alignscope.training.captioning_reward import payment
from alignscope.training.captioning_steps import Place, SelfCriticalSteps, generator_on, images_of
from alignscope.training.engine import Engine
from alignscope.training.metrics import nobody
from alignscope.training.reading import read
from alignscope.training.recipe import Captioning, ScorerPlan, SelfCritical, WorldCaptions
from alignscope.training.rewards import Reward
from alignscope.training.selfcritical import over_greedy, self_critical_loss

RECIPE = Path(__file__).parents[1] / "recipes" / "world-captioner.toml"
WARM_UP = 3
PARTS = ("greedy", "samples", "reward", "backward and update")
RATE = 1e-9
"""So small that weights, and with them the lengths of captions, stay as they are."""


@dataclass(frozen=True)
class Setting:
    """What all ways of a step share."""

    data: Material
    stage: SelfCritical
    longest: int
    captioner: AutoregressiveCaptioner
    optimizer: torch.optim.Optimizer
    engine: Engine

    def images(self, place: Place) -> list[int]:
        return images_of(place, self.stage.images, len(self.data.train))

    def greedy(self, features: object) -> Generated:
        with torch.no_grad(), self.captioner.evaluating():
            return self.captioner.generate(features, max_length=self.longest)

    def samples(self, features: object, place: Place) -> Generated:
        self.captioner.model.train()
        return self.captioner.generate(
            features,
            how="sample",
            count=self.stage.samples,
            max_length=self.longest,
            generator=generator_on(self.captioner, place),
        )

    def moved(self, samples: Generated, paid: torch.Tensor) -> None:
        many = len(samples.texts)
        above = over_greedy(paid[:many].reshape(-1, self.stage.samples), paid[many:]).flatten()
        self.update(self_critical_loss(samples.logprobs, samples.mask, above))

    def update(self, loss: torch.Tensor) -> None:
        move(self.engine, self.optimizer, loss, RATE, most=self.stage.most_gradient)


def seconds(run: Callable[[], object]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def parts_alone(setting: Setting, reward: Reward, place: Place) -> tuple[float, ...]:
    """Seconds of each of `PARTS`; the captioner's features are read before greedy captions."""
    images = setting.images(place)
    at = [time.process_time()]
    features = setting.captioner.features([setting.data.train.sights[image] for image in images])
    greedy = setting.greedy(features)
    at.append(time.process_time())
    samples = setting.samples(features, place)
    at.append(time.process_time())
    of_sample = [image for image in images for _ in range(setting.stage.samples)]
    paid = reward([*of_sample, *images], [*samples.texts, *greedy.texts])
    at.append(time.process_time())
    setting.moved(samples, paid)
    at.append(time.process_time())
    return tuple(end - start for start, end in pairwise(at))


def plain_step(
    setting: Setting, scorer: PairScorer, detector: PairScorer, place: Place, *, is_batched: bool = False
) -> None:
    """As one would write it first: everything of an image anew, captions one by one.

    The world's detector gives what `detector` reads, of which the captioner takes the mean.
    """
    images = setting.images(place)
    train = setting.data.train
    part = Part([train.keys[i] for i in images], [train.captions[i] for i in images], ())
    features = setting.captioner.features(
        [mean_of(regions) for regions in setting.data.pictures(detector, part)]  # type: ignore[arg-type]
    )
    greedy = setting.greedy(features)
    samples = setting.samples(features, place)
    rows = range(len(images))
    of_sample = [row for row in rows for _ in range(setting.stage.samples)]
    asked = [*zip(of_sample, samples.texts, strict=True), *zip(rows, greedy.texts, strict=True)]
    pictures = setting.data.pictures(scorer, part)
    setting.moved(samples, plain_scores(scorer, pictures, asked, is_batched=is_batched))


def plain_scores(
    scorer: PairScorer,
    pictures: Sequence[Picture],
    asked: Sequence[tuple[int, str]],
    *,
    is_batched: bool = False,
) -> torch.Tensor:
    """Cosines or probabilities, one caption at a time; `is_batched`: pictures of two towers once, not for each caption."""
    if is_dual(scorer) and is_batched:
        encoded = scorer.encode_images(pictures)  # type: ignore[arg-type]
        return torch.stack([(encoded[image] @ scorer.encode_texts([text]).mT)[0] for image, text in asked])
    scores = torch.cat([scorer.score([pictures[image]], [text]) for image, text in asked])
    if is_dual(scorer):
        return (scores - scorer.traits.bias) / scorer.traits.scale
    return scores.sigmoid()


def captioner_trained(recipe: Captioning, steps: int, folder: Path) -> Path:
    stage = replace(recipe.stages[0], steps=steps, validate_every=steps)
    return captioning.train(replace(recipe, stages=(stage,)), folder)


def told(name: str, ratios: Sequence[float], wanted: str) -> str:
    low, middle, high = statistics.quantiles(ratios, n=4)
    return f"  {name:44s}{middle:6.2f} x   quartiles {low:.2f} to {high:.2f}   wanted {wanted}\n"


def compared(setting: Setting, start: AutoregressiveCaptioner, name: str, *, rounds: int) -> str:
    """All three ways with one scorer."""
    scorer = open_model(name)
    stage = replace(setting.stage, reward=(ScorerPlan("scorer", name),))
    setting = replace(setting, stage=stage)
    paid = payment(stage, setting.data, {name: scorer}, longest=setting.longest, watch=nobody)
    train = setting.data.train
    detector = open_model("tiny-uniter")
    steps = SelfCriticalSteps(
        *(setting.captioner, start, train, stage, paid.train, setting.longest, setting.data.nouns, None)
    )
    check(scorer, setting.data, paid.train)
    ways = [False, True] if is_dual(scorer) else [False]
    parts, whole, plain = list[tuple[float, ...]](), list[float](), list[list[float]]()
    for number in range(rounds + WARM_UP):
        place = Place(0, 1, number)
        row = parts_alone(setting, paid.train, place)
        ours = seconds(lambda place=place: setting.update(steps(place).loss))
        theirs = [
            seconds(lambda place=place, way=way: plain_step(setting, scorer, detector, place, is_batched=way))
            for way in ways
        ]
        if number >= WARM_UP:
            parts, whole, plain = [*parts, row], [*whole, ours], [*plain, theirs]
    captions = stage.images * (stage.samples + 1)
    middles = [
        f"{part} {1e3 * statistics.median(row):.1f}"
        for part, row in zip(PARTS, zip(*parts, strict=True), strict=True)
    ]
    rate, *rates = (
        f"{captions / statistics.median(each):.0f}" for each in (whole, *zip(*plain, strict=True))
    )
    lines = [f"{name}: {captions} captions a step, {rounds} rounds; ms of the parts: {', '.join(middles)}\n"]
    ratios = [a / sum(b) for a, b in zip(whole, parts, strict=True)]
    lines.append(told("step / sum of its parts", ratios, "at most 1.15"))
    for way, plain_rate, taken in zip(ways, rates, zip(*plain, strict=True), strict=True):
        ratios = [b / a for a, b in zip(whole, taken, strict=True)]
        said = "plain, images once a step" if way else "plain"
        lines.append(
            told(f"captions/s, {rate} / {plain_rate} {said}", ratios, "none" if way else "at least 3")
        )
    return "".join(lines)


def check(scorer: PairScorer, data: Material, reward: Reward) -> None:
    """All loops pay the same for the same captions."""
    pictures, asked = (
        data.pictures(scorer, data.train),
        [(row, data.train.captions[row][0]) for row in range(5)],
    )
    for way in (False, True):
        torch.testing.assert_close(
            plain_scores(scorer, pictures, asked, is_batched=way),
            reward(range(5), [text for _, text in asked]),
            atol=1e-5,
            rtol=1e-4,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scorer", action="append", help="default tiny-clip and tiny-uniter")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--images", type=int, default=400, help="scenes that are trained on")
    parser.add_argument("--steps", type=int, default=300, help="of cross-entropy before")
    options = parser.parse_args()
    torch.set_num_threads(1)
    recipe = read(RECIPE)
    assert isinstance(recipe, Captioning)
    assert isinstance(recipe.data, WorldCaptions)
    stage = recipe.stages[1]
    assert isinstance(stage, SelfCritical)
    recipe = replace(recipe, data=replace(recipe.data, images=options.images, validation=20, test=20))
    with tempfile.TemporaryDirectory() as folder:
        place = captioner_trained(recipe, options.steps, Path(folder))
        captioner, start = open_captioner(place), open_captioner(place)
    optimizer = torch.optim.Adam(captioner.model.parameters(), lr=RATE)
    setting = Setting(
        material(recipe.data),
        stage,
        recipe.longest,
        captioner,
        optimizer,
        captioning.engine_for(recipe, "cpu"),
    )
    for name in options.scorer or ("tiny-clip", "tiny-uniter"):
        sys.stdout.write(compared(setting, start, name, rounds=options.rounds))


if __name__ == "__main__":
    main()
