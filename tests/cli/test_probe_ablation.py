"""`alignscope probe ablation` and `scenes` as a user types them, in the world with the captioner that comes along."""

import base64
import json

import numpy as np
import pytest
from typer.testing import CliRunner

from alignscope.cli import app
from alignscope.files import read_jsonl, read_parquet
from alignscope.records import Ablated, SceneProbe

SMALL = ["--scenes", "12", "--reference-scenes", "200"]


def typed(*words, code=0):
    done = CliRunner().invoke(app, ["probe", *map(str, words)])
    assert done.exit_code == code, (done.output, done.exception)
    return done.stdout if code == 0 else str(done.exception) + done.output


def test_ablation_captions_both_worlds(tmp_path):
    out = tmp_path / "run"
    words = ["A=tiny-vinvl", "B=tiny-vinvl", "--both", "--count", "1"]
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
    words = ["A=tiny-vinvl", "--also-train", "60", "--seeds", "1", "--split", "50"]
    words += ["--classifier", "logistic", "--scenes", "60", "--reference-scenes", "200", "--no-control"]
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
    assert list(json.loads((out / "run.json").read_text())["data"]) == ["world-test+world-train"]
    told = [row["what"] for row in read_jsonl(out / "problems.jsonl")]
    assert "PMI is of 200 images of which 60 are ablated: give --reference of others" in told


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["ablation", "--reading", "most"], "got --reading most, wanted some of image, scene, random, least"),
        (["ablation", "--both", "--background"], "got --both and --background"),
        (["ablation", "--hl", "test.jsonl"], "got no --reference, wanted another of HL's files"),
        (["ablation", "--regions", "r.tsv"], "got --regions without --hl"),
        (["scenes", "--intact", "--count", "1"], "got --intact and --count 1"),
        (["scenes", "--also", "train.jsonl"], "of the world give --also-train"),
        (["ablation", "--reference", "train.jsonl"], "got --reference for the world"),
    ],
)
def test_options_that_do_not_go_together(words, told, tmp_path):
    output = typed(*words, "tiny-vinvl", "--scenes", "4", "--out", tmp_path / "run", code=1)
    assert told in " ".join(output.split())
    assert not (tmp_path / "run").exists()


@pytest.fixture
def files(tmp_path):
    """Files of HL with regions and labels: two scenes, and an image that no file of regions has."""
    scores = {axis: [5, 5, 5] for axis in ("scene", "action", "rationale")}
    random = np.random.default_rng(0)
    rows: dict[str, list[str]] = {"hl": [], "train": [], "regions": [], "labels": [], "bare": []}
    for name, first, count in (("hl", 100, 13), ("train", 200, 20)):
        for number in range(first, first + count):
            scene, thing = (("road", "house"), ("sea", "boat"))[number % 2]
            captions = {axis: ["x"] * 3 for axis in scores} | {"scene": [f"on a {scene}"] * 3}
            row = {"file_name": f"{number}.jpg", "captions": captions, "confidence": scores}
            row |= {"purity": scores, "diversity": dict.fromkeys(scores, 1.0)}
            rows[name].append(json.dumps(row))
            labels = [{"class": thing, "rect": [0, 0, 10, 10]}, {"class": "tree", "rect": [20, 0, 30, 10]}]
            rows["labels"].append(f"{number}\t{json.dumps(labels)}")
            bare = [{"class": one["class"]} for one in labels]
            rows["bare"].append(f"{number}\t{json.dumps(bare)}")
            seen = random.normal(size=(2, 262)).astype(np.float32)
            seen[:, 256:] = [[0, 0, 0.25, 0.25, 0.25, 0.25], [0.5, 0, 0.75, 0.25, 0.25, 0.25]]
            told = {"num_boxes": 2, "features": base64.b64encode(seen.tobytes()).decode()}
            told |= {"image_w": 40, "image_h": 40}
            if number != 112:
                rows["regions"].append(f"{number}\t{json.dumps(told)}")
    for name, lines in rows.items():
        ending = "jsonl" if name in ("hl", "train") else "tsv"
        (tmp_path / f"{name}.{ending}").write_text("\n".join(lines) + "\n")
    (tmp_path / "sizes.tsv").write_text(
        "".join(f"{n}.jpg\t40\t40\n" for n in (*range(100, 113), *range(200, 220)))
    )
    return tmp_path


def test_hl_with_regions_labels_and_train_images_beside(files):
    words = ["tiny-vinvl", "--hl", files / "hl.jsonl", "--regions", files / "regions.tsv"]
    words += ["--sizes", files / "sizes.tsv", "--also", files / "train.jsonl", "--count", "1"]
    labelled = [*words, "--labels", files / "labels.tsv"]
    typed("ablation", *labelled, "--draws", "50", "--out", files / "run")
    rows = read_parquet(files / "run" / "images" / "hl" / "captions" / "tiny-vinvl.parquet", Ablated)
    assert {(row.scene, row.objects) for row in rows} == {("road", "house"), ("sea", "boat")}
    assert [row.image for row in rows] == [f"{number}.jpg" for number in range(100, 112)]
    assert {(row.labels_removed, row.regions_removed) for row in rows} == {(1, 1)}
    problems = [*read_jsonl(files / "run" / "problems.jsonl")]
    assert any("112" in row["item"] and row["action"] == "unscored" for row in problems)
    boxless = [*words, "--labels", files / "bare.tsv", "--out", files / "bare"]
    assert "none with a box" in typed("ablation", *boxless, code=1)
    typed("ablation", *boxless, "--tags-only", "--draws", "50")
    rows = read_parquet(files / "bare" / "images" / "train" / "captions" / "tiny-vinvl.parquet", Ablated)
    assert {(row.labels_removed, row.regions_removed) for row in rows} == {(1, 0)}
    probes = ["--seeds", "1", "--split", "50", "--classifier", "logistic", "--out", files / "scenes"]
    assert "12 of 32 images are held out" in typed("scenes", *labelled, *probes)
