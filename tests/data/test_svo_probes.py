"""SVO-Probes in both published forms, on rows of our own: the real table could not be had."""

import json
from pathlib import Path

import pytest
from benchmark_lines import parted

from alignscope.data.benchmarks.svo_probes import read
from alignscope.errors import BadData
from alignscope.records import Question, Shown

COLUMNS = (
    "sentence,pos_triplet,neg_triplet,pos_url,neg_url,pos_image_id,neg_image_id,subj_neg,verb_neg,obj_neg"
)
ROWS = (
    'A girl stands.,"girl,stand,grass","dog,stand,grass",http://a/1,http://a/2,1,2,True,False,False',
    '"A man, walking.","man,walk,beach","man,run,beach",http://a/3,http://a/4,3,4,False,True,False',
    'A cat eats fish.,"cat,eat,fish","cat,eat,meat",http://a/5,http://a/6,5,6,False,False,True',
)


def write(path: Path, *rows: str, header: str = COLUMNS) -> Path:
    path.write_text("\n".join([header, *rows, ""]), encoding="utf-8")
    return path


WANTED = [
    Question("subject/0", "subject", "subject", (Shown("1.jpg"), Shown("2.jpg")), ("A girl stands.",)),
    Question("verb/1", "verb", "verb", (Shown("3.jpg"), Shown("4.jpg")), ("A man, walking.",)),
    Question("object/2", "object", "object", (Shown("5.jpg"), Shown("6.jpg")), ("A cat eats fish.",)),
]


@pytest.mark.parametrize("place", [".", "svo_probes.csv"])
def test_rows_of_the_authors_table(tmp_path, place):
    write(tmp_path / "svo_probes.csv", *ROWS)
    assert list(read(tmp_path / place)) == WANTED


def test_columns_go_by_name(tmp_path):
    header = "obj_neg,neg_image_id,sentence,verb_neg,pos_image_id,subj_neg"
    path = write(tmp_path / "mine.csv", "False,2,A girl stands.,False,1,True", header=header)
    assert list(read(path)) == WANTED[:1]


def test_rows_without_exactly_one_change_are_left_out_and_told_of(tmp_path):
    path = write(
        tmp_path / "svo_probes.csv",
        ROWS[0],
        "two,p,n,u,v,1,2,True,False,True",
        "none,p,n,u,v,1,2,False,False,False",
        "odd,p,n,u,v,1,2,yes,False,False",
        "short,p,n,u,v,1,2,True",
        ",p,n,u,v,1,2,True,False,False",
    )
    questions, problems = parted(read(path))
    assert questions == WANTED[:1]
    assert [(one.item, one.what, one.action) for one in problems] == [
        ("1", "changed are subject and object: left out, as the authors do", "handled"),
        ("2", "changed are no parts: left out, as the authors do", "handled"),
        ("3", "`subj_neg` is a text ('yes'), not True or False", "unscored"),
        ("4", "`verb_neg` is missing", "unscored"),
        ("5", "`sentence` is empty", "unscored"),
    ]


def line(number: int, **changes: object) -> str:
    record = {
        "svo_index": number,
        "caption": "A girl stands.",
        "pos_image": "1.jpg",
        "neg_image": "2.jpeg",
        "pos_triplet": "girl,stand,grass",
        "neg_triplet": "dog,stand,grass",
        "subj_neg": True,
        "verb_neg": False,
        "obj_neg": False,
    }
    return json.dumps({**record, **changes})


def test_lines_of_the_fine_grained_evaluation(tmp_path):
    (tmp_path / "annotations").mkdir()
    path = tmp_path / "annotations" / "test.jsonl"
    lines = [line(12), "", line(7, subj_neg=False, obj_neg=True), line(7), line(9, subj_neg=1), line(3)[:-9]]
    path.write_text("\n".join(lines))
    questions, problems = parted(read(tmp_path))
    assert [one.id for one in questions] == ["subject/12", "object/7"]
    assert questions[0].images == (Shown("1.jpg"), Shown("2.jpeg"))
    assert [(one.item, one.subject) for one in problems] == [
        ("7", "test.jsonl:4"),
        ("9", "test.jsonl:5"),
        ("line-6", "test.jsonl:6"),
    ]
    assert [one.action for one in problems] == ["unscored"] * 3
    assert problems[1].what == "`subj_neg` is a number (1), not True or False"
    assert problems[2].what.startswith("not JSON in UTF-8")


def test_a_folder_must_tell_which_file(tmp_path):
    with pytest.raises(BadData, match=r"got no file, wanted one of svo_probes\.csv"):
        list(read(tmp_path))
    write(tmp_path / "svo_probes.csv", *ROWS)
    (tmp_path / "test.jsonl").write_text(line(1))
    with pytest.raises(BadData, match=r"got svo_probes.csv and test.jsonl.*give the path of the file"):
        list(read(tmp_path))


def test_files_that_miss_columns_or_rows_are_refused(tmp_path):
    with pytest.raises(BadData, match="a first line without neg_image_id, verb_neg"):
        list(read(write(tmp_path / "a.csv", header="sentence,pos_image_id,subj_neg,obj_neg")))
    with pytest.raises(BadData, match="got no usable record"):
        list(read(write(tmp_path / "b.csv")))
