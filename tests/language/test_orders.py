"""ARO's shuffles: hand-made tags show what may move, the parser's show that nothing is lost."""

import json
import random
import re
import string
from collections import Counter
from pathlib import Path

import pytest

from alignscope.language import orders
from alignscope.language.orders import WordOrders, cleaned, word_orders
from alignscope.language.pipeline import parsed

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
KINDS = WordOrders._fields[1:]
CAPTIONS = [
    "A man with a red helmet on a small moped on a dirt road. ",
    "Two big brown dogs chase the little white cat near an old wooden fence!",
    "There are three tall people\nstanding in a  kitchen, one holds a plate.",
    "A dog",
    "the man's two-year-old son eats a hot dog while his tired sister waits outside",
]


class Token:
    def __init__(self, text: str, tag: str) -> None:
        self.text, self.tag_, self.is_space = text, tag, not text.strip()


@pytest.fixture
def tagged(monkeypatch):
    """A parser that reads `word/TAG`."""

    def read(texts):
        return ([Token(*word.split("/")) for word in text.split(" ")] for text in texts)

    monkeypatch.setattr(orders, "parsed", read)


SENTENCE = "the/DT old/JJ man/NN quickly/RB fed/VBD big/JJR gray/JJ cats/NNS in/IN Rome/NNP"
WORDS = [word.partition("/")[0].lower() for word in SENTENCE.split()]


def bag(text: str) -> Counter[str]:
    return Counter(text.split())


def shuffled(kind: str) -> set[tuple[str, ...]]:
    """What 300 seeds make of the sentence."""
    found = set()
    for seed in range(300):
        [order] = word_orders([SENTENCE], seed=seed)
        found.add(tuple(getattr(order, kind).split()))
    return found


def places(*words: str) -> list[int]:
    return [WORDS.index(word) for word in words]


@pytest.mark.usefixtures("tagged")
@pytest.mark.parametrize(
    ("kind", "moving"),
    [
        ("nouns_and_adjectives", [places("man", "cats", "rome"), places("old", "big", "gray")]),
        ("all_but_nouns_and_adjectives", [places("the", "quickly", "fed", "in")]),
        ("within_trigrams", [[0, 1, 2], [3, 4, 5], [6, 7, 8]]),
    ],
)
def test_only_the_named_words_change_places_and_all_of_them_do(kind, moving):
    found = shuffled(kind)
    stay = set(range(len(WORDS))) - {place for group in moving for place in group}
    for words in found:
        assert all(words[place] == WORDS[place] for place in stay)
        for group in moving:
            assert Counter(words[place] for place in group) == Counter(WORDS[place] for place in group)
    for group in moving:  # every word is seen at every place of its group
        for place in group:
            assert {words[place] for words in found} == {WORDS[each] for each in group}


@pytest.mark.usefixtures("tagged")
def test_a_seed_means_the_same_shuffles_for_ever():
    """A stored order set names its seed: what made it must not drift with Python or this file."""
    [order] = word_orders([SENTENCE], seed=0)
    assert order[1:] == (
        "the gray rome quickly fed big old man in cats",
        "the old man fed in big gray cats quickly rome",
        "the old man fed big quickly gray in cats rome",
        "rome the old man gray cats in quickly fed big",
    )


@pytest.mark.usefixtures("tagged")
def test_trigrams_move_as_wholes():
    threes = [tuple(WORDS[start : start + 3]) for start in range(0, len(WORDS), 3)]
    found = shuffled("trigrams")
    assert len(found) == 24  # every order of four
    for words in found:
        rest = words
        seen = []
        while rest:
            [three] = [each for each in threes if rest[: len(each)] == each]
            seen.append(three)
            rest = rest[len(three) :]
        assert sorted(seen) == sorted(threes)


def test_shuffles_are_permutations_of_the_parsers_words():
    for caption, document, order in zip(
        CAPTIONS, parsed(CAPTIONS), word_orders(CAPTIONS, seed=3), strict=True
    ):
        words = bag(cleaned(" ".join(token.text for token in document)))
        assert order.caption == cleaned(caption)
        for kind in KINDS:
            assert bag(getattr(order, kind)) == words


def test_what_stays_and_moves_by_the_parsers_tags():
    [order] = word_orders(["A red dog chases the small cat near a big tree"], seed=5)
    still = order.nouns_and_adjectives.split()
    assert [still[place] for place in (0, 3, 4, 7, 8)] == ["a", "chases", "the", "near", "a"]
    assert {still[place] for place in (1, 5, 9)} == {"red", "small", "big"}
    others = order.all_but_nouns_and_adjectives.split()
    assert [others[place] for place in (1, 2, 5, 6, 9, 10)] == ["red", "dog", "small", "cat", "big", "tree"]


def test_a_caption_is_shuffled_alike_in_any_company_and_by_any_global_state():
    alone = [next(word_orders([caption], seed=7)) for caption in CAPTIONS]
    random.seed(99)
    assert list(word_orders(CAPTIONS, seed=7)) == alone
    backwards = list(word_orders(CAPTIONS[::-1] * 60, seed=7))
    assert backwards == alone[::-1] * 60


def test_seeds_differ_and_kinds_are_drawn_apart():
    one, other = (next(word_orders(CAPTIONS[1:2], seed=seed)) for seed in (0, 1))
    assert one.caption == other.caption
    assert all(getattr(one, kind) != getattr(other, kind) for kind in KINDS)


def test_one_word_is_its_own_shuffle():
    [order] = word_orders(["Dogs"], seed=0)
    assert set(order) == {"dogs"}


def reference_clean(text: str) -> str:
    """The authors' rules for texts, said letter by letter: a slow oracle."""
    spaced = "".join(" " if letter in '.!"()*#:;~' else letter for letter in text.lower())
    return " ".join([word for word in re.split(r"\s", spaced) if word][:30])


def test_cleaning_against_a_slow_oracle():
    draw = random.Random(0)
    letters = string.ascii_letters + string.punctuation + "   \n"
    for length in range(0, 300, 3):
        text = "".join(draw.choices(letters, k=length))
        assert cleaned(text) == reference_clean(text)
    assert cleaned("word " * 40) == " ".join(["word"] * 30)


@pytest.mark.skipif(not (SHARED / "coco_karpathy").is_dir(), reason="../shared/data is not here")
def test_real_captions_lose_no_letter():
    records = json.loads((SHARED / "coco_karpathy" / "coco_test_1.json").read_text())
    captions = [text for record in records[:120] for text in record["caption"] if len(text.split()) < 25]
    for order in word_orders(captions, seed=0):
        letters = sorted("".join(order.caption.split()))
        for kind in KINDS:
            assert sorted("".join(getattr(order, kind).split())) == letters
