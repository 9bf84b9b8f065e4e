"""Times a self-critical step: beside the sum of its parts, and beside a loop that encodes and scores the plain way.

Run: OMP_NUM_THREADS=1 .venv/bin/python benchmarks/scst_speed.py

A small captioner of the world is trained by cross-entropy for a while, so that captions end as they do later. Then,
for each scorer and round, in turn and on the same images: the step of the package with its update; its parts alone
(greedy captions, samples, their reward, backward and update); and a plain step, which looks at its images anew (the
world's detector for the captioner, picture or regions for the scorer) and scores one pair of image and caption at a
time, the image encoded again with each caption: that loop is the one of issue 7's bound, at least 3 times its
captions/s. Of a scorer with two towers there is a milder plain step too, for which no bound is set: it encodes an image
once a step and not once a caption. Ratios are of processor time within a round; told are median and quartiles.

`--published`: instead, an FC captioner of 512 units and 9,487 words (13,400,848 parameters) and a CLIP ViT-B/32 as
reward on pictures of 224x224, both of random weights. Such a captioner does not end its captions, so they are cut at 10
words, the length of paper A's. What it sees of an image is a vector that the plain step does not compute anew either,
in that step's favour.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from attribution_speed import COCO, read_captions
from figures import Figure, add_option, figure, line, shortly, tell
from PIL import Image
from scorer_models import clip

from alignscope.models.captioners.autoregressive import AutoregressiveCaptioner
from alignscope.models.captioners.captioner_loading import fresh_captioner, open_captioner
from alignscope.models.captioners.fc import FcConfig
from alignscope.models.captioners.protocol import Generated, Sight
from alignscope.models.captioners.vocabulary import UNKNOWN, Vocabulary, words_of
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
WORDS, PARAMETERS, LONGEST, SIDE, IMAGES = 9487, 13_400_848, 10, 224, 20
"""Of `--published`; a caption of paper A has 9.5 words."""
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
    look: Callable[[Part], Sequence[Sight]]  # what the plain step sees of its images

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


def plain_step(setting: Setting, scorer: PairScorer, place: Place, *, is_batched: bool = False) -> None:
    """As one would write it first: everything of an image anew, captions one by one."""
    images = setting.images(place)
    train = setting.data.train
    part = Part([train.keys[i] for i in images], [train.captions[i] for i in images], ())
    part = replace(part, sights=[train.sights[i] for i in images])
    features = setting.captioner.features(setting.look(part))
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


def compared(
    setting: Setting,
    start: AutoregressiveCaptioner,
    scorer: PairScorer,
    *,
    rounds: int,
    warm_up: int = WARM_UP,
) -> list[Figure]:
    """All three ways with one scorer; prints what they took."""
    name = scorer.name
    stage = replace(setting.stage, reward=(ScorerPlan("scorer", name),))
    setting = replace(setting, stage=stage)
    paid = payment(stage, setting.data, {name: scorer}, longest=setting.longest, watch=nobody)
    train = setting.data.train
    steps = SelfCriticalSteps(
        *(setting.captioner, start, train, stage, paid.train, setting.longest, setting.data.nouns, None)
    )
    check(scorer, setting.data, paid.train)
    ways = [False, True] if is_dual(scorer) else [False]
    parts, whole, plain = list[tuple[float, ...]](), list[float](), list[list[float]]()
    for number in range(rounds + warm_up):
        place = Place(0, 1, number)
        row = parts_alone(setting, paid.train, place)
        ours = seconds(lambda place=place: setting.update(steps(place).loss))
        theirs = [
            seconds(lambda place=place, way=way: plain_step(setting, scorer, place, is_batched=way))
            for way in ways
        ]
        if number >= warm_up:
            parts, whole, plain = [*parts, row], [*whole, ours], [*plain, theirs]
    captions = stage.images * (stage.samples + 1)
    middles = [
        f"{part} {1e3 * statistics.median(row):.1f}"
        for part, row in zip(PARTS, zip(*parts, strict=True), strict=True)
    ]
    rate, *rates = (
        shortly(captions / statistics.median(each)) for each in (whole, *zip(*plain, strict=True))
    )
    ratios = [a / sum(b) for a, b in zip(whole, parts, strict=True)]
    found = [figure(f"{name}: step / sum of its parts", ratios, at_most=1.15)]
    for way, plain_rate, taken in zip(ways, rates, zip(*plain, strict=True), strict=True):
        ratios = [b / a for a, b in zip(whole, taken, strict=True)]
        said = (
            "milder loop, an image encoded once a step" if way else "plain loop, image and caption one by one"
        )
        bound = "no bound set" if way else "the bound of issue 7"
        note = f"{rate} and {plain_rate} captions/s; {bound}"
        found.append(figure(f"{name}: captions/s / {said}", ratios, at_least=None if way else 3, note=note))
    sys.stdout.write(
        f"{name}: {captions} captions a step, {rounds} rounds; ms of the parts: {', '.join(middles)}\n"
    )
    return found


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


def of_the_world(recipe: Captioning, steps: int) -> tuple[Setting, AutoregressiveCaptioner]:
    """Everything in the world, after some steps of cross-entropy, and the captioner at the start.

    The plain step asks the world's detector for regions, of which the captioner takes the mean.
    """
    assert isinstance(recipe.data, WorldCaptions)
    with tempfile.TemporaryDirectory() as folder:
        place = captioner_trained(recipe, steps, Path(folder))
        captioner, start = open_captioner(place), open_captioner(place)
    data, detector = material(recipe.data), open_model("tiny-uniter")

    def look(part: Part) -> list[Sight]:
        return [mean_of(regions) for regions in data.pictures(detector, part)]  # type: ignore[arg-type]

    return setting_of(recipe, data, captioner, look, recipe.longest), start


def published(recipe: Captioning) -> tuple[Setting, AutoregressiveCaptioner, PairScorer]:
    """Published sizes, random weights and pictures; the batch is that of paper A, 10 images with 5 samples."""
    _, corpus = read_captions(COCO, IMAGES)
    usual = [word for word, _ in Counter(word for text in corpus for word in words_of(text)).most_common()]
    words = [*usual, *(f"word{number}" for number in range(WORDS))][: WORDS - 1]
    vocabulary = Vocabulary([*words, UNKNOWN])
    captioner, start = (
        fresh_captioner(FcConfig(), vocabulary, seed=0, name="FC of published size") for _ in range(2)
    )
    assert sum(parameter.numel() for parameter in captioner.model.parameters()) == PARAMETERS
    draw = np.random.default_rng(0)
    pixels = draw.integers(0, 256, (IMAGES, SIDE, SIDE, 3), dtype=np.uint8)
    keys = [str(number) for number in range(IMAGES)]
    drawn = {key: Image.fromarray(each) for key, each in zip(keys, pixels, strict=True)}
    sights = list(draw.random((IMAGES, captioner.model.config.feature_width), dtype=np.float32))
    train = Part(keys, [[corpus[number]] for number in range(IMAGES)], sights)
    rest = Part(keys[:1], train.captions[:1], sights[:1])
    data = Material(train, rest, rest, lambda _, part: [drawn[key] for key in part.keys])
    setting = setting_of(recipe, data, captioner, lambda part: part.sights, LONGEST)
    return replace(setting, stage=replace(setting.stage, images=10)), start, clip(corpus).scorer


def setting_of(
    recipe: Captioning,
    data: Material,
    captioner: AutoregressiveCaptioner,
    look: Callable[[Part], Sequence[Sight]],
    longest: int,
) -> Setting:
    """With the self-critical stage of the recipe."""
    stage = recipe.stages[1]
    assert isinstance(stage, SelfCritical)
    optimizer = torch.optim.Adam(captioner.model.parameters(), lr=RATE)
    engine = captioning.engine_for(recipe, "cpu")
    return Setting(data, stage, longest, captioner, optimizer, engine, look)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scorer", action="append", help="default tiny-clip and tiny-uniter")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--images", type=int, default=400, help="scenes that are trained on")
    parser.add_argument("--steps", type=int, default=300, help="of cross-entropy before")
    parser.add_argument(
        "--published", action="store_true", help="at published sizes; the first round is not counted"
    )
    add_option(parser)
    options = parser.parse_args()
    torch.set_num_threads(1)
    recipe = read(RECIPE)
    assert isinstance(recipe, Captioning)
    assert isinstance(recipe.data, WorldCaptions)
    found: list[Figure] = []
    if options.published:
        setting, start, scorer = published(recipe)
        found = compared(setting, start, scorer, rounds=options.rounds, warm_up=1)
    else:
        recipe = replace(recipe, data=replace(recipe.data, images=options.images, validation=20, test=20))
        setting, start = of_the_world(recipe, options.steps)
        for name in options.scorer or ("tiny-clip", "tiny-uniter"):
            found += compared(setting, start, open_model(name), rounds=options.rounds)
    if options.json is None:
        sys.stdout.write("".join(map(line, found)))
    tell(found, options.json)


if __name__ == "__main__":
    main()
