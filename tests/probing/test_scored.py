"""Numbers of scored texts, worked out by hand."""

import pytest

from alignscope.errors import BadInput
from alignscope.probing.scored import Numbered, by_nouns, changes, chosen, curves, means
from alignscope.records import ForcedChoice, TextScore


def scored(image, score, *, source="a", kind="caption", name="", draw=0, nouns=0, original="", text=""):
    text = text or f"{kind} {name} {draw} of {image}"
    return TextScore("m", source, image, kind, name, draw, nouns, original, text, score, score)


@pytest.fixture
def how(signature):
    return Numbered(signature, "100 x probability", {"a": 4, "b": 4}, draws=100)


def test_a_caption_counts_once_however_many_draws_it_has(how):
    scores = [scored("1", 50.0, text="one"), scored("2", 10.0, text="two"), scored("3", None, text="three")]
    drawn = [("1", 0, 60.0), ("1", 1, 50.0), ("2", 0, 4.0), ("2", 1, 10.0), ("3", 0, 99.0)]
    names = {"1": "one", "2": "two", "3": "three"}
    scores += [
        scored(image, score, kind="wrong nouns", draw=draw, original=names[image])
        for image, draw, score in drawn
    ]
    got = {(one.measure, one.group): one for one in changes(scores, how)}
    assert got["score", "a | captions"].value == 30.0
    assert got["score", "a | wrong nouns"].value == (55.0 + 7.0) / 2
    change = got["score above captions", "a | wrong nouns"]
    assert (change.value, change.items, change.missing) == (1.0, 2, 2)
    wins = got["higher than the caption", "a | wrong nouns"]
    assert (wins.value, wins.ties, wins.unit) == ((0.75 + 0.25) / 2, 2, "share")
    assert got["sd over draws", "a | wrong nouns"].value == pytest.approx(2**0.5)  # of 32 and 30


def test_sources_are_compared_on_images_that_both_caption(how):
    scores = [
        scored("1", 10.0),
        scored("2", 20.0),
        scored("1", 30.0, source="b"),
        scored("3", 0.0, source="b"),
    ]
    got = {(one.measure, one.group): one for one in means(scores, how)}
    assert got["score", "b | captions"].value == 15.0
    above = got["score above a", "b | captions"]
    assert (above.value, above.items, above.missing) == (20.0, 1, 3)


def test_a_choice_with_an_unscored_caption_is_missing(how):
    choices = [ForcedChoice(image, ("a", "b"), ("x", "y")) for image in "123"]
    scores = [scored("1", 1.0), scored("1", 2.0, source="b"), scored("2", 3.0), scored("2", 3.0, source="b")]
    scores += [scored("3", 9.0), scored("3", None, source="b")]
    got = {one.group: one for one in chosen(choices, scores, how)}
    assert (got["a | captions"].value, got["b | captions"].value) == (0.25, 0.75)
    assert (got["a | captions"].ties, got["a | captions"].items, got["a | captions"].missing) == (1, 2, 2)


def test_curves_leave_unscored_points_out(how):
    scores = [scored("1", 5.0, kind="noun count", name="t", nouns=3)]
    scores += [scored("1", None, kind="noun count", name="t", nouns=4)]
    numbers = by_nouns(scores, how)
    assert [(one.group, one.value) for one in numbers] == [("a | t | k=3", 5.0), ("a | t | k=4", None)]
    assert [(point.x, point.y) for point in curves(numbers, series="m")] == [(3.0, 5.0)]


def test_two_scores_of_one_caption_are_refused(how):
    with pytest.raises(BadInput, match="two scores"):
        means([scored("1", 1.0), scored("1", 2.0)], how)
