"""Fine-tuning on pairs that are read as a stream."""

import json
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import test_finetune as whole
import torch

from alignscope.files import read_jsonl
from alignscope.training.finetune import finetune
from alignscope.training.settings import ParquetData, ValidationPlan


def test_a_stream_is_trained_on_and_validated(tmp_path: Path) -> None:
    pytest.importorskip("spacy")
    torch.set_num_threads(1)
    whole.pictures(tmp_path / "images", 12)
    said = ["a red cat under a box", "a small dog next to a tree", "a black horse on a green field"]
    rows = [
        {"image": (tmp_path / "images" / f"{n}.png").read_bytes(), "caption": said[n % 3]} for n in range(12)
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "pairs.parquet")
    data = ParquetData("parquet", (str(tmp_path / "pairs.parquet"),), buffer=4)
    held = ValidationPlan(data, pairs=6, every=2)
    finetune(replace(whole.CAE, data=data, batch=4, steps=4, validation=held), tmp_path / "run")
    rows = list(read_jsonl(tmp_path / "run" / "metrics.jsonl"))
    assert [row["validation"]["pairs"] for row in rows if "validation" in row] == [6, 6]
    assert all(row["valid"]["gradcam"] == 1.0 for row in rows if "loss" in row)
    assert json.loads((tmp_path / "run" / "coverage.json").read_text())["captions"] == 12
