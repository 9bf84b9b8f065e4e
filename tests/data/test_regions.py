"""Regions of images: what is written is read back bit for bit, and faults are named with their line."""

import base64
import struct
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from alignscope.data.regions import COLUMNS, RegionTsv, read_region_tsv, write_region_tsv
from alignscope.errors import BadData, UnknownName
from alignscope.records import Regions


def regions(image: str = "a.png", *, many: int = 2, seed: int = 0, width: int = 5) -> Regions:
    random = np.random.default_rng(seed)
    corners = np.sort(random.uniform(0, 60, (many, 2, 2)), axis=1).reshape(many, 4)
    return Regions(
        image=image,
        width=64,
        height=60,
        boxes=corners.astype(np.float32),
        tags=tuple(["ball", "cup", "fire hydrant"][i % 3] for i in range(many)),
        attributes=tuple(["", "shiny"][i % 2] for i in range(many)),
        confidences=random.uniform(size=many).astype(np.float32),
        features=random.normal(size=(many, width)).astype(np.float32),
        attribute_confidences=random.uniform(size=many).astype(np.float32),
    )


def b64(kind: str, *numbers: float) -> str:
    return base64.b64encode(struct.pack(f"<{len(numbers)}{kind}", *numbers)).decode()


def hand_made(path: Path, **cells: str) -> Path:
    """One line written without our writer: two boxes, features of width 3."""
    row = {
        "img_id": "7",
        "img_h": "10",
        "img_w": "20",
        "objects_id": b64("q", 1, 0),
        "objects_conf": b64("f", 0.5, 0.25),
        "attrs_id": b64("q", 0, 0),
        "attrs_conf": b64("f", 0.75, 0.125),
        "num_boxes": "2",
        "boxes": b64("f", 0, 0, 5, 6, 1, 2, 20, 10),
        "features": b64("f", 1, 2, 3, 4, 5, 6),
        **cells,
    }
    (path / "objects_vocab.txt").write_text("yolk,egg yolk\ngoal\n")
    (path / "attributes_vocab.txt").write_text("nuclear\n")
    file = path / "hand.tsv"
    file.write_text("\t".join(row[name] for name in COLUMNS if name in row) + "\n")
    return file


def test_a_line_made_by_hand_is_read(tmp_path):
    (read,) = read_region_tsv(hand_made(tmp_path))
    assert (read.image, read.width, read.height) == ("7", 20, 10)
    assert read.tags == ("goal", "yolk")
    assert read.attributes == ("nuclear", "nuclear")
    assert read.confidences.tolist() == [0.5, 0.25]
    assert read.attribute_confidences.tolist() == [0.75, 0.125]
    assert read.boxes.tolist() == [[0, 0, 5, 6], [1, 2, 20, 10]]
    assert read.features.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert read.features.flags.writeable


def test_our_lines_are_read_by_plain_code(tmp_path):
    written = regions(many=3)
    write_region_tsv(tmp_path / "r.tsv", [written])
    cells = dict(zip(COLUMNS, (tmp_path / "r.tsv").read_text().rstrip("\n").split("\t"), strict=True))
    assert (cells["img_id"], cells["img_h"], cells["img_w"], cells["num_boxes"]) == ("a.png", "60", "64", "3")
    numbers = struct.unpack("<15f", base64.b64decode(cells["features"]))
    assert list(numbers) == written.features.ravel().tolist()
    assert struct.unpack("<12f", base64.b64decode(cells["boxes"])) == tuple(written.boxes.ravel().tolist())
    assert struct.unpack("<3q", base64.b64decode(cells["objects_id"])) == (0, 1, 2)
    assert struct.unpack("<3q", base64.b64decode(cells["attrs_id"])) == (-1, 0, -1)
    assert (tmp_path / "objects_vocab.txt").read_text() == "ball\ncup\nfire hydrant\n"
    assert (tmp_path / "attributes_vocab.txt").read_text() == "shiny\n"


def test_what_is_written_is_read_back_equal(tmp_path):
    sets = [regions(f"{n}.png", many=1 + n % 4, seed=n, width=2048) for n in range(7)]
    sets.append(replace(regions("bare.png", seed=9), attribute_confidences=np.zeros(0, np.float32)))
    assert write_region_tsv(tmp_path / "r.tsv", iter(sets)) == 8
    assert list(read_region_tsv(tmp_path / "r.tsv")) == sets
    table = RegionTsv(tmp_path / "r.tsv")
    assert list(table) == [one.image for one in sets]
    assert [table[one.image] for one in reversed(sets)] == sets[::-1]
    assert sets[0] != sets[1]
    assert sets[0] != replace(sets[0], features=sets[0].features + 1)
    assert "0.png" in table
    assert "8.png" not in table


def test_an_image_without_regions_is_read_back(tmp_path):
    write_region_tsv(tmp_path / "r.tsv", [regions(many=0, width=0), regions("b.png")])
    assert list(read_region_tsv(tmp_path / "r.tsv")) == [regions(many=0, width=0), regions("b.png")]


def test_files_in_one_directory_share_vocabularies(tmp_path):
    first, second = regions(), replace(regions(), tags=("cup", "zebra"))
    write_region_tsv(tmp_path / "train.tsv", [first])
    write_region_tsv(tmp_path / "test.tsv", [second])
    assert list(read_region_tsv(tmp_path / "train.tsv")) == [first]
    assert list(read_region_tsv(tmp_path / "test.tsv")) == [second]
    assert (tmp_path / "objects_vocab.txt").read_text() == "ball\ncup\nzebra\n"


def test_an_empty_vocabulary_is_extended_from_its_start(tmp_path):
    write_region_tsv(tmp_path / "r.tsv", [replace(regions(), attributes=("", ""))])
    assert (tmp_path / "attributes_vocab.txt").read_text() == ""
    write_region_tsv(tmp_path / "s.tsv", [regions()])
    assert (tmp_path / "attributes_vocab.txt").read_text() == "shiny\n"
    assert list(read_region_tsv(tmp_path / "s.tsv")) == [regions()]


def test_the_file_is_not_held_in_memory(tmp_path):
    write_region_tsv(tmp_path / "r.tsv", (regions(f"{n}", many=36, seed=n, width=2048) for n in range(20)))
    size = (tmp_path / "r.tsv").stat().st_size
    tracemalloc.start()
    table = RegionTsv(tmp_path / "r.tsv")
    image = table["13"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert image == regions("13", many=36, seed=13, width=2048)
    assert peak < size / 4


BROKEN = [
    ({"num_boxes": "3"}, r"`boxes`: got 32 bytes, wanted 48 .*num_boxes 3"),
    ({"num_boxes": "two"}, "`num_boxes`: got 'two', wanted a whole number"),
    ({"img_w": "-20"}, "`img_w`: got '-20'"),
    ({"img_h": "0"}, "an image of 20x0 pixels"),
    ({"boxes": b64("d", 0, 0, 5, 6, 1, 2, 20, 10)}, "`boxes`: got 64 bytes, wanted 32"),
    ({"features": b64("f", 1, 2, 3)}, "`features`: got 12 bytes, wanted 8 times a whole number"),
    ({"features": "###"}, "`features`: got no base64"),
    ({"features": b64("f", 1, 2, 3, 4, 5, float("nan"))}, "features that are not finite"),
    ({"objects_id": b64("i", 1, 0)}, "`objects_id`: got 8 bytes, wanted 16"),
    ({"objects_id": b64("q", 1, 2)}, r"got word 2, wanted one of the vocabulary's 0\.\.1"),
    ({"attrs_conf": b64("f", 1)}, "`attrs_conf`: got 1 numbers, wanted 2"),
    ({"boxes": b64("f", 0, 0, 5, 6, 1, 2, 21, 10)}, r"box 2 as \[1.0, 2.0, 21.0, 10.0\], wanted it inside"),
    ({"boxes": b64("f", -2, 0, 5, 6, 1, 2, 20, 10)}, "box 1 as .* wanted it inside the image of 20x10"),
    ({"boxes": b64("f", 5, 0, 4, 6, 1, 2, 20, 10)}, "box 1 as .* x1 < x2"),
    ({"attrs_conf": "a\tb"}, "got 11 columns, wanted 10"),
]


@pytest.mark.parametrize(("cells", "match"), BROKEN, ids=[match for _, match in BROKEN])
def test_a_broken_line_is_named(tmp_path, cells, match):
    table = RegionTsv(hand_made(tmp_path, **cells))
    with pytest.raises(BadData, match=rf"hand\.tsv:1: .*{match}"):
        table["7"]


def test_a_truncated_file_is_named(tmp_path):
    write_region_tsv(tmp_path / "r.tsv", [regions("a"), regions("b")])
    whole = (tmp_path / "r.tsv").read_bytes()
    (tmp_path / "r.tsv").write_bytes(whole[:-10])
    table = RegionTsv(tmp_path / "r.tsv")
    assert table["a"] == regions("a")
    with pytest.raises(BadData, match=r"r\.tsv:2: `features`"):
        table["b"]


def test_repeated_unknown_and_missing_are_refused(tmp_path):
    file = hand_made(tmp_path)
    with pytest.raises(UnknownName, match="no regions of '8'"):
        RegionTsv(file)["8"]
    file.write_text(file.read_text() * 2)
    with pytest.raises(BadData, match=r"hand\.tsv:2: got the image '7' of line 1 again"):
        RegionTsv(file)
    with pytest.raises(BadData, match=r"none\.tsv: got No such file"):
        RegionTsv(tmp_path / "none.tsv")
    (tmp_path / "attributes_vocab.txt").unlink()
    with pytest.raises(BadData, match=r"attributes_vocab\.txt: got no readable vocabulary"):
        RegionTsv(file)


UNWRITABLE = [
    (replace(regions(), tags=("one",)), "1 tags for 2 boxes"),
    (replace(regions(), tags=("one", "a,b")), "the tag 'a,b'"),
    (replace(regions(), width=3), "wanted it inside"),
    (replace(regions(), image="a\tb"), "a name that is empty or holds a tab"),
]


@pytest.mark.parametrize(("bad", "match"), UNWRITABLE, ids=[match for _, match in UNWRITABLE])
def test_nothing_is_written_of_a_contradictory_record(tmp_path, bad, match):
    with pytest.raises(BadData, match=match):
        write_region_tsv(tmp_path / "r.tsv", [regions("good"), bad])
    assert list(tmp_path.iterdir()) == []


def test_one_image_is_written_once(tmp_path):
    with pytest.raises(BadData, match="a second time"):
        write_region_tsv(tmp_path / "r.tsv", [regions(), regions()])
