"""Published region formats, their bytes written by hand (region_bytes.py), are read as one record."""

import io
import json
import pickle
from pathlib import Path

import msgpack
import numpy as np
import pytest
from region_bytes import (
    BOXES,
    CELLS,
    FEATURES,
    ORDERS,
    SHARES,
    b64,
    database,
    named,
    npz,
    packed,
    same,
    tsv,
    uniter,
    uniter_arrays,
    vilbert,
    vinvl,
    vinvl_row,
)

from alignscope.data.names import Names
from alignscope.data.regionfiles import open_regions
from alignscope.data.world.export import export
from alignscope.data.world.regions import regions_of
from alignscope.data.world.world import World
from alignscope.errors import BadData, UnknownName


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


CUT = "each image's regions are cut by UNITER's rule: those of confidence above 0.2, but at least 10 and at most 100"


def test_uniter_takes_as_many_boxes_as_its_rule_says(tmp_path):
    def content(many: int, confident: int) -> bytes:
        confidences = np.where(np.arange(many) < confident, 0.5, 0.1).astype(np.float16)
        whole = {"features": np.ones((many, 3), np.float16), "norm_bb": np.tile(SHARES[:1], (many, 1))}
        return msgpack.packb({k: packed(v) for k, v in {**whole, "conf": confidences}.items()})

    values = {"a.npz": content(120, 110), "b.npz": content(50, 30), "c.npz": content(50, 3)}
    every = open_regions(database(tmp_path / "all", **values), sizes=Path("unit"))
    assert [len(every[image]) for image in "abc"] == [100, 30, 10]
    assert every.notes[0] == CUT
    path = database(tmp_path / "feat_th0.2_max100_min10", **values)
    assert len(open_regions(path, sizes=Path("unit"))["a"]) == 120  # cut, or not, when it was written
    (tmp_path / "nbb_th0.2_max100_min10.json").write_text('{"a.npz": 7, "b.npz": 8, "c.npz": 9}')
    counted = open_regions(path, sizes=Path("unit"))
    assert [len(counted[image]) for image in "abc"] == [7, 8, 9]
    assert "nbb_th0.2_max100_min10.json" in counted.notes[0]
    assert not any("cut by UNITER's rule" in note for note in counted.notes)


def test_uniters_folder_before_its_database_is_cut_by_the_same_rule(tmp_path):
    """Boxes as shares and all confidences say whose they are; without confidences nothing is left out."""
    whole = {"features": np.ones((50, 3), np.float16), "norm_bb": np.tile(SHARES[:1], (50, 1))}
    for name, many in (("a", 30), ("b", 3)):
        np.savez(tmp_path / f"{name}.npz", **whole, conf=np.where(np.arange(50) < many, 0.5, 0.1))
    np.savez(tmp_path / "c.npz", **whole)
    read = open_regions(tmp_path, sizes=Path("unit"))
    assert [len(read[image]) for image in "abc"] == [30, 10, 50]
    assert len(read["a"].confidences) == 30
    assert read.notes[0] == CUT
    np.savez(tmp_path / "a.npz", **whole)
    assert CUT not in open_regions(tmp_path, sizes=Path("unit")).notes


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


def test_a_database_is_opened_once_and_by_other_processes(tmp_path):
    first, second = open_regions(vilbert(tmp_path)), open_regions(tmp_path / "feat.lmdb")
    same(first["7"])
    same(second["7"])
    same(pickle.loads(pickle.dumps(first))["7"])


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
