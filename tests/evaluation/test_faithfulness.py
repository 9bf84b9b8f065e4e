"""Summaries of faithfulness and mean curves, worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from alignscope.evaluation.faithfulness import curves, faithfulness_summary
from alignscope.records import Faithfulness, Measurement, ScoreCurve, Signature

SIGNATURE = Signature("", "pairs", "9f31c2", 0, 0, "tiny-clip", "ab12", version="0.1.0")


def record(method: str, item: str, values: tuple[float, float, float, float]) -> Faithfulness:
    """Items 1 and 2 share image a, item 3 has b."""
    return Faithfulness(item, "b" if item == "3" else "a", method, 4, 9.0, 1.0, *values)


RECORDS = [
    record("random", "1", (0.5, 0.25, 2.0, 3.0)),
    record("random", "2", (0.75, 0.5, 1.0, 4.0)),
    record("random", "3", (0.25, 0.75, 3.0, 5.0)),
    record("gradcam", "1", (0.25, 0.75, 3.0, 1.0)),
    record("gradcam", "2", (0.5, 1.0, 2.0, 2.0)),
    record("gradcam", "3", (0.0, 1.25, 4.0, 3.0)),
]


def table(records: list[Faithfulness], **options: int) -> dict[tuple[str, str], Measurement]:
    numbers = faithfulness_summary(records, signature=SIGNATURE, **options)
    found = {(number.measure, number.method): number for number in numbers}
    assert len(found) == len(numbers)
    assert {number.group for number in numbers} == {"all"}
    return found


def test_means_and_gains_by_hand():
    found = table(RECORDS, missing=2)
    assert len(found) == 4 * 3
    assert {measure for measure, method in found if method == "random"} == {
        "deletion",
        "insertion",
        "comprehensiveness",
        "sufficiency",
    }
    values = {key: number.value for key, number in found.items()}
    assert values["deletion", "random"] == pytest.approx(0.5)
    assert values["deletion", "gradcam"] == pytest.approx(0.25)
    assert values["insertion", "gradcam"] == pytest.approx(1.0)
    assert values["comprehensiveness", "random"] == pytest.approx(2.0)
    assert values["sufficiency", "gradcam"] == pytest.approx(2.0)
    assert values["deletion gain", "gradcam"] == pytest.approx(0.25)
    assert values["insertion gain", "gradcam"] == pytest.approx(0.5)
    assert values["comprehensiveness gain", "gradcam"] == pytest.approx(1.0)
    assert values["sufficiency gain", "gradcam"] == pytest.approx(2.0)
    assert {(number.items, number.images, number.missing) for number in found.values()} == {(3, 2, 2)}
    assert {found[measure, "gradcam"].unit for measure in ("deletion", "insertion gain")} == {"area"}
    assert {found[measure, "gradcam"].unit for measure in ("comprehensiveness", "sufficiency gain")} == {
        "score"
    }
    assert found["deletion gain", "gradcam"].signature.startswith("deletion gain|method:gradcam|data:pairs|")


def test_what_is_worse_than_random_loses_by_every_measure():
    swapped = [replace(one, method="random" if one.method == "gradcam" else "gradcam") for one in RECORDS]
    gains = [number.value for (name, _), number in table(swapped).items() if name.endswith("gain")]
    assert gains == pytest.approx([-0.25, -0.5, -1.0, -2.0])


def test_gains_are_paired_within_captions():
    found = table(RECORDS)
    assert found["deletion", "gradcam"].low < found["deletion", "gradcam"].high
    gain = found["deletion gain", "gradcam"]  # 0.25 for each caption, though the areas differ
    assert (gain.low, gain.high, gain.reason) == (0.25, 0.25, "all draws equal: the interval has no width")
    # of two images a draw is (a, a), (a, b) or (b, b): sufficiency gains 2 and 2 of a, 2 of b
    own = found["sufficiency", "gradcam"]
    assert (own.low, own.high) == (pytest.approx(1.5), pytest.approx(3.0))


def test_what_has_no_number_is_counted_as_missing():
    odd = [
        *RECORDS[:2],  # random, without item 3
        replace(RECORDS[3], insertion=math.nan),
        *RECORDS[4:],
    ]
    found = table(odd, missing=1)
    assert (found["deletion", "gradcam"].items, found["deletion", "gradcam"].missing) == (3, 1)
    assert (found["insertion", "gradcam"].items, found["insertion", "gradcam"].missing) == (2, 2)
    assert (found["insertion gain", "gradcam"].items, found["insertion gain", "gradcam"].missing) == (1, 3)
    assert found["insertion gain", "gradcam"].value == 0.5
    assert (found["deletion gain", "gradcam"].items, found["deletion gain", "gradcam"].missing) == (2, 2)


def test_without_random_orders_gains_are_unscored():
    found = table(RECORDS[3:])
    assert found["deletion", "gradcam"].value == pytest.approx(0.25)
    gain = found["deletion gain", "gradcam"]
    assert (gain.value, gain.reason, gain.missing) == (None, "nothing scored", 3)
    assert faithfulness_summary([], signature=SIGNATURE) == []


def curve(values: tuple[float, ...], *, image: str = "a", kind: str = "deletion") -> ScoreCurve:
    return ScoreCurve("1", image, "gradcam", kind, values)


def test_a_mean_curve_reads_each_caption_at_the_same_fractions():
    points = curves(
        [curve((1.0, 0.5, 0.0)), curve((1.0, 0.0, 0.0), image="b"), curve((0.0, 1.0), kind="insertion")]
    )
    assert len(points) == 2 * 11
    deletion = [point for point in points if point.figure == "deletion curve"]
    assert [point.x for point in deletion] == pytest.approx([0.1 * step for step in range(11)])
    # a falls by 0.1 at each step; b by 0.2 until the middle
    mean = [1.0, 0.85, 0.7, 0.55, 0.4, 0.25, 0.2, 0.15, 0.1, 0.05, 0.0]
    assert [point.y for point in deletion] == pytest.approx(mean, abs=1e-12)
    middle = deletion[5]
    assert (middle.series, middle.items) == ("gradcam", 2)
    assert (middle.low, middle.high) == (pytest.approx(0.0), pytest.approx(0.5))
    [end] = [point for point in points if point.figure == "insertion curve" and point.x == 1.0]
    assert (end.y, end.low, end.high, end.items) == (1.0, None, None, 1)  # one image


def test_steps_between_the_grid_are_read_on_the_straight_line():
    values = {round(point.x, 1): point.y for point in curves([curve((1.0, 0.4, 0.1, 0.0))])}
    assert values[0.3] == pytest.approx(1 - 0.6 * 0.9)
    assert values[0.5] == pytest.approx((0.4 + 0.1) / 2)


def test_a_curve_that_is_not_finite_is_left_out():
    points = curves([curve((1.0, math.nan, 0.0)), curve((1.0, 0.0))])
    assert {point.items for point in points} == {1}
    assert curves([]) == []
