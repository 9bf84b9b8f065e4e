"""Correlations of two texts' similarity with judgement, against scipy."""

from __future__ import annotations

import numpy as np
import option_scores as made
import pytest
import scipy.stats

from alignscope.evaluation.columns import in_columns
from alignscope.evaluation.official import measure
from alignscope.evaluation.similarity import _average_ranks, _spearman


def pairs(scores, golds, subset: str = "test"):
    return [
        option
        for place, (score, gold) in enumerate(zip(scores, golds, strict=True))
        for option in made.options(f"{subset}/{place}", {(0, 1): score}, subset=subset, texts=True, gold=gold)
    ]


def correlated(rows, **more):
    benchmark = made.benchmark("similarity")
    return measure(benchmark, rows, signature=made.SIGNATURE, missing=more.pop("missing", {}), **more)


def test_the_correlations_are_scipys():
    draw = np.random.default_rng(0)
    gold = draw.integers(0, 6, size=300).astype(float)
    score = np.round(gold / 5 + draw.normal(size=300), 1)
    found = made.values(correlated(pairs(score.tolist(), gold.tolist()), draws=20))
    assert found["spearman", "all"] == pytest.approx(scipy.stats.spearmanr(score, gold).statistic)
    assert found["pearson", "all"] == pytest.approx(scipy.stats.pearsonr(score, gold).statistic)


def test_a_draw_ranks_its_pairs_anew():
    draw = np.random.default_rng(1)
    score, gold = draw.integers(0, 5, size=40).astype(float), draw.integers(0, 4, size=40).astype(float)
    counts = draw.multinomial(40, np.full(40, 1 / 40), size=5)
    for statistic, count in zip(_spearman(score, gold, counts), counts, strict=True):
        drawn = np.repeat(np.arange(40), count)
        assert statistic == pytest.approx(scipy.stats.spearmanr(score[drawn], gold[drawn]).statistic)
        ranks = scipy.stats.rankdata(score[drawn])
        assert _average_ranks(score, count[None])[0][drawn] == pytest.approx(ranks)


def test_subsets_missing_pairs_and_what_is_not_defined():
    rows = pairs([1.0, 2.0, 3.0, None], [1.0, 2.0, 3.0, 4.0], "train")
    rows += pairs([1.0, 1.0, 1.0], [1.0, 2.0, 3.0], "test") + pairs([1.0], [2.0], "trial")
    numbers = correlated(rows, missing={"train": 2}, draws=50)
    train = made.only(numbers, "spearman", "train")
    assert (train.value, train.items, train.missing, train.unit) == (pytest.approx(1.0), 3, 3, "correlation")
    assert "equal" in made.only(numbers, "pearson", "test").reason
    assert made.only(numbers, "spearman", "trial").reason == "1 pairs: no correlation"
    assert made.only(numbers, "spearman", "all").items == 7
    assert "|images:0|" in train.signature


def test_the_interval_holds_the_value_and_is_repeatable():
    draw = np.random.default_rng(2)
    rows = pairs(draw.normal(size=100).tolist(), draw.normal(size=100).tolist())
    one = made.only(correlated(rows, draws=200), "spearman", "all")
    assert one == made.only(correlated(reversed(list(reversed(rows))), draws=200), "spearman", "all")
    assert one.low < one.value < one.high
    assert len(in_columns(rows, benchmark="ours").items) == 100
