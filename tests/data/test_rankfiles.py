"""Ranks made elsewhere, against the recalls published beside them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from alignscope.data.benchmarks.retrieval import COCO
from alignscope.data.rankfiles import bare_retrieval, read_ranks
from alignscope.errors import BadData
from alignscope.records import Problem, Question, Rank, Shown

DATA = Path(__file__).parents[2].parent / "shared" / "data"


@pytest.mark.skipif(not (DATA / "retrieval_reference").exists(), reason="no shared data")
@pytest.mark.parametrize("model", ["blip2_pretrain", "clipcap_cc"])
@pytest.mark.parametrize("name", ["COCO", "Flickr"])
def test_recalls_as_published(name, model):
    directory = DATA / "retrieval_reference" / name / model
    questions = (
        [one for one in COCO.read(DATA / "coco_karpathy") if isinstance(one, Question)]
        if name == "COCO"
        else bare_retrieval(directory)
    )
    ranks = list(read_ranks(directory, questions))
    assert len(ranks) == {"COCO": 30_010, "Flickr": 6_000}[name]
    published = json.loads((directory / f"{model}.txt").read_text())
    for retrieved, direction in (("txt", "image to text"), ("img", "text to image")):
        places = [rank.rank for rank in ranks if rank.direction == direction]
        for k in (1, 5, 10):
            hits = sum(place <= k for place in places)
            assert 100 * hits / len(places) == pytest.approx(published[f"test_{retrieved}_r{k}"], abs=1e-9)


def save(folder: Path, images: list[float], texts: list[float]) -> None:
    np.save(folder / "test_i2t.txt.npy", np.array(images))
    np.save(folder / "test_t2i.txt.npy", np.array(texts))


def test_ranks_go_to_their_images_and_captions(tmp_path):
    questions = [
        Question("test/a", "test", "test", (Shown("a.jpg"),), ("x", "y")),
        Question("test/b", "test", "test", (Shown("b.jpg"),), ("z",)),
    ]
    save(tmp_path, [2, 0], [0, 1.5, 2])
    assert list(read_ranks(tmp_path, questions)) == [
        Rank("a.jpg", "a.jpg", "image to text", 3, 0, 3),
        Rank("b.jpg", "b.jpg", "image to text", 1, 0, 3),
        Rank("a.jpg#0", "a.jpg", "text to image", 1, 0, 2),
        Problem(
            "test/a",
            "test_t2i.txt.npy",
            "the rank of a.jpg#1 is 1.5, not a place from 0 to 1",
            "unscored",
        ),
        Problem(
            "test/b",
            "test_t2i.txt.npy",
            "the rank of b.jpg#0 is 2, not a place from 0 to 1",
            "unscored",
        ),
    ]


def test_arrays_of_other_lengths_are_refused(tmp_path):
    save(tmp_path, [0], [0, 0, float("nan")])
    questions = [Question("test/a", "test", "test", (Shown("a.jpg"),), ("x", "y"))]
    with pytest.raises(BadData, match="got 3 ranks, wanted one for each of 2"):
        list(read_ranks(tmp_path, questions))
    with pytest.raises(BadData, match="whose they are"):
        bare_retrieval(tmp_path)


def test_what_is_no_array_is_refused(tmp_path):
    save(tmp_path, [0], [0])
    np.save(tmp_path / "test_i2t.txt.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(BadData, match="wanted a one-dimensional"):
        bare_retrieval(tmp_path)
