"""Shards and Parquet files as streams: every sample once, in a seeded order, whatever lies beside it."""

import gzip
import io
import json
import os
import pickle
import tarfile
import tracemalloc
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import webdataset
from PIL import Image as Pillow
from webdataset import tariterators

from alignscope.errors import BadData, BadRecipe
from alignscope.records import Problem
from alignscope.training import streaming
from alignscope.training.samples import SampleStream, StreamedSample
from alignscope.training.settings import CocoData, ParquetData, ShardData
from alignscope.training.streaming import matching, open_stream, whole_batches


def png(number: int) -> bytes:
    buffer = io.BytesIO()
    Pillow.new("RGB", (8, 8), (number % 256, number // 256, 0)).save(buffer, "png")
    return buffer.getvalue()


def shard(path: Path, members: list[tuple[str, bytes]]) -> Path:
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as tar:
        for name, content in members:
            header = tarfile.TarInfo(name)
            header.size = len(content)
            tar.addfile(header, io.BytesIO(content))
    return path


def pairs(numbers: range) -> list[tuple[str, bytes]]:
    return [
        member
        for n in numbers
        for member in ((f"{n:06d}.png", png(n)), (f"{n:06d}.txt", f"picture {n}".encode()))
    ]


def shards(tmp_path: Path, *, count: int = 4, each: int = 10) -> ShardData:
    for number in range(count):
        shard(tmp_path / f"train-{number:03d}.tar", pairs(range(number * each, (number + 1) * each)))
    return ShardData("shards", (f"{tmp_path}/train-{{000..{count - 1:03d}}}.tar",), buffer=8)


def texts(found) -> list[str]:
    return [one.sample.caption.text for one in found if isinstance(one, StreamedSample)]


def problems(found) -> list[Problem]:
    return [one for one in found if isinstance(one, Problem)]


def test_an_epoch_has_every_sample_once_with_its_own_bytes(tmp_path):
    stream = open_stream(shards(tmp_path), seed=0)
    assert isinstance(stream, SampleStream)
    found = list(stream.read(0))
    assert Counter(texts(found)) == Counter(f"picture {n}" for n in range(40))
    for one in found:
        number = int(one.sample.caption.text.split()[1])
        assert one.content == png(number)
        assert one.sample.image == f"train-{number // 10:03d}.tar/{number:06d}.png"


def test_webdataset_reads_the_same_from_its_own_shards(tmp_path):
    path = tmp_path / "own.tar"
    with webdataset.TarWriter(str(path)) as writer:
        for n in range(7):
            writer.write({"__key__": f"a.b/{n}", "png": png(n), "json": json.dumps({"caption": f"c {n}"})})
    with path.open("rb") as file:
        theirs = [
            (one["__key__"], one["png"], json.loads(one["json"])["caption"])
            for one in tariterators.group_by_keys(
                tariterators.tar_file_expander([{"url": str(path), "stream": file}])
            )
        ]
    found = open_stream(ShardData("shards", (str(path),), captions="json", buffer=1), seed=0).read(0)
    ours = [(one.sample.image, one.content, one.sample.caption.text) for one in found]
    assert sorted(ours) == sorted((f"own.tar/{key}.png", content, text) for key, content, text in theirs)


def test_the_order_is_drawn_by_epoch_and_seed(tmp_path):
    plan = shards(tmp_path)
    orders = {(s, e): texts(open_stream(plan, seed=s).read(e)) for s in (0, 1) for e in (0, 1)}
    assert len({tuple(order) for order in orders.values()}) == 4
    assert orders[1, 1] == texts(open_stream(plan, seed=1).read(1))
    by_shard = [int(text.split()[1]) // 10 for text in orders[0, 0]]
    assert by_shard != sorted(by_shard)
    alone = open_stream(ShardData("shards", (f"{tmp_path}/train-000.tar",), buffer=1), seed=0)
    assert texts(alone.read(0)) == [f"picture {n}" for n in range(10)]


def test_a_sample_comes_forward_by_no_more_than_the_buffer(tmp_path):
    shard(tmp_path / "one.tar", pairs(range(200)))
    plan = ShardData("shards", (f"{tmp_path}/one.tar",), buffer=20)
    numbers = [int(text.split()[1]) for text in texts(open_stream(plan, seed=3).read(0))]
    assert all(number - place <= 20 for place, number in enumerate(numbers))
    assert max(place - number for place, number in enumerate(numbers)) > 20
    assert sum(n != place for place, n in enumerate(numbers)) > 150


class Trap:
    def __reduce__(self):
        return os.mkdir, ("sprung",)


def test_pickles_and_names_that_lead_out_do_nothing(tmp_path, monkeypatch):
    inside = tmp_path / "a" / "b"
    inside.mkdir(parents=True)
    monkeypatch.chdir(inside)
    members = [("../../x.png", png(1)), ("../../x.txt", b"one"), ("../../x.pyd", pickle.dumps(Trap()))]
    members += [("/etc/y.pickle", pickle.dumps(Trap())), ("/etc/y.png", png(2)), ("/etc/y.txt", b"two")]
    path = shard(inside / "s.tar", members)
    before = sorted(tmp_path.rglob("*"))
    found = list(open_stream(ShardData("shards", (str(path),)), seed=0).read(0))
    assert Counter(texts(found)) == Counter(["one", "two"])
    assert {one.sample.image for one in found} == {"s.tar/../../x.png", "s.tar//etc/y.png"}
    assert sorted(tmp_path.rglob("*")) == before


def test_what_cannot_be_used_is_told_and_the_rest_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(streaming, "LARGEST_IMAGE", 3000)
    monkeypatch.setattr(streaming, "LARGEST_CAPTION", 100)
    members = [("a.png", png(1)), ("a.txt", b"good"), ("b.png", bytes(3001)), ("b.txt", b"big")]
    members += [("c.txt", b"no image"), ("d.png", png(2)), ("e.png", png(3)), ("e.txt", b"\xff\xfe")]
    members += [("f.png", png(4)), ("f.txt", b"  \n"), ("g.png", png(5)), ("g.txt", bytes(101))]
    members += [("README", b"x"), (".hidden.txt", b"x"), ("h.png", png(6)), ("h.txt", b" last ")]
    path = shard(tmp_path / "s.tar", members)
    with tarfile.open(path, "a") as tar:
        link = tarfile.TarInfo("i.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
        text = tarfile.TarInfo("i.txt")
        text.size = 4
        tar.addfile(text, io.BytesIO(b"link"))
    found = list(open_stream(ShardData("shards", (str(path),)), seed=0).read(0))
    assert sorted(texts(found)) == ["good", "last"]
    told = {problem.item.split("/")[1]: problem.what for problem in problems(found)}
    assert {key: what for key, what in told.items() if key[0] in "bcg"} == {
        "b.png": "the .png has 3,001 bytes, wanted at most 3,000",
        "c": "got .txt, wanted an image",
        "g.png": "the .txt has 101 bytes, wanted at most 100",
    }
    assert told["d"] == "got .png, wanted a .txt with its caption"
    assert "cannot be read" in told["e.png"]
    assert told["f.png"] == "the caption is empty"
    assert "link" in told["i.png"]
    assert len(told) == 7


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"caption": "a cat"}', None),
        (b'{"text": "a cat"}', "no object with a `caption`"),
        (b'["caption"]', "no object with a `caption`"),
        (b'{"caption": 3}', "is a number"),
        (b'{"caption": "a", "caption": "b"}', "twice"),
        (b"{", "cannot be read"),
    ],
)
def test_captions_of_json(tmp_path, content, said):
    path = shard(tmp_path / "s.tar", [("a.json", content), ("a.JPG", png(0))])
    (found,) = open_stream(ShardData("shards", (str(path),), captions="json"), seed=0).read(0)
    if said is None:
        assert found.sample.caption.text == "a cat"
    else:
        assert said in found.what


@pytest.mark.parametrize("place", [b"000000.png", b"000004.txt", b"000009.txt", b"picture 9"])
@pytest.mark.parametrize("after", [0, 5, 200])
def test_a_shard_cut_short_gives_what_is_whole(tmp_path, place, after):
    plan = shards(tmp_path, count=2)
    path = tmp_path / "train-000.tar"
    content = path.read_bytes()
    path.write_bytes(content[: content.index(place) + after])
    found = list(open_stream(plan, seed=0).read(0))
    (problem,) = problems(found)
    assert problem.item == "train-000.tar"
    assert set(texts(found)) >= {f"picture {n}" for n in range(10, 20)}
    assert all(one.content == png(int(one.sample.caption.text.split()[1])) for one in found if one != problem)


@pytest.mark.parametrize("damage", ["middle", "end"])
def test_a_broken_header_does_not_end_a_shard_in_silence(tmp_path, damage):
    plan = shards(tmp_path, count=1)
    path = tmp_path / "train-000.tar"
    content = bytearray(path.read_bytes())
    if damage == "middle":  # the header of picture 5
        at = content.index(b"000005.png")
        content[at : at + 512] = b"\x01" * 512
    else:  # no end mark
        content = content.rstrip(b"\0")
        content += bytes(-len(content) % 512)
    path.write_bytes(content)
    found = list(open_stream(plan, seed=0).read(0))
    (problem,) = problems(found)
    assert "no end mark" in problem.what
    assert len(texts(found)) == (4 if damage == "middle" else 9)


@pytest.mark.parametrize("kind", [b"0", b"x", b"L"])  # a file, further entries of a header, a long name
@pytest.mark.parametrize("size", [b"\x80" + b"\xff" * 11, b"\xff" * 11 + b"\x01"])  # beyond 2**63, negative
def test_a_nonsensical_size_is_told(tmp_path, size, kind):
    path = tmp_path / "train-000.tar"
    plan = shards(tmp_path, count=1)
    content = bytearray(path.read_bytes())
    at = content.index(b"000005.png")
    header = content[at : at + 512]
    header[124:136], header[156:157], header[148:156] = size, kind, b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    content[at : at + 512] = header
    path.write_bytes(content)
    found = list(open_stream(plan, seed=0).read(0))
    assert len(problems(found)) == 1
    assert len(texts(found)) == (5 if kind == b"0" else 4)  # else the fifth may be cut short


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_packed_header_of_gigabytes_is_told_and_not_unpacked(tmp_path, kind):
    path = tmp_path / "s.tar.gz"
    header = tarfile.TarInfo("x")
    header.type, header.size = kind, 2**28
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(header.tobuf(tarfile.USTAR_FORMAT))
        file.writelines([bytes(2**20)] * 2**8)
        file.write(bytes(1024))
    tracemalloc.start()
    (found,) = open_stream(ShardData("shards", (str(path),)), seed=0).read(0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "a header of 268,435,456 bytes" in found.what
    assert peak < 2**22


def test_compressed_shards(tmp_path):
    path = shard(tmp_path / "s.tar.gz", pairs(range(5)))
    plan = ShardData("shards", (str(path),))
    assert len(texts(open_stream(plan, seed=0).read(0))) == 5
    path.write_bytes(path.read_bytes()[:-30])
    assert len(problems(open_stream(plan, seed=0).read(0))) == 1
    path.write_bytes(gzip.compress(b"no tar" * 1000))
    assert len(problems(open_stream(plan, seed=0).read(0))) == 1


def test_memory_does_not_grow_with_the_shard(tmp_path):
    members = [(f"{n}.{end}", bytes(20_000)) for n in range(1000) for end in ("png",)]
    members = [m for name, c in members for m in ((name, c), (name.replace("png", "txt"), b"x"))]
    path = shard(tmp_path / "s.tar", members)
    stream = open_stream(ShardData("shards", (str(path),), buffer=10), seed=0)
    tracemalloc.start()
    count = sum(1 for _ in stream.read(0))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 1000
    assert peak < 2_000_000  # of 20 MB


def table(path: Path, numbers: range, *, struct: bool, group: int = 4) -> Path:
    image = [{"bytes": png(n), "path": f"{n}.png"} if struct else png(n) for n in numbers]
    rows = pa.table({"id": list(numbers), "image": image, "caption": [f"picture {n}" for n in numbers]})
    pq.write_table(rows, path, row_group_size=group)
    return path


@pytest.mark.parametrize("struct", [True, False])
def test_parquet_files_of_bytes_or_structs(tmp_path, struct):
    table(tmp_path / "a.parquet", range(10), struct=struct)
    table(tmp_path / "b.parquet", range(10, 20), struct=struct)
    stream = open_stream(ParquetData("parquet", (f"{tmp_path}/*.parquet",), buffer=3), seed=0)
    found = list(stream.read(0))
    assert Counter(texts(found)) == Counter(f"picture {n}" for n in range(20))
    assert texts(found) == texts(stream.read(0)) != texts(stream.read(1))
    for one in found:
        number = int(one.sample.caption.text.split()[1])
        assert one.content == png(number)
        assert one.sample.image == f"{'ab'[number // 10]}.parquet/{number % 10}"


def test_rows_without_image_or_caption_are_told(tmp_path):
    images = [png(0), None, png(2), b""]
    rows = pa.table({"image": pa.array(images, pa.binary()), "caption": ["a", "b", None, "d"]})
    pq.write_table(rows, tmp_path / "a.parquet")
    found = list(open_stream(ParquetData("parquet", (f"{tmp_path}/a.parquet",)), seed=0).read(0))
    assert {problem.item: problem.what for problem in problems(found)} == {
        "a.parquet/1": "no bytes in 'image'",
        "a.parquet/2": "the caption is null, not a text",
    }
    assert sorted(texts(found)) == ["a", "d"]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_a_caption_that_is_no_text_costs_its_row_alone(tmp_path, kind):
    captions = pa.array([b"a cat", b"caf\xe9", "é".encode()], pa.binary()).cast(kind, safe=False)
    path = [b"caf\xe9.png"] * 3  # beside the bytes, and nobody asks for it
    image = pa.StructArray.from_arrays(
        [pa.array([png(n) for n in range(3)]), pa.array(path).cast(pa.string(), safe=False)],
        ["bytes", "path"],
    )
    pq.write_table(pa.table({"image": image, "caption": captions}), tmp_path / "a.parquet")
    found = list(open_stream(ParquetData("parquet", (f"{tmp_path}/a.parquet",), buffer=1), seed=0).read(0))
    assert texts(found) == ["a cat", "é"]
    (problem,) = problems(found)
    assert problem.item == "a.parquet/1"
    assert "not UTF-8" in problem.what


def test_a_damaged_row_group_is_told_and_the_others_go_on(tmp_path):
    path = table(tmp_path / "a.parquet", range(12), struct=False)
    stream = open_stream(ParquetData("parquet", (str(path),)), seed=0)
    with pq.ParquetFile(path) as file:
        start = file.metadata.row_group(1).column(1).data_page_offset
    content = bytearray(path.read_bytes())
    content[start : start + 40] = b"\xff" * 40
    path.write_bytes(content)
    found = list(stream.read(0))
    (problem,) = problems(found)
    assert "row group 1" in problem.what
    assert Counter(texts(found)) == Counter(f"picture {n}" for n in [*range(4), *range(8, 12)])


def test_columns_are_checked_at_once(tmp_path):
    path = table(tmp_path / "a.parquet", range(3), struct=True)
    with pytest.raises(BadData, match="got columns id"):
        open_stream(ParquetData("parquet", (str(path),), image="picture"), seed=0)
    with pytest.raises(BadData, match="text in 'id'"):
        open_stream(ParquetData("parquet", (str(path),), caption="id"), seed=0)
    path.write_bytes(b"no parquet")
    with pytest.raises(BadData, match="not a Parquet file"):
        open_stream(ParquetData("parquet", (str(path),)), seed=0)


def test_patterns(tmp_path):
    for name in ("a-08.tar", "a-09.tar", "a-10.tar", "b.tar", "[c].tar"):
        (tmp_path / name).touch()
    names = [path.name for path in matching([f"{tmp_path}/a-{{08..10}}.tar", f"{tmp_path}/*.tar"])]
    assert names == ["a-08.tar", "a-09.tar", "a-10.tar", "[c].tar", "b.tar"]
    with pytest.raises(BadData, match=r"a-11\.tar"):
        matching([f"{tmp_path}/a-{{10..11}}.tar"])
    with pytest.raises(BadData, match="no file matches"):
        matching([f"{tmp_path}/z*.tar"])
    for address in ("https://host/a.tar", "pipe:touch sprung", "s3://bucket/a.tar"):
        with pytest.raises(BadData, match="files on this machine"):
            matching([address])
    with pytest.raises(BadData, match="no files"):
        matching([])
    with pytest.raises(BadRecipe, match="no stream"):
        open_stream(CocoData("coco", "c.json", "images"), seed=0)
    with pytest.raises(BadData, match="the smaller number first"):
        matching([f"{tmp_path}/a-{{10..08}}.tar"])


def test_the_hash_speaks_of_names_sizes_and_plan(tmp_path):
    plan = shards(tmp_path, count=2)
    sha = open_stream(plan, seed=0).sha
    assert open_stream(plan, seed=5).sha == sha
    shard(tmp_path / "train-001.tar", pairs(range(50)))
    assert open_stream(plan, seed=0).sha != sha


def test_batches_of_a_stream_from_any_step(tmp_path):
    stream = open_stream(shards(tmp_path, count=3), seed=0)  # 30 samples: 4 batches of 7 and a rest of 2

    def taken(first: int, count: int) -> list[tuple[int, list[str]]]:
        pieces = whole_batches(stream, batch=7, first=first)
        return [(piece.epoch, texts(piece.samples)) for piece, _ in zip(pieces, range(count), strict=False)]

    wanted = []
    for epoch in range(4):
        order = texts(stream.read(epoch))
        wanted += [(epoch, order[start : start + 7]) for start in range(0, 28, 7)]
    for first in (0, 1, 4, 6, 11):
        assert taken(first, 16 - first) == wanted[first:]


def test_every_problem_of_an_epoch_comes_with_one_of_its_batches(tmp_path):
    members = [*pairs(range(10)), ("alone.png", png(1)), ("last.txt", b"no image")]
    path = shard(tmp_path / "s.tar", members)
    stream = open_stream(ShardData("shards", (str(path),), buffer=1), seed=0)
    pieces = whole_batches(stream, batch=4, first=0)
    found = [next(pieces) for _ in range(4)]
    for epoch in (0, 1):
        told = [p.item for piece in found if piece.epoch == epoch for p in piece.problems]
        assert told == ["s.tar/alone", "s.tar/last"]
    few = whole_batches(stream, batch=11, first=0)
    with pytest.raises(BadData, match=r"10 usable samples .*first problem: s\.tar/alone"):
        next(few)
