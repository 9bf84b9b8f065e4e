"""Parts of speech: spaCy's on plain captions, those of the world's word classes, and a lexicon's."""

import random

import pytest

from alignscope.data.world.grammar import GRAMMAR_WORDS, RICH, SCENE, WEB, describe, realise
from alignscope.data.world.scene import sample_scenes
from alignscope.errors import BadInput
from alignscope.language.tags import UNKNOWN, lexicon_of, looked_up, tagged, tags_of
from alignscope.records import Caption, Word


def test_words_are_where_they_say_and_punctuation_is_left_out():
    text = "Two  men's bikes, a T-shirt!"
    [words] = tagged([text])
    assert [word.text for word in words] == ["Two", "men", "'s", "bikes", "a", "T", "shirt"]
    assert [text[word.start : word.end] for word in words] == [word.text for word in words]


def test_capitals_are_no_names_and_keep_their_letters():
    [words] = tagged(["TWO DOGS RUN"])
    assert [(word.text, word.tag) for word in words][:2] == [("TWO", "NUM"), ("DOGS", "NOUN")]


def test_lemmas_are_those_asked_for():
    [with_lemmas], [without] = tagged(["two dogs"], lemmas=True), tagged(["two dogs"])
    assert [word.lemma for word in with_lemmas] == ["two", "dog"]
    assert [word.lemma for word in without] == ["", ""]


def test_nothing_to_tag():
    assert list(tagged([])) == []
    assert list(tagged(["", "..."])) == [(), ()]
    with pytest.raises(BadInput, match="one text"):
        list(tagged("a dog"))


def world_captions() -> list[Caption]:
    rng = random.Random(0)
    return [
        realise(describe(scene, register, rng=rng))
        for register in (WEB, RICH, SCENE)
        for scene in sample_scenes(200, seed=0, split="train")
    ]


def test_every_word_of_the_world_has_a_tag_and_classes_decide():
    captions = world_captions()
    lexicon = lexicon_of(captions)
    assert set(lexicon) <= set(GRAMMAR_WORDS)
    assert len(lexicon) > 40
    assert UNKNOWN not in lexicon.values()
    wanted = {"object": {"NOUN"}, "scene": {"NOUN"}, "attribute": {"ADJ"}, "relation": {"ADP", "VERB"}}
    for caption in captions:
        for word, tagged_word in zip(caption.words, tags_of(caption), strict=True):
            assert tagged_word.text == word.text
            assert word.word_class == "other" or tagged_word.tag in wanted[word.word_class]


def test_a_lexicon_holds_the_most_frequent_tag_and_the_first_of_equals():
    def say(text: str, word_class: str) -> Caption:
        return Caption(text, (Word(text, 0, len(text), word_class),))

    captions = [
        say("Light", "object"),
        say("light", "attribute"),
        say("light", "attribute"),
        say("z", "other"),
    ]
    lexicon = lexicon_of(captions)
    assert lexicon == {"light": "ADJ", "z": "X"}
    assert lexicon_of(captions[:2]) == {"light": "ADJ"}
    assert [(word.text, word.tag) for word in looked_up("LIGHT moon", lexicon)] == [
        ("LIGHT", "ADJ"),
        ("moon", "X"),
    ]
