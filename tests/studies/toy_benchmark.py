"""A benchmark of nobody's over the world's pictures, which the tests of `evaluate` share."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from alignscope.data.benchmarks.facts import Benchmark, Official
from alignscope.data.world.world import World
from alignscope.files import read_jsonl, read_parquet
from alignscope.models.zoo import open_model
from alignscope.records import Box, OptionScore, Problem, Question, Shown

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


def scores_in(out: Path) -> list[OptionScore]:
    return read_parquet(out / "scores.parquet", OptionScore)


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
