import math

import numpy as np
import pytest
from scipy import stats

from alignscope.evaluation.phrases import paired_difference, phrase_densities, phrase_similarities
from alignscope.records import PhraseSimilarity, Signature

SIGNATURE = Signature("", "pairs", "9f31c2", 0, 0, "tiny-clip", "ab12", version="0.1.0")


def phrase(text, word_class, similarity, item="1", image="a"):
    return PhraseSimilarity(item, image, text, word_class, similarity)


BEFORE = [
    phrase("red ball", "attribute", 0.4),
    phrase("left of", "relation", 0.2),
    phrase("left of", "relation", 0.4, item="2", image="b"),
    phrase("on", "relation", math.nan, item="2", image="b"),
]


def test_means_worked_out_by_hand():
    numbers = {n.group: n for n in phrase_similarities(BEFORE, signature=SIGNATURE)}
    assert list(numbers) == ["attribute", "relation"]
    relation = numbers["relation"]
    assert relation.value == pytest.approx(0.3)
    assert (relation.low, relation.high) == (pytest.approx(0.2), pytest.approx(0.4))
    assert (relation.items, relation.images, relation.missing, relation.unit) == (2, 2, 1, "cosine")
    assert relation.measure == "phrase similarity"
    assert numbers["attribute"].reason == "one image: no interval"
    assert phrase_similarities([], signature=SIGNATURE) == []


def test_differences_worked_out_by_hand():
    after = [
        phrase("left of", "relation", 0.6, item="2", image="b"),
        phrase("left of", "relation", 0.3),
        phrase("left of", "relation", 0.3),  # said twice
        phrase("on", "relation", 0.5, item="2", image="b"),  # no number before
        phrase("under", "relation", 0.5),  # not there before
        phrase("red ball", "attribute", 0.1),
    ]
    numbers = {n.group: n for n in paired_difference(BEFORE, after, signature=SIGNATURE)}
    relation = numbers["relation"]
    assert relation.measure == "phrase similarity difference"
    assert relation.value == pytest.approx((0.1 + 0.2) / 2)
    assert (relation.low, relation.high) == (pytest.approx(0.1), pytest.approx(0.2))
    assert (relation.items, relation.images, relation.missing) == (2, 2, 2)
    assert numbers["attribute"].value == pytest.approx(-0.3)
    backwards = {n.group: n.value for n in paired_difference(after, BEFORE, signature=SIGNATURE)}
    assert backwards == {group: pytest.approx(-n.value) for group, n in numbers.items()}


def test_pairing_narrows_the_interval():
    generator = np.random.default_rng(0)
    before = [phrase("on", "relation", float(generator.normal()), image=f"i{n}") for n in range(200)]
    after = [
        phrase(p.phrase, "relation", p.similarity + 0.1 + 0.01 * float(generator.normal()), image=p.image)
        for p in before
    ]
    [gain] = paired_difference(before, after, signature=SIGNATURE)
    assert gain.low < 0.1 + 0.002
    assert gain.high > 0.1 - 0.002
    assert gain.high - gain.low < 0.005


def test_densities_are_those_of_scipy():
    generator = np.random.default_rng(0)
    values = {"relation": generator.normal(size=50), "object": generator.normal(size=30)}
    records = [phrase("p", group, float(v)) for group, own in values.items() for v in own]
    points = phrase_densities([*records, phrase("p", "relation", math.nan), phrase("p", "attribute", 0.2)])
    assert len(points) == 2 * 128
    assert {(p.figure, p.series, p.items) for p in points} == {
        ("phrase similarity density", "relation", 50),
        ("phrase similarity density", "object", 30),
    }
    for group, own in values.items():
        mine = [point for point in points if point.series == group]
        theirs = stats.gaussian_kde(own)(np.array([point.x for point in mine]))
        np.testing.assert_allclose([point.y for point in mine], theirs, rtol=1e-9)
