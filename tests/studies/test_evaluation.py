"""The engine of `evaluate` on a random tiny CLIP: records are those of scores made one by one, however run."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from alignscope.data.benchmarks.facts import Benchmark, Official
from alignscope.data.images import ImageFolder
from alignscope.data.world.world import World
from alignscope.errors import BadData, BadInput, OutputExists
from alignscope.files import read_jsonl, read_parquet
from alignscope.models.zoo import open_model
from alignscope.records import Box, Measurement, OptionScore, Problem, Question, Rank, Shown
from alignscope.studies import encoding
from alignscope.studies.evaluation import evaluate

PICTURES = 12
QUESTIONS = 1100  # three chunks
SMALL = {"batch_size": 2, "draws": 50}


def read(path: Path) -> Iterator[Question | Problem]:
    """Questions as JSON lines; a row with `what` is a problem."""
    for row in read_jsonl(path):
        if "what" in row:
            yield Problem(**row)
        else:
            shown = tuple(Shown(key, Box(*corners) if corners else None) for key, *corners in row["images"])
            yield Question(**{**row, "images": shown, "texts": tuple(row["texts"])})


def benchmark(asks: str) -> Benchmark:
    """A benchmark of nobody's."""
    official = Official(average="none") if asks in ("similarity", "retrieval") else Official()
    return Benchmark("toy", "Toy", asks, read, official, "", "", "", "a file", "a folder")


def write(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def row(number: int, images: list, texts: list[str], **more) -> dict:
    subset = more.pop("subset", f"part-{number % 2}")
    return {
        "id": f"{subset}/{number}",
        "subset": subset,
        "group": subset,
        "images": images,
        "texts": texts,
        **more,
    }


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Matrix products differ in their last bits with the number of threads, so all runs here have one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def model(tiny_clip_dir):
    return open_model(str(tiny_clip_dir))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Pictures of the world, and questions about them: the world's captions and foils again and again."""
    place = tmp_path_factory.mktemp("toy")
    (place / "images").mkdir()
    world = World("test", size=PICTURES)
    for number, item in enumerate(world.items):
        world.image(item.image).save(place / "images" / f"{number}.png")
    captions = [item.caption.text for item in world.items]
    foils = [foil.text for item in world.items for foil in item.foils]
    rows = [
        row(n, [[f"{n % PICTURES}.png"]], [captions[n % PICTURES], foils[n % len(foils)]])
        for n in range(QUESTIONS)
    ]
    write(place / "caption.jsonl", rows)
    (place / "texts.json").write_text(json.dumps([captions, foils]))
    return place


@pytest.fixture(scope="module")
def run(model, place, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "run"
    return evaluate(
        model, benchmark("caption"), place / "caption.jsonl", ImageFolder(place / "images"), out, **SMALL
    )


def scores_in(out: Path) -> list[OptionScore]:
    return read_parquet(out / "scores.parquet", OptionScore)


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


def counted(model, monkeypatch) -> list[int]:
    """How many images and texts the model encodes from here on."""
    counts = [0, 0]
    for place, name in enumerate(("encode_images", "encode_texts")):
        whole = getattr(model, name)

        def count(things, *, batch_size, place=place, whole=whole):
            counts[place] += len(things)
            return whole(things, batch_size=batch_size)

        monkeypatch.setattr(model, name, count)
    return counts


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


@pytest.mark.parametrize(("stage", "at"), [("images", 6), ("images", 3), ("texts", 9), ("scores", 2)])
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


@pytest.fixture
def holes(place, tmp_path):
    """Six items: one image missing, one broken, one grey, one line that could not be read."""
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("0.png", "1.png"):
        (folder / name).write_bytes((place / "images" / name).read_bytes())
    (folder / "broken.png").write_bytes((folder / "0.png").read_bytes()[:900])
    Image.open(folder / "0.png").convert("L").save(folder / "grey.png")
    names = ["0.png", "none.png", "broken.png", "grey.png", "1.png"]
    rows = [row(n, [[name]], ["a dog", "a cat"]) for n, name in enumerate(names)]
    rows.append({"item": "part-1/9", "subject": "line 9", "what": "is no JSON", "action": "unscored"})
    return write(tmp_path / "holes.jsonl", rows), folder


def test_items_that_are_missing_are_refused_by_name(model, holes, tmp_path):
    path, folder = holes
    arguments = (model, benchmark("caption"), path, ImageFolder(folder), tmp_path / "run")
    with pytest.raises(BadData, match=r"2 of 6 items .*\(part-1 2 of 3\).*problems.jsonl.*--allow-missing"):
        evaluate(*arguments, **SMALL)
    told = {one["item"]: one["what"] for one in read_jsonl(tmp_path / "run" / "problems.jsonl")}
    assert set(told) == {"part-1/1", "part-1/9"}
    assert "none.png" in told["part-1/1"]
    assert not (tmp_path / "run" / "scores.parquet").exists()
    kept = [line for line in path.read_text().splitlines() if "none" not in line and "line 9" not in line]
    path.write_text("\n".join(kept))
    with pytest.raises(BadData, match=r"1 of 4 items .*\(part-0 1 of 3\)"):
        evaluate(*arguments, resume=True, **SMALL)
    told = [(one["item"], one["what"]) for one in read_jsonl(tmp_path / "run" / "problems.jsonl")]
    assert [item for item, what in told] == ["part-0/2"]
    assert "does not decode" in told[0][1]


def test_items_may_be_missing_when_it_is_said(model, holes, tmp_path, monkeypatch):
    path, folder = holes
    path.write_text(
        path.read_text().replace('none.png"]], "texts": ["a dog"', 'none.png"]], "texts": ["a box"')
    )
    counts = counted(model, monkeypatch)
    done = evaluate(
        model, benchmark("caption"), path, ImageFolder(folder), tmp_path / "run", allow_missing=True, **SMALL
    )
    found = {(m.measure, m.group): m for m in done.measurements}
    whole = found["accuracy", "all"]
    assert (whole.items, whole.missing) == (3, 3)
    assert "|data:toy[3 of 6 missing]|" in whole.signature
    assert (found["accuracy", "part-1"].items, found["accuracy", "part-1"].missing) == (1, 2)
    told = [(one["item"], one["action"]) for one in read_jsonl(done.directory / "problems.jsonl")]
    assert sorted(told) == [
        ("part-0/2", "unscored"),
        ("part-1/1", "unscored"),
        ("part-1/3", "handled"),
        ("part-1/9", "unscored"),
    ]
    assert done.problems == 4
    assert counts == [3, 2]  # not the text of the missing image
    assert {record.item for record in scores_in(done.directory)} == {"part-0/0", "part-1/3", "part-0/4"}


def test_embeddings_that_are_no_numbers_make_their_items_missing(model, place, tmp_path, monkeypatch):
    whole = model.encode_texts

    def broken(texts, *, batch_size):
        vectors = whole(texts, batch_size=batch_size).clone()
        vectors[[place for place, text in enumerate(texts) if "cow" in text]] = torch.nan
        return vectors

    monkeypatch.setattr(model, "encode_texts", broken)
    path = write(
        tmp_path / "a.jsonl",
        [row(n, [["0.png"]], ["a dog", animal]) for n, animal in enumerate(["a cat", "a cow"])],
    )
    with pytest.raises(BadData, match="1 of 2 items"):
        evaluate(model, benchmark("caption"), path, ImageFolder(place / "images"), tmp_path / "run", **SMALL)
    (told,) = read_jsonl(tmp_path / "run" / "problems.jsonl")
    assert (told["subject"], told["what"]) == ("a cow", "its embedding is not finite")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "got no item"),
        ([row(0, [["none.png"]], ["a", "b"])], "none of 1 items"),
        ([row(0, [["0.png"]], ["a", "b"])] * 2, "'part-0/0' twice"),
    ],
)
def test_data_without_a_number_are_refused(model, place, tmp_path, rows, message):
    path = write(tmp_path / "a.jsonl", rows)
    with pytest.raises(BadData, match=message):
        evaluate(
            model,
            benchmark("caption"),
            path,
            ImageFolder(place / "images"),
            tmp_path / "run",
            allow_missing=True,
            **SMALL,
        )


def test_a_set_smaller_than_the_authors_is_told(model, place, tmp_path):
    path = write(tmp_path / "a.jsonl", [row(0, [["0.png"]], ["a dog", "a cat"])])
    toy = replace(benchmark("caption"), sizes={"part-0": 3, "": 1})
    done = evaluate(model, toy, path, ImageFolder(place / "images"), tmp_path / "run", **SMALL)
    (told,) = read_jsonl(done.directory / "problems.jsonl")
    assert (told["item"], told["what"]) == ("part-0", "1 items, the authors count 3")


def test_images_and_texts_cross_and_two_texts_have_their_cosine(model, place, tmp_path):
    folder = ImageFolder(place / "images")
    texts = ["a red dog", "the red dog", "a blue dog"]
    path = write(tmp_path / "a.jsonl", [row(0, [["0.png"]], texts)])
    done = evaluate(model, benchmark("two captions"), path, folder, tmp_path / "three", **SMALL)
    vectors = model.encode_texts(texts)
    alike = {(r.first, r.second): r.score for r in scores_in(done.directory) if not r.image}
    assert alike.keys() == {(0, 1), (0, 2), (1, 2)}
    for (first, second), score in alike.items():
        assert score == pytest.approx((vectors[first] @ vectors[second]).item(), abs=1e-5)
    path = write(tmp_path / "b.jsonl", [row(0, [["0.png"], ["1.png"]], texts[:2])])
    done = evaluate(model, benchmark("pairing"), path, folder, tmp_path / "four", **SMALL)
    grid = model.score_grid([folder.image("0.png"), folder.image("1.png")], texts[:2])
    for record in scores_in(done.directory):
        assert record.score == pytest.approx(grid[record.first, record.second].item(), abs=1e-4)


def test_likeness_of_texts_needs_no_images(model, tmp_path):
    rows = [row(n, [], [f"a dog {n}", "a cat"], gold=float(n)) for n in range(5)]
    path = write(tmp_path / "a.jsonl", rows)
    done = evaluate(model, benchmark("similarity"), path, None, tmp_path / "run", **SMALL)
    vectors = model.encode_texts([text for each in rows for text in each["texts"]])
    cosines = (vectors[::2] * vectors[1::2]).sum(dim=-1)
    assert [r.score for r in scores_in(done.directory)] == pytest.approx(cosines.tolist(), abs=1e-5)
    with pytest.raises(BadInput, match="asks about images"):
        evaluate(model, benchmark("caption"), path, None, tmp_path / "other", **SMALL)


def test_retrieval_ranks_all_against_all(model, place, tmp_path):
    folder = ImageFolder(place / "images")
    captions, _ = json.loads((place / "texts.json").read_text())
    rows = [row(n, [[f"{n}.png"]], [captions[n], f"no {captions[n]}"]) for n in range(PICTURES)]
    path = write(tmp_path / "a.jsonl", rows)
    done = evaluate(model, benchmark("retrieval"), path, folder, tmp_path / "run", **SMALL)
    grid = model.score_grid(
        [folder.image(f"{n}.png") for n in range(PICTURES)], [text for each in rows for text in each["texts"]]
    )
    ranks = read_parquet(done.directory / "ranks.parquet", Rank)
    of_images = [rank.rank for rank in ranks if rank.direction == "image to text"]
    best = grid.argsort(dim=1, descending=True).tolist()
    assert of_images == [1 + min(order.index(2 * n), order.index(2 * n + 1)) for n, order in enumerate(best)]
    assert len(ranks) == 3 * PICTURES
    assert ("recall@1", "text to image") in {(m.measure, m.group) for m in done.measurements}
    assert not (done.directory / "scores.parquet").exists()
