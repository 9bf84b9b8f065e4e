"""Ranked lists: values of the `rbo` package 0.1.3, Webber's equations in plain sums, and Table 2 of paper C."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from alignscope.errors import BadData
from alignscope.evaluation.paired_tests import pearson
from alignscope.evaluation.rankings import (
    average_overlap,
    extrapolated_overlap,
    intersection_over_union,
    overlaps,
    rank_biased_overlap,
)

PACKAGE = [  # first, second, k, then rbo(k, p=1), rbo(k, .9), rbo(k, .9, ext), rbo_ext(.9), rbo_ext(.5) of rbo 0.1.3
    ("abcde", "abcde", 5, [1.0, 0.40951, 1.0, 1.0, 1.0]),
    ("abcde", "vwxyz", 5, [0.0, 0.0, 0.0, 0.0, 0.0]),
    ("abcde", "axbyc", 5, [0.6533333333, 0.274816, 0.62911, 0.62911, 0.7770833333]),
    ("abcdefg", "badcfeg", 5, [0.6933333333, 0.269388, 0.74178, 0.859878, 0.4520833333]),
    ("abcdefg", "gab", 3, [0.3888888889, 0.099, 0.585, 0.6609201429, 0.2938988095]),
    ("abc", "cdefgab", 3, [0.1111111111, 0.027, 0.27, 0.4316817857, 0.0904017857]),
    ("a", "ba", 1, [0.0, 0.0, 0.0, 0.45, 0.25]),
]
TABLE_2 = {  # scene: RBO @3, @5, @7, IoU @3, @5, @7, as printed
    "station": ((0.88, 0.84, 0.87), (0.5, 0.66, 1.0)),
    "road": ((1.0, 0.9, 0.91), (1.0, 0.66, 1.0)),
    "room": ((0.27, 0.25, 0.24), (0.2, 0.11, 0.18)),
    "sea": ((0.88, 0.84, 0.8), (0.5, 0.66, 0.55)),
    "resort": ((0.72, 0.7, 0.7), (0.5, 0.42, 0.55)),
    "house": ((0.38, 0.5, 0.53), (0.5, 0.42, 0.55)),
    "restaurant": ((0.55, 0.55, 0.54), (0.5, 0.42, 0.53)),
}
DEPTHS = (3, 5, 7)


@pytest.mark.parametrize(("first", "second", "depth", "wanted"), PACKAGE)
def test_all_variants_are_the_packages(first: str, second: str, depth: int, wanted: list[float]) -> None:
    one, other = list(first), list(second)
    found = [
        average_overlap(one, other, depth=depth),
        rank_biased_overlap(one, other, depth=depth, persistence=0.9),
        rank_biased_overlap(one, other, depth=depth, persistence=0.9, is_extended=True),
        extrapolated_overlap(one, other, persistence=0.9),
        extrapolated_overlap(one, other, persistence=0.5),
    ]
    assert found == pytest.approx(wanted, abs=1e-9)


def test_overlaps_1_2_2_3_4_have_average_overlap_889_and_843() -> None:
    first, second = ["a", "b", "c", "d", "e"], ["a", "b", "x", "c", "d"]
    assert overlaps(first, second) == [1, 2, 2, 3, 4]
    assert average_overlap(first, second, depth=3) == pytest.approx(float(Fraction(8, 9)))
    assert average_overlap(first, second, depth=5) == pytest.approx((1 + 1 + 2 / 3 + 3 / 4 + 4 / 5) / 5)
    assert round(average_overlap(first, second, depth=5), 3) == 0.843
    assert intersection_over_union(first, second, depth=3) == 2 / 4


def test_a_lists_order_counts_for_overlap_but_not_for_iou() -> None:
    assert intersection_over_union(["a", "b"], ["b", "a"], depth=2) == 1
    assert average_overlap(["a", "b"], ["b", "a"], depth=2) == 0.5


def test_even_lists_extrapolate_to_the_extended_sum() -> None:
    first, second = list("abcdefg"), list("badcfeg")
    for persistence in (0.2, 0.9, 0.98):
        extended = rank_biased_overlap(first, second, depth=7, persistence=persistence, is_extended=True)
        assert extrapolated_overlap(first, second, persistence=persistence) == pytest.approx(extended)


def test_extrapolation_foretells_what_longer_lists_turn_out_to_have() -> None:
    shared = [f"{place}" for place in range(400)]
    first, second = shared[:300], [*shared[1:3], "x", *shared[3:300]]
    guess = extrapolated_overlap(first[:60], second[:80], persistence=0.9)
    assert guess == pytest.approx(rank_biased_overlap(first, second, depth=300, persistence=0.9), abs=5e-3)


@pytest.mark.parametrize("persistence", [0.0, 1.0, 1.5])
def test_persistence_of_one_is_average_overlap_and_refused(persistence: float) -> None:
    with pytest.raises(BadData, match="at p = 1 call `average_overlap`"):
        rank_biased_overlap(["a"], ["a"], depth=1, persistence=persistence)


@pytest.mark.parametrize("broken", [[], ["a", "a"]])
def test_empty_and_repeated_entries_are_errors(broken: list[str]) -> None:
    with pytest.raises(BadData, match="the second ranked list has"):
        average_overlap(["a"], broken, depth=3)


def _reads(value: float, printed: float) -> bool:
    """Table 2 mixes rounding and truncation."""
    return printed in (round(value, 2), int(value * 100 + 1e-9) / 100)


def _histories() -> Iterator[tuple[list[int], int, int]]:
    """Every way in which overlap can grow in lists of 5 to 7 objects, with their lengths (shorter first)."""
    for short, long in itertools.combinations_with_replacement((5, 6, 7), 2):
        steps = [(0, 1, 2)] * short + [(0, 1)] * (long - short)
        for growth in itertools.product(*steps):
            shared = list(itertools.accumulate(growth))
            if all(count <= min(depth, short) for depth, count in enumerate(shared, 1)):
                yield shared, short, long


def _rows(shared: list[int], short: int, long: int) -> tuple[list[float], list[float]]:
    rbo, iou = [], []
    for depth in DEPTHS:
        deep = min(depth, short)
        rbo.append(sum(count / place for place, count in enumerate(shared[:deep], 1)) / deep)
        count = shared[min(depth, long) - 1]
        iou.append(count / (min(depth, short) + min(depth, long) - count))
    return rbo, iou


@pytest.fixture(scope="module")
def attainable() -> dict[str, list[tuple[list[int], int, int]]]:
    """The histories that give all six numbers of a scene's row."""
    fits: dict[str, list[tuple[list[int], int, int]]] = {scene: [] for scene in TABLE_2}
    for history in _histories():
        rbo, iou = _rows(*history)
        for scene, (printed_rbo, printed_iou) in TABLE_2.items():
            if all(map(_reads, rbo, printed_rbo)) and all(map(_reads, iou, printed_iou)):
                fits[scene].append(history)
    return fits


def test_the_plain_sums_of_table_2_are_this_modules() -> None:
    shared, first, second = [1, 2, 2, 3, 4, 6, 7], list("abcdefg"), list("abxcdge")
    assert overlaps(first, second)[:5] == shared[:5]
    rbo, iou = _rows(overlaps(first, second), 7, 7)
    assert rbo == pytest.approx([average_overlap(first, second, depth=depth) for depth in DEPTHS])
    assert iou == pytest.approx([intersection_over_union(first, second, depth=depth) for depth in DEPTHS])


@pytest.mark.parametrize("scene", ["station", "room", "sea", "resort", "house"])
def test_average_overlap_reproduces_the_row_of(
    scene: str, attainable: dict[str, list[tuple[list[int], int, int]]]
) -> None:
    assert attainable[scene]


def test_roads_row_is_reproduced_with_91_at_5_which_is_printed_as_one_decimal(
    attainable: dict[str, list[tuple[list[int], int, int]]],
) -> None:
    assert attainable["road"] == []
    (at_3, _, at_7), printed_iou = TABLE_2["road"]
    found = set()
    for history in _histories():
        rbo, iou = _rows(*history)
        if _reads(rbo[0], at_3) and _reads(rbo[2], at_7) and all(map(_reads, iou, printed_iou)):
            found.add(round(rbo[1], 4))
    assert found == {0.91}


def test_station_needs_lists_of_six_and_room_one_of_six(
    attainable: dict[str, list[tuple[list[int], int, int]]],
) -> None:
    assert {(short, long) for _, short, long in attainable["station"]} == {(6, 6)}
    assert {(short, long) for _, short, long in attainable["room"]} == {(6, 7)}


def test_restaurants_iou_at_7_is_unattainable_and_its_overlap_says_4_of_10(
    attainable: dict[str, list[tuple[list[int], int, int]]],
) -> None:
    assert attainable["restaurant"] == []
    every = {
        shared / (first + second - shared)
        for first in range(1, 8)
        for second in range(1, 8)
        for shared in range(min(first, second) + 1)
    }
    assert not [value for value in every if _reads(value, 0.53)]
    printed_rbo, printed_iou = TABLE_2["restaurant"]
    rest = set()
    for history in _histories():
        rbo, iou = _rows(*history)
        if (
            history[1:] == (7, 7)
            and all(map(_reads, rbo, printed_rbo))
            and all(map(_reads, iou[:2], printed_iou[:2]))
        ):
            rest.add(round(iou[2], 2))
    assert rest == {0.4}


def test_table_2_is_the_papers() -> None:
    paper = Path(__file__).parents[2].parent / "shared" / "papers" / "C_scene_descriptions.txt"
    if not paper.exists():
        pytest.skip("the text of paper C is not on this machine")
    printed = {}
    for line in paper.read_text().splitlines():
        name, *values = line.split() or [""]
        if name in TABLE_2 and len(values) == 6:
            printed[name] = (tuple(map(float, values[:3])), tuple(map(float, values[3:])))
    assert printed == TABLE_2


def test_the_papers_correlation_is_that_of_its_21_pairs() -> None:
    rbo, iou = (np.array([row[side] for row in TABLE_2.values()]).ravel() for side in (0, 1))
    found = pearson(rbo, iou)
    assert found.first_items == 21
    assert found.effect == pytest.approx(float(np.corrcoef(rbo, iou)[0, 1]))
    assert found.effect is not None
    assert round(found.effect, 3) == 0.810
    assert found.p is not None
    assert found.p < 0.001
