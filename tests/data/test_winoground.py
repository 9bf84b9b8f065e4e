"""Winoground's schema on records of our own (its licence keeps the real ones out), and Diwan's real tags."""

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest
from benchmark_lines import parted

from alignscope.data.benchmarks.winoground import CLEAN, WINOGROUND, diwan_tags, read
from alignscope.errors import BadData
from alignscope.records import Question, Shown

TAGS = Path(__file__).parents[2].parent / "shared" / "data" / "winoground_tags"
needs_tags = pytest.mark.skipif(not TAGS.is_dir(), reason="../shared/data is not here")


def record(number: object, **changes: object) -> dict[str, object]:
    return {
        "id": number,
        "image_0": f"ex_{number}_img_0",
        "image_1": f"ex_{number}_img_1",
        "caption_0": f"box {number} on a lid",
        "caption_1": f"a lid on box {number}",
        "tag": "Noun",
        "secondary_tag": "",
        "num_main_preds": 1,
        "collapsed_tag": "Object",
        **changes,
    }


def write(folder: Path, *records: object, tags: object = None) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "examples.jsonl").write_text("".join(json.dumps(one) + "\n" for one in records))
    if tags is not None:
        (folder / "new_tag_assignments.json").write_text(json.dumps(tags))
    return folder


def test_images_and_captions_of_equal_place_belong_together(tmp_path):
    special = record(5, secondary_tag="Symbolic, Series", collapsed_tag="Both", num_main_preds=2)
    folder = write(tmp_path / "data", record(3), special, tags={"3": [], "5": ["Unusual Text"]})
    wanted = [
        Question(
            "Object/3",
            "Object",
            "Object",
            (Shown("ex_3_img_0.png"), Shown("ex_3_img_1.png")),
            ("box 3 on a lid", "a lid on box 3"),
            ("1 main predicate", CLEAN),
        ),
        Question(
            "Both/5",
            "Both",
            "Both",
            (Shown("ex_5_img_0.png"), Shown("ex_5_img_1.png")),
            ("box 5 on a lid", "a lid on box 5"),
            ("Symbolic, Series", "2 main predicates", "Unusual Text"),
        ),
    ]
    assert list(read(folder)) == wanted
    assert list(read(folder / "examples.jsonl")) == wanted
    assert list(read(tmp_path)) == wanted  # the folder above, as the hub has it


def test_without_the_tags_it_says_so(tmp_path):
    questions, problems = parted(read(write(tmp_path, record(0))))
    assert [one.tags for one in questions] == [("1 main predicate",)]
    assert [(one.item, one.action) for one in problems] == [("", "handled")]
    assert "no new_tag_assignments.json beside it" in problems[0].what


@needs_tags
def test_the_tags_of_diwan_and_the_clean_171(tmp_path):
    write(tmp_path, *map(record, range(400)))
    shutil.copy(TAGS / "new_tag_assignments.json", tmp_path)
    questions, problems = parted(read(tmp_path))
    assert problems == []
    assert len(questions) == WINOGROUND.sizes[""] == 400
    by_tag = Counter(tag for one in questions for tag in one.tags)
    assert by_tag == {  # reference/benchmarks.md section 8
        "1 main predicate": 400,
        "Complex Reasoning": 78,
        "Unusual Image": 56,
        "Unusual Text": 50,
        "Ambiguously Correct": 46,
        "Visually Difficult": 38,
        "Non Minimal": 30,
        CLEAN: 171,
    }
    clean = [int(one.id.partition("/")[2]) for one in questions if CLEAN in one.tags]
    assert clean == json.loads((TAGS / "clean_no_tag_171_ids.json").read_text())
    by_id = diwan_tags(TAGS / "new_tag_assignments.json")
    assert by_id["313"] == ()
    # "Easier" in the authors' code: untagged or Non Minimal, 201 ids
    assert sum(CLEAN in tags or "Non Minimal" in tags for tags in by_id.values()) == 201


def test_faults_are_told_by_record(tmp_path):
    without = record(4)
    del without["image_1"]
    rows = [
        record(0),
        record(0),
        record(None),
        record(2, caption_1=""),
        without,
        record(6, secondary_tag=None),
        [1],
        record(7, split="x"),
        record(8, split="x"),
    ]
    folder = write(tmp_path, *rows, tags={"0": [], "7": []})
    questions, problems = parted(read(folder))
    assert [one.id for one in questions] == ["Object/0", "Object/record-2", "Object/7", "Object/8"]
    unscored = [(one.item, one.what) for one in problems if one.action == "unscored"]
    assert unscored[:4] == [
        ("0", "the id '0' came before"),
        ("2", "`caption_1` is empty"),
        ("4", "`image_1` is missing"),
        ("6", "`secondary_tag` is null, not a text"),
    ]
    assert len(unscored) == 5
    assert unscored[4][0] == "record-6"
    handled = [(one.item, one.what.partition(":")[0]) for one in problems if one.action == "handled"]
    assert handled == [
        ("record-2", "`id` is null, not a text; the item is called 'record-2'"),
        ("record-2", "no line in new_tag_assignments.json"),
        ("", "unknown field 'split' passed over here and further on"),
        ("8", "no line in new_tag_assignments.json"),
    ]


def test_other_files_are_refused(tmp_path):
    with pytest.raises(BadData, match=r"examples\.jsonl: got No such file.*check the path"):
        list(read(tmp_path))
    with pytest.raises(BadData, match="got no usable record"):
        list(read(write(tmp_path)))
    with pytest.raises(BadData, match=r"got a list .* for 0, wanted the tags of Diwan"):
        list(read(write(tmp_path, record(0), tags={"0": [1]})))
    with pytest.raises(BadData, match=r"new_tag_assignments\.json: got a list"):
        list(read(write(tmp_path, record(0), tags=[])))
    (tmp_path / "examples.jsonl").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "new_tag_assignments.json").unlink()
    with pytest.raises(BadData, match=r"got no usable record .examples.jsonl:1: not JSON"):
        list(read(tmp_path))
