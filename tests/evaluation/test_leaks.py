"""Accuracy on clean and on seen items, worked by hand."""

from __future__ import annotations

import pytest

from alignscope.data.leaks import Overlap
from alignscope.errors import BadData
from alignscope.evaluation.columns import in_columns
from alignscope.evaluation.leaks import accuracy_by_overlap, items_seen
from alignscope.records import Measurement, OptionScore, Signature

SIGNATURE = Signature("", "toy", "ab", 0, 0, "m", "w")
# item: subset, image, what training saw (image, right, wrong), scores of right and wrong text
TABLE = {
    "a/1": ("a", "1", (False, False, False), (2.0, 1.0)),
    "a/2": ("a", "2", (False, False, False), (1.0, 1.0)),
    "a/3": ("a", "3", (True, False, False), (2.0, 1.0)),
    "a/4": ("a", "3", (True, True, False), (3.0, 1.0)),
    "b/1": ("b", "4", (False, False, True), (1.0, 2.0)),
    "b/2": ("b", "5", (False, False, False), (None, 2.0)),
    "b/3": ("b", "6", (False, False, False), (0.0, -1.0)),
}
OVERLAPS = [Overlap(item, subset, image, *saw) for item, (subset, image, saw, _) in TABLE.items()]


def _options() -> list[OptionScore]:
    return [
        OptionScore("toy", item, subset, subset, "", image, "text", 0, place, score, False, False)
        for item, (subset, image, _, scores) in TABLE.items()
        for place, score in enumerate(scores)
    ]


def _measured(overlaps: list[Overlap] = OVERLAPS) -> dict[tuple[str, str], Measurement]:
    scores = in_columns(_options(), benchmark="toy")
    found = accuracy_by_overlap(overlaps, scores, asks="caption", signature=SIGNATURE, draws=200)
    assert len({(m.measure, m.group) for m in found}) == len(found)
    return {(m.measure, m.group): m for m in found}


def test_items_are_counted_by_way_and_subset():
    found = {
        (m.measure, m.group): (m.value, m.items, m.images) for m in items_seen(OVERLAPS, signature=SIGNATURE)
    }
    assert found["seen in training", "image"] == (2, 7, 6)
    assert found["seen in training", "right caption"] == (1, 7, 6)
    assert found["seen in training", "wrong caption | b"] == (1, 3, 3)
    assert found["seen in training", "any"] == (3, 7, 6)
    assert found["seen in training", "any | a"] == (2, 4, 3)
    assert len(found) == 4 * 3


@pytest.mark.parametrize(
    ("group", "value", "items", "ties", "missing"),
    [
        ("clean", 2 / 3, 3, 1, 1),
        ("seen (any)", 2 / 3, 3, 0, 0),
        ("seen (image)", 1.0, 2, 0, 0),
        ("seen (right caption)", 1.0, 1, 0, 0),
        ("seen (wrong caption)", 0.0, 1, 0, 0),
        ("clean | a", 1 / 2, 2, 1, 0),
        ("seen (any) | a", 1.0, 2, 0, 0),
        ("clean | b", 1.0, 1, 0, 1),
        ("seen (image) | b", None, 0, 0, 0),
    ],
)
def test_accuracy_of_clean_and_seen_items(group, value, items, ties, missing):
    found = _measured()["accuracy", group]
    assert (found.value, found.items, found.ties, found.missing) == (value, items, ties, missing)
    assert "the right text above all others" in found.reason
    assert f"|items:{items}|" in found.signature


def test_the_difference_is_seen_less_clean():
    found = _measured()
    assert found["accuracy difference", "seen (any) - clean"].value == pytest.approx(0)
    assert found["accuracy difference", "seen (any) - clean"].missing == 1
    assert found["accuracy difference", "seen (any) - clean | a"].value == pytest.approx(1 / 2)
    assert found["accuracy difference", "seen (any) - clean | b"].value == pytest.approx(-1)


def test_an_item_that_the_run_lacks_is_missing():
    more = [*OVERLAPS, Overlap("b/9", "b", "9", False, False, False)]
    assert _measured(more)["accuracy", "clean"].missing == 2


def test_scores_of_another_benchmark_and_similarities_are_refused():
    scores = in_columns(_options(), benchmark="toy")
    other = [Overlap("z/1", "z", "1", False, False, False)]
    with pytest.raises(BadData, match="answers none of the benchmark's 1 items"):
        accuracy_by_overlap(other, scores, asks="caption", signature=SIGNATURE)
    with pytest.raises(BadData, match="similarity are not right or wrong"):
        accuracy_by_overlap(OVERLAPS, scores, asks="similarity", signature=SIGNATURE)


def test_pairings_count_as_a_group():
    def options(item: str, scores: list[list[float]]) -> list[OptionScore]:
        return [
            OptionScore("w", item, "", "", "", f"{item}-{i}", "t", i, j, scores[i][j], False, False)
            for i in (0, 1)
            for j in (0, 1)
        ]

    columns = in_columns(
        [*options("both", [[2, 1], [1, 2]]), *options("text alone", [[2, 1], [3, 4]])], benchmark="w"
    )
    overlaps = [Overlap(item, "", item, False, False, False) for item in ("both", "text alone")]
    found = accuracy_by_overlap(overlaps, columns, asks="pairing", signature=SIGNATURE, draws=50)
    assert found[0].group == "clean"
    assert found[0].value == 0.5
