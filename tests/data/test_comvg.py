"""ComVG: the official counts and faults by row."""

import csv
from collections import Counter
from pathlib import Path

import pytest
from benchmark_lines import parted

from alignscope.data.benchmarks.comvg import COMVG, TWO_SLOTS, read
from alignscope.errors import BadData
from alignscope.records import Question, Shown

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
needs_data = pytest.mark.skipif(not (SHARED / "comvg").is_dir(), reason="../shared/data is not here")

COLUMNS = "id,sentence,pos_triplet,neg_triplet,pos_image_id,neg_image_id,neg_value,sentence_id"


@needs_data
def test_the_official_file_has_its_official_counts():
    questions, problems = parted(read(SHARED / "comvg"))
    assert problems == []
    assert len({one.id for one in questions}) == len(questions) == 5_400
    # reference/benchmarks.md section 7
    assert Counter(one.subset for one in questions) == {"subject": 1_536, "verb": 1_280, "object": 2_584}
    assert {**Counter(one.subset for one in questions), "": 5_400} == COMVG.sizes
    assert len({one.texts for one in questions}) == 279
    assert len({image for one in questions for image in one.images}) == 524
    assert Counter(one.subset for one in questions if TWO_SLOTS in one.tags) == {
        "subject": 188,
        "object": 138,
    }
    assert len(questions) - len({(one.texts, one.images) for one in questions}) == 78
    assert questions[0] == Question(
        "subject/1",
        "subject",
        "subject",
        (Shown("2358258.jpg"), Shown("2357994.jpg")),
        ("a man is sitting at a table",),
    )


def write(path: Path, *rows: str, header: str = COLUMNS) -> Path:
    path.write_text("\n".join([header, *rows, ""]), encoding="utf-8")
    return path


def row(number: object, *, wrong: str = "('dog', 'sit', 'table')", kind: str = "subject") -> str:
    return f'{number},"a man, sitting","man,sit,table","{wrong}",7,8,{kind},1'


def test_faults_are_told_by_row(tmp_path):
    path = write(
        tmp_path / "ComVG.csv",
        row(1),
        row(1),
        "",
        row(3, kind="colour"),
        row(4, wrong="__import__('os').getcwd()"),
        row(5, wrong="('dog', 'stand', 'table')"),
        "6,,x,y,7,8,verb,1",
        "7,cut off",
        row(8) + ",9,10",
    )
    questions, problems = parted(read(path))
    assert [(one.id, one.tags) for one in questions] == [
        ("subject/1", ()),
        ("subject/4", ()),
        ("subject/5", (TWO_SLOTS,)),
    ]
    assert questions[0].texts == ("a man, sitting",)
    assert [(one.item, one.subject, one.action) for one in problems] == [
        ("1", "ComVG.csv:3", "unscored"),
        ("3", "ComVG.csv:5", "unscored"),
        ("4", "ComVG.csv:6", "handled"),
        ("6", "ComVG.csv:8", "unscored"),
        ("7", "ComVG.csv:9", "unscored"),
        ("record-7", "ComVG.csv:10", "unscored"),
    ]
    said = [one.what for one in problems]
    assert said[0] == "the id '1' came before"
    assert said[1] == "`neg_value` is 'colour', not one of subject, verb, object"
    assert said[2].endswith("kept without knowing how many slots differ")
    assert said[3:5] == ["`sentence` is empty", "`pos_triplet` is missing"]
    assert said[5].startswith("the record is a list")


def test_columns_go_by_name_and_unknown_ones_are_told_once(tmp_path):
    names = COLUMNS.split(",")
    values = next(csv.reader([row(1)]))
    with (tmp_path / "mine.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow([*reversed(names), "mine"])
        rows.writerows([[*reversed(values), "x"], [*reversed(["2", *values[1:]]), "y"]])
    questions, problems = parted(read(tmp_path / "mine.csv"))
    assert [one.id for one in questions] == ["subject/1", "subject/2"]
    assert len(problems) == 1
    assert problems[0].what.startswith("unknown field 'mine' passed over here and further on")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "got a first line without id, sentence"),
        (b"id,sentence\n1,x\n", "got a first line without pos_triplet"),
        (COLUMNS.encode() + b"\n", "got no usable record"),
        ((COLUMNS + "\n" + row(1)[:40]).encode(), r"ComVG.csv:2: got no valid CSV .*whole copy"),
        (COLUMNS.encode() + b"\n1,\xff", "got no valid CSV in UTF-8"),
        (COLUMNS.replace("sentence_id", "id").encode() + b"\n", "the column id twice"),
    ],
)
def test_other_files_are_refused(tmp_path, content, message):
    (tmp_path / "ComVG.csv").write_bytes(content)
    with pytest.raises(BadData, match=message):
        list(read(tmp_path))


def test_a_folder_without_the_file_is_refused(tmp_path):
    with pytest.raises(BadData, match=r"ComVG\.csv: got No such file.*check the path"):
        list(read(tmp_path))
