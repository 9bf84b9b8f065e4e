"""The engine of `evaluate` on a random tiny CLIP: records are those of scores made one by one, however run."""

import importlib.util
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from alignscope.data.images import ImageFolder
from alignscope.errors import BadData, OutputExists
from alignscope.files import read_jsonl, read_parquet
from alignscope.models.zoo import open_model
from alignscope.records import Measurement
from alignscope.studies.benchmarking import encoding
from alignscope.studies.benchmarking.evaluation import evaluate

spec = importlib.util.spec_from_file_location("toy_benchmark", Path(__file__).with_name("toy_benchmark.py"))
assert spec is not None
assert spec.loader is not None
toy = importlib.util.module_from_spec(spec)
spec.loader.exec_module(toy)
counted = toy.counted
PICTURES, QUESTIONS, SMALL, benchmark, model, place, row, scores_in, write = (
    toy.PICTURES,
    toy.QUESTIONS,
    toy.SMALL,
    toy.benchmark,
    toy.model,
    toy.place,
    toy.row,
    toy.scores_in,
    toy.write,
)


@pytest.fixture(scope="module")
def run(model, place, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "run"
    return evaluate(
        model, benchmark("caption"), place / "caption.jsonl", ImageFolder(place / "images"), out, **SMALL
    )


def files_of(out: Path) -> dict[str, bytes]:
    """Everything a run wrote but for the times in run.json."""
    facts = json.loads((out / "run.json").read_text())
    timeless = {key: facts[key] for key in facts if key not in ("seconds", "started", "command")}
    return {
        "run.json": json.dumps(timeless).encode(),
        **{path.name: path.read_bytes() for path in out.iterdir() if path.name != "run.json"},
    }


def test_scores_are_those_of_the_model_one_by_one(model, place, run):
    records = scores_in(run.directory)
    assert len(records) == 2 * QUESTIONS
    folder = ImageFolder(place / "images")
    for record in records[:: QUESTIONS // 7]:
        (alone,) = model.score([folder.image(record.image)], [record.text]).tolist()
        assert record.score == pytest.approx(alone, abs=1e-4)
    pairs = list(zip(records[::2], records[1::2], strict=True))
    assert [one.item for one, _ in pairs] == [f"part-{n % 2}/{n}" for n in range(QUESTIONS)]
    (whole,) = [m for m in run.measurements if (m.measure, m.group) == ("accuracy", "all")]
    assert whole.value == pytest.approx(sum(one.score > two.score for one, two in pairs) / QUESTIONS)
    assert (whole.items, whole.images, whole.missing) == (QUESTIONS, PICTURES, 0)
    assert read_parquet(run.directory / "measurements.parquet", Measurement) == list(run.measurements)
    assert not (run.directory / "work").exists()


def test_texts_of_equal_tokens_tie_exactly(model, place, tmp_path):
    long = " ".join(["red dog"] * 40)
    texts = ["A  Dog", "a dog", f"{long} ends", f"{long} otherwise"]
    path = write(
        tmp_path / "a.jsonl", [row(0, [["0.png"]], texts[:2], subset="x"), row(1, [["0.png"]], texts[2:])]
    )
    done = evaluate(
        model, benchmark("caption"), path, ImageFolder(place / "images"), tmp_path / "out", **SMALL
    )
    assert all(record.is_tie for record in scores_in(done.directory))
    told = list(read_jsonl(done.directory / "problems.jsonl"))
    assert [(one["item"], one["action"]) for one in told] == [("part-1/1", "handled")] * 2
    assert "truncated at 24" in told[0]["what"]


def test_each_image_and_text_is_encoded_once_and_never_again(model, place, run, tmp_path, monkeypatch):
    counts = counted(model, monkeypatch)
    texts = sorted({record.text for record in scores_in(run.directory)})
    unique = len({tuple(ids) for ids in model.tokens(texts).ids.tolist()})
    assert unique < len(texts)  # some differ only where the model no longer listens
    arguments = (model, benchmark("caption"), place / "caption.jsonl", ImageFolder(place / "images"))
    evaluate(*arguments, tmp_path / "one", cache=tmp_path / "cache", **SMALL)
    assert counts == [PICTURES, unique]
    evaluate(*arguments, tmp_path / "two", cache=tmp_path / "cache", **SMALL)
    assert counts == [PICTURES, unique]
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two") == files_of(run.directory)


def test_crops_of_one_file_are_images_of_their_own(model, place, tmp_path):
    path = write(
        tmp_path / "a.jsonl",
        [
            row(0, [["0.png", 0, 0, 100, 100]], ["a dog", "a cat"]),
            row(1, [["0.png", 100.4, 0, 200, 100]], ["a dog", "a cat"]),
        ],
    )
    done = evaluate(
        model, benchmark("caption"), path, ImageFolder(place / "images"), tmp_path / "out", **SMALL
    )
    whole = Image.open(place / "images" / "0.png").convert("RGB")
    for record, box in zip(
        scores_in(done.directory)[::2], [(0, 0, 100, 100), (100, 0, 200, 100)], strict=True
    ):
        assert record.score == pytest.approx(model.score([whole.crop(box)], ["a dog"]).item(), abs=1e-4)


class Killed(Exception):
    pass


@pytest.mark.parametrize(("stage", "at"), [("images", 6), ("images", 3), ("texts", 1), ("scores", 2)])
def test_a_stopped_run_goes_on_to_the_same_files(model, place, run, tmp_path, stage, at):
    def kill(name, done, total):
        if (name, done) == (stage, at):
            assert done <= total
            raise Killed

    arguments = (model, benchmark("caption"), place / "caption.jsonl", ImageFolder(place / "images"))
    with pytest.raises(Killed):
        evaluate(*arguments, tmp_path / "run", progress=kill, **SMALL)
    with pytest.raises(OutputExists, match="--resume"):
        evaluate(*arguments, tmp_path / "run", **SMALL)
    evaluate(*arguments, tmp_path / "run", resume=True, **SMALL)
    assert files_of(tmp_path / "run") == files_of(run.directory)


def test_shards_kept_before_the_stop_are_not_made_again(model, place, tmp_path, monkeypatch):
    def kill(name, done, total):
        if name == "scores":
            raise Killed

    monkeypatch.setattr(encoding, "SHARD", 2)
    arguments = (model, benchmark("caption"), place / "caption.jsonl", ImageFolder(place / "images"))
    with pytest.raises(Killed):
        evaluate(*arguments, tmp_path / "run", progress=kill, **SMALL)
    counts = counted(model, monkeypatch)
    evaluate(*arguments, tmp_path / "run", resume=True, **SMALL)
    assert counts == [0, 0]


def test_a_run_does_not_go_on_with_other_data(model, place, run, tmp_path):
    def kill(name, done, total):
        if name == "scores":
            raise Killed

    path = write(tmp_path / "a.jsonl", [row(0, [["0.png"]], ["a dog", "a cat"])])
    folder = ImageFolder(place / "images")
    with pytest.raises(Killed):
        evaluate(model, benchmark("caption"), path, folder, tmp_path / "run", progress=kill, **SMALL)
    write(path, [row(0, [["0.png"]], ["a dog", "a cow"])])
    with pytest.raises(OutputExists, match="other data"):
        evaluate(model, benchmark("caption"), path, folder, tmp_path / "run", resume=True, **SMALL)


def evaluate_here(model_directory: str, place: str, out: str) -> None:
    """What each of several processes runs."""
    torch.set_num_threads(1)
    folder = ImageFolder(Path(place) / "images")
    annotations = Path(place) / "caption.jsonl"
    model = open_model(model_directory)
    for name in ("run", "again"):  # several benchmarks in a row
        done = evaluate(model, benchmark("caption"), annotations, folder, Path(out) / name, **SMALL)
        assert done.measurements


def together(function: str, *arguments: str) -> list[subprocess.Popen]:
    """Two processes with the environment that torchrun gives, running a function of this file."""
    code = f"import runpy, sys; runpy.run_path({__file__!r})[{function!r}](*sys.argv[1:])"
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    common = {"WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            env={**os.environ, **common, "RANK": str(rank), "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    for each in running:
        each.stderr_text = each.communicate(timeout=120)[1]
    return running


def test_two_processes_make_the_files_of_one(tiny_clip_dir, place, run, tmp_path):
    done = together("evaluate_here", str(tiny_clip_dir), str(place), str(tmp_path))
    assert [each.returncode for each in done] == [0, 0], done[0].stderr_text
    assert files_of(tmp_path / "run") == files_of(tmp_path / "again") == files_of(run.directory)


def refuse_here(model_directory: str, place: str, out: str) -> None:
    """As `evaluate_here`, of data that are refused."""
    rows = [row(0, [["none.png"]], ["a dog", "a cat"]), row(1, [["0.png"]], ["a dog", "a cat"])]
    path = write(Path(out).parent / f"{os.environ['RANK']}.jsonl", rows)
    folder = ImageFolder(Path(place) / "images")
    with pytest.raises(BadData, match="1 of 2"):
        evaluate(open_model(model_directory), benchmark("caption"), path, folder, Path(out))


def test_what_one_process_refuses_all_refuse(tiny_clip_dir, place, tmp_path):
    done = together("refuse_here", str(tiny_clip_dir), str(place), str(tmp_path / "run"))
    assert [each.returncode for each in done] == [0, 0], done[0].stderr_text
