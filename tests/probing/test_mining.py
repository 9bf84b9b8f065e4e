"""Mined patterns: those of the paper come out of the paper's strings, and every caption follows its own."""

import random

import pytest

from alignscope.errors import BadInput
from alignscope.probing.mining import as_patterns, mined_patterns, own_pattern
from alignscope.probing.patterns import READINGS, fit_of, pattern_fits
from alignscope.records import MinedPattern, TaggedCaption


@pytest.mark.parametrize(
    ("classes", "pattern"),
    [
        ("ANNODNN", "NP+ REL NP+"),  # UNITER in Table 5
        ("AIITSAANCAANCAAN", "a IMG that is (CONJ? NP+)+"),  # ROSITA
        ("ANNTSAANNAANCAAJN", "NP+ that is (CONJ? NP+)+"),
        ("ANTDNRDNRDNRDN", "NP+ that (REL? NP+)+"),  # ViLBERT, which has no AUX here
        ("AIIOAJNRAJNNRANNCNNN", "a IMG of (CONJ? REL? NP+)+"),  # CLIP
        ("ANNRANRANNRANRANRANN", "NP+ REL (REL? NP+)+"),  # LXMERT
        ("ANRANRA", "NP+ REL (REL? NP+)+"),  # an article alone stands for its phrase
        ("ANRANR", "NP+ REL NP+"),  # the end was cut off
        ("ANRANX", "NP+ REL NP+ LINK+"),
        ("RANRAN", "(REL NP+)+"),
        ("ANRANRCN", "NP+ REL (LINK* NP+)+"),
        ("RR", "LINK+"),
        ("AN", "NP+"),
        ("ANCCWXRN", "NP+ CONJ+ AUX OTHER REL NP+"),
    ],
)
def test_own_patterns_by_hand(classes, pattern):
    assert " ".join(part for part in own_pattern(classes) if part) == pattern


def test_every_caption_follows_its_own_pattern():
    rng = random.Random(0)
    reached = set()
    for _ in range(5000):
        classes = "".join(
            rng.choices("ADJNIROCSWTX", weights=(4, 2, 2, 6, 2, 4, 2, 2, 1, 1, 1, 1), k=rng.randint(1, 14))
        )
        fit = fit_of(classes, " ".join(own_pattern(classes)))
        assert fit in READINGS[:3], (classes, own_pattern(classes))
        reached.add(fit)
    assert reached == set(READINGS[:3])


def test_the_most_frequent_come_first_with_an_example(caption):
    dog = "a/DET dog/NOUN near/ADP a/DET cat/NOUN"
    captions = [
        caption("dog/NOUN dog/NOUN", "1"),
        caption(dog, "2"),
        caption(f"{dog} and/CCONJ", "3"),
        TaggedCaption("4", "?", ()),
        caption("no/DET dog/NOUN", "5"),
        caption("run/VERB", "6"),
    ]
    mined, problems = mined_patterns(captions, top=2)
    assert mined == [
        MinedPattern(1, "NP+", "", 2, 0.4, "dog dog"),
        MinedPattern(2, "NP+ REL", "NP+", 2, 0.4, "a dog near a cat"),
    ]
    assert [one.item for one in problems] == ["4"]
    fits, _ = pattern_fits(captions, as_patterns(mined))
    assert [fit.fit for fit in fits if fit.pattern == "mined 2"] == ["", "strict", "truncated", "", ""]
    with pytest.raises(BadInput, match="first 0"):
        mined_patterns(captions, top=0)
    assert mined_patterns([]) == ([], [])


def test_one_repeated_token_and_no_noun(caption):
    mined, problems = mined_patterns(
        [caption(20 * "dog/NOUN "), caption("running/VERB"), caption(20 * "a/DET ")]
    )
    assert [(one.prefix, one.body, one.captions) for one in mined] == [("NP+", "", 2), ("", "LINK+", 1)]
    assert problems == []
