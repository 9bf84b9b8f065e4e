"""Captions: true, well formed, every word with its class and its exact place."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest
import world_oracle as oracle

from alignscope.data.world.grammar import (
    GRAMMAR_WORDS,
    RICH,
    SCENE,
    WEB,
    Phrase,
    Register,
    Statement,
    captions,
    describe,
    is_true,
    realise,
)
from alignscope.data.world.scene import FINISHES, SCENES, SIZES, WorldObject, WorldScene, sample_scenes
from alignscope.data.world.shapes import NOUNS
from alignscope.records import Box, Relation


@pytest.fixture(scope="module")
def scenes():
    return sample_scenes(250, seed=4, split="train")


@pytest.fixture
def ball_left_of_box() -> WorldScene:
    """A striped small ball left of a dark large box at night, as a person would write it down."""
    ball = WorldObject("ball", "striped", "small", Box(4, 24, 18, 38), 14)
    box = WorldObject("box", "dark", "large", Box(36, 20, 58, 42), 22)
    relations = (Relation(0, "left of", 1), Relation(1, "right of", 0))
    return WorldScene("hand", (ball, box), relations, relations[:1], "night", True)


def test_captions_are_true_by_an_independent_reading(scenes):
    rng = random.Random(0)
    said = Counter()
    for scene in scenes:
        facts = oracle.seen_relations(scene)
        for register in (WEB, RICH):
            for caption in captions(scene, register, rng=rng):
                assert oracle.says_true(caption.text, scene, facts), (caption.text, scene)
                said[oracle.read(caption.text).relation] += 1
        for caption in captions(scene, SCENE, rng=rng):
            assert caption.text.split()[-1] == scene.scene
    assert set(said) == {None, *oracle.SAME}
    assert min(said.values()) >= 20, said


def test_the_independent_reading_can_say_no(ball_left_of_box):
    facts = oracle.seen_relations(ball_left_of_box)
    assert facts == ball_left_of_box.facts
    assert oracle.says_true("a striped ball to the left of a box at night", ball_left_of_box, facts)
    for wrong in (
        "a striped ball to the right of a box",
        "a dotted ball",
        "a ball and a ball",
        "a ball in the kitchen",
        "a box left of a ball",
        "a ball and a star",
    ):
        assert not oracle.says_true(wrong, ball_left_of_box, facts), wrong
    with pytest.raises(AssertionError, match="not a sentence"):
        oracle.read("ball a left of")


def test_words_have_their_class_and_place(scenes):
    classes = {noun: "object" for noun in NOUNS}
    classes |= {word: "attribute" for word in (*FINISHES, *SIZES)}
    classes |= {word: "scene" for word in SCENES}
    relation_words = {word for wordings in oracle.SAME.values() for text in wordings for word in text.split()}
    rng, seen = random.Random(0), Counter()
    for scene in scenes:
        for register in (WEB, RICH, SCENE):
            for caption in captions(scene, register, rng=rng, n=3):
                assert " ".join(word.text for word in caption.words) == caption.text
                relation = oracle.read(caption.text).relation if register is not SCENE else None
                for word in caption.words:
                    assert caption.text[word.start : word.end] == word.text
                    if word.text in classes:
                        assert word.word_class == classes[word.text], caption.text
                    elif word.word_class == "relation":
                        assert relation is not None
                        assert word.text in relation_words
                    else:
                        assert word.word_class == "other"
                    seen[word.word_class] += 1
                said = " ".join(word.text for word in caption.words if word.word_class == "relation")
                assert said in oracle.SAME[relation] if relation else not said
    assert min(seen.values()) > 100
    assert len(seen) == 5


def test_a_hand_worked_caption_has_these_words():
    statement = Statement(
        (Phrase("ball", "striped"), Phrase("box", size="large")),
        relation="left of",
        scene="kitchen",
        opening="there is",
        wording=1,
    )
    caption = realise(statement)
    assert caption.text == "there is a striped ball to the left of a large box in the kitchen"
    spans = [(w.text, w.start, w.end, w.word_class) for w in caption.words]
    assert spans[3:9] == [
        ("striped", 11, 18, "attribute"),
        ("ball", 19, 23, "object"),
        ("to", 24, 26, "relation"),
        ("the", 27, 30, "relation"),
        ("left", 31, 35, "relation"),
        ("of", 36, 38, "relation"),
    ]
    assert spans[-3:] == [("in", 51, 53, "other"), ("the", 54, 57, "other"), ("kitchen", 58, 65, "scene")]


def test_the_vocabulary_is_small_and_exactly_what_is_said():
    rng, said = random.Random(1), set()
    for scene in sample_scenes(700, seed=0, split="train"):
        for register in (RICH, SCENE):
            said |= {word.text for caption in captions(scene, register, rng=rng) for word in caption.words}
    assert said == set(GRAMMAR_WORDS)
    assert len(GRAMMAR_WORDS) < 100
    assert all(word == word.lower() and word.isalpha() for word in GRAMMAR_WORDS)


def shares(scenes, register: Register) -> dict[str, float]:
    """How often things are named: finishes per noun, relations per caption with a pair, scenes per caption."""
    rng, counts = random.Random(2), Counter()
    for scene in scenes:
        for caption in captions(scene, register, rng=rng, n=4):
            words = [word.text for word in caption.words]
            nouns = sum(word in NOUNS for word in words)
            counts["nouns"] += nouns
            counts["finishes"] += sum(word in FINISHES for word in words)
            counts["sizes"] += sum(word in SIZES for word in words)
            if scene.main:
                counts["pairs"] += 1
                counts["relations"] += any(word.word_class == "relation" for word in caption.words)
            if scene.has_background:
                counts["cues"] += 1
                counts["scenes"] += words[-1] in SCENES
    return {
        "finish": counts["finishes"] / counts["nouns"],
        "size": counts["sizes"] / counts["nouns"],
        "relation": counts["relations"] / counts["pairs"],
        "scene": counts["scenes"] / counts["cues"],
    }


@pytest.mark.parametrize("register", [WEB, RICH, replace(WEB, attribute_rate=0.2, size_rate=0.6)])
def test_rates_are_what_the_register_says(scenes, register):
    got = shares(scenes, register)
    assert got["finish"] == pytest.approx(register.attribute_rate, abs=0.05)
    assert got["size"] == pytest.approx(register.size_rate, abs=0.05)
    assert got["relation"] == pytest.approx(register.relation_rate, abs=0.05)
    assert got["scene"] == pytest.approx(register.scene_rate, abs=0.06)


def test_five_captions_vary_in_wording_and_order(scenes):
    rng = random.Random(3)
    texts = [{caption.text for caption in captions(scene, RICH, rng=rng)} for scene in scenes]
    assert sum(len(five) for five in texts) > 4.5 * len(scenes)
    firsts = Counter()
    for scene in scenes:
        if len(scene.objects) == 2:
            firsts[describe(scene, WEB, rng=rng).phrases[0].noun == scene.objects[0].noun] += 1
    assert 0.35 < firsts[True] / firsts.total() < 0.65


def test_directed_relations_are_turned_round_properly(scenes):
    rng, told = random.Random(5), Counter()
    for scene in scenes:
        if len(scene.objects) == 2 and scene.main:
            texts = {describe(scene, replace(RICH, relation_rate=1), rng=rng).relation for _ in range(25)}
            told[frozenset(texts)] += 1
    expected = {("left of", "right of"), ("above", "below"), ("inside",), ("touching",), ("pulling",)}
    assert {tuple(sorted(names)) for names in told} == expected


def test_truth_of_statements_worked_out_by_hand(ball_left_of_box):
    scene = ball_left_of_box
    ball, box = Phrase("ball"), Phrase("box")
    cases = {
        Statement((ball,)): True,
        Statement((ball, box), "left of"): True,
        Statement((box, ball), "right of"): True,
        Statement((box, ball), "left of"): False,
        Statement((ball, box), "touching"): False,
        Statement((ball, ball)): False,
        Statement((replace(ball, finish="striped", size="small"),)): True,
        Statement((replace(ball, finish="dark"),)): False,
        Statement((replace(box, size="small"), ball)): False,
        Statement((ball, box, Phrase("star")), "left of"): False,
        Statement((), scene="night"): True,
        Statement((), scene="snow"): False,
        Statement((ball,), scene="snow"): False,
    }
    assert {statement: is_true(statement, scene) for statement in cases} == cases


def test_only_the_scene_register_names_a_scene_without_cue(scenes):
    rng, blank = random.Random(6), [scene for scene in scenes if not scene.has_background]
    assert len(blank) > 20
    for scene in blank:
        loud = replace(RICH, scene_rate=1.0)
        assert all(describe(scene, loud, rng=rng).scene is None for _ in range(5))
        assert describe(scene, SCENE, rng=rng).scene == scene.scene
