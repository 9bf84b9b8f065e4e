"""Two runs on the same items: exact tests against scipy, hand-worked differences."""

from __future__ import annotations

import itertools

import numpy as np
import option_scores as made
import pytest
import scipy.stats

from alignscope.errors import BadData
from alignscope.evaluation import paired
from alignscope.evaluation.columns import in_columns
from alignscope.evaluation.paired import (
    Answers,
    answers_of,
    answers_of_choices,
    answers_of_ranks,
    compared,
    compared_correlations,
    corrected,
    holm,
    mcnemar,
    mcnemar_of_images,
)
from alignscope.records import Choice, Rank


def answers(right: dict[str, float], subsets: dict[str, str] | None = None, image: str = "") -> Answers:
    names = list(right)
    of = subsets or {}
    values = np.array(list(right.values()), dtype=np.float64)
    return Answers(names, [of.get(name, "s") for name in names], [image or name for name in names], values)


@pytest.mark.parametrize(
    ("first", "second"), [(0, 0), (1, 0), (0, 5), (3, 3), (3, 4), (2, 9), (40, 61), (700, 800), (3000, 3300)]
)
def test_mcnemar_is_the_exact_binomial_test(first: int, second: int):
    total = first + second
    wanted = scipy.stats.binomtest(first, total, 0.5).pvalue if total else 1.0
    assert mcnemar(first, second) == pytest.approx(wanted, rel=1e-9)
    assert mcnemar(second, first) == mcnemar(first, second)


def test_mcnemar_of_images_counts_all_signs():
    draw = np.random.default_rng(3)
    for _ in range(20):
        gains = draw.integers(-4, 5, size=9)
        signs = np.array(list(itertools.product((1, -1), repeat=9)))
        wanted = (np.abs(signs @ gains) >= abs(gains.sum())).mean()
        assert mcnemar_of_images(gains) == pytest.approx(wanted, rel=1e-12)
    for first, second in ((3, 9), (0, 0), (9_000, 9_100)):
        gains = np.repeat([-1, 1, 0], [first, second, 5])
        assert mcnemar_of_images(gains) == pytest.approx(mcnemar(first, second), rel=1e-9)
    many = draw.integers(-9, 10, size=5000)
    beyond = mcnemar_of_images(many)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paired, "EXACT", 10**9)
        assert mcnemar_of_images(many) == pytest.approx(beyond, abs=1e-2)


def test_items_of_an_image_are_no_proofs_of_their_own():
    """Of 100 images a fifth fall wholly to one run, by chance: 5 in 100 may look significant, not 30."""
    draw, rejected = np.random.default_rng(0), 0
    names, images = [str(k) for k in range(400)], [f"image {k // 4}" for k in range(400)]
    for _ in range(100):
        gain = np.repeat(draw.choice([-1, 0, 1], size=100, p=[0.1, 0.8, 0.1]), 4)
        one, other = (
            Answers(names, ["s"] * 400, images, right)
            for right in ((gain < 0).astype(float), (gain > 0).astype(float))
        )
        (line,) = compared("x", "", one, other, draws=1)
        rejected += line.p < 0.05
    assert rejected <= 8


def test_mcnemar_of_many_items_does_not_overflow():
    assert mcnemar(0, 5000) == 0.0
    assert mcnemar(20_000, 20_100) == pytest.approx(scipy.stats.binomtest(20_000, 40_100).pvalue, rel=1e-6)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_the_difference_is_of_the_items_that_both_scored():
    first = answers({"a": 1, "b": 0, "c": 0, "d": np.nan, "e": 1})
    second = answers({"a": 1, "b": 1, "c": 1, "d": 1, "f": 0})
    (line,) = compared("x", "", first, second)
    assert (line.items, line.first, line.second) == (3, pytest.approx(1 / 3), 1.0)
    assert line.difference == pytest.approx(2 / 3)
    assert (line.first_only_right, line.second_only_right, line.p) == (0, 2, 0.5)
    assert (line.alone_in_first, line.alone_in_second) == (2, 2)


def test_the_interval_resamples_images():
    draw = np.random.default_rng(0)
    names = [str(k) for k in range(120)]
    one, other = draw.integers(0, 2, size=(2, 120)).astype(float)
    images = [f"image {k // 12}" for k in range(120)]
    (line,) = compared(
        "x", "", Answers(names, ["s"] * 120, images, one), Answers(names, ["s"] * 120, images, other)
    )
    means = (other - one).reshape(10, 12).mean(axis=1)
    picks = np.random.default_rng(9).integers(10, size=(20_000, 10))
    low, high = np.quantile(means[picks].mean(axis=1), [0.025, 0.975])
    assert (line.low, line.high) == (pytest.approx(low, abs=0.02), pytest.approx(high, abs=0.02))
    assert line.images == 10


def test_subsets_stand_below_the_whole_and_are_not_corrected():
    right = {str(k): float(k % 2) for k in range(20)}
    of = {name: "even" if int(name) % 2 == 0 else "odd" for name in right}
    first, second = answers(right, of), answers(dict.fromkeys(right, 1.0), of)
    lines = corrected([*compared("x", "", first, second), *compared("y", "", first, first)])
    assert [(line.benchmark, line.subset) for line in lines] == [
        (name, part) for name in "xy" for part in ("all", "even", "odd")
    ]
    assert lines[0].p == pytest.approx(2 / 2**10)
    assert lines[0].p_holm == pytest.approx(4 / 2**10)
    assert (lines[3].p, lines[3].p_holm) == (1.0, 1.0)
    assert {line.p_holm for line in lines if line.subset != "all"} == {None}


def test_nothing_in_common_has_no_numbers():
    (line,) = compared("x", "", answers({"a": 1}), answers({"b": 1}))
    assert (line.items, line.first, line.difference, line.p, line.reason) == (
        0,
        None,
        None,
        None,
        "nothing scored",
    )
    assert corrected([line]) == [line]


def test_other_images_or_repeated_items_are_refused():
    with pytest.raises(BadData, match="other images for the same items"):
        compared("x", "", answers({"a": 1}), answers({"a": 1}, image="elsewhere"))
    choice = Choice("a", "i", "swap_object", "caption", "foil", 1.0, 0.0)
    with pytest.raises(BadData, match="1 items are there twice"):
        answers_of_choices([choice, choice])


def test_answers_of_options_choices_and_ranks():
    rows = made.options("a", {(0, 0): 1.0, (0, 1): 1.0}) + made.options("b", {(0, 0): 2.0, (0, 1): None})
    rows += made.options("c", {(0, 0): 2.0, (0, 1): 1.0})
    found = answers_of(in_columns(rows, benchmark="ours"), "caption")[""]
    assert found.right.tolist() == pytest.approx([0, np.nan, 1], nan_ok=True)
    choices = [
        Choice(k, "i", "k", "c", "f", *scores)
        for k, scores in zip("abc", [(1, 0), (1, 1), (np.nan, 0)], strict=True)
    ]
    assert answers_of_choices(choices).right.tolist() == pytest.approx([1, 0, np.nan], nan_ok=True)
    ranks = [Rank(k, "i", "image to text", rank, 0, 9) for k, rank in (("a", 1), ("b", 2))]
    assert answers_of_ranks(ranks)["recall@1, image to text"].right.tolist() == [1, 0]
    assert answers_of_choices([]).right.tolist() == []


def test_two_published_winoground_runs():
    one, other = (
        answers_of(in_columns(made.winoground(model), benchmark="winoground"), "pairing")["text"]
        for model in ("albef_4m", "blip_129m")
    )
    (line,) = compared("winoground", "text", one, other)
    assert line.difference == pytest.approx((35.50 - 29.25) / 100)
    a, b = dict(zip(one.items, one.right, strict=True)), dict(zip(other.items, other.right, strict=True))
    only = [sum(a[k] > b[k] for k in a), sum(b[k] > a[k] for k in a)]
    assert [line.first_only_right, line.second_only_right] == only
    assert line.p == pytest.approx(scipy.stats.binomtest(only[0], sum(only)).pvalue)


def test_two_correlations_on_the_same_pairs():
    draw = np.random.default_rng(0)
    gold, one, other = draw.normal(size=(3, 60))
    other = other + gold

    def columns(scores, names):
        rows = [
            option
            for name, score, judged in zip(names, scores, gold, strict=True)
            for option in made.options(f"{name}", {(0, 1): float(score)}, texts=True, gold=float(judged))
        ]
        return in_columns(rows, benchmark="ours")

    line = compared_correlations(
        "ours", columns(one, range(60)), columns(other, [*range(58), 98, 99]), draws=400
    )
    wanted = [scipy.stats.spearmanr(score[:58], gold[:58]).statistic for score in (one, other)]
    assert (line.first, line.second) == (pytest.approx(wanted[0]), pytest.approx(wanted[1]))
    assert line.difference == pytest.approx(wanted[1] - wanted[0])
    assert line.low < line.difference < line.high
    assert (line.items, line.alone_in_first, line.alone_in_second, line.p) == (58, 2, 2, None)
    (nothing,) = corrected(
        [compared_correlations("ours", columns(one, range(60)), columns(one, range(60, 120)))]
    )
    assert (nothing.difference, nothing.reason) == (None, "0 pairs: no correlation")
