"""Foils: false of their image, one change each, and of every kind."""

from __future__ import annotations

import random
from collections import Counter

import pytest
import world_oracle as oracle

from alignscope.data.world.foils import false_statement, foils
from alignscope.data.world.grammar import RICH, Phrase, Statement, describe, realise
from alignscope.data.world.scene import WorldObject, WorldScene, sample_scenes
from alignscope.records import FOIL_KINDS, Box, Relation


@pytest.fixture(scope="module")
def made():
    """Scene, caption, its claim, and the foils with theirs, of 300 scenes."""
    rng, rows = random.Random(0), []
    for scene in sample_scenes(300, seed=6, split="test"):
        statement = describe(scene, RICH, rng=rng)
        rows += [(scene, realise(statement), foil) for foil in foils(scene, statement, rng=rng)]
    return rows


def test_foils_are_false_and_captions_true_by_an_independent_reading(made):
    kinds = Counter(foil.kind for _, _, foil in made)
    assert set(kinds) == set(FOIL_KINDS)
    assert min(kinds.values()) >= 150, kinds
    for scene, caption, foil in made:
        facts = oracle.seen_relations(scene)
        assert oracle.says_true(caption.text, scene, facts)
        assert not oracle.says_true(foil.text, scene, facts), (foil, scene)


def test_foils_carry_their_words_exactly(made):
    for _, _, foil in made:
        assert " ".join(word.text for word in foil.words) == foil.text
        assert all(foil.text[word.start : word.end] == word.text for word in foil.words)


def bag(caption) -> Counter:
    return Counter(word.text for word in caption.words)


def test_each_kind_changes_what_its_name_says(made):
    for _, caption, foil in made:
        before, after = oracle.read(caption.text), oracle.read(foil.text)
        gone, new = bag(caption) - bag(foil), bag(foil) - bag(caption)
        nouns = [tuple(sorted(thing & set(oracle.NOUN.split("|")))) for thing in before.things]
        new_nouns = [tuple(sorted(thing & set(oracle.NOUN.split("|")))) for thing in after.things]
        classes = {word.text: word.word_class for word in (*caption.words, *foil.words)}
        if foil.kind in ("replace_object", "replace_attribute"):
            changed = "object" if foil.kind == "replace_object" else "attribute"
            assert gone.total() == new.total() == 1
            assert {classes[word] for word in (*gone, *new)} == {changed}
        elif foil.kind == "replace_relation":
            assert before.things == after.things
            assert before.relation != after.relation
        elif foil.kind == "swap_relation":
            assert not gone
            assert after == before._replace(things=(before.things[1], before.things[0], *before.things[2:]))
        elif foil.kind in ("swap_object", "swap_attribute"):
            assert not gone
            assert not new
            assert before.relation == after.relation
            assert foil.text != caption.text
            assert (new_nouns == nouns) == (foil.kind == "swap_attribute")
        elif foil.kind == "add_object":
            assert not gone
            assert after.things[:-1] == before.things
            assert len(after.things[-1]) == 1
        else:
            assert foil.kind == "add_attribute"
            assert not gone
            assert new.total() == 1
            assert nouns == new_nouns
            assert classes[next(iter(new))] == "attribute"


def hand_scene(relation: str = "left of", back: str | None = "right of") -> WorldScene:
    ball = WorldObject("ball", "striped", "small", Box(4, 24, 18, 38), 14)
    box = WorldObject("box", "dark", "small", Box(36, 24, 50, 38), 14)
    relations = (Relation(0, relation, 1),) + ((Relation(1, back, 0),) if back else ())
    return WorldScene("hand", (ball, box), relations, relations[:1], "night", True)


def test_a_hand_worked_swap():
    statement = Statement((Phrase("ball", "striped"), Phrase("box", "dark")), relation="left of")
    texts = {foil.kind: foil.text for foil in foils(hand_scene(), statement, rng=random.Random(0))}
    assert texts["swap_object"] == "a striped box left of a dark ball"
    assert texts["swap_attribute"] == "a dark ball left of a striped box"
    assert texts["swap_relation"] == "a dark box left of a striped ball"
    assert set(texts) == set(FOIL_KINDS)


def test_a_symmetric_relation_has_no_swapped_relation():
    scene = hand_scene("touching", "touching")
    statement = Statement((Phrase("ball", "striped"), Phrase("box", "dark")), relation="touching")
    kinds = {foil.kind for foil in foils(scene, statement, rng=random.Random(0))}
    assert kinds == set(FOIL_KINDS) - {"swap_relation"}


@pytest.mark.parametrize("kind", ["swap_object", "swap_attribute", "replace_relation", "swap_relation"])
def test_a_kind_that_cannot_be_made_is_not_made(kind):
    statement = Statement((Phrase("ball"), Phrase("box")))
    assert false_statement(hand_scene(), statement, kind, rng=random.Random(0)) is None


def test_a_scene_caption_has_no_foils_of_these_kinds():
    statement = Statement((), scene="night", opening="the picture is taken")
    assert foils(hand_scene(), statement, rng=random.Random(0)) == ()
