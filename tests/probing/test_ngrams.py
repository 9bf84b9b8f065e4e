"""Runs of words and tags against a slow plain count, and cases by hand."""

import random
from collections import Counter

import pytest

from alignscope.errors import BadInput
from alignscope.probing.ngrams import distinct, gram_counts
from alignscope.records import GramCount


def test_top_words_by_hand(caption):
    captions = [caption("A/DET dog/NOUN a/DET dog/VERB"), caption("dog/NOUN cat/NOUN"), caption("x/X")]
    assert gram_counts(captions, 1, top=2) == [
        GramCount("words", "anywhere", 1, "dog", "NOUN", 3, 2, 3 / 7),
        GramCount("words", "anywhere", 1, "a", "DET", 2, 1, 2 / 7),
    ]
    assert [one.gram for one in gram_counts(captions, 1)] == ["dog", "a", "cat", "x"]


def test_openings_count_each_caption_once(caption):
    captions = [caption("a/DET dog/NOUN a/DET dog/NOUN"), caption("a/DET cat/NOUN"), caption("a/DET")]
    assert gram_counts(captions, 2, place="start") == [
        GramCount("words", "start", 2, "a cat", "DET NOUN", 1, 1, 0.5),
        GramCount("words", "start", 2, "a dog", "DET NOUN", 1, 1, 0.5),
    ]
    assert gram_counts(captions, 2, of="tags", place="start") == [
        GramCount("tags", "start", 2, "DET NOUN", "", 2, 2, 1.0)
    ]


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("of", ["words", "tags"])
def test_counts_are_those_of_plain_code(caption, length, of):
    rng = random.Random(length)
    texts = [[rng.choice(["a/DET", "b/NOUN", "c/VERB"]) for _ in range(rng.randint(1, 9))] for _ in range(60)]
    part = 0 if of == "words" else 1
    sequences = [[word.split("/")[part] for word in text] for text in texts]
    plain = Counter()
    held = Counter()
    for sequence in sequences:
        grams = [" ".join(sequence[i : i + length]) for i in range(len(sequence) - length + 1)]
        plain.update(grams)
        held.update(set(grams))
    found = gram_counts([caption(" ".join(text)) for text in texts], length, of=of)
    assert {one.gram: (one.count, one.captions) for one in found} == {
        g: (n, held[g]) for g, n in plain.items()
    }
    assert sum(one.share for one in found) == pytest.approx(1)
    assert [one.count for one in found] == sorted(plain.values(), reverse=True)


def test_distinct_by_hand(caption, signature):
    captions = [
        caption("dog/NOUN dog/NOUN dog/NOUN", "1"),
        caption("a/DET Dog/NOUN", "2"),
        caption("x/X", "3"),
    ]
    within, among = distinct(captions, 1, signature=signature)
    assert (within.value, among.value) == (pytest.approx((1 / 3 + 1 + 1) / 3), 3 / 6)
    assert within.low < within.value < within.high
    assert (among.low, among.reason) == (None, "a share of all captions together: no interval")
    within, among = distinct(captions, 2, signature=signature)
    assert (within.measure, within.value, within.items, within.missing) == (
        "distinct-2 within a caption",
        0.75,
        2,
        1,
    )
    assert (among.measure, among.value, among.missing) == ("distinct-2 over all captions", 2 / 3, 1)
    assert [one.value for one in distinct(captions[2:], 2, signature=signature)] == [None, None]


def test_lengths_that_make_no_sense_are_refused(caption):
    with pytest.raises(BadInput, match="runs of 0"):
        gram_counts([], 0)
    with pytest.raises(BadInput, match="the first 0"):
        gram_counts([], 1, top=0)
    assert gram_counts([], 1) == []
