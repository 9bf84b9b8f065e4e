"""Rank correlation against scipy and by hand; the sanity check on tiny-clip."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import spearmanr

import alignscope
from alignscope.attribution.attribute import attribute
from alignscope.evaluation.agreement import agreement_summary, agreements, scrambled_agreement, spearman
from alignscope.records import Agreement, Attribution, Signature, WordHeat

SIGNATURE = Signature("", "pairs", "9f31c2", 0, 0, "tiny-clip", "ab12", version="0.1.0")


def attributed(method: str, heats: dict[int, float], item: str = "1", image: str = "a") -> Attribution:
    words = tuple(
        WordHeat(item, image, at, "w", at, at + 1, "other", heat, method) for at, heat in heats.items()
    )
    return Attribution(item, image, "wwwww", method, words)


@pytest.mark.parametrize("levels", [2, 4, 1000], ids=lambda levels: f"{levels} levels")
def test_spearman_is_scipys_with_and_without_ties(levels):
    generator, undefined = np.random.default_rng(levels), 0
    for size in [*range(3, 30), 500]:
        first, second = generator.integers(levels, size=(2, size)) / 7.0
        ours = spearman(first.tolist(), second.tolist())
        if len(set(first)) == 1 or len(set(second)) == 1:
            undefined += 1
            assert ours is None
        else:
            assert ours == pytest.approx(spearmanr(first, second).statistic, abs=1e-12)
    assert undefined < 5


def test_spearman_by_hand():
    assert spearman([1, 2, 3, 4], [10, 20, 30, 1000]) == 1.0
    assert spearman([1, 2, 3, 4], [4, 3, 2, -9]) == -1.0
    # ranks 1 2 3 and 2.5 1 2.5: (-1)(.5) + 0 + (1)(.5) = 0
    assert spearman([1, 2, 3], [5, 4, 5]) == 0.0
    # ranks 1.5 1.5 3 and 1 2 3 about their mean: (.5 + 0 + 1) / sqrt(1.5 * 2)
    assert spearman([0, 0, 8], [1, 2, 3]) == pytest.approx(1.5 / math.sqrt(3))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([], []),
        ([1, 2], [1, 2]),
        ([1, 1, 1], [1, 2, 3]),
        ([1, 2, 3], [0, 0, 0]),
        ([1, 2, math.nan], [1, 2, 3]),
    ],
    ids=["nothing", "two words", "first flat", "second flat", "not finite"],
)
def test_spearman_is_undefined(first, second):
    assert spearman(first, second) is None


def test_all_pairs_of_methods_over_the_words_both_give():
    found = agreements(
        [
            attributed("gradient", {0: 0.9, 1: 0.1, 2: 0.2, 3: 0.3}),
            attributed("attention", {3: 0.4, 2: 0.3, 1: 0.2, 0: 0.1}),
            attributed("perturbation", {1: 3.0, 2: 2.0, 3: 1.0, 4: 9.0}),
            attributed("gradient", {0: 1.0, 1: 2.0, 2: 3.0}, item="2", image="b"),
            attributed("attention", {0: 5.0, 1: 5.0, 2: 5.0}, item="2", image="b"),
        ]
    )
    # item 1, attention 1 2 3 4 and gradient 4 1 2 3 by position: 1 - 6 * (9 + 1 + 1 + 1) / 60
    assert found == [
        Agreement("1", "a", "attention", "gradient", 4, -0.2),
        Agreement("1", "a", "attention", "perturbation", 3, -1.0),
        Agreement("1", "a", "gradient", "perturbation", 3, -1.0),
        Agreement("2", "b", "attention", "gradient", 3, None),
        Agreement("2", "b", "attention", "perturbation", 0, None),
        Agreement("2", "b", "gradient", "perturbation", 0, None),
    ]


def test_captions_may_come_in_parts_when_the_methods_are_named():
    first = [attributed("a", {0: 1.0, 1: 2.0, 2: 3.0}), attributed("b", {0: 1.0, 1: 2.0, 2: 3.0})]
    second = [attributed("a", {0: 1.0, 1: 2.0, 2: 3.0}, item="2")]
    parts = [one for part in (first, second) for one in agreements(part, methods=("a", "b"))]
    assert parts == agreements([*first, *second])
    assert len(parts) == 2


def test_scrambled_pairs_a_method_with_itself():
    found = scrambled_agreement(
        [
            attributed("gradcam", {0: 1.0, 1: 2.0, 2: 3.0}),
            attributed("attention", {0: 1.0, 1: 2.0, 2: 3.0}),
            attributed("gradcam", {0: 1.0, 1: 2.0, 2: 3.0}, item="2"),
        ],
        [
            attributed("attention", {0: 1.0, 1: 2.0, 2: 3.0}),
            attributed("gradcam", {0: 3.0, 1: 2.0, 2: 1.0}),
            attributed("gradcam", {0: 3.0, 1: 2.0, 2: 1.0}, item="only here"),
        ],
        scramble=4,
    )
    assert found == [
        Agreement("1", "a", "gradcam", "gradcam scrambled 4", 3, -1.0),
        Agreement("1", "a", "attention", "attention scrambled 4", 3, 1.0),
        Agreement("2", "a", "gradcam", "gradcam scrambled 4", 0, None),
    ]


def test_the_summary_worked_out_by_hand():
    rows = [
        Agreement("1", "a", "gradcam", "attention", 5, 1.0),
        Agreement("2", "a", "gradcam", "attention", 5, 0.5),
        Agreement("3", "b", "gradcam", "attention", 5, -0.75),
        Agreement("4", "b", "gradcam", "attention", 2, None),
        Agreement("1", "a", "gradcam", "gradcam scrambled 0", 5, 0.25),
        Agreement("1", "a", "gradcam", "gradcam scrambled 1", 5, 0.75),
        Agreement("2", "a", "gradcam", "gradcam scrambled 1", 5, None),
    ]
    pair, scrambled = agreement_summary(rows, signature=SIGNATURE, draws=500)
    assert (pair.measure, pair.group, pair.method) == ("agreement", "attention~gradcam", "")
    assert pair.value == pytest.approx(0.25)
    assert (pair.items, pair.images, pair.missing, pair.unit) == (3, 2, 1, "correlation")
    # two images: a draw is (a, a), (a, b) or (b, b)
    assert (pair.low, pair.high) == (pytest.approx(-0.75), pytest.approx(0.75))
    assert pair.signature.startswith(
        "agreement|method:attention~gradcam|data:pairs|sha:9f31c2|items:3|images:2|"
    )
    assert (scrambled.measure, scrambled.group) == ("agreement with scrambled", "all")
    assert (scrambled.method, scrambled.value, scrambled.missing) == ("gradcam", 0.5, 1)
    assert (scrambled.low, scrambled.high, scrambled.reason) == (0.25, 0.75, "interval over 2 scrambles")
    assert (scrambled.items, scrambled.images) == (2, 1)


def test_nothing_defined_is_unscored_and_options_stay_in_the_signature():
    from dataclasses import replace

    [number] = agreement_summary(
        [Agreement("1", "a", "a", "b", 2, None)], signature=replace(SIGNATURE, method="layers=last")
    )
    assert (number.value, number.reason, number.missing) == (None, "nothing scored", 1)
    assert "|method:a~b layers=last|" in number.signature
    assert agreement_summary([], signature=SIGNATURE) == []


def test_tiny_clip_agrees_with_itself_and_not_with_its_scrambled_self():
    model, world = alignscope.model("tiny-clip"), alignscope.World("test", size=24)
    embeddings = model.encode_images([world.image(item.image) for item in world.items])
    methods = ("attention", "gradcam", "gradient")

    def attributions(of, images):
        parts = attribute(of, world.items, images, methods=methods)
        return [one for part in parts for one in part.attributions]

    own = attributions(model, embeddings)
    same = scrambled_agreement(own, attributions(model, embeddings), scramble=0)
    assert len(same) == 24 * 3
    assert {one.correlation for one in same} == {1.0}
    found = []
    for scramble in range(3):
        unlearned = attributions(model.scrambled(seed=scramble), embeddings)
        found += scrambled_agreement(own, unlearned, scramble=scramble)
    for number in agreement_summary(found, signature=SIGNATURE):
        assert number.items == 3 * 24
        assert number.value < 0.6
