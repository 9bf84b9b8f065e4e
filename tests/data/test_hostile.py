"""Hostile files through every reader: nothing runs, nothing hangs, nothing leaves the folder, nothing is lost in silence.

Readers are found, not listed: the registries of benchmarks and region formats, and every public reader of a path in
the room. A benchmark without a sample here fails, so a new one is covered from its first day.
"""

from __future__ import annotations

import importlib
import inspect
import io
import json
import os
import pickle
import pkgutil
import signal
import tarfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile import CONTENTS, ODD, SAMPLES, SEALED, TABLES, TEXTS, UNTABLED, Code

import alignscope.data
from alignscope.data.benchmarks.table import BENCHMARKS
from alignscope.data.images import ImageFolder
from alignscope.data.leaks import read_training
from alignscope.data.regionfiles.table import FORMATS, open_regions
from alignscope.errors import AlignscopeError, BadData, BadImage
from alignscope.files import as_row, read_jsonl, write_jsonl
from alignscope.records import Problem, Question

SECONDS = 10


class StandsStill(BaseException):
    """No OSError, which readers take for a file's."""


@pytest.fixture(autouse=True)
def nothing_hangs() -> Iterator[None]:
    """A test that takes longer than this stands still, at a pipe, say."""

    def too_long(*_: object) -> None:
        raise StandsStill(f"a reader was still at work after {SECONDS} seconds")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def leaves(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The places of all texts in a record."""
    if isinstance(value, str):
        yield place
    entries = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, each in entries:
        yield from leaves(each, (*place, key))


def changed(value: Any, place: tuple[Any, ...], text: Any) -> Any:
    """A record with another value at a place."""
    if not place:
        return text
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[place[0]] = changed(copy[place[0]], place[1:], text)
    return copy


def texts_of(value: Any) -> Iterator[str]:
    """All texts in a record."""
    if isinstance(value, str):
        yield value
    each = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for one in each:
        yield from texts_of(one)


def test_every_benchmark_has_a_sample_that_reads(tmp_path: Path) -> None:
    assert {*SAMPLES} | SEALED == {*BENCHMARKS}
    for name, sample in SAMPLES.items():
        sample.write(tmp_path / name, sample.rows[1])
        found = [*BENCHMARKS[name].read(tmp_path / name)]
        assert sum(isinstance(one, Question) for one in found) >= 2, (name, found)


@pytest.mark.parametrize("name", SAMPLES)
def test_hostile_texts_in_every_field(name: str, tmp_path: Path) -> None:
    """The sound record is read; the other is a question with its text whole, or a problem. Keys stay in the folder."""
    sample, images = SAMPLES[name], ImageFolder(tmp_path)
    is_reworded = name in ("world-paraphrases", "world-similarity")
    places = [*leaves(sample.rows[1])]
    for what, text in TEXTS.items():
        for place in places if what != "megabyte" else places[-1:]:
            second = changed(sample.rows[1], place, text)
            sample.write(tmp_path / name, second)
            try:
                found = [*BENCHMARKS[name].read(tmp_path / name)]
            except BadData as error:
                if sample.form in TABLES and what in UNTABLED and Path(sample.file).name in str(error):
                    continue
                pytest.fail(f"{what} in {place}: {error}")
            questions = [one for one in found if isinstance(one, Question)]
            problems = [one for one in found if isinstance(one, Problem) and one.item]
            assert questions, (what, place)
            assert len({one.id for one in questions}) == len(questions)
            assert len(questions) + len(problems) >= 2, (what, place, found)
            given = {each.strip() for row in (sample.rows[0], second) for each in texts_of(row)}
            for one in questions:
                assert is_reworded or {each.strip() for each in one.texts} <= given, (what, place)
                for shown in one.images:
                    try:
                        path = images.path(shown.key)
                    except BadImage:
                        continue
                    assert path.resolve().is_relative_to(tmp_path.resolve()), (what, place, path)
            write_jsonl(tmp_path / "out.jsonl", found)
            assert [*read_jsonl(tmp_path / "out.jsonl")] == json.loads(
                json.dumps([as_row(one) for one in found])
            )


@pytest.mark.parametrize(
    "name", [name for name, one in SAMPLES.items() if one.form in ("object", "list", "lines")]
)
def test_values_of_other_kinds_in_every_field(name: str, tmp_path: Path) -> None:
    sample = SAMPLES[name]
    row = sample.rows[1]
    keys = [(key,) for key in (row if isinstance(row, dict) else range(len(row)))]
    for place in [*keys, *leaves(row), ()]:
        for what, value in ODD.items():
            sample.write(tmp_path, changed(row, place, value))
            try:
                found = [*BENCHMARKS[name].read(tmp_path)]
            except BadData as error:
                said = str(error)
            else:
                said = ""
            if said:
                assert Path(sample.file).name in said, (what, place)
                continue
            assert any(isinstance(one, Question) for one in found), (what, place)
            write_jsonl(tmp_path / "out.jsonl", found)  # which takes no number that is not finite


def opened(thing: Any) -> None:
    """All that a reader gives, asked for."""
    if isinstance(thing, Mapping):
        for key in thing:
            thing[key]
    elif isinstance(thing, Iterator):
        for _ in thing:
            pass
    elif hasattr(thing, "splits"):
        for name in thing.splits:
            thing.split(name)


NOT_READERS = {"benchmarks.world.pairs_file", "regionfiles.companions.Companions", "regular.regular"}
"""What takes a path and opens nothing."""


def readers() -> dict[str, tuple[str, Callable[[Path], Any]]]:
    """What the file may be called, and what reads it: of registries, and every public reader of one path."""
    found: dict[str, tuple[str, Callable[[Path], Any]]] = {}
    for name in BENCHMARKS:
        file = SAMPLES[name].file if name in SAMPLES else f"{name.replace('-', '_')}.jsonl"
        found[f"benchmark {name}"] = (file, BENCHMARKS[name].read)
    for name in FORMATS:
        found[f"regions {name}"] = (
            "r",
            lambda path, name=name: open_regions(path, format=name, sizes=Path("unit")),
        )
    for ending in ("json", "jsonl", "tsv", "csv", "txt"):
        found[f"training .{ending}"] = (f"t.{ending}", lambda path: read_training([path]))
    found["regions"] = ("r", open_regions)
    for info in pkgutil.walk_packages(alignscope.data.__path__, "alignscope.data."):
        module = importlib.import_module(info.name)
        for name, one in vars(module).items():
            if name.startswith("_") or getattr(one, "__module__", "") != info.name or not callable(one):
                continue
            given = [*inspect.signature(one).parameters.values()]
            needed = [each for each in given if each.default is each.empty]
            if len(needed) == 1 and needed[0].annotation == "Path":
                found[f"{info.name.removeprefix('alignscope.data.')}.{name}"] = ("file.json", one)
    assert {*found} >= NOT_READERS
    return {name: reader for name, reader in found.items() if name not in NOT_READERS}


READERS = readers()


def test_readers_are_found() -> None:
    assert {"coco.read_captions", "karpathy.KarpathySplits", "hl.read_hl", "pairs.read_pairs"} <= {*READERS}
    assert {
        "labels.LabelFile",
        "labels.read_oscar_yaml",
        "scorefiles.read_entries",
        "features.FeatureFolder",
    } <= {*READERS}
    assert {"regionfiles.lines.Lines", "regionfiles.companions.read_sizes", "images.open_image"} <= {*READERS}


def refused_or_read(reader: Callable[[Path], Any], path: Path) -> str:
    """What is said of a file, "" where it was read; any other exception is the test's failure."""
    try:
        opened(reader(path))
    except AlignscopeError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", READERS)
def test_files_that_are_something_else(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every reader reads or refuses every content, by the file's name; no code in it runs."""
    monkeypatch.chdir(tmp_path)
    file, reader = READERS[name]
    path, mark = tmp_path / file, tmp_path / "ran"
    path.parent.mkdir(parents=True, exist_ok=True)
    for content in CONTENTS.values():
        path.write_bytes(content or b"")
        said = refused_or_read(reader, path)
        assert not said or len(said) < 3000
    path.write_bytes(pickle.dumps({"features": Code(mark)}))
    refused_or_read(reader, path)
    assert not mark.exists()
    path.unlink()
    for make in (
        path.mkdir,
        lambda: os.mkfifo(path),
        lambda: path.symlink_to("/dev/null"),
        lambda: path.symlink_to("gone"),
    ):
        make()
        assert refused_or_read(reader, path) or path.is_dir(), f"read {path} as if it were a file"
        (path.rmdir if path.is_dir() and not path.is_symlink() else path.unlink)()
    assert refused_or_read(reader, path), "a file that is not there was read"


@pytest.mark.parametrize("what", ["upwards", "link", "absolute", "code", "device"])
def test_shards_of_hostile_members(what: str, tmp_path: Path) -> None:
    """Members of a tar are names: nothing is written by them, links are not followed, pickles not looked at."""
    from alignscope.training.settings import ShardData
    from alignscope.training.streaming import open_stream

    mark, outside = tmp_path / "ran", tmp_path / "outside.png"
    outside.write_bytes(b"secret")
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / "shard.tar"
    with tarfile.open(path, "w") as tar:
        stem = {"upwards": "../../up", "absolute": str(tmp_path / "made")}.get(what, "one")
        members = {
            f"{stem}.txt": b"a dog",
            f"{stem}.jpg": b"picture",
            f"{stem}.pkl": pickle.dumps(Code(mark)),
        }
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            if name.endswith(".jpg") and what in ("link", "device"):
                info.type, info.size = (tarfile.SYMTYPE if what == "link" else tarfile.CHRTYPE), 0
                info.linkname = "../outside.png"
            tar.addfile(info, io.BytesIO(content) if info.size else None)
    before = {each for each in tmp_path.rglob("*")}
    [found] = open_stream(ShardData("shards", (str(path),)), seed=0).read(0)
    assert {each for each in tmp_path.rglob("*")} == before
    assert not mark.exists()
    if what in ("link", "device"):
        assert isinstance(found, Problem)
        assert "a link or a device" in found.what
    else:
        assert found.content == b"picture"


def test_images_that_are_bombs_or_no_images(tmp_path: Path) -> None:
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)  # ten gigabytes once decoded
    bomb = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(10**6)))
        + chunk(b"IEND", b"")
    )
    (tmp_path / "bomb.png").write_bytes(bomb)
    (tmp_path / "code.png").write_bytes(pickle.dumps(Code(tmp_path / "ran")))
    (tmp_path / "page.svg").write_text('<svg onload="alert(1)" xmlns="http://www.w3.org/2000/svg"/>')
    (tmp_path / "post.eps").write_text(
        "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(ran) (w) file closefile\n"
    )
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "device.png").symlink_to("/dev/zero")
    folder = ImageFolder(tmp_path)
    names = ("bomb.png", "code.png", "page.svg", "post.eps", "pipe.png", "device.png")
    for name in names:
        with pytest.raises(BadImage, match=name):
            folder.image(name)
    assert {each.name for each in tmp_path.iterdir()} == {*names}


def test_arrays_with_code_or_without_end(tmp_path: Path) -> None:
    """Every array of a folder of regions may hold a pickle or promise more than there is; none is run or waited for."""
    mark = tmp_path / "ran"
    sound = {"x": np.ones((1, 2), np.float32), "boxes": np.array([[0, 0, 1, 1]], np.float32)}
    sound |= {"image_h": np.int64(4), "image_w": np.int64(4)}
    np.savez(tmp_path / "a.npz", **sound)
    assert len(open_regions(tmp_path, tags=False)["a"]) == 1
    for name in sound:
        np.savez(tmp_path / "a.npz", **{**sound, name: np.array([Code(mark)], dtype=object)})
        with pytest.raises(BadData, match=r"a\.npz"):
            open_regions(tmp_path, tags=False)["a"]
    assert not mark.exists()
