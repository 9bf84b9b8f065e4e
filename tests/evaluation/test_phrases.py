import math

import numpy as np
import pytest
from scipy import stats

from alignscope.evaluation.phrases import phrase_densities, phrase_similarities
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
