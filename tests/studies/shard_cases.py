"""Webdataset shards of a few pictures, made anew for each test."""

import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

WORDS = (
    "a red dog",
    "two spotted cats in the kitchen",
    "a blue ball inside a bowl",
    "the large wooden table",
)


def picture(number: int, *, size: tuple[int, int] = (40, 32)) -> bytes:
    values = np.random.default_rng(number).integers(0, 255, (*size[::-1], 3), dtype=np.uint8)
    file = io.BytesIO()
    Pillow.fromarray(values).save(file, "png")
    return file.getvalue()


def caption(number: int) -> str:
    return f"{WORDS[number % len(WORDS)]} above {number}"


def pairs(numbers: range) -> list[tuple[str, bytes]]:
    """Members of whole samples."""
    return [
        member
        for n in numbers
        for member in ((f"{n:09d}.png", picture(n)), (f"{n:09d}.txt", caption(n).encode()))
    ]


def shard(path: Path, members: list[tuple[str, bytes]]) -> Path:
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as tar:
        for name, content in members:
            header = tarfile.TarInfo(name)
            header.size = len(content)
            tar.addfile(header, io.BytesIO(content))
    return path


def shards(folder: Path, *, count: int = 4, each: int = 5) -> str:
    """A pattern of whole shards."""
    folder.mkdir(exist_ok=True)
    for number in range(count):
        shard(folder / f"cc-{number:05d}.tar", pairs(range(number * each, (number + 1) * each)))
    return f"{folder}/cc-{{00000..{count - 1:05d}}}.tar"
