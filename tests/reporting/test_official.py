"""Who counts which number, and what is made of them in a sentence."""

from __future__ import annotations

from typing import Any

import pytest

from alignscope.records import Measurement
from alignscope.reporting.official import (
    MANY,
    counts_in_words,
    headline,
    in_order,
    official_result,
    our_result,
    summed,
)


def number(measure: str, group: str = "all", value: float | None = 0.5, **rest: Any) -> Measurement:
    return Measurement(measure, group, value, None, None, **{"items": 10, "images": 9, **rest})


@pytest.mark.parametrize(
    ("measure", "where"),
    [
        ("official accuracy", "official"),
        ("p_c", "official"),
        ("acc", "official"),
        ("recall@10", "official"),
        ("mean recall", "official"),
        ("spearman", "official"),
        ("accuracy", "ours"),
        ("accuracy (ties half)", "ours"),
        ("accuracy difference", "other"),
        ("paper B accuracy", "other"),
        ("seen in training (caption)", "other"),
        ("chance", "baselines"),
        ("chance: recall@1", "baselines"),
        ("text alone: more words", "baselines"),
        ("bag-of-words ceiling", "baselines"),
        ("baseline", "baselines"),
    ],
)
def test_every_measure_has_one_place(measure: str, where: str) -> None:
    numbers = in_order([number(measure)])
    places = ("official", "official_parts", "ours", "our_parts", "baselines", "other")
    assert [name for name in places if getattr(numbers, name)] == [where]


@pytest.mark.parametrize(("count", "apart"), [(MANY, 0), (MANY + 1, MANY + 1)])
def test_parts_stand_apart_where_they_are_many(count: int, apart: int) -> None:
    whole = number("official accuracy", reason="official: mean over groups")
    axis = number("official accuracy", "Object/Size/large", reason="mean over 4 subsets")
    parts = [number("official accuracy", f"part {n}") for n in range(count)]
    numbers = in_order([whole, axis, *parts])
    assert len(numbers.official_parts) == apart
    assert {whole, axis} <= set(numbers.official)
    assert len(numbers.official) == count + 2 - apart


def test_counts_of_retrieval_are_those_of_all_queries() -> None:
    ways = [
        number("recall@1", "image to text", ties=1),
        number("recall@1", "text to image", ties=2, items=50, missing=3),
    ]
    assert (
        counts_in_words(in_order([*ways, number("recall@5", "text to image", ties=7)]))
        == "3 of 60 items tied, 3 of 63 missing"
    )


def test_questions_are_told_side_by_side() -> None:
    rule = "official: share of items; ties wrong"
    asked = [
        number("official accuracy", name, share, reason=rule)
        for name, share in {"ITT": 0.5, "TOT": 0.25}.items()
    ]
    ours = [
        number("accuracy", name, 0.5)
        for name in ("ITT", "ITT | swap_att", "ITT | all subsets (macro)", "TOT")
    ]
    numbers = in_order([*asked, *ours])
    assert (official_result(numbers).value, official_result(numbers).note) == (
        "50.00 % and 25.00 %",
        "ITT and TOT",
    )
    assert our_result(numbers).note == "ITT and TOT"
    assert [m.group for m in summed(ours)] == ["ITT", "ITT | all subsets (macro)", "TOT"]
    assert numbers.rule == "share of items; ties wrong"


def test_an_unscored_benchmark_says_why() -> None:
    said = headline(in_order([number("official accuracy", value=None, reason="no scores")]), "m", "B")
    assert said == "m on B: nothing could be scored by the authors’ rule (no scores)."
