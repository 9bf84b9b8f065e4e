"""Each rule of `language.classes` on a sentence whose classes a reader can work out."""

from __future__ import annotations

import pytest

pytest.importorskip("spacy", reason="needs the extra alignscope[language]")

from alignscope.errors import BadInput
from alignscope.language.classes import WORD, word_classes

LETTER = {"object": "o", "attribute": "a", "relation": "r", "other": "-"}
CASES = {
    "R1 nouns and compounds": ("A woman holds a tennis racket", "-or-oo"),
    "R1 a lot of": ("A lot of people in a room", "---or-o"),
    "R2 gerund in a name": ("A parking meter near a wall", "-oor-o"),
    "R2 adjective in a name": ("A man eats a hot dog", "-or-oo"),
    "R4 before the noun": ("A small brown dog on a rug", "-aaor-o"),
    "R4 predicate through a copula": ("The shirt is red", "-o-a"),
    "R4 conjoined": ("A black and white cat on a bed", "-a-aor-o"),
    "R4 adverbs say nothing": ("A very large truck on a road", "--aor-o"),
    "R5 participle before the noun": ("Two parked cars on a street", "-aor-o"),
    "R6 verb without a target": ("A dog is sleeping", "-o-a"),
    "R8 in front of": ("A dog in front of a door", "-orrr-o"),
    "R8 on top of": ("A cat on top of a car", "-orrr-o"),
    "R8 next to": ("A cup next to a plate", "-orr-o"),
    "R8 determiner and refiner inside": ("A dog on the left side of a bed", "-orrrrr-o"),
    "R9 prepositions": ("A cup of tea with milk on a tray", "-ororor-o"),
    "R9 before a pronoun": ("A man with a dog behind him", "-or-or-"),
    "R10 verb with an object": ("A boy throws a ball", "-or-o"),
    "R10 verb with a preposition": ("A man is sitting on a bench", "-o-rr-o"),
    "R10 passive with an agent": ("The cake is eaten by a dog", "-o-rr-o"),
    "R10 participle after the noun": ("A hill covered in snow", "-orro"),
    "R10 relative clause": ("A man that is holding a bat", "-o--r-o"),
    "R10 preposition behind an adverb": ("A dog sitting right next to a cat", "-or-rr-o"),
    "R10 participle taken for a noun": ("A ship sailing in water by a city", "-orror-o"),
    "R4 colours taken for nouns": ("A gold and silver clock on a wall", "-a-aor-o"),
    "R4 a colour taken for a compound": ("A cup near a turquoise wall", "-or-ao"),
    "R11 particle of a verb with a target": ("A man puts on a hat", "-orr-o"),
    "R12 one, two, many, other": ("Two dogs and many other animals", "-o---o"),
    "R12 going to": ("The man is going to throw a ball", "-o---r-o"),
    "R12 there is": ("There is a clock on the wall", "---or-o"),
    "all capitals": ("A DOG SITS ON A RED BENCH", "-orr-ao"),
}


@pytest.mark.parametrize(("text", "wanted"), CASES.values(), ids=CASES.keys())
def test_rule(text: str, wanted: str) -> None:
    [caption] = word_classes([text])
    assert "".join(LETTER[word.word_class] for word in caption.words) == wanted


def test_front_is_an_object_where_it_is_no_preposition() -> None:
    [thing, place] = word_classes(["The front of a bus is red", "A man in front of a bus"])
    assert {word.text: word.word_class for word in thing.words}["front"] == "object"
    assert {word.text: word.word_class for word in place.words}["front"] == "relation"


def test_space_does_not_interrupt_a_preposition() -> None:
    [caption] = word_classes(["A dog in  front\n of a bed"])
    assert "".join(LETTER[word.word_class] for word in caption.words) == "-orrr-o"


def test_one_text_in_place_of_a_list_is_an_error() -> None:
    with pytest.raises(BadInput, match="wanted a sequence"):
        word_classes("A dog")


def test_numerals_are_attributes_on_request_only() -> None:
    text = "Three dogs on a bed"
    assert word_classes([text])[0].words[0].word_class == "other"
    assert word_classes([text], numerals=True)[0].words[0].word_class == "attribute"


ODD = [
    "",
    "   ",
    "\n\n",
    "...!?",
    "dog",
    "A man's cat-like dog isn't here.",
    "Ein Mädchen mit Hüten — und Bäumen 🐕 am Fluß",
    "İSTANBUL'DA BİR KEDİ",
    "a dog\ton\u00a0a bed\n",
    "2,000 dogs @ 5:30pm #dogs http://example.com/a-b?c=d",
    "e\u0301cole pre\u0301s d'un cafe\u0301",
    "狗在床上",
    "a " * 600,
    "a \ud83d dog",
    "A dog in  front\n of a bed",
]


@pytest.mark.parametrize("text", ODD, ids=range(len(ODD)))
def test_every_word_of_odd_text_has_its_characters_and_a_class(text: str) -> None:
    [caption] = word_classes([text])
    assert caption.text == text
    assert [word.text for word in caption.words] == WORD.findall(text)
    assert all(text[word.start : word.end] == word.text for word in caption.words)
    assert all(word.word_class in LETTER for word in caption.words)


def test_captions_come_back_in_order_and_a_batch_changes_nothing() -> None:
    texts = ["A dog runs.", "A red cat on a bed.", "A dog runs.", "Two men hold a cup."]
    together = word_classes(texts)
    assert [caption.text for caption in together] == texts
    assert together == [word_classes([text])[0] for text in texts]


def test_words_joined_by_a_hyphen_are_one_word_with_the_class_of_its_head() -> None:
    [caption] = word_classes(["A multi-colored kite in the sky"])
    assert [(word.text, word.word_class) for word in caption.words][1:3] == [
        ("multi-colored", "attribute"),
        ("kite", "object"),
    ]
