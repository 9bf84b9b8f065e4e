"""Published numbers: the shipped table, and our numbers beside it."""

from __future__ import annotations

import json

import numpy as np
import option_scores as made
import pytest

from alignscope.data.benchmarks.table import BENCHMARKS
from alignscope.data.rankfiles import read_ranks
from alignscope.evaluation.official import measure
from alignscope.evaluation.published import REASONS, models_of, published, verdict, verify
from alignscope.evaluation.retrieval import mean_recall, recall
from alignscope.records import Published, Question, Shown

TABLE = [
    Published("ours", "official accuracy", "all", "m", 50.0, "somewhere"),
    Published("ours", "official accuracy", "s", "m", 66.7, "somewhere"),
    Published("ours", "official accuracy", "gone", "m", 10.0, "elsewhere"),
    Published("ours", "official accuracy", "all", "another", 1.0, "somewhere"),
]


def test_the_table_names_benchmarks_sources_and_each_number_once():
    rows = published()
    assert len(rows) >= 150
    keys = [(row.benchmark, row.measure, row.group, row.model) for row in rows]
    assert len(set(keys)) == len(keys)
    assert {row.benchmark for row in rows} - set(BENCHMARKS) == {"composition"}
    assert all(row.source and 0 <= row.value <= 100 for row in rows)
    assert set(REASONS) <= set(BENCHMARKS)


def test_gaps_are_told_and_explained_where_digits_differ():
    rows = [
        option
        for place, score in enumerate((1.0, 1.0, 0.0))
        for option in made.options(f"s/{place}", {(0, 0): score, (0, 1): 0.5})
    ]
    benchmark = made.benchmark("caption", s=4, other=1)
    numbers = measure(benchmark, rows, signature=made.SIGNATURE, missing={"s": 1}, draws=20)
    whole, subset, gone = lines = verify("ours", numbers, model="m", table=TABLE)
    assert (whole.ours, whole.is_same) == (pytest.approx(200 / 3), False)
    assert whole.gap == pytest.approx(200 / 3 - 50)
    assert "1 items are missing" in whole.reasons
    assert (subset.is_same, subset.reasons) == (True, "")
    assert (gone.ours, gone.gap, gone.reasons.partition(";")[0]) == (None, None, "not measured here")
    text = verdict("ours", "m", lines)
    assert "official accuracy, all:   66.67   50.00 +16.67  1 items are missing" in text
    assert text.endswith("source: somewhere\nsource: elsewhere")


@pytest.mark.parametrize("model", ["albef_4m", "blip_129m"])
def test_winoground_is_verified_to_the_digit(model: str):
    rows = made.winoground(model)
    benchmark = made.benchmark("pairing", name="winoground")
    numbers = measure(benchmark, rows, signature=made.SIGNATURE, missing={}, draws=20)
    lines = verify("winoground", numbers, model=model)
    assert len(lines) == 3
    assert [line for line in lines if not line.is_same] == []


@pytest.mark.parametrize("model", ["albef_4m", "clipcap_cc"])
def test_valse_is_verified_to_the_digit(model: str):
    benchmark = made.benchmark("caption", name="valse")
    numbers = measure(benchmark, made.valse(model), signature=made.SIGNATURE, missing={}, draws=20)
    lines = verify("valse", numbers, model=model)
    assert len(lines) == 12
    assert [line for line in lines if not line.is_same] == []


@pytest.mark.parametrize("model", ["blip2_pretrain", "clipcap_cc"])
@pytest.mark.parametrize(("folder", "name"), [("COCO", "coco-retrieval"), ("Flickr", "flickr-retrieval")])
def test_retrieval_is_verified_to_the_digit(folder: str, name: str, model: str):
    place = made.needed(f"retrieval_reference/{folder}/{model}")
    images, texts = np.load(place / "test_i2t.txt.npy"), np.load(place / "test_t2i.txt.npy")
    captions = [5] * (len(images) - 1) + [len(texts) - 5 * (len(images) - 1)]
    asked = [
        Question(f"test/{k}", "test", "test", (Shown(str(k)),), ("",) * n) for k, n in enumerate(captions)
    ]
    ranks = list(read_ranks(place, asked))
    told = {"signature": made.SIGNATURE, "draws": 20}
    numbers = [*recall(ranks, **told), *mean_recall(ranks, **told)]
    lines = verify(name, numbers, model=model)
    assert len(lines) == 9
    assert [line for line in lines if not line.is_same or round(line.ours, 2) != line.published] == []


def test_sugarcrepe_counts_of_gpt_4v():
    for order in ("positive", "negative"):
        for subset in ("swap_att", "swap_obj"):
            path = made.needed(f"sugar_crepe/gpt4v_results/{order}-first/gpt4v-{subset}.json")
            records = [row for row in json.loads(path.read_text()).values() if isinstance(row, dict)]
            right = sum(row["correct"] for row in records)
            (row,) = [
                row
                for row in published()
                if (row.benchmark, row.group, row.model) == ("sugarcrepe", subset, f"GPT-4V ({order} first)")
            ]
            assert row.remark.startswith(f"{right} of {len(records)}")
            assert row.value == round(100 * right / len(records), 2)


def test_models_are_named_by_benchmark():
    assert models_of("winoground")[:2] == ["CLIP ViT-B/32", "CLIP-CAE-AB ViT-B/32"]
    assert models_of("nothing") == []
