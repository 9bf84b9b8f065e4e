"""Validation captions are scored as any captions are; what is missing is told or left alone."""

import pytest

from alignscope.errors import MissingExtra
from alignscope.files import read_jsonl, write_jsonl
from alignscope.studies.scenes import epochs as scene_epochs
from alignscope.studies.scenes.epochs import METRICS, write_epochs


def written(directory, captions, *, references=True):
    (directory / "validation").mkdir(parents=True)
    for step, texts in captions.items():
        rows = [{"image": f"i{place}", "caption": text} for place, text in enumerate(texts)]
        write_jsonl(directory / "validation" / f"{step:06}.jsonl", rows)
    if references:
        rows = [{"image": f"i{place}", "caption": text} for place in (0, 1) for text in SAID[place]]
        write_jsonl(directory / "validation" / "references.jsonl", rows)
    return directory


SAID = [["in the big old house", "at the house by the sea"], ["on the road to the town", "a road in a town"]]


def test_each_step_is_scored(tmp_path):
    directory = written(tmp_path, {10: ["in the big old house", "a road in a town"], 5: ["a cat", "a dog is here now"]})  # fmt: skip
    write_epochs(directory)
    rows = list(read_jsonl(directory / "epochs.jsonl"))
    assert [row["step"] for row in rows] == [5, 10]
    for row in rows:
        assert {*row["validation"], *row["reasons"]} == set(METRICS)
    if "BLEU-4" in rows[1]["reasons"]:
        pytest.skip(rows[1]["reasons"]["BLEU-4"])
    assert rows[1]["validation"]["BLEU-4"] == pytest.approx(1.0, abs=1e-6)
    assert rows[1]["validation"]["ROUGE-L"] == pytest.approx(1.0)
    assert rows[0]["validation"]["BLEU-4"] < 0.01


def test_a_missing_extra_is_the_reason_of_every_metric(tmp_path, monkeypatch):
    def missing(*given, **how):
        raise MissingExtra("caption metrics", "pip install it")

    monkeypatch.setattr(scene_epochs, "caption_metrics", missing)
    write_epochs(written(tmp_path, {5: ["a cat", "a dog"]}))
    (row,) = read_jsonl(tmp_path / "epochs.jsonl")
    assert row["validation"] == {}
    assert set(row["reasons"]) == set(METRICS)
    assert "pip install it" in row["reasons"]["SPICE"]


def test_without_references_nothing_is_written(tmp_path):
    write_epochs(written(tmp_path / "a", {5: ["a cat", "a dog"]}, references=False))
    write_epochs(written(tmp_path / "b", {}))
    assert not list(tmp_path.rglob("epochs.jsonl"))
