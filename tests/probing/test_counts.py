"""Length and nouns: cases counted by hand, and what real captions have."""

from dataclasses import replace
from pathlib import Path

import pytest

from alignscope.data.coco import read_captions
from alignscope.errors import BadInput
from alignscope.probing.captions import tagged_captions
from alignscope.probing.counts import AVERAGES, averages, counted
from alignscope.records import CaptionCounts, ImageCaption, TaggedCaption, TaggedWord

COCO = Path(__file__).parents[2].parent / "shared" / "data" / "coco_karpathy" / "coco_test_1.json"


def test_a_caption_counted_by_hand(caption):
    one = caption("these/DET Elephants/NOUN elephants/NOUN near/ADP London/PROPN")
    [counts], problems = counted([one])
    assert counts == CaptionCounts("1", one.text, words=5, nouns=2, unique_nouns=1)
    assert problems == []
    assert counted([one], names=True)[0] == [replace(counts, nouns=3, unique_nouns=2)]


def test_lemmas_join_what_spelling_divides():
    words = (TaggedWord("dog", 0, 3, "NOUN", "dog"), TaggedWord("dogs", 4, 8, "NOUN", "dog"))
    one = TaggedCaption("1", "dog dogs", words)
    assert counted([one])[0][0].unique_nouns == 2
    assert counted([one], lemmas=True)[0][0].unique_nouns == 1
    bare = replace(one, words=tuple(replace(word, lemma="") for word in words))
    with pytest.raises(BadInput, match="lemmas=True"):
        counted([bare], lemmas=True)


def test_averages_by_hand(caption, signature):
    captions = [
        caption("a/DET dog/NOUN", "1"),
        caption("dog/NOUN dog/NOUN dog/NOUN dog/NOUN", "2"),
        caption("running/VERB", "3"),
        TaggedCaption("4", "?", ()),
    ]
    counts, problems = counted(captions)
    assert [(one.item, one.what) for one in problems] == [("4", "no word in the caption")]
    found = averages(counts, signature=signature, missing=len(problems))
    assert [(one.measure, one.unit) for one in found] == list(AVERAGES)
    assert [one.value for one in found] == pytest.approx([7 / 3, 5 / 3, 2 / 3, 0.5, 1 / 3])
    for one in found:
        assert (one.items, one.images, one.missing) == (3, 3, 1)
        assert one.low is not None
        assert one.low <= one.value <= one.high
        assert one.signature.startswith(f"{one.measure}|data:captions|")


def test_nothing_counted_is_unscored(signature):
    found = averages([], signature=signature, missing=2)
    assert len(found) == len(AVERAGES)
    assert {(one.value, one.reason, one.missing) for one in found} == {(None, "nothing scored", 2)}


@pytest.mark.skipif(not COCO.exists(), reason="needs the captions of the Karpathy test split")
def test_real_captions_have_about_as_many_nouns_as_the_papers(signature):
    """CE captions have 9.5 words, 3.4 nouns, 3.2 distinct (Table 4); all 25,010 references 10.45, 3.61 and 3.56.

    The latter by `benchmarks/pattern_speed.py --number 25010`; here the first caption of 1,000 images.
    """
    images = read_captions(COCO).images[:1000]
    captions = tagged_captions([ImageCaption(one.image, one.captions[0]) for one in images])
    counts, problems = counted(captions)
    assert (len(counts), problems) == (1000, [])
    found = {one.measure: one.value for one in averages(counts, signature=signature, draws=10)}
    assert found["caption length"] == pytest.approx(10.4, abs=0.5)
    assert found["nouns per caption"] == pytest.approx(3.6, abs=0.3)
    assert found["unique nouns per caption"] == pytest.approx(3.5, abs=0.3)
    assert found["captions with a repeated noun"] < 0.1
