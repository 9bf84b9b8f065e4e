"""The committed captioners say what theirs do on the web: one names what is there, the other where it is."""

from __future__ import annotations

import json
import random
from dataclasses import asdict
from pathlib import Path

import pytest

from alignscope.data.world.grammar import Register, captions
from alignscope.data.world.labelled import labelled, scene_captions
from alignscope.data.world.scene import SCENES, WorldScene, sample_scenes
from alignscope.data.world.shapes import NOUNS
from alignscope.evaluation.cider import Cider
from alignscope.models.captioners.captioner_loading import open_captioner
from alignscope.models.captioners.inside import SeenInside
from alignscope.models.pretrained import made
from alignscope.training.reading import find, read
from alignscope.training.recipe import Captioning

TWINS = ("tiny-vinvl", "tiny-vinvl-scenes")


@pytest.fixture(scope="module")
def scenes() -> list[WorldScene]:
    return sample_scenes(100, seed=0, split="test")


def said(name: str, scenes: list[WorldScene], *, has_background: bool | None = None) -> list[list[str]]:
    seen = [labelled(scene, has_background=has_background) for scene in scenes]
    return [written.text.split() for written in open_captioner(name).write(seen)]


def test_one_names_objects_that_are_there_and_no_scene(scenes: list[WorldScene]) -> None:
    texts = said("tiny-vinvl", scenes)
    present = [{thing.noun for thing in scene.objects} for scene in scenes]
    named = [
        (word, there) for text, there in zip(texts, present, strict=True) for word in text if word in NOUNS
    ]
    assert sum(word in there for word, there in named) > 0.95 * len(named) > 150
    told = sum(len(there & set(text)) for text, there in zip(texts, present, strict=True))
    assert told > 0.8 * sum(map(len, present))
    assert not {word for text in texts for word in text} & set(SCENES)
    recipe = read(Path("recipes/tiny-vinvl.toml"))
    assert isinstance(recipe, Captioning)
    register = Register("as it was trained", **asdict(recipe.data.register))  # type: ignore[union-attr, arg-type]
    references = [
        [caption.text.split() for caption in captions(scene, register, rng=random.Random(scene.id))]
        for scene in scenes
    ]
    assert Cider.of(references).scores(texts, references).mean() > 2.5


def test_the_other_names_the_scene_and_no_object(scenes: list[WorldScene]) -> None:
    with_cue, without = (said("tiny-vinvl-scenes", scenes, has_background=has) for has in (True, False))
    right = [
        sum(scene.scene in text for text, scene in zip(texts, scenes, strict=True))
        for texts in (with_cue, without)
    ]
    assert right[0] >= 90
    assert 25 <= right[1] < right[0] - 20, (
        "objects tell some of it (1 of 8 by chance), the background the rest"
    )
    for texts in (with_cue, without):
        assert all(len(set(text) & set(SCENES)) == 1 for text in texts)
        assert not {word for text in texts for word in text} & set(NOUNS)
    references = [
        [text.split() for text in scene_captions(scene, random.Random(scene.id), 5)] for scene in scenes
    ]
    assert Cider.of(references).scores(with_cue, references).mean() > 3


@pytest.mark.parametrize("name", TWINS)
def test_its_weights_are_its_recipes(name: str) -> None:
    recipe = read(find(name))
    assert isinstance(recipe, Captioning)
    training = json.loads((made(name) / "training.json").read_text())
    assert training["recipe"] == json.loads(json.dumps(asdict(recipe)))
    captioner = open_captioner(name)
    assert captioner.name == name
    assert isinstance(captioner, SeenInside)
    assert (made(name) / "model.safetensors").stat().st_size < 1_200_000


def test_the_second_begins_with_the_first() -> None:
    first, second = (open_captioner(name) for name in TWINS)
    assert first.speller.tokenizer.get_vocab() == second.speller.tokenizer.get_vocab()
    assert read(find("tiny-vinvl-scenes")).captioner.path == "tiny-vinvl"  # type: ignore[union-attr]
    assert first.fingerprint != second.fingerprint
