"""What `evaluate` does with data that are missing, broken or of another kind."""

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from alignscope.data.images import ImageFolder
from alignscope.errors import BadData, BadInput
from alignscope.files import read_jsonl, read_parquet
from alignscope.records import Rank
from alignscope.studies.benchmarking.evaluation import evaluate

spec = importlib.util.spec_from_file_location("toy_benchmark", Path(__file__).with_name("toy_benchmark.py"))
assert spec is not None
assert spec.loader is not None
toy = importlib.util.module_from_spec(spec)
spec.loader.exec_module(toy)
counted = toy.counted
PICTURES, SMALL, benchmark, model, place, row, scores_in, write = (
    toy.PICTURES,
    toy.SMALL,
    toy.benchmark,
    toy.model,
    toy.place,
    toy.row,
    toy.scores_in,
    toy.write,
)


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
