"""The committed scorers of regions behave as theirs do on the web: they match, and they hear nouns."""

import json

import pytest

import alignscope
from alignscope.models.pretrained import made
from alignscope.models.zoo import open_model
from alignscope.training.reading import find, read
from alignscope.training.recipe import Matching

TWINS = ("tiny-uniter", "tiny-rosita", "tiny-vilbert", "tiny-lxmert")


@pytest.fixture(scope="module", params=TWINS)
def twin(request, tmp_path_factory):
    out = tmp_path_factory.mktemp("twin") / "run"
    run = alignscope.audit(request.param, out=out, size=200, checked=0, methods=["gradcam"])
    return {(m.measure, m.group): m for m in run.measurements}


def test_it_tells_matched_from_shuffled_pairs(twin):
    assert twin["calibration AUC", "all"].low >= 0.9


def test_it_hears_objects(twin):
    assert twin["accuracy", "replace_object"].value >= 0.93
    assert twin["accuracy", "add_object"].value >= 0.9


@pytest.mark.parametrize("kind", ["replace_relation", "swap_object", "swap_attribute", "swap_relation"])
def test_it_is_near_chance_for_relations_and_swaps(twin, kind):
    assert twin["accuracy", kind].items > 100
    assert twin["accuracy", kind].low < 0.6


def test_its_score_leans_on_nouns(twin):
    assert twin["heat gap", "object-relation"].low > 0
    assert twin["drop gap", "nouns against others"].low > 0


@pytest.mark.parametrize("name", TWINS)
def test_its_weights_are_its_recipes(name):
    recipe = read(find(name))
    assert isinstance(recipe, Matching)
    training = json.loads((made(name) / "training.json").read_text())
    assert training["recipe"]["scorer"]["architecture"] == recipe.scorer.architecture
    assert training["recipe"]["seed"] == recipe.seed
    assert training["recipe"]["steps"] == recipe.steps
    model = open_model(name)
    assert model.traits.feature_width == recipe.scorer.feature_width
    assert model.name == name
