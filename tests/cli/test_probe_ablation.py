"""`alignscope probe ablation` and `scenes` as a user types them, in the world with the captioner that comes along."""

import json

import pytest
from typer.testing import CliRunner

from alignscope.cli import app
from alignscope.files import read_jsonl, read_parquet
from alignscope.records import Ablated, SceneProbe

SMALL = ["--size", "12", "--reference-size", "200"]


def typed(*words, code=0):
    done = CliRunner().invoke(app, ["probe", *map(str, words)])
    assert done.exit_code == code, (done.output, done.exception)
    return done.stdout if code == 0 else str(done.exception) + done.output


def test_ablation_captions_both_worlds(tmp_path):
    out = tmp_path / "run"
    words = ["--model", "A=tiny-vinvl", "--model", "B=tiny-vinvl", "--background", "both", "--count", "1"]
    output = typed("ablation", *words, *SMALL, "--draws", "50", "--out", out)
    for row in ("captions changed: test with background", "regions with a label", "A - B", "McNemar"):
        assert row in output
    rows = read_parquet(out / "images" / "test without background" / "captions" / "A.parquet", Ablated)
    assert rows
    assert {row.count for row in rows} == {1}
    assert [row.after for row in rows] == [
        row.after
        for row in read_parquet(
            out / "images" / "test without background" / "captions" / "B.parquet", Ablated
        )
    ]
    facts = json.loads((out / "run.json").read_text())
    assert facts["finished"]
    assert facts["images"] == {"test with background": 12, "test without background": 12}


def test_scenes_are_probed_with_train_images_beside(tmp_path):
    out = tmp_path / "run"
    words = ["--model", "A=tiny-vinvl", "--also-train", "60", "--seeds", "1", "--split", "50"]
    words += ["--classifier", "logistic", "--size", "60", "--reference-size", "200", "--no-control"]
    output = typed("scenes", *words, "--out", out)
    assert "all | A without 1 (image) | logistic | 50/50" in " ".join(output.split())
    assert "images are held out" in output
    runs = read_parquet(out / "runs.parquet", SceneProbe)
    assert {run.images for run in runs} == {"all", "held out"}
    assert {run.trained_on for run in runs} == {
        "A", "A without 1 (image)", "regions", "regions without 1 (image)", "nothing"
    }  # fmt: skip
    images = [row["image"].split("-")[0] for row in read_jsonl(out / "states" / "images.jsonl")]
    assert {*images} == {"test", "train"}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["ablation", "--reading", "most"], "got --reading most, wanted some of image, scene, random, least"),
        (["ablation", "--regions", "r.tsv"], "got --regions without --captions"),
        (["scenes", "--intact", "--count", "1"], "got --intact and --count 1"),
        (["scenes", "--also", "train.jsonl"], "of the world give --also-train"),
        (["ablation", "--reference", "train.jsonl"], "got --reference without --captions"),
    ],
)
def test_options_that_do_not_go_together(words, told, tmp_path):
    output = typed(*words, "--model", "tiny-vinvl", "--size", "4", "--out", tmp_path / "run", code=1)
    assert told in " ".join(output.split())
    assert not (tmp_path / "run").exists()
