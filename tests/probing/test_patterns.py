"""Sentence patterns: the paper's own strings, plain regular expressions, readings that widen, linear time."""

import random
import re
import time

import pytest

from alignscope.errors import BadInput
from alignscope.language.tags import tagged
from alignscope.probing.patterns import (
    PAPER_PATTERNS,
    READINGS,
    Pattern,
    class_string,
    fit_of,
    pattern_fits,
    pattern_ratios,
)
from alignscope.records import TaggedCaption

BY_NAME = {pattern.name: pattern for pattern in PAPER_PATTERNS}
TABLE_5_PREFIXES = [
    ("UNITER", "NP+ REL", "a table table of"),
    ("ROSITA", "a IMG that is", "a image image that is"),
    ("ROSITA", "NP+ that is", "a man man that is"),
    ("ViLBERT", "NP+ that", "a bird that"),
    ("CLIP", "a IMG of", "a image image of"),
    ("LXMERT", "NP+ REL", "a man man posing"),
]
TABLE_5 = [
    ("UNITER", "a table table of the table tools"),
    ("ROSITA", "a image image that is a a cabinets but a a cabinets but a a sink"),
    ("ROSITA", "a man man that is a a person bike a a dirt but a a rural dirt"),
    ("ViLBERT", "a bird that the kite above the sky above the beach towards this water"),
    (
        "CLIP",
        "a image image of a white bathroom with a brown shower curtain near a corner area and seat floor holder",
    ),
    ("LXMERT", "a man man posing a bike riding a bike bike riding a dirt near a road near a dirt ground"),
]
TABLE_3 = [
    (
        "UNITER",
        "",
        "a motorcycle bike motorcycle bike motorcycle bike",
    ),  # no relation, which its pattern needs
    ("UNITER", "strict", "a elephant of elephants elephant"),
    ("UNITER", "opening", "a group playing a court playing the court"),  # goes on with another relation
    ("ROSITA", "strict", "a image that is a a motor bike but a a motor but a a road but a a dirt"),
    (  # a verb, which its pattern lacks
        "ROSITA",
        "opening",
        "a image image that is a a elephants elephants elephants touching a a zoo exhibit but a a zoo pin",
    ),
    (
        "ROSITA",
        "strict",
        "a young people a a young person a a object that is a a court match but a a court",
    ),
    (
        "ViLBERT",
        "strict",
        "a motorcycle that was in the metal at this park at the bike across the parking meter at this party",
    ),
    (
        "ViLBERT",
        "truncated",
        "a baby elephant that across the dirt towards the elephant at this enclosure behind the dirt behind "
        "his enclosure at",
    ),
    (
        "ViLBERT",
        "strict",
        "a girl that a frisbee across the basketball towards the basketball at this team at the basketball at "
        "the basketball",
    ),
    (
        "CLIP",
        "relaxed",
        "a image image of a row of motorcycles parked near a row area and a wire area near a background",
    ),
    (
        "CLIP",
        "relaxed",
        "a group image of people petting a elephant near a fenced area and a baby near a background area area",
    ),
    (
        "CLIP",
        "strict",
        "a group image of people petting a frisbee near a camera area and a neck shirt near a background area",
    ),
    (
        "LXMERT",
        "relaxed",
        "a bike parked parked of a motorcycle parked parked of a ground near a ground near a sand sand shore",
    ),
    (
        "LXMERT",
        "relaxed",
        "these elephants elephants elephants elephants interacting near a elephant elephant touching a "
        "touching a elephant near a dirt ground near",
    ),
    (
        "LXMERT",
        "relaxed",
        "these young young people standing young standing playing a holding a walking a holding a playing a "
        "holding a sky",
    ),
]
TABLE_1 = [
    ("UNITER", "a bunch of the bananas table"),
    ("ROSITA", "a closeup image that is a a bunch but a a bananas but a a table"),
    ("ViLBERT", "bunch that the bananas at the table"),
    ("CLIP", "a image image of a bunch near a bananas near a table"),
    ("LXMERT", "a bunch of bananas of a table"),
]
TABLE_6 = [  # ROSITA's lack the "is" of its own prefix
    ("UNITER", "a man of the horse field"),
    ("ViLBERT", "a man that the horse at the field"),
    ("CLIP", "a image image of a man near a horse near a field"),
    ("LXMERT", "a man of a horse of a field"),
    ("UNITER", "a tracks of the person guy background bicycle"),
    ("ViLBERT", "a tracks that the person at the guy at the background at the bicycle"),
    ("CLIP", "a image image of a tracks near a person near a guy near a background near a bicycle"),
    ("LXMERT", "a tracks of a person of a guy of a background of a bicycle"),
]


def said(text: str) -> TaggedCaption:
    return TaggedCaption("1", text, next(tagged([text])))


@pytest.mark.parametrize(("name", "prefix", "text"), TABLE_5_PREFIXES)
def test_the_papers_prefixes_match_their_own(name, prefix, text):
    [fit], _ = pattern_fits([said(text)], [BY_NAME[name]])
    assert (fit.pattern, fit.prefix, fit.fit) == (name, prefix, "")


@pytest.mark.parametrize(("name", "text"), TABLE_5 + TABLE_1 + TABLE_6)
def test_the_papers_examples_match_their_own_pattern_strictly(name, text):
    [fit], _ = pattern_fits([said(text)], [BY_NAME[name]])
    assert fit.prefix in BY_NAME[name].prefixes
    assert fit.fit == "strict"


@pytest.mark.parametrize(("name", "reading", "text"), TABLE_3)
def test_table_3_in_the_narrowest_reading_that_takes_it(name, reading, text):
    [fit], _ = pattern_fits([said(text)], [BY_NAME[name]])
    assert fit.fit == reading


def test_twelve_of_fifteen_captions_of_table_3_fit_when_relaxed():
    assert len(TABLE_3) == 15
    assert sum(reading in ("strict", "truncated", "relaxed") for _, reading, _ in TABLE_3) == 12


def test_patterns_tell_the_models_apart():
    """No caption of Table 5 with "that" or an image phrase follows another model's pattern, fit for fit."""
    own = {"ROSITA": 2, "ViLBERT": 1, "CLIP": 1}
    fits, _ = pattern_fits([said(text) for _, text in TABLE_5])
    strict = [fit.pattern for fit in fits if fit.fit == "strict"]
    assert {name: strict.count(name) for name in own} == own


def test_classes_of_words(caption):
    words = caption(
        "A/DET the/DET two/NUM red/ADJ image/NOUN photo/NOUN of/ADP that/SCONJ is/AUX was/AUX and/CCONJ "
        "near/SCONJ to/PART while/SCONJ not/PART his/PRON it/PRON run/VERB Paris/PROPN now/ADV a/X"
    ).words
    assert class_string(words) == "ADJJINOTSWCRRXXDXRNXA"


PLAIN = {  # the same patterns as the re module reads them: no part keeps what it took
    "UNITER": "(NP)+[RO](NP)+",
    "ROSITA": "(AIMGTS|(NP)+TS)(C?(NP)+)+",
    "ViLBERT": "(NP)+T([SW]?[RO]?NP)+",
    "CLIP": "AIMGO(C?[RO]?(NP)+)+",
    "LXMERT": "(NP)+[RO]([RO]?NP)+",
}


@pytest.mark.parametrize("name", PLAIN)
def test_parts_that_give_nothing_back_match_the_same_language(name):
    plain = re.compile(PLAIN[name].replace("IMG", "([AD]*J*[NI]*I[NI]*)").replace("NP", "([AD]*J*[NI]+)"))
    rng = random.Random(name)
    pieces = ["AN", "AAJN", "AI", "AII", "N", "R", "O", "C", "T", "TS", "W", "X", "A", "J"]
    opening = {"UNITER": "ANR", "ROSITA": "AITS", "ViLBERT": "ANT", "CLIP": "AIO", "LXMERT": "ANR"}[name]
    matched = 0
    for draw in range(4000):
        text = (opening if draw % 2 else "") + "".join(rng.choices(pieces, k=rng.randint(1, 6)))
        is_match = plain.fullmatch(text) is not None
        assert (fit_of(text, BY_NAME[name].text) == "strict") == is_match, text
        matched += is_match
    assert 100 < matched < 3900


def test_a_tail_is_what_lacks_its_noun():
    pattern = "NP (REL NP)+"
    assert [fit_of(f"ANRAN{tail}", pattern) for tail in ("", "R", "RA", "C", "RAJ")] == ["strict"] + 4 * [
        "truncated"
    ]
    assert fit_of("ANRANX", pattern) == "opening"
    assert fit_of("ANR", pattern) == ""


def test_long_captions_take_linear_time():
    start = time.perf_counter()
    for pattern in PAPER_PATTERNS:
        assert fit_of("N" * 20_000 + "X", pattern.text) == ""
        assert fit_of("ANTAN" + "RAN" * 7_000 + "X", pattern.text) in ("", "opening")
    assert time.perf_counter() - start < 3  # exponential where parts give back


@pytest.mark.parametrize("text", ["NP+ foo", "NP & REL", "(NP", "NP ++", "+"])
def test_what_is_no_pattern_is_refused(text):
    with pytest.raises(BadInput, match="pattern"):
        fit_of("AN", text)


def test_ratios_by_hand(caption, signature):
    captions = [
        caption("a/DET dog/NOUN that/PRON a/DET cat/NOUN", "1"),
        caption("a/DET dog/NOUN that/PRON a/DET cat/NOUN near/ADP", "2"),
        caption("a/DET dog/NOUN that/PRON near/ADP near/ADP a/DET cat/NOUN", "3"),
        caption("a/DET dog/NOUN that/PRON a/DET cat/NOUN now/ADV", "4"),
        caption("dog/NOUN dog/NOUN dog/NOUN", "5"),
        TaggedCaption("6", "...", ()),
    ]
    patterns = [Pattern("mine", ("NP that", "NP"), "(REL? NP)+")]
    fits, problems = pattern_fits(captions, patterns)
    assert [(fit.prefix, fit.fit) for fit in fits] == [
        ("NP that", "strict"),
        ("NP that", "truncated"),
        ("NP that", "relaxed"),
        ("NP that", "opening"),
        ("NP", ""),
    ]
    assert [(one.item, one.what, one.action) for one in problems] == [
        ("6", "no word in the caption", "unscored")
    ]
    found = pattern_ratios(fits, patterns, signature=signature, missing=len(problems))
    assert [(one.measure, one.value) for one in found] == [
        ("prefix ratio", 0.8),
        ("prefix ratio", 0.2),
        *[
            (f"pattern ratio, {reading}", value)
            for reading, value in zip(READINGS, (0.2, 0.4, 0.6, 0.8), strict=True)
        ],
    ]
    assert {one.group for one in found[2:]} == {"mine: (NP that | NP) (REL? NP)+"}
    assert all((one.items, one.images, one.missing) == (5, 5, 1) for one in found)
    assert all(one.low <= one.value <= one.high for one in found)
