import math

import pytest

from alignscope.evaluation.sensitivity import NOUNS, OTHER, score_drops
from alignscope.records import EditedScore, Signature

SIGNATURE = Signature("", "pairs", "9f31c2", 0, 0, "tiny-clip", "ab12", version="0.1.0")


def edit(kind, drop, item="1", image="a", words=1, draw=0, score=10.0):
    return EditedScore(item, image, kind, draw, "right", "edited", words, score, score - drop)


def table(edits, **options):
    numbers = score_drops(edits, signature=SIGNATURE, **options)
    found = {(number.measure, number.group): number for number in numbers}
    assert len(found) == len(numbers)
    return found


AGAINST = "nouns against others"
EDITS = [
    edit(NOUNS, 4.0, "1", "a", words=2, draw=0),
    edit(NOUNS, 6.0, "1", "a", words=2, draw=1),
    edit(OTHER, 1.0, "1", "a", words=2),
    edit(NOUNS, 1.0, "2", "b"),
    edit(OTHER, 2.0, "2", "b"),
    edit(NOUNS, 3.0, "3", "c"),
    edit(OTHER, 3.0, "3", "c"),
    edit(NOUNS, 7.0, "4", "c"),  # no other words to replace
    edit(NOUNS, 5.0, "5", "d"),
    edit(OTHER, math.nan, "5", "d"),
]


def test_drops_worked_out_by_hand():
    found = table(EDITS)
    nouns = found["score drop", NOUNS]
    assert nouns.value == pytest.approx((5 + 1 + 3 + 7 + 5) / 5)
    assert (nouns.items, nouns.images, nouns.missing, nouns.unit) == (5, 4, 0, "score")
    other = found["score drop", OTHER]
    assert other.value == pytest.approx((1 + 2 + 3) / 3)
    assert (other.items, other.images, other.missing) == (3, 3, 2)
    assert found["score drop per word", NOUNS].value == pytest.approx((2.5 + 1 + 3 + 7 + 5) / 5)
    assert found["score drop per word", OTHER].value == pytest.approx((0.5 + 2 + 3) / 3)


def test_comparisons_use_captions_with_both_edits():
    found = table(EDITS)
    gap, ratio = found["drop gap", AGAINST], found["drop ratio", AGAINST]
    assert gap.value == pytest.approx((5 + 1 + 3) / 3 - 2)
    assert ratio.value == pytest.approx(9 / 6)
    assert (gap.items, gap.images, gap.missing, gap.unit) == (3, 3, 2, "score")
    assert ratio.unit == "ratio"
    share = found["nouns drop more", AGAINST]
    assert share.value == pytest.approx(1 / 3)
    assert (share.ties, share.items, share.missing) == (1, 3, 2)


def test_captions_without_any_edit_are_counted_everywhere():
    found = table(EDITS, missing=4)
    assert found["score drop", NOUNS].missing == 4
    assert found["score drop", OTHER].missing == 6
    assert found["drop gap", AGAINST].missing == 6


def test_an_edit_that_replaced_nothing_is_unscored():
    found = table([edit(NOUNS, 0.0, words=0), edit(NOUNS, 2.0, "2", "b")])
    nouns = found["score drop", NOUNS]
    assert (nouns.value, nouns.items, nouns.missing) == (2.0, 1, 1)
    assert found["drop gap", AGAINST].reason == "nothing scored"


def test_a_model_that_does_not_mind_other_words_has_no_ratio():
    edits = [
        edit(kind, drop, str(n), str(n)) for n in range(30) for kind, drop in ((NOUNS, 5.0), (OTHER, 0.0))
    ]
    found = table(edits)
    assert found["drop ratio", AGAINST].value is None
    assert found["drop gap", AGAINST].value == 5.0
    assert found["nouns drop more", AGAINST].value == 1.0


def test_the_gap_is_paired_within_images():
    edits = [
        edit(kind, drop + n, str(n), str(n)) for n in range(40) for kind, drop in ((NOUNS, 2.0), (OTHER, 1.0))
    ]
    found = table(edits)
    gap, alone = found["drop gap", AGAINST], found["score drop", NOUNS]
    assert gap.value == pytest.approx(1)
    assert gap.high - gap.low < 1e-9
    assert alone.high - alone.low > 3
