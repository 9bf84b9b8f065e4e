"""SugarCrepe: the official counts, faults by record, and pairs for an audit."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest
from benchmark_lines import parted

from alignscope.data.benchmarks.as_pairs import as_pairs
from alignscope.data.benchmarks.sugarcrepe import KINDS, SUGARCREPE, read
from alignscope.data.images import ImageFolder
from alignscope.data.items import FolderItems
from alignscope.data.pairs import read_pairs, write_pairs
from alignscope.errors import BadData
from alignscope.records import FOIL_KINDS, Caption, Foil, Item, Question, Shown

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
needs_data = pytest.mark.skipif(not (SHARED / "sugar_crepe").is_dir(), reason="../shared/data is not here")

# Records, distinct images, records of equal bags of words: reference/benchmarks.md section 2, by other code.
OFFICIAL = {
    "add_att": (692, 497, 0),
    "add_obj": (2062, 908, 0),
    "replace_att": (788, 524, 0),
    "replace_obj": (1652, 823, 0),
    "replace_rel": (1406, 777, 0),
    "swap_att": (666, 593, 408),
    "swap_obj": (245, 224, 164),
}


def bag(text: str) -> Counter[str]:
    return Counter(re.findall(r"[a-z0-9']+", text.lower()))


@needs_data
def test_the_official_files_have_their_official_counts():
    questions, problems = parted(read(SHARED / "sugar_crepe"))
    assert problems == []
    assert len({one.id for one in questions}) == len(questions) == 7_511
    assert len({one.images for one in questions}) == 1_560
    for name, (records, images, same) in OFFICIAL.items():
        own = [one for one in questions if one.subset == name]
        assert len(own) == records
        assert len({one.images for one in own}) == images
        assert sum(bag(one.texts[0]) == bag(one.texts[1]) for one in own) == same
    assert {name: size for name, (size, *_) in OFFICIAL.items()} | {"": 7_511} == SUGARCREPE.sizes
    by_tag = Counter(tag for one in questions for tag in one.tags)
    assert by_tag == {"attribute": 692 + 788 + 666, "object": 2062 + 1652 + 245, "relation": 1406}


@needs_data
def test_captions_stand_as_they_are_and_numbers_over_the_gap():
    swaps, _ = parted(read(SHARED / "sugar_crepe" / "swap_obj.json"))
    names = {one.id for one in swaps}
    assert len(names) == 245
    assert {"swap_obj/107", "swap_obj/109", "swap_obj/245"} <= names
    assert "swap_obj/108" not in names
    assert sum(any(text != text.strip() for text in one.texts) for one in swaps) == 33
    assert swaps[0] == Question(
        "swap_obj/0",
        "swap_obj",
        "swap_obj",
        (Shown("000000222235.jpg"),),
        (
            "A cat sits on its hind legs, and swats at the plant.",
            "A cat sits on the plant, and swats at its hind legs.",
        ),
        ("object",),
    )


@needs_data
def test_the_photographs_at_hand_cover_the_120_records_their_keeper_listed(tmp_path):
    pairs = as_pairs(SUGARCREPE, SHARED / "sugar_crepe")
    assert (len(pairs.items), pairs.problems) == (7_511, ())
    assert all(item.foils[0].kind == KINDS[item.id.partition("/")[0]] for item in pairs.items)
    held = FolderItems(pairs.items, ImageFolder(SHARED / "coco_images"))
    listed = json.loads((SHARED / "coco_images" / "image_records.json").read_text())
    wanted = {
        f"{name.removeprefix('sugar_crepe/')}/{key}"
        for records in listed.values()
        for name, keys in records.items()
        if name.startswith("sugar_crepe/")
        for key in keys
    }
    assert {item.id for item in held.items} == wanted
    assert len(held.items) == 120
    assert len(held.problems) == 7_511 - 120
    assert write_pairs(tmp_path / "pairs.jsonl", pairs.items) == 7_511
    assert read_pairs(tmp_path / "pairs.jsonl").items == pairs.items


def record(**changes: object) -> dict[str, object]:
    return {"filename": "a.png", "caption": "a cat", "negative_caption": "a dog", **changes}


def folder(tmp_path: Path, **files: object) -> Path:
    for name, content in files.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    return tmp_path


def test_every_subset_has_a_known_kind():
    assert list(KINDS) == list(OFFICIAL)
    assert set(KINDS.values()) < set(FOIL_KINDS)
    whole = {"att": "attribute", "obj": "object", "rel": "relation"}
    for subset, kind in KINDS.items():
        how, what = subset.split("_")
        assert kind == f"{how}_{whole[what]}"


def test_unusable_records_are_problems_and_unknown_fields_are_told_once(tmp_path):
    without = record()
    del without["negative_caption"]
    bad = {
        "0": record(note=1),
        "2": "x",
        "3": without,
        "5": record(caption=""),
        "7": record(filename=3),
        "8": record(note=2, negative_caption=" a  cat"),
    }
    questions, problems = parted(read(folder(tmp_path, swap_att=bad)))
    assert [one.id for one in questions] == ["swap_att/0", "swap_att/8"]
    unscored = {one.item: one.what for one in problems if one.action == "unscored"}
    assert unscored == {
        "swap_att/2": "the record is a text ('x'), not an object with filename, caption, negative_caption",
        "swap_att/3": "`negative_caption` is missing",
        "swap_att/5": "`caption` is empty",
        "swap_att/7": "`filename` is a number (3), not a text",
        **{name: f"no file {name}.json" for name in KINDS if name != "swap_att"},
    }
    handled = [(one.item, one.what) for one in problems if one.action == "handled"]
    assert len(handled) == 2
    assert handled[0][0] == ""
    assert handled[0][1].startswith("unknown field 'note' passed over here and further on")
    assert handled[1] == (
        "swap_att/8",
        "`negative_caption` is `caption` itself; counted, as the authors do",
    )


def test_a_foil_that_is_the_caption_makes_no_pair(tmp_path):
    same = record(negative_caption="a cat ")
    pairs = as_pairs(SUGARCREPE, folder(tmp_path, add_obj={"4": record(), "5": same}) / "add_obj.json")
    assert pairs.items == (Item("add_obj/4", "a.png", Caption("a cat"), (Foil("a dog", "add_object"),)),)
    assert [(one.item, one.action) for one in pairs.problems] == [
        ("add_obj/5", "handled"),
        ("add_obj/5", "unscored"),
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("mine.json", "{}", r"got 'mine.json', wanted one of add_att\.json, add_obj"),
        ("add_att.json", "[]", "got a list"),
        ("add_att.json", "{}", "got no usable record .no record at all., wanted SugarCrepe"),
        ("add_att.json", '{"0": {"filename": "a.png"}}', r"add_att\.json: 0: `caption` is missing"),
        ("add_att.json", '{"0": {"filename": "a.pn', "got no valid JSON .*replace the file by a whole copy"),
        ("add_att.json", '{"0": 1, "0": 2}', "the key '0' twice in one object"),
    ],
)
def test_other_files_are_refused(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(BadData, match=message):
        list(read(tmp_path / name))


@pytest.mark.parametrize("place", ["nowhere", "."])
def test_a_folder_without_the_files_is_refused(tmp_path, place):
    with pytest.raises(BadData, match=r"got no add_att\.json, .*check the path"):
        list(read(tmp_path / place))
