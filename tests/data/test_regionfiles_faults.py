"""Files of regions that are broken, that lie, or that hold code: refused by name, nothing run."""

import json
import os
import pickle
import struct
import zipfile
from pathlib import Path

import lmdb
import numpy as np
import pytest
from region_bytes import (
    CELLS,
    FEATURES,
    ORDERS,
    SHARES,
    b64,
    database,
    npz,
    same,
    tsv,
    uniter,
    vilbert,
    vinvl,
    vinvl_row,
)

from alignscope.data.regionfiles import open_regions
from alignscope.data.regionfiles.table import FORMATS
from alignscope.errors import BadData, UnknownName


class Code:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


def test_code_in_a_pickle_is_not_run(tmp_path):
    mark = tmp_path / "ran"
    content = pickle.dumps({"features": Code(mark)})
    pickle.loads(content)
    assert mark.exists(), "the pickle does what a pickle can"
    mark.unlink()
    file = open_regions(vilbert(tmp_path, features=Code(mark)))
    with pytest.raises(BadData, match=r"a pickle that calls (posix|nt)\.system, wanted plain data.*not run"):
        file["7"]
    assert not mark.exists()


def hand_written(*parts: bytes) -> bytes:
    return b"\x80\x02" + b"".join(parts) + b"."


@pytest.mark.parametrize(
    "content",
    [
        hand_written(b"cbuiltins\neval\nX\x03\x00\x00\x001+1\x85R"),
        hand_written(b"cnumpy.core.multiarray\nfrombuffer\n)R"),
        hand_written(b"cnumpy\nload\nX\x01\x00\x00\x00a\x85R"),
        hand_written(b"c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00rot13\x86R"),
        hand_written(b"cnumpy\ndtype\n(X\x01\x00\x00\x00OK\x00K\x01tR"),
        hand_written(b"P1\n"),
        b"\x80\x05",
        b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b".",  # a terabyte of bytes, declared
        pickle.dumps({"a": {1, 2}}),
        pickle.dumps([1]),
    ],
)
def test_pickles_of_anything_else_are_refused(tmp_path, content):
    path = database(tmp_path / "feat.lmdb", a=content)
    with pytest.raises(BadData, match=r"feat\.lmdb: record 'a': got a pickle"):
        open_regions(path, format="vilbert-lmdb")["a"]


def test_a_pickle_cannot_change_what_reads_it():
    from alignscope.data.regionfiles.unpickling import plain

    text = b"c_codecs\nencode\n"
    poison = hand_written(text, b"N}X\x0c\x00\x00\x00__defaults__X\x05\x00\x00\x00rot13\x85s\x86b0")
    with pytest.raises(BadData):
        plain(poison)
    assert plain(pickle.dumps({"a": b"\xff\x00"}, 2)) == {"a": b"\xff\x00"}


@pytest.mark.parametrize("image", ["../../etc/passwd", "/etc/passwd", "C:\\a", "a\x01b"])
def test_names_that_lead_elsewhere_are_refused(tmp_path, image):
    file = open_regions(tsv(tmp_path, "butd-tsv", {"image": image}, {}))
    same(file["7"])
    with pytest.raises(BadData, match=r"r\.tsv:1: got the image name"):
        file[image]


BROKEN = [
    ({"boxes": b64("f", 0, 0, 5, 6, 1, 2, 21, 10)}, "box 2 as .* inside the image of 20x10"),
    ({"boxes": b64("f", 5, 0, 5, 6, 1, 2, 20, 10)}, "box 1 as .* x1 < x2"),
    ({"boxes": b64("f", 0, 0, 5, 6)}, r"1 boxes, wanted 2 \(num_boxes\)"),
    ({"boxes": b64("f", 0, 0, 5, 6, 1, 2, 20)}, r"shape \[7\]"),
    ({"boxes": CELLS["boxes"][:-3]}, "`boxes`: got no base64"),
    ({"features": CELLS["features"][:-4]}, "`features`: got .*(bytes|shape)"),
    ({"features": b64("f", 1, 2, 3, 4, 5, float("nan"))}, "features that are not finite"),
    ({"features": ""}, r"`features`: got no numbers for 2 boxes"),
    ({"n": "900000000"}, "wanted 900000000"),
    ({"w": "0"}, "an image of 0x10"),
    ({"features": "a\tb"}, "got 7 columns, wanted 6"),
]


@pytest.mark.parametrize(("cells", "match"), BROKEN, ids=[match for _, match in BROKEN])
def test_a_broken_line_is_named(tmp_path, cells, match):
    file = open_regions(tsv(tmp_path, "butd-tsv", {"image": "1"}, {"image": "2", **cells}))
    same(file["1"])
    with pytest.raises(BadData, match=rf"r\.tsv:2: .*{match}"):
        file["2"]


@pytest.mark.parametrize(
    ("cells", "match"),
    [
        ({"objects_id": b64("q", 1, 0, 0)}, r"`objects`: got 24 bytes, wanted 16 or 8"),
        ({"objects_id": b64("q", 1, 2)}, r"got word 2, wanted one of the vocabulary's 0\.\.1"),
        ({"attrs_conf": b64("f", 1)}, r"`attribute confidences`: got numbers in the shape \[1\], wanted 2"),
    ],
)
def test_words_and_confidences_that_do_not_fit_are_named(tmp_path, cells, match):
    with pytest.raises(BadData, match=rf"r\.tsv:1: .*{match}"):
        open_regions(tsv(tmp_path, "lxmert-tsv", cells))["7"]


def test_an_image_on_two_lines_is_refused_when_read(tmp_path):
    file = open_regions(tsv(tmp_path, "butd-tsv", {"image": "1"}, {"image": "2"}, {"image": "1"}))
    assert list(file) == ["1", "2"]
    same(file["2"])
    with pytest.raises(BadData, match=r"r\.tsv:1: got the image '1' again in line 3"):
        file["1"]


def declared(shape: str, data: bytes, kind: str = "<f4") -> bytes:
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + data


def archive(folder: Path, member: bytes, *, claim: int | None = None) -> Path:
    with zipfile.ZipFile(folder / "a.npz", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("features.npy", member)
    if claim is not None:  # what the archive says of the size, in both of its places
        raw = bytearray((folder / "a.npz").read_bytes())
        for mark, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
            place = raw.index(mark) + offset
            raw[place : place + 4] = struct.pack("<I", claim)
        (folder / "a.npz").write_bytes(raw)
    return folder


@pytest.mark.parametrize(
    ("member", "claim", "match"),
    [
        (
            declared("(1000000000, 2048)", b"1234"),
            None,
            r"4 bytes of numbers, declared are \[1000000000, 2048\]",
        ),
        (declared("(-1, 2)", b""), None, "declared are|does not decode"),
        (declared("(1,)", b"12345678", "|O"), None, "objects are pickles, not read"),
        (declared("(1,)", b"1234"), 2**31, "wanted at most 134217728"),
        (declared("(1,)", b"1234"), 5000, "5000|does not decode|no whole"),
        (b"\x93NUMPY\x09\x00", None, "version|does not decode"),
        (b"", None, "does not decode|no whole"),
    ],
)
def test_archives_that_declare_what_they_do_not_hold(tmp_path, member, claim, match):
    file = open_regions(archive(tmp_path, member, claim=claim))
    with pytest.raises(BadData, match=rf"a\.npz: .*({match})"):
        file["a"]


def test_vinvl_faults_are_named(tmp_path):
    wrong = [[*FEATURES[0], 0, 0, 0.25, 0.5, 0.9, 0.5], [*FEATURES[1], *SHARES[1].tolist()]]
    file = open_regions(vinvl(tmp_path, vinvl_row(features=wrong), "{oops", vinvl_row(many=5)))
    with pytest.raises(BadData, match=r"val\.feature\.tsv:1: region 1 ends in .* wanted left, top"):
        file["7"]
    with pytest.raises(BadData, match=r"val\.feature\.tsv:2: got no JSON"):
        file["a"]
    with pytest.raises(BadData, match=r"val\.feature\.tsv:3: `features`: got 18 numbers"):
        file["b"]


def detected(**changed: object) -> str:
    one = {"class": "dog", "conf": 0.5, "rect": [0, 0, 5, 6], "feature": [1, 2, 3], **changed}
    return json.dumps({"image_h": 10, "image_w": 20, "objects": [one]})


@pytest.mark.parametrize(
    ("row", "match"),
    [
        (detected(rect=[10**400, 0, 5, 6]), "`rect`: got values of kind object"),
        (detected(conf=10**400), "`conf`: got values of kind object"),
        (detected(conf=float("nan")), "confidences that are not finite"),
        (detected(feature=[[1, 2], [3]]), "`feature`: got lists of several lengths"),
        (detected(**{"class": "half \ud800"}), "half a surrogate pair"),
    ],
)
def test_detected_objects_that_hold_no_numbers_are_named(tmp_path, row, match):
    (tmp_path / "r.tsv").write_text(f"7\t{row}\n")
    with pytest.raises(BadData, match=rf"r\.tsv:1: .*{match}"):
        open_regions(tmp_path / "r.tsv")["7"]


@pytest.mark.parametrize("sides", ["[]", "480", "40 80 3", "[[1]]", "[" * 100_000, '{"height": 40}'])
def test_sizes_beside_vinvls_features_that_are_none_are_named(tmp_path, sides):
    path = vinvl(tmp_path, vinvl_row())
    (tmp_path / "val.hw.tsv").write_text(f"7\t{sides}\n")
    with pytest.raises(BadData, match=r"val\.hw\.tsv: got .* wanted JSON of height and width"):
        open_regions(path)["7"]


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ('{"images": 3}', "wanted COCO's annotations"),
        ('{"images": ' + "[" * 100_000, "no JSON with `images`"),
        ("{", "no JSON with `images`"),
        ('{"images": [7]}', "image 1: got 7, wanted name"),
        ("7\t20\n", ":1: got 2 columns"),
        ("7\t" + "1" * 5_000 + "\t10\n", "as a side in pixels"),
        ("7\t0\t10\n", "as a side in pixels"),
        ("7\t20\t10\n7\t20\t11\n", "wanted one size"),
        ("", "got no sizes"),
    ],
)
def test_files_of_sizes_that_hold_none_are_named(tmp_path, content, match):
    (tmp_path / "sizes").write_text(content)
    with pytest.raises(BadData, match=rf"sizes.*{match}"):
        open_regions(uniter(tmp_path), sizes=tmp_path / "sizes")["7"]


def test_a_shortened_database_is_refused_and_does_not_crash(tmp_path):
    path = database(tmp_path / "feat.lmdb", a=pickle.dumps({"features": b"x" * 20000}))
    with (path / "data.mdb").open("r+b") as file:
        file.truncate((path / "data.mdb").stat().st_size - 8192)
    with pytest.raises(BadData, match=r"data\.mdb: got \d+ bytes, wanted \d+; copy it anew"):
        open_regions(path)
    (path / "data.mdb").write_bytes(b"nothing")
    with pytest.raises(BadData, match=r"feat\.lmdb: got no LMDB"):
        open_regions(path)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "got an empty file, wanted one of arrow, "),
        (b"\x89HDF\r\n\x1a\n", "got HDF5"),
        (b"PK\x03\x04", "the folder is wanted"),
        (b"hello\n", "got a file of b'hello"),
    ],
)
def test_unknown_content_is_named(tmp_path, content, match):
    (tmp_path / "f").write_bytes(content)
    with pytest.raises(BadData, match=match):
        open_regions(tmp_path / "f")


def test_unknown_names_and_places(tmp_path):
    with pytest.raises(UnknownName, match="no format of regions named 'butd': did you mean 'butd-tsv'"):
        open_regions(tsv(tmp_path, "butd-tsv"), format="butd")
    with pytest.raises(BadData, match="got nothing there"):
        open_regions(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadData, match=r"neither data\.mdb nor \.npz"):
        open_regions(tmp_path / "empty")
    assert len(FORMATS) == 8


@pytest.mark.parametrize("seed", range(60))
def test_corrupted_bytes_are_an_error_or_a_record(tmp_path, seed):
    random = np.random.default_rng(seed)
    makers = [
        *(lambda folder, name=name: tsv(folder, name) for name in ORDERS),
        npz, vinvl, uniter, vilbert,
    ]  # fmt: skip
    path = makers[seed % len(makers)](tmp_path)
    target = next(path.rglob("*.npz")) if path == tmp_path else path
    if target.is_dir():  # in the value, as LMDB trusts its own pages
        with lmdb.open(str(path)) as environment, environment.begin(write=True) as writing:
            key = next(k for k, _ in writing.cursor() if k != b"keys")
            value = bytearray(writing.get(key))
            for place in random.integers(len(value), size=1 + seed % 4):
                value[place] = random.integers(256)
            writing.put(key, bytes(value)[: random.integers(1, len(value) + 1) if seed % 3 == 0 else None])
    else:
        raw = bytearray(target.read_bytes())
        for place in random.integers(len(raw), size=1 + seed % 4):
            raw[place] = random.integers(256)
        target.write_bytes(bytes(raw)[: random.integers(1, len(raw) + 1) if seed % 3 == 0 else None])
    try:
        file = open_regions(path, sizes=Path("unit") if target.is_dir() else None)
        for image in file:
            file[image]
    except BadData as error:
        assert str(path.name) in str(error) or "sizes" in str(error)  # noqa: PT017
