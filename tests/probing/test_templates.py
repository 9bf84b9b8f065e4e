"""Templates: the strings of Table 6 from their nouns, edge cases, and more and more nouns."""

from collections import Counter

import pytest

from alignscope.errors import BadInput
from alignscope.language.tags import tagged
from alignscope.probing.templates import (
    NOUN_COUNTS,
    TEMPLATES,
    VARIANTS,
    Template,
    filled,
    ranked_nouns,
    reconstructed,
    with_nouns,
)
from alignscope.records import MadeCaption, TaggedCaption

BY_NAME = {template.name: template for template in (*TEMPLATES, *VARIANTS)}
FIVE = ["tracks", "person", "guy", "background", "bicycle"]
TABLE_6 = [
    ("UNITER", "a man of the horse field", "a tracks of the person guy background bicycle"),
    (
        "ROSITA, Table 6",
        "a image image that a a man but a a horse but a a field",
        "a image image that a a tracks but a a person but a a guy but a a background but a a bicycle",
    ),
    (
        "ViLBERT",
        "a man that the horse at the field",
        "a tracks that the person at the guy at the background at the bicycle",
    ),
    (
        "CLIP",
        "a image image of a man near a horse near a field",
        "a image image of a tracks near a person near a guy near a background near a bicycle",
    ),
    ("LXMERT", "a man of a horse of a field", "a tracks of a person of a guy of a background of a bicycle"),
]
TABLE_1 = [
    ("UNITER", "a bunch of the bananas table"),
    ("ROSITA, Table 1", "a closeup image that is a a bunch but a a bananas but a a table"),
    ("ViLBERT, Table 1", "bunch that the bananas at the table"),
    ("CLIP", "a image image of a bunch near a bananas near a table"),
    ("LXMERT, Table 1", "a bunch of bananas of a table"),
]


@pytest.mark.parametrize(("name", "of_the_caption", "of_five"), TABLE_6)
def test_the_strings_of_table_6(name, of_the_caption, of_five):
    text = "a man riding a horse in a field"
    [made], problems = reconstructed([TaggedCaption("1", text, next(tagged([text])))], [BY_NAME[name]])
    assert made == MadeCaption(
        "1", "template", name, 0, text, of_the_caption, "man|horse|field", 3, 0, BY_NAME[name].text
    )
    assert problems == []
    words = [*FIVE, "man", "bike", "train"]
    [made], _ = with_nouns({"2": words}, [BY_NAME[name]], counts=[5])
    assert (made.kind, made.text, made.noun_count) == ("noun count", of_five, 5)


@pytest.mark.parametrize(("name", "text"), TABLE_1)
def test_the_strings_of_table_1(name, text):
    assert filled(BY_NAME[name], ["bunch", "bananas", "table"]) == text


def test_the_templates_of_table_7():
    nouns = ["w1", "w2", "w3", "w4"]
    assert [filled(template, nouns) for template in TEMPLATES] == [
        "a w1 of the w2 w3 w4",
        "a image image that is a a w1 but a a w2 but a a w3 but a a w4",
        "a w1 that the w2 at the w3 at the w4",
        "a image image of a w1 near a w2 near a w3 near a w4",
        "a w1 of a w2 of a w3 of a w4",
    ]
    assert filled(BY_NAME["CLIP, Table 7"], nouns[:2]) == "a image image of w1 near a w2"


def test_few_nouns_and_nouns_said_twice(caption):
    assert [filled(template, ["dog"]) for template in TEMPLATES] == [
        "a dog",
        "a image image that is a a dog",
        "a dog",
        "a image image of a dog",
        "a dog",
    ]
    captions = [
        caption("Dog/NOUN cat/NOUN dog/NOUN London/PROPN", "1"),
        caption("running/VERB", "2"),
        caption(5 * "dog/NOUN ", "3"),
        TaggedCaption("4", "!", ()),
    ]
    made, problems = reconstructed(captions, TEMPLATES[:1])
    assert [(one.text, one.nouns) for one in made] == [("a dog of the cat", "dog|cat"), ("a dog", "dog")]
    assert [(one.item, one.what) for one in problems] == [(i, "no noun in the caption") for i in ("2", "4")]
    [made, _], _ = reconstructed(captions, TEMPLATES[:1], names=True)
    assert made.text == "a dog of the cat london"
    assert len(reconstructed(captions)[0]) == 2 * len(TEMPLATES)


def test_templates_of_ones_own():
    mine = Template("mine", "here is NOUN, next to NOUN in a photo")
    assert filled(mine, ["dog", "cat"]) == "here is dog, next to cat in a photo"
    assert filled(mine, ["dog"]) == "here is dog"
    with pytest.raises(BadInput, match="at most 2"):
        filled(mine, ["dog", "cat", "cow"])
    with pytest.raises(BadInput, match="no noun"):
        filled(mine, [])
    assert filled(Template("odd", r"a NOUN (\1 NOUN)*"), ["dog", r"\g<0>"]) == r"a dog \1 \g<0>"


@pytest.mark.parametrize(
    "text", ["a dog", "a NOUN (of)*", "(NOUN)*", "a NOUN (NOUN NOUN)*", "a NOUN (NOUN)", "a NOUN )"]
)
def test_what_is_no_template_is_refused(text):
    with pytest.raises(BadInput, match="template"):
        Template("mine", text)


def references(caption):
    return [
        caption("dog/NOUN dog/NOUN cat/NOUN", "7"),
        caption("cat/NOUN bird/NOUN", "7"),
        caption("cow/NOUN bird/NOUN cat/NOUN", "7"),
    ]


def test_nouns_by_how_many_references_name_them_then_by_place(caption):
    own = references(caption)
    assert ranked_nouns(own) == ("cat", "bird", "dog", "cow")
    shuffled = Counter(ranked_nouns(own, seed=seed) for seed in range(200))
    assert len(shuffled) == 24
    assert ranked_nouns(own, seed=3) == ranked_nouns(own, seed=3)
    assert ranked_nouns([]) == ()


def test_curves_rest_on_the_same_images_unless_asked_otherwise():
    nouns = {"rich": ["a", "b", "c", "d", "e", "f", "g", "h"], "poor": ["a", "b", "c", "a", "d"], "none": []}
    made, problems = with_nouns(nouns)
    assert {one.image for one in made} == {"rich"}
    assert [one.noun_count for one in made] == [k for k in NOUN_COUNTS for _ in TEMPLATES]
    assert made[-1].text == "a a of a b of a c of a d of a e of a f of a g"
    assert Counter(one.item for one in problems) == {"poor": 5, "none": 5}
    assert problems[0].what == "4 nouns in the references, wanted 7"
    made, problems = with_nouns(nouns, TEMPLATES[:1], is_comparable=False)
    assert [(one.image, one.noun_count) for one in made if one.image != "rich"] == [("poor", 3), ("poor", 4)]
    assert Counter((one.item, one.action) for one in problems) == {
        ("poor", "unscored"): 3,
        ("none", "unscored"): 5,
    }
    with pytest.raises(BadInput, match="at least 1"):
        with_nouns(nouns, counts=[0, 3])
