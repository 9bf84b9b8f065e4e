"""What captioners are trained on and paid by, and their recipes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from captioning_cases import CROSS_ENTROPY, RECIPE, SELF_CRITICAL, stages

from alignscope.data.world.world import World
from alignscope.errors import BadInput, BadRecipe, Unsupported
from alignscope.evaluation.cider import Cider
from alignscope.files import read_jsonl
from alignscope.models.captioners.captioner_loading import open_captioner
from alignscope.models.captioners.vocabulary import words_of
from alignscope.models.zoo import open_model
from alignscope.training import captioning
from alignscope.training.captioning_material import material, mean_of
from alignscope.training.captioning_reward import payment
from alignscope.training.metrics import nobody
from alignscope.training.reading import read
from alignscope.training.recipe import Captioning, CiderPlan, KarpathyCaptions, ScorerPlan

RECIPES = Path(__file__).parents[2] / "recipes"


def test_the_worlds_material() -> None:
    data = material(RECIPE.data)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [8, 4, 3]
    assert {key.split("-")[0] for part in (data.train, data.validation, data.test) for key in part.keys} == {
        "train", "val", "test"
    }  # fmt: skip
    assert all(len(said) == 5 for said in data.train.captions)
    assert material(RECIPE.data).sha == data.sha != material(replace(RECIPE.data, seed=1)).sha
    with_regions = material(replace(RECIPE.data, sees="regions"))
    regions = with_regions.train.sights[2]
    total = sum(
        confidence * row for confidence, row in zip(regions.confidences, regions.features, strict=True)
    )
    np.testing.assert_allclose(data.train.sights[2], total / regions.confidences.sum(), rtol=1e-4)
    np.testing.assert_array_equal(mean_of(regions), data.train.sights[2])


def test_cider_as_a_reward_counts_the_end_as_a_word() -> None:
    data = material(RECIPE.data)
    paying = payment(SELF_CRITICAL, data, {}, longest=6, watch=nobody)
    references = [[[*words_of(text), "</s>"] for text in said] for said in data.train.captions]
    long = "a ball and a box and"
    texts = [data.train.captions[0][0], "a ball", long, ""]
    said = [[*words_of(text), *([] if len(text.split()) >= 6 else ["</s>"])] for text in texts]
    wanted = Cider.of(references).scores(said, [references[0], references[1], references[2], references[0]])
    np.testing.assert_allclose(paying.train([0, 1, 2, 0], texts).numpy(), wanted, rtol=1e-6)
    assert said[2] == long.split()


def test_rewards_have_weights_scale_and_space() -> None:
    data = material(RECIPE.data)
    scorers = {"tiny-clip": open_model("tiny-clip")}
    reward = (ScorerPlan("scorer", "tiny-clip", scale=2.0), CiderPlan("cider", weight=0.5))
    paying = payment(replace(SELF_CRITICAL, reward=reward), data, scorers, longest=8, watch=nobody)
    assert paying.train.name == "1 tiny-clip (cosine x 2) + 0.5 CIDEr-D"
    only = payment(replace(SELF_CRITICAL, reward=reward[:1]), data, scorers, longest=8, watch=nobody)
    text = data.train.captions[1][0]
    extra = payment(SELF_CRITICAL, data, {}, longest=8, watch=nobody).train([1], [text])
    assert paying.train([1], [text]).item() == pytest.approx((only.train([1], [text]) + 0.5 * extra).item())
    unfit = replace(SELF_CRITICAL, reward=(ScorerPlan("scorer", "tiny-clip", space="probability"),))
    with pytest.raises(Unsupported, match="no probability"):
        payment(unfit, data, scorers, longest=8, watch=nobody)


def test_a_scorer_of_regions_pays_its_probability() -> None:
    data, model = material(RECIPE.data), open_model("tiny-uniter")
    stage = replace(SELF_CRITICAL, reward=(ScorerPlan("scorer", "tiny-uniter"),))
    paying = payment(stage, data, {"tiny-uniter": model}, longest=8, watch=nobody)
    assert paying.validation.name == "1 tiny-uniter (probability x 1)"
    world = World("val", size=4)
    texts = [said[0] for said in data.validation.captions]
    regions = [world.regions(scene.id, width=256) for scene in world.scenes]
    wanted = model.score(regions, texts).sigmoid()
    torch.testing.assert_close(paying.validation(range(4), texts), wanted)


def karpathy(folder: Path, *, images: int = 6) -> KarpathyCaptions:
    """A file and features as COCO's, of which one image has no caption."""
    (folder / "features").mkdir(parents=True)
    words = ["a", "cat", "dog", "near", "sits"]
    rows = []
    for number in range(images):
        split = ["train", "restval", "val", "test"][number % 4]
        said = [words[(number + turn) % 5 :][:3] for turn in range(2)] if number != 4 else []
        rows.append({"filename": f"COCO_val2014_{number:012d}.jpg", "filepath": "val2014", "split": split,
                     "sentences": [{"tokens": each, "raw": "not read"} for each in said]})  # fmt: skip
        np.save(folder / "features" / f"{number}.npy", np.full(7, number, np.float32))
    (folder / "dataset_coco.json").write_text(json.dumps({"images": rows, "dataset": "coco"}))
    return KarpathyCaptions("karpathy", str(folder / "dataset_coco.json"), str(folder / "features"))


def test_coco_trains_by_the_same_loop(tmp_path: Path) -> None:
    plan = karpathy(tmp_path)
    recipe = replace(
        stages(replace(CROSS_ENTROPY, images=2, steps=2), replace(SELF_CRITICAL, steps=1)), data=plan
    )
    data = material(plan)
    assert data.train.keys == [f"val2014/COCO_val2014_{number:012d}.jpg" for number in (0, 1, 5)]
    assert data.left_out == 1
    assert data.train.sights[2].tolist() == [5.0] * 7
    directory = captioning.train(recipe, tmp_path / "run")
    assert open_captioner(directory).model.config.feature_width == 7
    assert [row["image"] for row in read_jsonl(tmp_path / "run" / "captions.jsonl")] == data.test.keys
    assert json.loads((directory / "training.json").read_text())["images_without_captions"] == 1
    assert material(replace(plan, most=1)).train.keys == data.train.keys[:1]
    scored = replace(SELF_CRITICAL, reward=(ScorerPlan("scorer", "tiny-clip"),))
    with pytest.raises(
        BadInput, match=r"tiny-clip as a reward reads pixels: name the folder as \[data\] images"
    ):
        captioning.train(replace(recipe, stages=(scored,)), tmp_path / "scored")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("stages=[]", "at least one"),
        ('captioner.kind="transformer"', "what the captioner takes"),
        ('captioner={kind="fc", hiden=3}', "hiden"),
        ("captioner.dropout=1.0", "a share from 0 to below 1"),
        ("data.validation=0", "1 or more"),
        ('stages=[{kind="cross-entropy"}]', "exactly one of the two"),
        ('stages=[{kind="cross-entropy", steps=1, images=9999}]', "at most as many as images"),
        ('stages=[{kind="self-critical", steps=1, reward=[]}]', "at least one part"),
        ('stages=[{kind="self-critical", steps=1, reward=[{kind="clip"}]}]', "one of 'scorer', 'cider'"),
        ('stages=[{kind="self-critical", steps=1, samples=1, baseline="others", reward=[{kind="cider"}]}]', "2 or more"),
        ('stages=[{kind="rl", steps=1}]', "'cross-entropy', 'self-critical'"),
        ('model="tiny-clip"', "exactly one"),
        ('data={kind="karpathy", captions="c.json"}', "features, or images"),
    ],
)  # fmt: skip
def test_recipes_that_cannot_be_are_refused(change: str, told: str) -> None:
    with pytest.raises(BadRecipe, match=told):
        read(RECIPES / "world-captioner.toml", [change])


def test_the_recipes_of_paper_a_have_its_numbers() -> None:
    first, second = (read(RECIPES / "paper-a" / f"{name}.toml") for name in ("fc-ce", "fc-scst"))
    assert isinstance(first, Captioning)
    assert isinstance(second, Captioning)
    (crossed,), (guided,) = first.stages, second.stages
    assert (first.threshold, first.words_read, first.longest, first.captioner.hidden) == (5, 16, 20, 512)  # type: ignore[union-attr]
    assert vars(crossed) == {
        "kind": "cross-entropy", "epochs": 30, "steps": 0, "images": 10, "captions": 5, "learning_rate": 5e-4,
        "decay": 0.8, "decay_every": 3, "sampling": 0.05, "sampling_every": 5, "most_sampling": 0.25,
        "most_gradient": 0.1, "validate_every": 3000, "keep": "best",
    }  # fmt: skip
    assert (guided.epochs, guided.images, guided.samples, guided.learning_rate) == (20, 10, 5, 5e-5)  # type: ignore[union-attr]
    assert (guided.baseline, guided.most_gradient, guided.keep) == ("greedy", 0.1, "last")  # type: ignore[union-attr]
