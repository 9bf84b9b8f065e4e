import math

import pytest

from alignscope.evaluation.choices import accuracy
from alignscope.records import Choice, Signature

SIGNATURE = Signature("", "pairs", "9f31c2", 0, 0, "tiny-clip", "ab12", version="0.1.0")


def choice(kind, caption_score, foil_score, image="a"):
    return Choice("item", image, kind, "right", "wrong", caption_score, foil_score)


def by_group(numbers):
    groups = {number.group: number for number in numbers}
    assert len(groups) == len(numbers)
    return groups


def test_a_table_worked_out_by_hand():
    choices = [
        choice("swap_object", 0.3, 0.2, "a"),
        choice("swap_object", 0.3, 0.4, "b"),
        choice("swap_object", 0.3, 0.3, "b"),
        choice("swap_object", 0.9, 0.1, "c"),
        choice("replace_object", 0.9, 0.1, "c"),
        choice("zebra", 0.1, 0.9, "d"),
    ]
    numbers = accuracy(choices, missing={"swap_object": 2, "add_object": 3}, signature=SIGNATURE)
    assert [number.group for number in numbers] == [
        "replace_object",
        "swap_object",
        "add_object",
        "zebra",
        "all",
        "all kinds (macro)",
    ]
    table = by_group(numbers)
    swap = table["swap_object"]
    assert (swap.value, swap.items, swap.images, swap.ties, swap.missing) == (0.5, 4, 3, 1, 2)
    assert (swap.measure, swap.unit, swap.level) == ("accuracy", "share", 0.95)
    nothing = table["add_object"]
    assert (nothing.value, nothing.low, nothing.items, nothing.missing) == (None, None, 0, 3)
    assert nothing.reason == "nothing scored"
    everything = table["all"]
    assert (everything.value, everything.items, everything.images) == (3 / 6, 6, 4)
    assert (everything.ties, everything.missing) == (1, 5)
    macro = table["all kinds (macro)"]
    assert macro.value == pytest.approx((1 + 0.5 + 0) / 3)
    assert (macro.items, macro.missing) == (6, 5)
    assert macro.reason == "average of 3 of 4 kinds"


@pytest.mark.parametrize(("ties", "value"), [("wrong", 0.25), ("half", 0.5), ("right", 0.75)])
def test_ties_are_worth_what_is_said_and_the_signature_says_it(ties, value):
    choices = [choice("x", 1, 0), choice("x", 0, 1), choice("x", 1, 1), choice("x", 0, 0, "b")]
    number = accuracy(choices, missing={}, signature=SIGNATURE, ties=ties, seed=7)[0]
    assert (number.value, number.ties) == (value, 2)
    assert number.signature == (
        "accuracy|data:pairs|sha:9f31c2|items:4|images:2|model:tiny-clip|weights:ab12"
        f"|dtype:float32|ties:{ties}|seed:7|v:0.1.0"
    )


def test_scores_are_compared_in_float32():
    finer = 1 + 1e-12  # larger in float64, the same in float32
    number = accuracy([choice("x", finer, 1.0), choice("x", 1.0, 0.5)], missing={}, signature=SIGNATURE)[0]
    assert (number.value, number.ties) == (0.5, 1)


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf, 1e300])
@pytest.mark.parametrize("is_caption", [True, False])
def test_a_score_that_is_not_finite_is_missing_never_right(broken, is_caption):
    bad = choice("x", broken, 0.0) if is_caption else choice("x", 0.0, broken)
    number = accuracy([bad, choice("x", 0.0, 1.0)], missing={"x": 1}, signature=SIGNATURE, ties="right")[0]
    assert (number.value, number.items, number.ties, number.missing) == (0.0, 1, 0, 2)


def test_intervals_cluster_on_images():
    """A hundred copies of two images are still two images."""
    spread = [choice("x", float(i % 2), 0.5, f"image {i}") for i in range(200)]
    copies = [choice("x", float(i % 2), 0.5, f"image {i % 2}") for i in range(200)]
    wide = accuracy(copies, missing={}, signature=SIGNATURE)[0]
    narrow = accuracy(spread, missing={}, signature=SIGNATURE)[0]
    assert wide.value == narrow.value == 0.5
    assert (wide.low, wide.high) == (0.0, 1.0)
    assert narrow.low == pytest.approx(0.5 - 1.96 * math.sqrt(0.25 / 200), abs=0.015)


def test_nothing_at_all_is_said():
    numbers = accuracy([], missing={}, signature=SIGNATURE)
    assert [(n.group, n.value, n.reason) for n in numbers] == [
        ("all", None, "nothing scored"),
        ("all kinds (macro)", None, "nothing scored"),
    ]
