"""Published region formats, their bytes written here by hand, are read as one record; faults are named."""

import base64
import io
import json
import os
import pickle
import struct
import zipfile
from pathlib import Path

import lmdb
import msgpack
import numpy as np
import pytest

from alignscope.data.regionfiles import open_regions
from alignscope.data.regionfiles.names import Names
from alignscope.data.regionfiles.table import FORMATS
from alignscope.data.world.export import export
from alignscope.data.world.regions import regions_of
from alignscope.data.world.world import World
from alignscope.errors import BadData, UnknownName

BOXES = [[0, 0, 5, 6], [1, 2, 20, 10]]  # in an image of 20x10
FEATURES = [[1, 2, 3], [4, 5, 6]]


def b64(kind: str, *numbers: float) -> str:
    return base64.b64encode(struct.pack(f"<{len(numbers)}{kind}", *numbers)).decode()


CELLS = {
    "image": "COCO_val2014_000000000007",
    "w": "20",
    "h": "10",
    "n": "2",
    "boxes": b64("f", *BOXES[0], *BOXES[1]),
    "features": b64("f", *FEATURES[0], *FEATURES[1]),
    "objects_id": b64("q", 1, 0),
    "objects_conf": b64("f", 0.5, 0.25),
    "attrs_id": b64("q", 0, 0),
    "attrs_conf": b64("f", 0.75, 0.125),
}
ORDERS = {
    "butd-tsv": "image w h n boxes features",
    "lxmert-tsv": "image h w objects_id objects_conf attrs_id attrs_conf n boxes features",
    "rosita-tsv": "image features h w n boxes objects_id objects_conf attrs_id attrs_conf",
}


def vocabularies(folder: Path) -> None:
    (folder / "objects_vocab.txt").write_text("yolk,egg yolk\ngoal\n")
    (folder / "attributes_vocab.txt").write_text("nuclear\n")


def tsv(folder: Path, name: str, *rows: dict[str, str]) -> Path:
    vocabularies(folder)
    lines = ["\t".join({**CELLS, **row}[cell] for cell in ORDERS[name].split()) for row in rows or ({},)]
    (folder / "r.tsv").write_text("\n".join(lines) + "\n")
    return folder / "r.tsv"


def arrays(**changed: object) -> dict[str, object]:
    plain = {
        "x": np.array(FEATURES, np.float32),
        "boxes": np.array(BOXES, np.float32),
        "image_h": np.int64(10),
        "image_w": np.int64(20),
        "objects_id": np.array([1, 0]),
        "objects_conf": np.array([0.5, 0.25], np.float32),
        "attrs_id": np.array([0, 0]),
        "attrs_conf": np.array([0.75, 0.125], np.float32),
    }
    return {name: value for name, value in {**plain, **changed}.items() if value is not None}


def npz(folder: Path, **changed: object) -> Path:
    vocabularies(folder)
    (folder / "val2014").mkdir(exist_ok=True)
    np.savez_compressed(folder / "val2014" / "COCO_val2014_000000000007.jpg.npz", **arrays(**changed))
    return folder


def database(path: Path, **values: bytes) -> Path:
    with lmdb.open(str(path), map_size=1 << 24) as environment, environment.begin(write=True) as writing:
        for name, value in values.items():
            writing.put(name.encode(), value)
    return path


def packed(array: np.ndarray) -> dict[bytes, object]:
    """An array as msgpack-numpy says it."""
    kind = array.dtype.str.encode()
    return {b"nd": True, b"type": kind, b"kind": b"", b"shape": list(array.shape), b"data": array.tobytes()}


SHARES = np.array([[0, 0, 0.25, 0.5, 0.25, 0.5], [0.125, 0.25, 1, 1, 0.875, 0.75]], np.float16)


def uniter_arrays() -> dict[str, np.ndarray]:
    return {
        "features": np.array(FEATURES, np.float16),
        "norm_bb": SHARES,
        "conf": np.array([0.5, 0.25], np.float16),
        "soft_labels": np.zeros((2, 4), np.float16),
    }


def uniter(path: Path, *, name: str = "feat_th0.2_max100_min10") -> Path:
    content = msgpack.packb({key: packed(value) for key, value in uniter_arrays().items()}, use_bin_type=True)
    return database(path / name, **{"coco_val2014_000000000007.npz": content})


def vilbert(path: Path, **changed: object) -> Path:
    item = {
        "image_id": "COCO_val2014_000000000007",
        **{"image_h": "10", "image_w": 20, "num_boxes": 2},
        **{"boxes": CELLS["boxes"], "features": CELLS["features"].encode(), **changed},
    }
    return database(
        path / "feat.lmdb", keys=pickle.dumps([b"7"]), COCO_val2014_000000000007=pickle.dumps(item)
    )


def vinvl_row(*, features: list[list[float]] | None = None, many: int = 2) -> str:
    wide = features or [[*f, *s] for f, s in zip(FEATURES, SHARES.astype(float).tolist(), strict=True)]
    return json.dumps({"num_boxes": many, "features": b64("f", *np.ravel(wide))})


def vinvl(folder: Path, *rows: str) -> Path:
    lines = [f"{name}\t{row}\n" for name, row in zip("7abc", rows or (vinvl_row(),), strict=False)]
    (folder / "val.feature.tsv").write_text("".join(lines))
    (folder / "val.hw.tsv").write_text('7\t[{"height": 40, "width": 80}]\na\t40 80\n')
    return folder / "val.feature.tsv"


def same(read, *, boxes=BOXES, size=(20, 10)) -> None:
    assert (read.width, read.height) == size
    assert read.boxes.tolist() == boxes
    assert read.features.tolist() == FEATURES
    assert read.features.dtype == read.boxes.dtype == np.float32
    assert read.features.flags.writeable


def named(read) -> None:
    assert read.tags == ("goal", "yolk")
    assert read.attributes == ("nuclear", "nuclear")
    assert read.confidences.tolist() == [0.5, 0.25]
    assert read.attribute_confidences.tolist() == [0.75, 0.125]


@pytest.mark.parametrize("name", ORDERS)
def test_columns_of_base64(tmp_path, name):
    file = open_regions(tsv(tmp_path, name, {}, {"image": "8"}))
    assert (file.format, file.name, list(file)) == (name, "r.tsv", [CELLS["image"], "8"])
    assert file["COCO_val2014_000000000007.jpg"].image == CELLS["image"]
    same(file["8"])
    if name == "butd-tsv":
        assert (file["8"].tags, file["8"].confidences.tolist()) == ((), [])
    else:
        named(file["8"])


def test_words_may_be_left_out_or_lie_elsewhere(tmp_path):
    path = tsv(tmp_path, "rosita-tsv")
    (tmp_path / "objects_vocab.txt").rename(tmp_path / "o.txt")
    with pytest.raises(BadData, match=r"r\.tsv:1: .*objects_vocab\.txt: got no readable vocabulary"):
        open_regions(path)["7"]
    assert open_regions(path, objects=tmp_path / "o.txt")["7"].tags == ("goal", "yolk")
    bare = open_regions(path, tags=False)["7"]
    assert (bare.tags, bare.attributes, bare.confidences.tolist()) == ((), (), [0.5, 0.25])


@pytest.mark.parametrize("turned", [False, True], ids=["n by width", "width by n"])
def test_rosita_npz(tmp_path, turned):
    x = np.array(FEATURES, np.float32)
    file = open_regions(npz(tmp_path, x=x.T.copy() if turned else x))
    assert file.format == "npz"
    assert list(file) == ["val2014/COCO_val2014_000000000007.jpg"]
    for name in ("val2014/COCO_val2014_000000000007.jpg", "COCO_val2014_000000000007", "7"):
        same(file[name])
        named(file[name])


def test_plain_npz_and_its_pickles_unread(tmp_path):
    np.savez(
        tmp_path / "a.npz",
        features=np.array(FEATURES, np.float16),
        bbox=np.array(BOXES),
        num_bbox=2,
        image_w=20,
        image_h=10,
        info={"objects_id": [1]},  # a pickle, not opened
    )
    same(open_regions(tmp_path)["a"])


def test_a_square_of_features_is_ambiguous(tmp_path):
    with pytest.raises(BadData, match="2 by 2 numbers: which side the regions are is open"):
        open_regions(npz(tmp_path, x=np.ones((2, 2), np.float32)))["7"]


def test_vinvl_positions_become_boxes(tmp_path):
    path = vinvl(tmp_path, vinvl_row(), vinvl_row())
    file = open_regions(path)
    assert file.format == "vinvl-tsv"
    wanted = [[0, 0, 20, 20], [10, 10, 80, 40]]
    same(file["7"], boxes=wanted, size=(80, 40))
    same(file["a"], boxes=wanted, size=(80, 40))
    assert file["a"].made_by == "VinVL"
    sizes = tmp_path / "s.tsv"
    sizes.write_text("name\twidth\theight\n7.jpg\t8\t16\n")
    same(open_regions(path, sizes=sizes)["7"], boxes=[[0, 0, 2, 8], [1, 4, 8, 16]], size=(8, 16))


def test_vinvl_labels_are_tags_only_where_they_fit(tmp_path):
    path = vinvl(tmp_path, vinvl_row(), vinvl_row())
    fitting = [
        {"class": "dog", "conf": 0.5, "rect": [0, 0, 20, 20]},
        {"class": "sky", "conf": 0.25, "rect": [10, 10, 80, 40]},
    ]
    others = [{**each, "rect": [0, 0, 5, 5]} for each in fitting]
    (tmp_path / "val.label.tsv").write_text(f"7\t{json.dumps(fitting)}\na\t{json.dumps(others)}\n")
    file = open_regions(path)
    assert file.notes == ("labels of val.label.tsv are tags only where they are one per region",)
    assert (file["7"].tags, file["7"].confidences.tolist()) == (("dog", "sky"), [0.5, 0.25])
    assert file["a"].tags == ()
    (tmp_path / "val.label.tsv").write_text("7\t[oops\n")
    with pytest.raises(BadData, match=r"val\.feature\.tsv:1: .*label"):
        open_regions(path)["7"]


def test_vinvl_three_columns_and_own_objects(tmp_path):
    row = json.loads(vinvl_row())
    (tmp_path / "r.tsv").write_text(f"7\t2\t{row['features']}\n")
    same(open_regions(tmp_path / "r.tsv", sizes=Path("unit"))["7"], boxes=SHARES[:, :4].tolist(), size=(1, 1))
    objects = [
        {"class": c, "conf": 0.5, "rect": r, "feature": b64("f", *f)}
        for c, r, f in zip(("dog", "sky"), BOXES, FEATURES, strict=True)
    ]
    (tmp_path / "r.tsv").write_text(f"7\t{json.dumps({'image_h': 10, 'image_w': 20, 'objects': objects})}\n")
    same(open_regions(tmp_path / "r.tsv")["7"])
    assert open_regions(tmp_path / "r.tsv")["7"].tags == ("dog", "sky")


def test_lineidx_is_followed_and_must_fit(tmp_path):
    path = vinvl(tmp_path, vinvl_row(), vinvl_row(), vinvl_row())
    raw = path.read_bytes()
    starts = [0, *[place + 1 for place, byte in enumerate(raw[:-1]) if byte == 10]]
    index = tmp_path / "val.feature.lineidx"
    index.write_text("".join(f"{start}\n" for start in starts))
    assert list(open_regions(path)) == ["7", "a", "b"]
    same(open_regions(path)["a"], boxes=[[0, 0, 20, 20], [10, 10, 80, 40]], size=(80, 40))
    index.write_text(f"{starts[0]}\n{starts[1] + 3}\n")
    with pytest.raises(BadData, match=r"val\.feature\.lineidx:2: got the offset .* where no line"):
        open_regions(path)
    index.write_text(f"{starts[0]}\n{starts[2]}\n")  # an offset lost
    with pytest.raises(BadData, match=r"several lines where the \.lineidx says one"):
        open_regions(path)["7"]
    index.write_text(f"{starts[1]}\n")
    with pytest.raises(BadData, match="where no line"):
        open_regions(path)


@pytest.mark.parametrize("kind", ["msgpack", "npz"])
def test_uniter_shares_need_sizes(tmp_path, kind):
    path = uniter(tmp_path)
    if kind == "npz":
        content = io.BytesIO()
        np.savez_compressed(content, **uniter_arrays(), allow_pickle=np.array(True))
        path = database(tmp_path / "z", **{"coco_val2014_000000000007.npz": content.getvalue()})
    with pytest.raises(BadData, match=r"record 'coco_val2014_000000000007.npz': got no image size.*--sizes"):
        open_regions(path)["7"]
    unit = open_regions(path, sizes=Path("unit"))
    assert unit.format == "uniter-lmdb"
    assert unit.notes == ("image sizes are unknown: boxes are shares of 1x1 images",)
    same(unit["COCO_val2014_000000000007.jpg"], boxes=SHARES[:, :4].tolist(), size=(1, 1))
    assert unit["7"].confidences.tolist() == [0.5, 0.25]
    for number, text in enumerate(
        (
            '{"name": "COCO_val2014_000000000007.jpg", "width": 80, "height": 40}\n',
            '{"images": [{"file_name": "COCO_val2014_000000000007.jpg", "width": 80, "height": 40}]}',
            "7\t80\t40\n",
        )
    ):
        (tmp_path / f"sizes{number}").write_text(text)
        read = open_regions(path, sizes=tmp_path / f"sizes{number}")["7"]
        same(read, boxes=[[0, 0, 20, 20], [10, 10, 80, 40]], size=(80, 40))
    (tmp_path / "other").write_text("8\t80\t40\n")
    with pytest.raises(BadData, match=r"no size of 'coco_val2014_000000000007' in .*other"):
        open_regions(path, sizes=tmp_path / "other")["7"]


def test_uniter_takes_as_many_boxes_as_its_rule_says(tmp_path):
    def content(many: int, confident: int) -> bytes:
        confidences = np.where(np.arange(many) < confident, 0.5, 0.1).astype(np.float16)
        whole = {"features": np.ones((many, 3), np.float16), "norm_bb": np.tile(SHARES[:1], (many, 1))}
        return msgpack.packb({k: packed(v) for k, v in {**whole, "conf": confidences}.items()})

    values = {"a.npz": content(120, 110), "b.npz": content(50, 30), "c.npz": content(50, 3)}
    every = open_regions(database(tmp_path / "all", **values), sizes=Path("unit"))
    assert [len(every[image]) for image in "abc"] == [100, 30, 10]
    path = database(tmp_path / "feat_th0.2_max100_min10", **values)
    assert len(open_regions(path, sizes=Path("unit"))["a"]) == 120  # cut, or not, when it was written
    (tmp_path / "nbb_th0.2_max100_min10.json").write_text('{"a.npz": 7, "b.npz": 8, "c.npz": 9}')
    counted = open_regions(path, sizes=Path("unit"))
    assert [len(counted[image]) for image in "abc"] == [7, 8, 9]
    assert "nbb_th0.2_max100_min10.json" in counted.notes[0]


def test_vilbert_base64(tmp_path):
    file = open_regions(vilbert(tmp_path))
    assert list(file) == ["COCO_val2014_000000000007"]
    same(file["7"])


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_vilbert_arrays_of_any_protocol(tmp_path, protocol):
    item = {"image_id": "7", "image_h": 10, "image_w": 20, "num_boxes": 2}
    held = {"boxes": np.array(BOXES, ">f4"), "features": np.asfortranarray(np.array(FEATURES, np.float64))}
    held["image_w"] = np.int64(20)
    path = database(
        tmp_path / "feat.lmdb",
        COCO_val2014_000000000007=pickle.dumps({**item, **held}, protocol),
    )
    file = open_regions(path)
    assert file.format == "vilbert-lmdb"
    same(file["7"])


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


def test_names_are_found_as_data_sets_spell_them(tmp_path):
    names = Names(["COCO_val2014_000000000042", "Flickr/123.5", "dir/a.png", "b"])
    for name in (
        "COCO_val2014_000000000042.jpg",
        "val2014/COCO_val2014_000000000042.jpg",
        "42",
        "000000000042.jpg",
    ):
        assert names.find(name) == "COCO_val2014_000000000042"
    assert names.find("coco_val2014_000000000042.npz") == "COCO_val2014_000000000042"
    assert names.find("other/a.jpg") == "dir/a.png"
    assert (names.find("cat_42"), names.find("")) == (None, None)
    two = Names(["train/a.png", "val/a.png", "a2"])
    assert two.find("val/a.jpg") == "val/a.png"
    with pytest.raises(BadData, match=r"'a', which may be 'train/a.png' or 'val/a.png' \(2 fit\)"):
        two.find("a")
    file = open_regions(tsv(tmp_path, "butd-tsv"))
    with pytest.raises(UnknownName, match=r"r\.tsv: no regions of '8': known: COCO_val2014_000000000007"):
        file["8"]
    assert "7" in file
    assert "8" not in file


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


def test_a_shortened_database_is_refused_and_does_not_crash(tmp_path):
    path = database(tmp_path / "feat.lmdb", a=pickle.dumps({"features": b"x" * 20000}))
    with (path / "data.mdb").open("r+b") as file:
        file.truncate((path / "data.mdb").stat().st_size - 8192)
    with pytest.raises(BadData, match=r"data\.mdb: got \d+ bytes, wanted \d+; copy it anew"):
        open_regions(path)
    (path / "data.mdb").write_bytes(b"nothing")
    with pytest.raises(BadData, match=r"feat\.lmdb: got no LMDB"):
        open_regions(path)


def test_a_database_is_opened_once_and_by_other_processes(tmp_path):
    first, second = open_regions(vilbert(tmp_path)), open_regions(tmp_path / "feat.lmdb")
    same(first["7"])
    same(second["7"])
    same(pickle.loads(pickle.dumps(first))["7"])


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


def test_the_worlds_export_is_read_back(tmp_path):
    world = World("test", size=3, seed=5)
    export(world, tmp_path, region_width=16)
    file = open_regions(tmp_path / "regions" / "regions.tsv")
    wanted = list(regions_of(world, count=8, width=16))
    assert [file[one.image] for one in wanted] == wanted
    assert [file[f"{one.image}.png"] for one in wanted] == wanted


def bytes_read() -> int:
    """What this process has asked the system to read so far."""
    return int(Path("/proc/self/io").read_text().split()[1])


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="counts by /proc of Linux")
@pytest.mark.parametrize("is_indexed", [False, True])
def test_a_line_is_read_without_the_others(tmp_path, is_indexed):
    wide = b64("f", *range(20000))
    path = tsv(tmp_path, "butd-tsv", *({"image": f"x{n}", "features": wide} for n in range(30)))
    raw = path.read_bytes()
    starts = [0, *[place + 1 for place in range(len(raw) - 1) if raw[place] == 10]]
    if is_indexed:
        path.with_suffix(".lineidx").write_text("\n".join(map(str, starts)))
    before = bytes_read()
    file = open_regions(path)
    opening = bytes_read() - before
    assert file["x23"].features.shape == (2, 10000)
    reading = bytes_read() - before - opening
    one = len(raw) // 30
    assert one <= reading <= one + 3 * 8192
    assert (opening < len(raw) / 4) == is_indexed  # first columns alone, once the offsets are known


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
