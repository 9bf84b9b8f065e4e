"""LXMERT's columns as we write them: read back bit for bit, by us and by plain code."""

import base64
import struct
from dataclasses import replace

import numpy as np
import pytest
from region_bytes import drawn as regions

from alignscope.data.regionfiles import open_regions
from alignscope.data.regionfiles.tsv import LXMERT, write_region_tsv
from alignscope.errors import BadData, UnwritableOutput


def test_our_lines_are_read_by_plain_code(tmp_path):
    written = regions(many=3)
    write_region_tsv(tmp_path / "r.tsv", [written])
    cells = dict(zip(LXMERT, (tmp_path / "r.tsv").read_text().rstrip("\n").split("\t"), strict=True))
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
    assert list(open_regions(tmp_path / "r.tsv").values()) == sets
    table = open_regions(tmp_path / "r.tsv")
    assert list(table) == [one.image for one in sets]
    assert [table[one.image] for one in reversed(sets)] == sets[::-1]
    assert sets[0] != sets[1]
    assert sets[0] != replace(sets[0], features=sets[0].features + 1)
    assert "0.png" in table
    assert "8.png" not in table


def test_an_image_without_regions_is_read_back(tmp_path):
    write_region_tsv(tmp_path / "r.tsv", [regions(many=0, width=0), regions("b.png")])
    assert list(open_regions(tmp_path / "r.tsv").values()) == [regions(many=0, width=0), regions("b.png")]


def test_files_in_one_directory_share_vocabularies(tmp_path):
    first, second = regions(), replace(regions(), tags=("cup", "zebra"))
    write_region_tsv(tmp_path / "train.tsv", [first])
    write_region_tsv(tmp_path / "test.tsv", [second])
    assert list(open_regions(tmp_path / "train.tsv").values()) == [first]
    assert list(open_regions(tmp_path / "test.tsv").values()) == [second]
    assert (tmp_path / "objects_vocab.txt").read_text() == "ball\ncup\nzebra\n"


def test_an_empty_vocabulary_is_extended_from_its_start(tmp_path):
    write_region_tsv(tmp_path / "r.tsv", [replace(regions(), attributes=("", ""))])
    assert (tmp_path / "attributes_vocab.txt").read_text() == ""
    write_region_tsv(tmp_path / "s.tsv", [regions()])
    assert (tmp_path / "attributes_vocab.txt").read_text() == "shiny\n"
    assert list(open_regions(tmp_path / "s.tsv").values()) == [regions()]


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


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(UnwritableOutput, match=r"absent/r\.tsv cannot be written"):
        write_region_tsv(tmp_path / "absent" / "r.tsv", [regions()])


def test_one_image_is_written_once(tmp_path):
    with pytest.raises(BadData, match="a second time"):
        write_region_tsv(tmp_path / "r.tsv", [regions(), regions()])
