"""Replacement: what changes, what stays, from which words it is drawn, and how evenly."""

from collections import Counter

import pytest

from alignscope.errors import BadData, BadInput
from alignscope.probing.replacing import Vocabulary, replaced_words, vocabulary_of
from alignscope.records import TaggedCaption, TaggedWord

NOUNS = ("bike", "cat", "cow", "dog", "tree")
VOCABULARY = Vocabulary(NOUNS, ("blue", "in", "the"), captions=9, more_than=5)


def test_vocabularies_by_hand(caption):
    captions = [caption("a/DET dog/NOUN light/ADJ Rome/PROPN rare/ADJ")] + 6 * [
        caption(
            "a/DET dog/NOUN light/ADJ Rome/PROPN walk/VERB walk/NOUN light/NOUN light/ADJ cat/NOUN up/ADV"
        )
    ]
    found = vocabulary_of(captions)
    assert found == Vocabulary(("cat", "dog", "walk"), ("a", "light", "up"), captions=7, more_than=5)
    assert str(found).startswith("3 nouns and 3 other words, each more than 5 times in 7 captions, sha ")
    rarer = vocabulary_of(captions, more_than=6)
    assert (rarer.nouns, rarer.others) == (("dog",), ("a", "light"))
    parts = [caption("a/DET dog/NOUN n't/PART 's/PART 2/NUM 2nd/NOUN")] * 6
    assert (vocabulary_of(parts).nouns, vocabulary_of(parts).others) == (("dog",), ("a",))
    with pytest.raises(BadData, match="0 nouns and 0 other words"):
        vocabulary_of(captions[:1])


def test_what_changes_and_what_stays(caption):
    one = caption("A/DET Dog/NOUN near/ADP a/DET dog/NOUN")
    own = {"1": [caption("cats/NOUN and/CCONJ a/DET cow/NOUN"), caption("a/DET tree/NOUN")]}
    made, problems = replaced_words([one], own, VOCABULARY, draws=20)
    assert problems == []
    assert Counter(each.kind for each in made) == {"wrong nouns": 20, "random other words": 20}
    for each in made:
        words, new = one.text.split(), each.text.split()
        assert len(new) == len(words)
        changed = [(old, other) for old, other in zip(words, new, strict=True) if old != other]
        assert len(changed) == each.changed
        assert each.recipe == str(VOCABULARY)
        if each.kind == "wrong nouns":
            assert [old for old, _ in changed] == ["Dog", "dog"]
            assert new[1].istitle()
            assert {other.lower() for _, other in changed} <= {"bike", "cat"}
            assert each.nouns == f"{new[1].lower()}|{new[4]}"
        else:
            assert [old for old, _ in changed] == ["A", "near", "a"]
            assert {other.lower() for _, other in changed} <= set(VOCABULARY.others)
            assert each.nouns == "dog|dog"
    assert [each.draw for each in made[:20]] == list(range(20))


def test_parts_of_words_stay_where_they_hang():
    text = "the man's dog isn't big"
    places = [
        ("the", 0, "DET"),
        ("man", 4, "NOUN"),
        ("'s", 7, "PART"),
        ("dog", 10, "NOUN"),
        ("is", 14, "AUX"),
    ]
    places += [("n't", 16, "PART"), ("big", 20, "ADJ")]
    words = tuple(TaggedWord(word, start, start + len(word), tag) for word, start, tag in places)
    one = TaggedCaption("1", text, words)
    pool = Vocabulary(("cow",), ("blue",), captions=9, more_than=5)
    made, _ = replaced_words([one], {"1": [one]}, pool, draws=1)
    assert [(each.text, each.changed) for each in made] == [
        ("the cow's cow isn't big", 2),
        ("blue man's dog bluen't blue", 3),
    ]


def test_every_allowed_word_is_as_likely(caption):
    made, _ = replaced_words(
        [caption("dog/NOUN")], {"1": [caption("a/DET cow/NOUN")]}, VOCABULARY, draws=3000
    )
    drawn = Counter(each.text for each in made)
    assert set(drawn) == {"bike", "cat", "tree"}
    assert all(abs(count - 1000) < 130 for count in drawn.values())  # five standard deviations


def test_one_noun_left_among_many_is_found(caption):
    many = Vocabulary(tuple(f"n{i:04}" for i in range(3000)), ("the",), captions=9, more_than=5)
    said = caption(" ".join(f"n{i:04}/NOUN" for i in range(2999)))
    made, _ = replaced_words([caption("dog/NOUN a/DET")], {"1": [said]}, many, draws=1)
    assert made[0].text == "n2999 a"
    with pytest.raises(BadData, match="all of them barred"):
        replaced_words([caption("n2999/NOUN")], {"1": [said]}, many)


def test_draws_depend_on_the_seed_and_the_caption_alone(caption):
    one, two = caption("dog/NOUN runs/VERB", "1"), caption("cat/NOUN runs/VERB", "2")
    own = {"1": [caption("x/X")], "2": [caption("x/X")]}
    together, _ = replaced_words([one, two], own, VOCABULARY)
    turned, _ = replaced_words([two, one], own, VOCABULARY)
    assert sorted(together, key=str) == sorted(turned, key=str)
    assert replaced_words([one, two], own, VOCABULARY, seed=1)[0] != together


def test_what_cannot_be_replaced_is_unscored(caption):
    own = {image: [caption("a/DET cow/NOUN")] for image in ("1", "2", "3")}
    captions = [
        caption("running/VERB", "1"),
        caption("dog/NOUN dog/NOUN", "2"),
        TaggedCaption("3", "?", ()),
        caption("a/DET dog/NOUN", "4"),
    ]
    made, problems = replaced_words(captions, own, VOCABULARY, draws=1)
    assert [(each.image, each.kind) for each in made] == [("1", "random other words"), ("2", "wrong nouns")]
    assert [(one.item, one.what) for one in problems] == [
        ("1", "wrong nouns: no word to replace in the caption"),
        ("2", "random other words: no word to replace in the caption"),
        ("3", "wrong nouns: no word to replace in the caption"),
        ("3", "random other words: no word to replace in the caption"),
        ("4", "no reference of the image"),
    ]
    with pytest.raises(BadInput, match="0 draws"):
        replaced_words(captions, own, VOCABULARY, draws=0)
