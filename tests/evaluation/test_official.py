"""Official and our numbers: worked by hand, against slow plain code, and on published score files."""

from __future__ import annotations

import numpy as np
import option_scores as made
import pytest

from alignscope.data.benchmarks.facts import Official
from alignscope.errors import BadData, Unsupported
from alignscope.evaluation.official import measure
from alignscope.records import OptionScore


def counted(benchmark, rows, *, missing=None, **more):
    return measure(benchmark, iter(rows), signature=made.SIGNATURE, missing=missing or {}, draws=200, **more)


def captions(scores: dict[str, tuple[float | None, ...]], **told) -> list[OptionScore]:
    return [
        option
        for item, row in scores.items()
        for option in made.options(item, {(0, place): score for place, score in enumerate(row)}, **told)
    ]


def test_a_caption_must_be_above_every_foil_and_ties_count_three_ways():
    rows = captions(
        {"right": (3.0, 1.0, 2.0), "wrong": (1.5, 1.0, 2.0), "tie": (2.0, 2.0, 1.0), "other": (1, 2)}
    )
    found = made.values(counted(made.benchmark("caption"), rows))
    assert found["official accuracy", "all"] == 0.25
    assert found["accuracy", "all"] == 0.25
    assert found["accuracy (ties half)", "all"] == 0.375
    assert found["accuracy (ties right)", "all"] == 0.5
    first = made.values(counted(made.benchmark("caption", official=Official(ties="right")), rows))
    assert (first["official accuracy", "all"], first["accuracy", "all"]) == (0.5, 0.25)
    number = made.only(counted(made.benchmark("caption"), rows), "accuracy", "all")
    assert (number.ties, number.items, number.images, number.missing) == (1, 4, 4, 0)
    assert "|ties:wrong|" in number.signature


def test_official_compares_scores_as_given_and_ours_in_float32():
    rows = captions({"a": (0.1 + 1e-12, 0.1), "b": (1.0, 0.0)})
    found = made.values(counted(made.benchmark("caption"), rows))
    assert (found["official accuracy", "all"], found["accuracy", "all"]) == (1.0, 0.5)


def test_one_text_asks_for_the_first_of_two_images():
    rows = [
        *made.options("a", {(0, 0): 2.0, (1, 0): 1.0}),
        *made.options("b", {(0, 0): 1.0, (1, 0): 2.0}),
        *made.options("c", {(0, 0): 2.0, (1, 0): 1.0}, image="a"),
    ]
    number = made.only(counted(made.benchmark("image"), rows), "official accuracy", "all")
    assert (number.value, number.items, number.images) == (2 / 3, 3, 2)


def test_groups_are_averaged_with_the_authors_exclusions():
    of_group = {"big": (1, 1, 0, 0), "small": (1,), "even": (0, 0, 0, 1), "symmetric": (1, 1, 1, 1)}
    rows = [
        option
        for group, right in of_group.items()
        for place, is_right in enumerate(right)
        for option in captions({f"{group}/{place}": (float(is_right), 0.5)}, group=group)
    ]
    official = Official(average="groups", least=2, left_out=frozenset(["symmetric"]))
    numbers = counted(made.benchmark("caption", official=official), rows)
    found = made.values(numbers)
    assert found["official accuracy", "all"] == (0.5 + 0.25) / 2
    assert found["accuracy", "all"] == 8 / 13
    assert found["accuracy", "all groups (macro)"] == (0.5 + 1 + 0.25 + 1) / 4
    assert [found["official accuracy", group] for group in of_group] == [0.5, 1.0, 0.25, 1.0]
    reason = made.only(numbers, "official accuracy", "all").reason
    assert reason == "official: mean over 2 groups; 1 left out by name; 1 of fewer than 2 items; ties wrong"


def test_subsets_are_averaged_or_stand_alone():
    rows = captions({"a/1": (1, 0), "a/2": (1, 0), "a/3": (0, 1)}, subset="a")
    rows += captions({"b/1": (0, 1)}, subset="b")
    averaged = made.values(counted(made.benchmark("caption", official=Official(average="subsets")), rows))
    assert averaged["official accuracy", "all"] == pytest.approx(1 / 3)
    alone = made.values(counted(made.benchmark("caption", official=Official(average="none")), rows))
    assert ("official accuracy", "all") not in alone
    for found in (averaged, alone):
        assert (found["official accuracy", "a"], found["official accuracy", "b"]) == (2 / 3, 0)
        assert (found["accuracy", "all"], found["accuracy", "all subsets (macro)"]) == (
            0.5,
            pytest.approx(1 / 3),
        )


def test_what_is_missing_is_counted_and_left_out():
    rows = captions({"a": (1, 0), "none": (1, None), "nan": (np.nan, 1), "inf": (np.inf, 1)}, subset="one")
    rows += captions({"no foil": (1,), "no caption": (0,)}, subset="one")
    rows += [row for row in captions({"only foil": (0, 1)}, subset="one") if row.second]
    numbers = counted(made.benchmark("caption", one=9, two=3), rows, missing={"one": 2, "two": 3})
    number = made.only(numbers, "official accuracy", "one")
    assert (number.value, number.items, number.missing) == (1.0, 1, 6 + 2)
    whole = made.only(numbers, "accuracy", "all")
    assert (whole.value, whole.items, whole.missing) == (1.0, 1, 6 + 5)
    gone = made.only(numbers, "accuracy", "two")
    assert (gone.value, gone.items, gone.missing, gone.reason) == (None, 0, 3, "nothing scored")
    macro = made.only(numbers, "accuracy", "all subsets (macro)")
    assert (macro.value, macro.reason.partition(";")[0]) == (1.0, "average of 1 of 2 subsets")


def test_nothing_at_all_is_measured_as_nothing():
    numbers = counted(made.benchmark("caption"), [], missing={"s": 4})
    assert {number.value for number in numbers} == {None}
    assert made.only(numbers, "official accuracy", "all").missing == 4


def test_an_option_given_twice_or_of_another_benchmark_is_refused():
    rows = captions({"a": (1, 0)})
    with pytest.raises(BadData, match=r"2 options are given twice, in 1 items \(first: 'a'\)"):
        counted(made.benchmark("caption"), rows + rows)
    with pytest.raises(BadData, match="got a score of 'ours', wanted 'valse' alone"):
        counted(made.benchmark("caption", name="valse"), rows)
    with pytest.raises(Unsupported, match="use `ranks` and `recall`"):
        counted(made.benchmark("retrieval"), rows)


def test_winoground_by_hand_and_by_tag():
    text_only = {(0, 0): 4.0, (0, 1): 3.0, (1, 1): 2.0, (1, 0): 1.0}  # image: 4 > 1, but 2 < 3
    image_only = {(0, 0): 2.0, (1, 0): 1.0, (1, 1): 4.0, (0, 1): 3.0}  # text: 4 > 1, but 2 < 3
    both = {(0, 0): 2.0, (1, 0): 1.0, (1, 1): 2.0, (0, 1): 1.0}
    tie = {(0, 0): 2.0, (1, 0): 1.0, (1, 1): 2.0, (0, 1): 2.0}
    rows = made.options("1", text_only, tags="clean|Symbolic") + made.options("2", image_only, tags="clean")
    rows += made.options("3", both, tags="Symbolic, Series") + made.options("4", tie, tags="")
    numbers = counted(made.benchmark("pairing", name="ours"), rows)
    found = made.values(numbers)
    assert [found["official accuracy", facet] for facet in ("text", "image", "group")] == [0.5, 0.5, 0.25]
    assert found["official accuracy", "text | clean"] == 0.5
    assert found["official accuracy", "text | Symbolic"] == 1.0
    assert found["official accuracy", "image | Symbolic"] == 0.0
    assert found["official accuracy", "group | Symbolic, Series"] == 1.0
    assert found["accuracy (ties right)", "group"] == 0.5
    assert made.only(numbers, "accuracy", "text").ties == 1


def test_two_captions_by_hand():
    image = {(0, 0): 3.0, (0, 1): 2.0, (0, 2): 1.0}
    rows = made.options("a", image) + made.options("a", {(0, 1): 3.0, (0, 2): 1.0, (1, 2): 2.0}, texts=True)
    rows += made.options("b", image) + made.options("b", {(0, 1): 3.0, (0, 2): 1.0, (1, 2): 3.5}, texts=True)
    rows += made.options("c", {(0, 0): 3.0, (0, 1): 1.0, (0, 2): 2.0})  # no text was scored with another
    numbers = counted(made.benchmark("two captions"), rows)
    found = made.values(numbers)
    assert found["official accuracy", "ITT"] == pytest.approx(2 / 3)
    assert found["official accuracy", "TOT"] == 0.5
    assert found["accuracy", "first caption"] == 1.0
    assert found["accuracy", "second caption"] == pytest.approx(2 / 3)
    assert made.only(numbers, "official accuracy", "TOT").missing == 1


def test_probabilities_tell_captions_and_foils_one_by_one():
    rows = captions({"a": (0.9, 0.5), "b": (0.5, 0.6), "c": (0.7, 0.6), "d": (0.4, 0.1)})
    found = made.values(counted(made.benchmark("caption"), rows, probabilities=True))
    assert (found["p_c", "all"], found["p_f", "all"], found["acc", "all"]) == (0.5, 0.5, 0.5)
    assert ("p_c", "all") not in made.values(counted(made.benchmark("caption"), rows))
    with pytest.raises(BadData, match="got scores from 0 to 17, wanted probabilities"):
        counted(made.benchmark("caption"), captions({"a": (17, 0)}), probabilities=True)


def test_many_random_items_against_plain_code():
    draw = np.random.default_rng(0)
    items = {
        f"{'xyz'[k % 3]}/{k}": tuple(draw.integers(0, 4, size=2 + k % 4).astype(float)) for k in range(300)
    }
    rows = [option for item, row in items.items() for option in captions({item: row}, subset=item[0])]
    draw.shuffle(rows)
    found = made.values(counted(made.benchmark("caption"), rows))
    for part in ("x", "y", "z", "all"):
        mine = [row for item, row in items.items() if part in ("all", item[0])]
        assert found["accuracy", part] == pytest.approx(np.mean([row[0] > max(row[1:]) for row in mine]))
        assert found["official accuracy", part] == found["accuracy", part]
    right = np.mean([row[0] >= max(row[1:]) for row in items.values()])
    assert found["accuracy (ties right)", "all"] == pytest.approx(right)


@pytest.mark.parametrize(
    ("model", "wanted"), [("albef_4m", (29.25, 15.50, 11.00)), ("blip_129m", (35.50, 15.00, 11.75))]
)
def test_winoground_published_scores(model: str, wanted: tuple[float, ...]):
    numbers = counted(made.benchmark("pairing", name="winoground"), made.winoground(model))
    found = made.values(numbers)
    assert [round(100 * found["official accuracy", f], 2) for f in ("text", "image", "group")] == list(wanted)
    clean = made.only(numbers, "paper B accuracy", "text")
    assert clean.items == 171
    assert clean.value == found["official accuracy", "text | clean"]
    by_item: dict[str, dict[tuple[int, int], float]] = {}
    for row in made.winoground(model):
        if "clean" in row.tags:
            by_item.setdefault(row.item, {})[row.first, row.second] = row.score
    texts = [s[0, 0] > s[0, 1] and s[1, 1] > s[1, 0] for s in by_item.values()]
    assert clean.value == sum(texts) / 171


INSTRUMENTS = [
    *("existence", "plurals", "counting-hard", "counting-small-quant", "counting-adversarial", "relations"),
    *("action-replacement", "actant-swap", "coreference-standard", "coreference-hard", "foil-it"),
]


@pytest.mark.parametrize(
    ("model", "wanted", "micro", "macro"),
    [
        ("albef_4m", "71.3 78.8 62.2 65.1 59.8 73.1 73.6 58.4 52.4 55.8 95.5", 69.1, 67.8),
        ("clipcap_cc", "66.3 54.8 49.4 50.1 51.5 83.2 75.5 87.9 45.1 45.2 94.7", 65.7, 64.0),
    ],
)
def test_valse_published_scores(model: str, wanted: str, micro: float, macro: float):
    benchmark = made.benchmark("caption", name="valse")
    numbers = counted(benchmark, made.valse(model), probabilities=model == "albef_4m")
    found = made.values(numbers)
    assert [round(100 * found["official accuracy", name], 1) for name in INSTRUMENTS] == [
        float(number) for number in wanted.split()
    ]
    assert round(100 * found["official accuracy", "all"], 1) == micro
    assert round(100 * found["accuracy", "all subsets (macro)"], 1) == macro
    assert made.only(numbers, "official accuracy", "all").items == 7702
    three = [found["official accuracy", name] for name in ("actant-swap", "action-replacement", "relations")]
    assert found["paper B accuracy", "Relation"] == pytest.approx(((three[0] + three[1]) / 2 + three[2]) / 2)
    if model == "albef_4m":
        rows = list(made.valse(model))
        right = [row.score > 0.5 for row in rows if row.second == 0]
        wrong = [row.score <= 0.5 for row in rows if row.second == 1]
        assert found["p_c", "all"] == pytest.approx(np.mean(right))
        assert found["p_f", "all"] == pytest.approx(np.mean(wrong))
        assert found["acc", "all"] == pytest.approx((np.mean(right) + np.mean(wrong)) / 2)
