"""The safe format: bit for bit what was given, read image by image, whole or not at all."""

import json
import struct
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from region_bytes import drawn

from alignscope.data.regionfiles import digest, open_regions, sha_of_regions
from alignscope.data.regionfiles.arrow import write_regions
from alignscope.data.regionfiles.checking import check
from alignscope.data.regionfiles.converting import convert
from alignscope.data.regionfiles.tsv import write_region_tsv
from alignscope.errors import BadData, OutputExists, UnwritableOutput
from alignscope.records import Regions

regions = partial(drawn, tags=("ball", "Käse", "fire, hydrant"), made_by="a test")


def bare(image: str) -> Regions:
    whole = regions(image, seed=7)
    return Regions(image, 64, 60, whole.boxes, whole.features)


def empty(image: str) -> Regions:
    return Regions(image, 64, 60, np.zeros((0, 4), np.float32), np.zeros((0, 0), np.float32))


def test_what_is_written_is_read_back_equal(tmp_path):
    sets = [
        empty("none"),
        *(regions(f"{n}.png", many=1 + n % 4, seed=n) for n in range(150)),
        bare("b"),
        empty("e"),
    ]
    written = write_regions(tmp_path / "r.arrow", iter(sets))
    assert (written.images, written.width, written.largest_change) == (153, 5, 0)
    assert written.regions == sum(map(len, sets))
    assert written.sha == sha_of_regions(sets)
    file = open_regions(tmp_path / "r.arrow")
    assert (file.format, file.notes, list(file)) == ("arrow", (), [one.image for one in sets])
    assert [file[one.image] for one in reversed(sets)] == sets[::-1]
    assert file["3"].features.flags.writeable
    assert [path.name for path in tmp_path.iterdir()] == ["r.arrow"]


def test_any_arrow_reader_opens_it(tmp_path):
    sets = [regions("a"), regions("b", many=3, seed=1)]
    write_regions(tmp_path / "r.arrow", sets)
    with pa.memory_map(str(tmp_path / "r.arrow")) as file:
        table = pa.ipc.open_file(file).read_all()
    rows = table.to_pylist()
    assert [row["image"] for row in rows] == ["a", "b"]
    assert rows[1]["boxes"] == sets[1].boxes.tolist()
    assert rows[1]["features"] == sets[1].features.tolist()
    assert rows[1]["digest"] == digest(sets[1])
    assert table.schema.metadata[b"alignscope.regions.width"] == b"5"


def test_no_image_and_images_without_regions(tmp_path):
    for name, sets in (("n", []), ("e", [empty("x"), empty("y")])):
        write_regions(tmp_path / name, sets)
        file = open_regions(tmp_path / name)
        assert [file[image] for image in file] == sets


def test_half_says_what_it_loses(tmp_path):
    sets = [regions(f"{n}", seed=n, width=64) for n in range(3)]
    written = write_regions(tmp_path / "r.arrow", sets, half=True)
    file = open_regions(tmp_path / "r.arrow")
    assert file.notes == ("features are float16, rounded from float32",)
    change = max(np.abs(file[one.image].features - one.features).max() for one in sets)
    assert 0 < written.largest_change == change < 2e-3  # half of 2^-9, the step of float16 from 2 to 4
    for one in sets:
        packed = struct.unpack(
            f"<{one.features.size}e", struct.pack(f"<{one.features.size}e", *one.features.flat)
        )
        assert file[one.image].features.ravel().tolist() == list(packed)
        assert replace(file[one.image], features=one.features) == one
    assert written.sha == sha_of_regions(file.values()) != sha_of_regions(sets)
    with pytest.raises(BadData, match="a feature of 70000, float16 ends at 65504"):
        write_regions(tmp_path / "s", [replace(sets[0], features=sets[0].features * 0 + 70000)], half=True)


READS_ONE = """
import re, sys
from pathlib import Path
from alignscope.data.regionfiles import open_regions

def resident(path):
    found, counting = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            counting = line.endswith(path)
        elif counting and line.startswith("Rss:"):
            found += int(line.split()[1]) * 1024
    return found

file = open_regions(Path(sys.argv[1]))
opened = resident(sys.argv[1])
file["50"]
one = resident(sys.argv[1])
for image in file: file[image]
print(opened, one, resident(sys.argv[1]))
"""


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="counts by /proc of Linux")
def test_one_image_is_read_without_its_neighbours(tmp_path):
    path = tmp_path / "r.arrow"
    write_regions(path, (regions(f"{n}", many=36, seed=n, width=2048) for n in range(100)))
    told = subprocess.run([sys.executable, "-c", READS_ONE, path], capture_output=True, text=True, timeout=60)
    opened, one, everything = map(int, told.stdout.split())
    assert everything >= 100 * 36 * 2048 * 4, "the count sees what is read"
    assert opened < path.stat().st_size / 10
    # the system maps what it has at hand around a page, 2 MB at most: less than a tenth of the file
    assert one - opened < path.stat().st_size / 10


def test_memory_does_not_grow_with_the_file(tmp_path):
    def peak(many: int) -> int:
        tracemalloc.start()
        before = pa.total_allocated_bytes()
        seen = []

        def sets():
            for n in range(many):
                seen.append(pa.total_allocated_bytes() - before)
                yield regions(f"{n}", many=100, width=2048)

        write_regions(tmp_path / "r.arrow", sets(), overwrite=True)
        found = tracemalloc.get_traced_memory()[1] + max(seen)
        tracemalloc.stop()
        return found

    assert peak(60) < 1.3 * peak(20)  # 49 MB and 16 MB of features


def test_nothing_is_written_of_what_cannot_be(tmp_path):
    path = tmp_path / "r.arrow"
    for bad, match in (
        (regions("b", width=4), "features of width 4, wanted 5"),
        (regions("a"), "a second time"),
        (replace(regions("b"), width=3), "wanted it inside"),
        (replace(regions("b"), tags=("x",)), "1 tags for 2 boxes"),
    ):
        with pytest.raises(BadData, match=match):
            write_regions(path, [regions("a"), bad])
    assert list(tmp_path.iterdir()) == []
    path.write_text("mine")
    with pytest.raises(OutputExists, match="--overwrite"):
        write_regions(path, [regions()])
    assert path.read_text() == "mine"
    write_regions(path, [regions()], overwrite=True)
    assert open_regions(path)["a"] == regions()
    with pytest.raises(UnwritableOutput):
        write_regions(tmp_path / "no" / "r.arrow", [regions()])


def test_digests_know_every_field_and_no_order():
    one, two = regions("a"), regions("b")
    assert sha_of_regions([one, two]) == sha_of_regions([two, one, one])
    changed = [
        *(replace(one, image="c"), replace(one, width=65), replace(one, height=61)),
        *(replace(one, boxes=one.boxes + 1), replace(one, features=one.features + 1)),
        *(replace(one, tags=("x", "y")), replace(one, attributes=("x", "y")), replace(one, made_by="")),
        *(replace(one, confidences=one.confidences / 2), replace(one, tags=(), attributes=one.tags)),
        replace(one, attribute_confidences=one.attribute_confidences / 2),
    ]
    assert len({digest(each) for each in [one, *changed]}) == len(changed) + 1


def test_damage_is_seen_by_check(tmp_path):
    path = tmp_path / "r.arrow"
    sets = [regions(f"{n}", seed=n) for n in range(3)]
    write_regions(path, sets)
    raw = path.read_bytes()
    needle = sets[1].features[0, :2].tobytes()
    assert raw.count(needle) == 1
    path.write_bytes(raw.replace(needle, struct.pack("<2f", 1, 2)))
    checked = check(open_regions(path))
    assert (checked.images, checked.sound, checked.is_complete) == (3, 2, False)
    assert [problem.item for problem in checked.problems] == ["1"]
    assert "other content than was written" in checked.problems[0].what


@pytest.mark.parametrize("seed", range(80))
def test_corrupted_bytes_are_an_error_or_a_record(tmp_path, seed):
    random = np.random.default_rng(seed)
    path = tmp_path / "r.arrow"
    write_regions(path, [regions(f"{n}", seed=n) for n in range(3)])
    raw = bytearray(path.read_bytes())
    for place in random.integers(len(raw), size=1 + seed % 4):
        raw[place] = random.integers(256)
    path.write_bytes(bytes(raw)[: random.integers(8, len(raw)) if seed % 4 == 0 else None])
    try:
        file = open_regions(path, format="arrow")
        for image in file:
            file[image]
    except BadData as error:
        assert "r.arrow" in str(error)  # noqa: PT017


def test_other_arrow_files_are_refused(tmp_path):
    path = tmp_path / "r.arrow"
    table = pa.table({"image": ["a"]})
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(BadData, match=r"an Arrow file of version none, wanted regions of version 1"):
        open_regions(path)
    table = table.replace_schema_metadata(
        {"alignscope.regions.version": "1", "alignscope.regions.width": "5"}
    )
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(BadData, match="other columns than version 1 has"):
        open_regions(path)


def tsv_with_a_fault(path: Path) -> Path:
    write_region_tsv(path, [replace(regions(f"{n}", seed=n), tags=("x", "y")) for n in range(5)])
    lines = path.read_text().splitlines()
    lines[2] = lines[2][:-9]
    path.write_text("\n".join([*lines, lines[4]]) + "\n")  # "4" twice
    return path


def test_conversion_stops_at_a_broken_record_or_lists_it(tmp_path):
    source = open_regions(tsv_with_a_fault(tmp_path / "r.tsv"))
    out = tmp_path / "r.arrow"
    with pytest.raises(BadData, match=r"r\.tsv:3: `features`.*--skip-broken"):
        convert(source, out)
    assert not out.exists()
    seen = []
    done = convert(source, out, skip_broken=True, progress=lambda *told: seen.append(told))
    assert (done.written.images, len(done.problems)) == (3, 2)
    assert list(open_regions(out)) == ["0", "1", "3"]
    assert [open_regions(out)[image] == source[image] for image in ("0", "1", "3")] == [True] * 3
    rows = [json.loads(line) for line in (tmp_path / "r.arrow.problems.jsonl").read_text().splitlines()]
    assert [row["item"] for row in rows] == ["2", "4"]
    assert rows[1]["what"].endswith("remove one of the lines")
    assert seen == [("images", 5, 5)]
    with pytest.raises(OutputExists, match=r"problems\.jsonl exists"):
        convert(source, out, skip_broken=True)
    with pytest.raises(OutputExists, match="is the file to convert"):
        convert(open_regions(out), out, overwrite=True)


def test_widths_that_differ_are_named(tmp_path):
    write_region_tsv(
        tmp_path / "r.tsv",
        [replace(regions(f"{n}", width=4 + n), tags=("x", "y"), made_by="") for n in range(2)],
    )
    source = open_regions(tmp_path / "r.tsv")
    with pytest.raises(BadData, match=r"r\.tsv:2: got features of width 5, wanted 4"):
        convert(source, tmp_path / "r.arrow")
    checked = check(source)
    assert (checked.sound, dict(checked.widths)) == (2, {4: 1, 5: 1})
    assert "1 images of 4, 1 images of 5" in checked.problems[0].what


def test_images_of_a_folder_that_have_no_regions(tmp_path):
    (tmp_path / "images" / "val").mkdir(parents=True)
    for name in ("val/COCO_val2014_000000000007.jpg", "val/x.png", "notes.txt"):
        (tmp_path / "images" / name).touch()
    write_regions(tmp_path / "r.arrow", [regions("7"), regions("8")])
    checked = check(open_regions(tmp_path / "r.arrow"), images=tmp_path / "images")
    assert checked.missing == ("val/x.png",)
    assert (checked.problems, checked.is_complete) == ((), False)
    assert (dict(checked.regions), checked.tagged, checked.made_by) == ({2: 2}, 2, ("a test",))
