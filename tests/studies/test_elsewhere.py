"""Scores made elsewhere: published files give the published numbers, to the second decimal."""

import json
from pathlib import Path

import pytest

from alignscope.data.benchmarks.table import BENCHMARKS
from alignscope.errors import BadData, BadInput, OutputExists
from alignscope.files import read_jsonl, read_parquet
from alignscope.records import Measurement, OptionScore
from alignscope.studies.benchmarking.given_scores import evaluate_scores

DATA = Path(__file__).parents[2].parent / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"no published score files at {DATA}")


def percent(result, measure):
    return {m.group: round(100 * m.value, 2) for m in result.measurements if m.measure == measure}


@needs_data
@pytest.mark.parametrize(
    ("model", "text", "image", "group"),
    [("albef_4m", 29.25, 15.50, 11.00), ("blip_129m", 35.50, 15.00, 11.75)],
)
def test_winoground_without_its_gated_files(tmp_path, model, text, image, group):
    path = DATA / "winoground_tags" / "reference_scores" / f"{model}.jsonl"
    result = evaluate_scores(BENCHMARKS["winoground"], path, tmp_path / "run", draws=100)
    found = percent(result, "official accuracy")
    assert (found["text"], found["image"], found["group"]) == (text, image, group)
    assert result.problems == 0
    clean = json.loads((DATA / "winoground_tags" / "clean_no_tag_171_ids.json").read_text())
    [row] = [m for m in result.measurements if (m.measure, m.group) == ("official accuracy", "text | clean")]
    assert row.items == len(clean) == 171
    assert len(read_parquet(tmp_path / "run" / "scores.parquet", OptionScore)) == 1600
    assert read_parquet(tmp_path / "run" / "measurements.parquet", Measurement) == list(result.measurements)


@needs_data
def test_valse_per_instrument_micro_and_macro(tmp_path):
    path = DATA / "valse" / "reference_scores" / "albef_4m.jsonl"
    result = evaluate_scores(
        BENCHMARKS["valse"], path, tmp_path / "run", annotations=DATA / "valse", probabilities=True, draws=100
    )
    found = percent(result, "official accuracy")
    wanted = (
        "existence 71.3 plurals 78.8 counting-hard 62.2 counting-small-quant 65.1 counting-adversarial 59.8"
    )
    wanted += " relations 73.1 action-replacement 73.6 actant-swap 58.4 coreference-standard 52.4"
    wanted += " coreference-hard 55.8 foil-it 95.5"
    for name, value in zip(wanted.split()[::2], wanted.split()[1::2], strict=True):
        assert found[name] == pytest.approx(float(value), abs=0.051), name
    assert found["all"] == pytest.approx(69.1, abs=0.05)
    assert percent(result, "accuracy")["all subsets (macro)"] == pytest.approx(67.8, abs=0.05)
    assert {"p_c", "p_f", "acc"} <= {m.measure for m in result.measurements}


@needs_data
@pytest.mark.parametrize("with_annotations", [True, False])
def test_retrieval_from_arrays_of_ranks(tmp_path, with_annotations):
    data = ("coco-retrieval", "COCO") if with_annotations else ("flickr-retrieval", "Flickr")
    folder = DATA / "retrieval_reference" / data[1] / "blip2_pretrain"
    notes = DATA / "coco_karpathy" / "coco_test_1.json" if with_annotations else None
    result = evaluate_scores(BENCHMARKS[data[0]], folder, tmp_path / "run", annotations=notes, draws=50)
    recalls = [percent(result, f"recall@{k}") for k in (1, 5, 10)]
    wanted = [80.68, 94.68, 97.64] if with_annotations else [95.5, 99.9, 99.9]
    assert [one["image to text"] for one in recalls] == wanted
    wanted = [64.23, 85.21, 90.81] if with_annotations else [86.68, 97.14, 98.52]
    assert [one["text to image"] for one in recalls] == wanted


def test_missing_and_extra_scores_are_told_by_item_and_never_wrong(tmp_path):
    folder = tmp_path / "sugar"
    folder.mkdir()
    record = {"filename": "1.jpg", "caption": "a dog", "negative_caption": "a cat"}
    (folder / "swap_obj.json").write_text(json.dumps({str(n): record for n in range(3)}))
    lines = [
        {"item": "swap_obj/0", "image": 0, "text": 0, "score": 2.0},
        {"item": "swap_obj/0", "image": 0, "text": 1, "score": 1.0},
        {"item": "swap_obj/1", "image": 0, "text": 0, "score": 1.0},
        {"item": "swap_obj/7", "image": 0, "text": 0, "score": 1.0},
    ]
    scores = tmp_path / "mine.jsonl"
    scores.write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = evaluate_scores(BENCHMARKS["sugarcrepe"], scores, tmp_path / "run", annotations=folder)
    [row] = [m for m in result.measurements if (m.measure, m.group) == ("accuracy", "all")]
    assert (row.value, row.items, row.missing) == (1.0, 1, 2)
    said = {one["item"]: one["what"] for one in read_jsonl(tmp_path / "run" / "problems.jsonl")}
    assert "no such item" in said["swap_obj/7"]
    assert said["swap_obj/2"] == "missing scores: all"
    assert "text 1" in said["swap_obj/1"]
    with pytest.raises(BadData, match="wanted a file of scores"):
        evaluate_scores(BENCHMARKS["sugarcrepe"], tmp_path / "absent.jsonl", tmp_path / "other")


def test_items_that_cannot_be_read_are_missing(tmp_path):
    folder = tmp_path / "sugar"
    folder.mkdir()
    record = {"filename": "1.jpg", "caption": "a dog", "negative_caption": "a cat"}
    (folder / "swap_obj.json").write_text(json.dumps({"0": record, "1": {**record, "caption": 3}}))
    scores = tmp_path / "mine.jsonl"
    lines = [{"item": "swap_obj/0", "image": 0, "text": text, "score": 2.0 - text} for text in (0, 1)]
    scores.write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = evaluate_scores(BENCHMARKS["sugarcrepe"], scores, tmp_path / "run", annotations=folder)
    rows = {m.group: m for m in result.measurements if m.measure == "accuracy"}
    assert (rows["all"].items, rows["all"].missing) == (1, 1)
    assert (rows["swap_obj"].items, rows["swap_obj"].missing) == (1, 1)


def test_an_average_over_groups_needs_the_groups(tmp_path):
    scores = tmp_path / "mine.jsonl"
    lines = [{"item": "vg-relation/0", "image": 0, "text": text, "score": 2.0 - text} for text in (0, 1)]
    scores.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(BadInput, match="give the annotations"):
        evaluate_scores(BENCHMARKS["aro-relation"], scores, tmp_path / "run")


def test_more_items_than_the_authors_count_are_told(tmp_path):
    scores = tmp_path / "mine.jsonl"
    lines = [
        {"item": f"coreference-hard/{item}", "image": 0, "text": text, "score": 2.0 - text}
        for item in range(105)
        for text in (0, 1)
    ]
    scores.write_text("".join(json.dumps(line) + "\n" for line in lines))
    evaluate_scores(BENCHMARKS["valse"], scores, tmp_path / "run", draws=10)
    said = {one["item"]: one["what"] for one in read_jsonl(tmp_path / "run" / "problems.jsonl")}
    assert said["coreference-hard"] == "105 items, the authors count 104"


def test_a_refused_or_stopped_run_of_scores_goes_on(tmp_path):
    sugar, scores, out = BENCHMARKS["sugarcrepe"], tmp_path / "mine.jsonl", tmp_path / "run"
    lines = [{"item": "swap_obj/0", "image": 0, "text": text, "score": 2.0 - text} for text in (0, 1)]
    scores.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(BadData):
        evaluate_scores(sugar, scores, out, annotations=tmp_path / "absent")
    assert not out.exists()
    first = evaluate_scores(sugar, scores, out, draws=10)
    with pytest.raises(OutputExists):
        evaluate_scores(sugar, scores, out, draws=10)
    again = evaluate_scores(sugar, scores, out, draws=10, resume=True)
    assert again.measurements == first.measurements
