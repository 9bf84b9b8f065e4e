"""STS-B and SICK as they are on disk."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from benchmark_lines import parted

from alignscope.data.benchmarks.similarity import SICK_R, STS_B
from alignscope.errors import BadData

DATA = Path(__file__).parents[2].parent / "shared" / "data"
HEADER = "pair_ID\tsentence_A\tsentence_B\trelatedness_score\tentailment_judgment"


@pytest.mark.skipif(not (DATA / "sts_benchmark").exists(), reason="no shared data")
def test_sts_b_loses_no_row_to_quotes():
    questions, problems = parted(STS_B.read(DATA / "sts_benchmark"))
    assert len(questions) == 1379 == STS_B.sizes["test"]
    genres = Counter(one.tags for one in questions)
    assert genres == {("main-captions",): 625, ("main-forums",): 254, ("main-news",): 500}
    assert not problems
    assert (questions[0].id, questions[0].gold) == ("test/1", 2.5)
    dev, _ = parted(STS_B.read(DATA / "sts_benchmark" / "sts-dev.csv"))
    assert Counter(one.subset for one in dev) == {"dev": 1500}


@pytest.mark.skipif(not (DATA / "sick").exists(), reason="no shared data")
def test_sick_has_all_9927_pairs():
    questions, problems = parted(SICK_R.read(DATA / "sick"))
    assert Counter(one.subset for one in questions) == SICK_R.sizes
    assert len({one.id for one in questions}) == 9927
    assert not problems
    assert {one.id: one.gold for one in questions}["test/6"] == 3.3
    assert not any(text.endswith("\r") for one in questions for text in one.texts)
    alone, _ = parted(SICK_R.read(DATA / "sick" / "SICK_test_annotated.txt"))
    assert alone == [one for one in questions if one.subset == "test"]


def test_both_forms_of_sts_b_give_the_same_pairs(tmp_path):
    (tmp_path / "sts-test.csv").write_text(
        'main-news\tMSRpar\t2012test\t0024\t2.5\tHe said "no, never\tShe left\n'
        "main-forums\tx\t2013\t7\t0.000\tone\ttwo\tsource\tsource\n"
    )
    (tmp_path / "stsb-en-test.csv").write_text('"He said ""no, never",She left,2.5\none,two,0.000\n')
    tabs, _ = parted(STS_B.read(tmp_path))
    commas, _ = parted(STS_B.read(tmp_path / "stsb-en-test.csv"))
    assert [(one.id, one.texts, one.gold) for one in tabs] == [
        ("test/1", ('He said "no, never', "She left"), 2.5),
        ("test/2", ("one", "two"), 0.0),
    ]
    assert [(one.id, one.texts, one.gold, one.tags) for one in commas] == [
        (one.id, one.texts, one.gold, ()) for one in tabs
    ]


def test_rows_that_cannot_be_used_are_named(tmp_path):
    rows = [
        "1\ta\tb\t4.5\tX",
        "2\ta\t \t4\tX",
        "1\tc\td\t3\tX",
        "3\ta\tb\tnan\tX",
        "4\ta\tb\t3",
        "5\ta\tb\t6\tX",
    ]
    (tmp_path / "SICK_trial.txt").write_text("\r\n".join([HEADER, *rows]) + "\r\n")
    questions, problems = parted(SICK_R.read(tmp_path))
    assert [one.id for one in questions] == ["trial/1"]
    assert [(one.item, one.subject) for one in problems] == [
        ("trial/2", "SICK_trial.txt:3"),
        ("trial/1", "SICK_trial.txt:4"),
        ("trial/3", "SICK_trial.txt:5"),
        ("trial/line-6", "SICK_trial.txt:6"),
        ("trial/5", "SICK_trial.txt:7"),
        ("train", str(tmp_path)),
        ("test", str(tmp_path)),
    ]
    assert all(one.action == "unscored" for one in problems)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("SICK_test.txt", "pair_ID\tsentence_A\n", "relatedness_score"),
        ("SICK_test.txt", HEADER + "\n", "no usable record"),
        ("sts-test.csv", 'a,"b', "does not read"),
        ("sts-test.csv", "a,b\n", "no usable record"),
    ],
)
def test_files_that_cannot_be_used_are_refused(tmp_path, name, text, says):
    (tmp_path / name).write_text(text)
    with pytest.raises(BadData, match=says):
        list((SICK_R if "SICK" in name else STS_B).read(tmp_path / name))
    with pytest.raises(BadData, match="check the path"):
        list(STS_B.read(tmp_path / "absent.csv"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadData, match="SICK_train"):
        list(SICK_R.read(tmp_path / "empty"))
