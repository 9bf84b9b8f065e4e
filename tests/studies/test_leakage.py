"""From training lists and a run's scores to numbers, through the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from alignscope.cli import app
from alignscope.data.benchmarks.table import BENCHMARKS
from alignscope.errors import BadData, OutputExists
from alignscope.evaluation.baselines import by_text
from alignscope.files import read_jsonl, read_parquet, write_json, write_parquet
from alignscope.records import Measurement, OptionScore, Question, Signature
from alignscope.studies.benchmarking.leakage import find_leaks, text_scores

ITEMS = 12
SIGNATURE = Signature("", "toy", "ab", 0, 0, "none", "none")


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Twelve pairs; training saw the images of the first three and the caption of the fourth."""
    rows = [
        {
            "id": str(n),
            "image": f"{n}.jpg",
            "caption": f"dog {n}",
            "foils": [{"caption": f"cat {n}", "kind": "noun"}],
        }
        for n in range(ITEMS)
    ]
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, {"id": "x"}]))
    (tmp_path / "train.csv").write_text("filepath,caption\n0.jpg,a\n1.jpg,b\ntrain/2.png,c\n99.jpg,Dog 3!\n")
    return path


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run that is right on all four items that training saw and on the first half of the other eight."""
    directory = tmp_path / "run"
    directory.mkdir()
    write_json(directory / "run.json", {"model": {"name": "toy", "fingerprint": "ab12"}})
    options = [
        OptionScore(name, f"noun/{n}", "noun", "noun", "", f"{n}.jpg", "t", 0, place, score, False, False)
        for name in ("other", "pairs")
        for n in range(ITEMS)
        for place, score in enumerate((1.0, 0.0) if n < 8 and name == "pairs" else (0.0, 1.0))
    ]
    write_parquet(directory / "scores.parquet", options, OptionScore)
    return directory


def test_a_run_is_split_into_clean_and_seen_items(pairs: Path, run: Path, tmp_path: Path):
    out = tmp_path / "leaks.jsonl"
    found = find_leaks("pairs", pairs, [tmp_path / "train.csv"], out, run=run)
    numbers = {(m.measure, m.group): m for m in found.measurements}
    assert numbers["seen in training", "image"].value == 3
    assert numbers["seen in training", "right caption"].value == 1
    assert numbers["seen in training", "any"].value == 4
    clean, seen = numbers["accuracy", "clean"], numbers["accuracy", "seen (any)"]
    assert (clean.value, clean.items, seen.value, seen.items) == (0.5, 8, 1.0, 4)
    assert clean.low is not None
    assert clean.high is not None
    assert clean.low < 0.5 < clean.high
    gap = numbers["accuracy difference", "seen (any) - clean"]
    assert gap.value == 0.5
    assert gap.low is not None
    assert gap.low > 0
    assert "|model:toy|weights:ab12|" in clean.signature
    assert "|model:none|" in numbers["seen in training", "any"].signature
    assert found.unread == 1
    rows = list(read_jsonl(out))
    assert [row["item"] for row in rows if row["saw_image"]] == ["noun/0", "noun/1", "noun/2"]
    assert len(rows) == ITEMS
    assert read_parquet(tmp_path / "leaks-measurements.parquet", Measurement) == found.measurements


def test_the_command_says_the_same(pairs: Path, run: Path, tmp_path: Path):
    out = tmp_path / "leaks.jsonl"
    words = ["leaks", "pairs", "--annotations", str(pairs), "--training", str(tmp_path / "train.csv")]
    words += ["--training", str(pairs), "--run", str(run), "--out", str(out)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    lines = [line.split() for line in done.output.splitlines()]
    assert ["seen", "in", "training", "image", "12", "12", "12", "0", "0"] in lines
    assert "13 images and 15 captions in 16 rows" in done.output  # "dog 3" is in both files
    assert "1 items of pairs could not be read" in done.output
    assert isinstance(CliRunner().invoke(app, words).exception, OutputExists)
    assert CliRunner().invoke(app, [*words, "--overwrite"]).exit_code == 0


def test_what_cannot_be_compared_is_said(pairs: Path, run: Path, tmp_path: Path):
    training, out = [tmp_path / "train.csv"], tmp_path / "leaks.jsonl"
    with pytest.raises(BadData, match=r"no scores\.parquet there"):
        find_leaks("pairs", pairs, training, out, run=tmp_path)
    with pytest.raises(BadData, match="answers none of the benchmark's 12 items"):
        find_leaks("world", pairs, training, out, run=run)
    (run / "scores.parquet").write_bytes(b"half a fil")
    with pytest.raises(BadData, match="OptionScore"):
        find_leaks("pairs", pairs, training, out, run=run)
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(BadData, match="got no usable record"):
        find_leaks("pairs", tmp_path / "empty.jsonl", training, out)
    assert not out.exists()


def test_a_model_of_captions_does_not_learn_the_answers(pairs: Path, tmp_path: Path):
    """The file of pairs itself teaches nothing; other captions with dogs in them teach all."""
    asked = [line for line in BENCHMARKS["pairs"].read(pairs) if isinstance(line, Question)]

    def right(*captions: Path) -> list[float | None]:
        return [
            by_text(asked, "caption", score, name=name, signature=SIGNATURE, draws=20)[0].value
            for name, score in text_scores(captions, asked).items()
        ]

    (tmp_path / "dogs.txt").write_text("".join(f"dog {n} runs\n" for n in range(ITEMS)))
    (tmp_path / "cats.txt").write_text("cat 5 sits\ncat 6 sits\n")
    assert right(tmp_path / "dogs.txt") == [1.0, 1.0]
    assert right(pairs, tmp_path / "cats.txt") == [0.0, 0.0]
    with pytest.raises(BadData, match="no caption with words"):
        right(pairs)
