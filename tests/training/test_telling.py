"""What a run says of its data before it begins and of its steps, and what it refuses then."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from alignscope.errors import BadInput
from alignscope.files import read_jsonl
from alignscope.training.finetune import finetune
from alignscope.training.metrics import Diverged
from alignscope.training.recipe import Register
from alignscope.training.settings import (
    AttributionPlan,
    Augmentation,
    FineTuning,
    NegativePlan,
    ParquetData,
    SceneData,
    TableData,
    ValidationPlan,
)

RICH = Register(0.9, 0.95, 0.3, 0.5, 0.9)
NOUNS = Register(0.0, 0.0, 0.0, 0.0, 1.0)
PLAIN = FineTuning(
    "plain",
    "tiny-clip",
    SceneData("world", RICH, images=48, captions_per_image=2),
    batch=8,
    steps=3,
    learning_rate=1e-3,
    warmup=1,
    log_every=1,
    save_every=2,
)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def pictures(directory: Path, count: int) -> list[Path]:
    directory.mkdir(exist_ok=True)
    noise = np.random.default_rng(0).integers(0, 255, (count, 64, 64, 3), dtype=np.uint8)
    for number, pixels in enumerate(noise):
        Image.fromarray(pixels).save(directory / f"{number}.png")
    return [directory / f"{number}.png" for number in range(count)]


def table(path: Path, images: list[str]) -> None:
    with path.open("w", newline="") as file:
        rows = csv.writer(file, delimiter="\t")
        rows.writerow(["", "title", "filepath", "neg_caption", "neg_image"])
        for number, image in enumerate(images):
            rows.writerow([number, f"a cat near box {number}", image, [f"a box near cat {number}"], [5]])


def test_absent_images_of_both_data_are_counted_and_named(tmp_path):
    pictures(tmp_path / "images", 10)
    table(tmp_path / "train.tsv", [f"{n}.png" for n in range(8)] + ["absent.png", "gone.png"])
    table(tmp_path / "held.tsv", ["8.png", "9.png", "lost.png"])
    train, held = (
        TableData("table", str(tmp_path / f"{name}.tsv"), str(tmp_path / "images"))
        for name in ("train", "held")
    )
    seen = []
    plan = replace(PLAIN, data=train, validation=ValidationPlan(held, pairs=2))
    finetune(plan, tmp_path / "run", watch=seen.append)
    [told] = [one for one in seen if one.stage == "problems.jsonl"]
    named = [row["subject"] for row in read_jsonl(tmp_path / "run" / "problems.jsonl")]
    assert told.numbers == {"left out": 3, "handled": len(named) - 3}
    assert {"absent.png", "gone.png", "lost.png"} <= set(named)


def test_a_run_that_leaves_nothing_out_says_nothing_of_it(tmp_path):
    seen = []
    finetune(PLAIN, tmp_path, watch=seen.append)
    assert "problems.jsonl" not in {one.stage for one in seen}


@pytest.mark.parametrize("weight", ["matched", 1.0])
def test_a_loss_that_no_caption_can_feed_is_refused_where_it_is_the_only_one(tmp_path, weight):
    data = replace(PLAIN.data, register=NOUNS)
    plan = replace(PLAIN, data=data, attribution=AttributionPlan(weight=weight), contrastive=0.0)
    with pytest.raises(BadInput, match=r"valid share 0: none of 96 captions .* nothing would be trained"):
        finetune(plan, tmp_path)


def test_a_run_that_burst_before_its_weight_was_matched_has_diverged(tmp_path):
    plan = replace(PLAIN, learning_rate=1e30, save_every=1, attribution=AttributionPlan(batches=2))
    with pytest.raises(Diverged, match=r"norms nan and nan at step 1: .*step-000001"):
        finetune(plan, tmp_path)


def test_rows_and_the_live_line_say_how_many_wrong_captions_there_were(tmp_path):
    seen = []
    plan = replace(PLAIN, negatives=NegativePlan(each=2))
    finetune(plan, tmp_path / "made", watch=seen.append)
    rows = list(read_jsonl(tmp_path / "made" / "metrics.jsonl"))
    assert all(1.5 < row["foils_per_pair"] <= 2 for row in rows)
    live = [one.numbers["foils/pair"] for one in seen if one.stage == "training"]
    assert live == [row["foils_per_pair"] for row in rows]
    finetune(replace(plan, data=replace(PLAIN.data, register=NOUNS)), tmp_path / "poor")
    poor = list(read_jsonl(tmp_path / "poor" / "metrics.jsonl"))
    assert all(row["foils_per_pair"] < 1.5 for row in poor)
    finetune(replace(plan, negatives=None), tmp_path / "none")
    assert {row["foils_per_pair"] for row in read_jsonl(tmp_path / "none" / "metrics.jsonl")} == {None}


def test_what_became_unreadable_is_counted_in_the_live_line(tmp_path):
    images = pictures(tmp_path / "images", 8)
    table(tmp_path / "pairs.tsv", [image.name for image in images])
    data = TableData("table", str(tmp_path / "pairs.tsv"), str(tmp_path / "images"))
    seen = []

    def watch(one):
        if one.stage == "training":
            seen.append(one.numbers.get("unreadable"))
            images[3].write_bytes(b"no image")

    plan = replace(PLAIN, data=data, batch=4, steps=4, augmentation=Augmentation(), unreadable=0.9)
    finetune(plan, tmp_path / "run", watch=watch)
    assert seen[0] is None
    assert seen[-1] >= 1
    assert [row["name"] for row in read_jsonl(tmp_path / "run" / "quarantine.jsonl")] == ["3.png"]


def test_a_small_stream_has_replacements_too(tmp_path):
    pytest.importorskip("spacy")
    said = [f"a {colour} {thing} under a box" for colour in ("red", "blue") for thing in ("cat", "dog")]
    rows = [{"image": p.read_bytes(), "caption": said[n]} for n, p in enumerate(pictures(tmp_path / "i", 4))]
    rows.append({"image": b"", "caption": ""})
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "pairs.parquet")
    data = ParquetData("parquet", (str(tmp_path / "pairs.parquet"),), buffer=4)
    heard = AttributionPlan(methods=("perturbation",), weight=1.0, units=0)
    plan = replace(PLAIN, data=data, batch=4, attribution=heard, negatives=NegativePlan(), unreadable=0.9)
    finetune(plan, tmp_path / "run")
    rows = list(read_jsonl(tmp_path / "run" / "metrics.jsonl"))
    assert all(row["valid"]["perturbation"] == 1.0 and row["foils_per_pair"] == 1.0 for row in rows)
    problems = list(read_jsonl(tmp_path / "run" / "problems.jsonl"))
    assert {"object", "attribute"} <= {row["subject"] for row in problems}
    assert json.loads((tmp_path / "run" / "coverage.json").read_text())["with_both"] == 4
