"""Paraphrases say the same and foils do not, by an independent reading (world_oracle.py); their two benchmarks."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

import pytest
import world_oracle as oracle

from alignscope.data.benchmarks.table import BENCHMARKS, SUITES
from alignscope.data.world.export import export
from alignscope.data.world.grammar import RICH, WEB, describe, realise
from alignscope.data.world.paraphrases import paraphrase, understood
from alignscope.data.world.scene import sample_scenes
from alignscope.data.world.world import World
from alignscope.records import FOIL_KINDS, Problem, Question, Shown


@pytest.fixture(scope="module")
def world() -> World:
    return World("test", size=60, seed=3)


@pytest.fixture(scope="module")
def exported(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("world")
    export(world, directory)
    return directory


def test_every_sentence_about_things_is_understood():
    rng, checked = random.Random(2), 0
    for scene in sample_scenes(150, seed=5, split="train"):
        for register in (RICH, WEB):
            said = describe(scene, register, rng=rng)
            found = understood(realise(said).text)
            assert found is not None
            assert (found.phrases, found.relation, found.scene) == (said.phrases, said.relation, said.scene)
            checked += 1
    assert checked == 300


@pytest.mark.parametrize(
    "text",
    ["", "a cat", "the picture is taken at night", "a ball over", "A ball", "a ball and a box on night"],
)
def test_what_the_grammar_does_not_say_is_not_understood(text: str):
    assert understood(text) is None


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("a dark ball is left of a box", "a box to the right of a dark ball"),
        ("a photo of a ball under a box at night", "a box above a ball at night"),
        ("a ball touching a ring", "a ring against a ball"),
        ("a ball inside a ring", "a ball within a ring"),
        ("a boat pulling a small fish and also a tree", "a boat towing a small fish and also a tree"),
        ("a ball and a box and a fish in the snow", "a fish and a box and a ball in the snow"),
    ],
)  # fmt: skip
def test_paraphrases_worked_by_hand(text: str, same: str):
    said = {realise(paraphrase(understood(text), rng=random.Random(seed))).text for seed in range(30)}
    openings = {each.removesuffix(same) for each in said}
    assert len(said) == 5
    assert openings <= {"", "there is ", "a picture of ", "a photo of ", "here is ", "we see "}
    assert text not in said


def test_paraphrases_are_true_and_foils_false_in_either_wording(world: World, exported: Path):
    asked = [q for q in BENCHMARKS["world-paraphrases"].read(exported) if isinstance(q, Question)]
    subsets = Counter(q.subset for q in asked)
    assert set(subsets) == {*FOIL_KINDS, *(f"{kind}_reworded" for kind in FOIL_KINDS)}
    assert len(asked) == 2 * sum(len(item.foils) for item in world.items) >= 600
    scenes = {f"{scene.id}.png": scene for scene in world.scenes}
    facts = {key: oracle.seen_relations(scene) for key, scene in scenes.items()}
    for q in asked:
        key = q.images[0].key
        caption, same, foil = (oracle.says_true(text, scenes[key], facts[key]) for text in q.texts)
        assert (caption, same, foil) == (True, True, False), q
        assert len(set(q.texts)) == 3
    assert len({q.id for q in asked}) == len(asked)


def test_a_reworded_foil_has_the_openings_of_its_paraphrase(exported: Path):
    asked = [
        q for q in BENCHMARKS["world-paraphrases"].read(exported) if q.id.startswith("swap_object_reworded/")
    ]
    assert len(asked) >= 30
    for q in asked:
        _, same, foil = (Counter(text.split()) for text in q.texts)
        assert same == foil, "two nouns changed places, and nothing else"


def test_similarity_asks_of_the_same_texts(exported: Path):
    threes = [q for q in BENCHMARKS["world-paraphrases"].read(exported) if isinstance(q, Question)]
    twos = [q for q in BENCHMARKS["world-similarity"].read(exported) if isinstance(q, Question)]
    wanted = []
    for q in threes:
        wanted.append((f"{q.id}@paraphrase", q.subset, q.texts[:2], 1.0))
        wanted.append((f"{q.id}@foil", q.subset, (q.texts[0], q.texts[2]), 0.0))
    assert [(q.id, q.subset, q.texts, q.gold) for q in twos] == wanted
    assert all(q.images == () for q in twos)


def test_a_file_of_pairs_worked_by_hand(tmp_path: Path):
    foils = [
        {"caption": "a box over a ball", "kind": "swap_relation"},
        {"caption": "a cat", "kind": "animal"},
    ]
    rows = [
        {"id": "7", "image": "1.png", "caption": "a ball over a box", "foils": foils},
        {"id": "8", "image": "2.png", "caption": "a ball"},
        {"id": "9", "image": "3.png", "caption": "a dog", "foils": [{"caption": "a ball", "kind": "animal"}]},
    ]
    path = tmp_path / "mine.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    first, second, third, *problems = BENCHMARKS["world-paraphrases"].read(path)
    opening = first.texts[1].removesuffix("a box below a ball")
    assert first == Question(
        "swap_relation/7", "swap_relation", "swap_relation", (Shown("1.png"),),
        ("a ball over a box", f"{opening}a box below a ball", "a box over a ball"),
    )  # fmt: skip
    assert second.texts[1:] == (first.texts[1], f"{opening}a ball below a box")
    assert third.texts == ("a ball over a box", first.texts[1], "a cat")
    assert [(p.item, p.action) for p in problems if isinstance(p, Problem)] == [
        ("animal_reworded/7", "unscored"), ("8", "unscored"), ("9", "unscored"),
    ]  # fmt: skip


def test_the_suite_of_paper_b_leaves_them_out():
    assert {"world-similarity", "world-paraphrases"} & set(SUITES["composition"]) == set()
