"""Scorers of regions trained on matching: which pairs a step sees, and that a stopped run ends the same."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from alignscope.data.world.world import World
from alignscope.errors import BadRecipe
from alignscope.models.cross import loading
from alignscope.training import matching
from alignscope.training.reading import read
from alignscope.training.recipe import Matching, Register, Scorer, WorldData

WEB = Register(attribute_rate=0.03, relation_rate=0.02, scene_rate=0.3, size_rate=0.02, object_rate=0.75)
SMALL = Scorer(
    "LxmertForPreTraining",
    width=16,
    heads=2,
    mlp=24,
    layers=1,
    image_layers=1,
    cross_layers=1,
    feature_width=12,
)
RECIPE = Matching(
    name="test",
    seed=4,
    threads=1,
    data=WorldData(images=12, captions_per_image=2),
    scorer=SMALL,
    register=WEB,
    steps=6,
    batch=4,
    learning_rate=1e-2,
    warmup=2,
    foil_kinds=("replace_object",),
    check_every=2,
    save_every=2,
)


def test_a_step_has_right_captions_others_and_foils() -> None:
    data = matching.material(RECIPE)
    seen = matching.pairs(RECIPE, data, 3)
    again = matching.pairs(RECIPE, data, 3)
    assert seen.texts == again.texts != matching.pairs(RECIPE, data, 2).texts
    assert sum(seen.is_match) == 4
    of_image = {regions.image: place for place, regions in enumerate(data.regions)}
    own: dict[str, str] = {}
    for regions, text, is_match in zip(*seen, strict=True):
        if is_match:
            own[regions.image] = text
            assert text in data.captions[of_image[regions.image]]
    assert len(own) == 4, "every image once"
    wrong = [(r.image, t) for r, t, right in zip(*seen, strict=True) if not right]
    assert 4 <= len(wrong) <= 8
    for image, text in wrong:
        place = data.captions[of_image[image]].index(own[image])
        assert text in own.values() or text in data.foils[of_image[image]][place]
        assert text != own[image]


def test_the_worlds_regions_are_those_of_the_recipe() -> None:
    data = matching.material(RECIPE)
    world = World("train", size=12)
    assert data.regions[5] == world.regions(world.scenes[5].id, width=12)


def test_a_stopped_run_ends_in_the_same_weights(tmp_path: Path) -> None:
    whole = matching.train(RECIPE, tmp_path / "whole")

    class Stopped(Exception):
        pass

    def stop(stage: str, done: int, total: int) -> None:
        if (stage, done) == ("matching", 5):
            raise Stopped

    with pytest.raises(Stopped):
        matching.train(RECIPE, tmp_path / "stopped", progress=stop)
    with (tmp_path / "stopped" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')  # the kill came while a row was written
    resumed = matching.train(RECIPE, tmp_path / "stopped", resume=True)
    first, second = (load_file(path / "model.safetensors") for path in (whole, resumed))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    rows = [(tmp_path / name / "metrics.jsonl").read_text().splitlines() for name in ("whole", "stopped")]
    assert len(rows[0]) == len(rows[1]) == 4


def test_it_learns_and_opens_as_a_scorer(tmp_path: Path) -> None:
    """A few scenes by heart: on the mean the saved model scores their own captions above others."""
    scorer = Scorer("UniterForPretraining", width=32, heads=2, mlp=64, layers=2, feature_width=12)
    recipe = replace(RECIPE, scorer=scorer, steps=120, learning_rate=3e-3, save_every=120)
    recipe = replace(recipe, data=WorldData(8, captions_per_image=1), foils=0)
    directory = matching.train(recipe, tmp_path)
    model = loading.load(directory)
    data = matching.material(recipe)
    own = [said[0] for said in data.captions]
    right = model.score(data.regions, own)
    wrong = model.score(data.regions, [*own[1:], own[0]])
    assert right.mean() - wrong.mean() > 0.3
    assert model.traits.feature_width == 12


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("batch=1", "batch"),
        ("in_batch=64", "in_batch"),
        ("scorer.heads=5", "heads"),
        ('model="tiny-clip"', "exactly one"),
        ('foil_kinds=["replace_verb"]', "foil_kinds"),
    ],
)
def test_recipes_that_cannot_be_are_refused(change: str, told: str) -> None:
    path = Path(__file__).parents[2] / "recipes" / "tiny-lxmert.toml"
    assert isinstance(read(path), Matching)
    with pytest.raises(BadRecipe, match=told):
        read(path, [change])
