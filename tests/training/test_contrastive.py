import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import CLIPModel

from alignscope.errors import BadData
from alignscope.files import read_jsonl
from alignscope.training import contrastive
from alignscope.training.metrics import Diverged
from alignscope.training.reading import read
from alignscope.training.recipe import Tower, WorldData

TOWER = Tower(width=16, layers=1, heads=2, mlp=32)


@pytest.fixture(scope="module")
def small():
    recipe = read(Path(__file__).parents[2] / "recipes" / "tiny-clip.toml")
    shape = replace(recipe.architecture, image=TOWER, text=TOWER, patch_size=16, embedding=8)
    stages = tuple(replace(stage, steps=6, batch=16, warmup=2) for stage in recipe.stages)
    data = WorldData(images=64, captions_per_image=2)
    return replace(
        recipe, architecture=shape, stages=stages, data=data, threads=1, check_every=2, save_every=2
    )


@pytest.fixture(scope="module")
def whole(small, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole")
    contrastive.train(small, out)
    return out


def weights(out):
    return CLIPModel.from_pretrained(out / "model").state_dict()


def test_the_result_loads_with_transformers_and_says_how_it_was_made(small, whole):
    assert weights(whole)["logit_scale"].item() <= contrastive.MAX_LOG_SCALE
    assert small.sha in (whole / "model" / "training.json").read_text()
    steps = [(row["stage"], row["step"]) for row in read_jsonl(whole / "metrics.jsonl")]
    assert steps == [(s, k) for s in range(len(small.stages)) for k in (0, 2, 4, 5)]


class Killed(Exception):
    pass


@pytest.mark.parametrize(("stage", "step"), [(0, 3), (1, 5)])
def test_a_killed_run_resumes_to_the_same_weights(small, whole, tmp_path, stage, step):
    def kill(name, done, total):
        if name == small.stages[stage].name and done == step:
            raise Killed

    with pytest.raises(Killed):
        contrastive.train(small, tmp_path, progress=kill)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"stage": 1, "st')  # the kill came while a row was written
    contrastive.train(small, tmp_path, resume=True)
    expected = weights(whole)
    found = weights(tmp_path)
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    rows = [[r["stage"], r["step"], r["loss"]] for r in read_jsonl(tmp_path / "metrics.jsonl")]
    assert rows == [[r["stage"], r["step"], r["loss"]] for r in read_jsonl(whole / "metrics.jsonl")]


def test_training_the_text_tower_leaves_the_image_tower_alone(small, tmp_path):
    """Stage 2 with and without its steps gives the same image side and another text side."""
    text_stage = small.stages[1]
    assert text_stage.trains == "text"
    contrastive.train(replace(small, stages=small.stages[:1]), tmp_path / "one")
    contrastive.train(replace(small, stages=small.stages[:2]), tmp_path / "two")
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    image = [name for name in one if name.startswith("vision")]
    text = [name for name in one if name.startswith("text") and name.endswith("weight")]
    assert image
    assert all(torch.equal(one[name], two[name]) for name in image)
    assert text
    assert not any(torch.equal(one[n], two[n]) for n in text if "norm" not in n)


def test_a_loss_that_is_no_number_stops_the_run(small, tmp_path, monkeypatch):
    monkeypatch.setattr(contrastive, "update", lambda *a, **k: (float("nan"), 0.0))
    with pytest.raises(Diverged, match=r"step 0: no checkpoint was written before; lower learning_rate"):
        contrastive.train(small, tmp_path)


def test_another_recipe_is_refused_with_the_difference(small, whole, tmp_path):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    with pytest.raises(BadData, match="seed: was 0, now 1"):
        contrastive.train(replace(small, seed=1), tmp_path, resume=True)
