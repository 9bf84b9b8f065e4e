"""What the readers of benchmarks share: streams, encodings, line ends, and files named by mistake."""

from itertools import islice
from pathlib import Path

import pytest

from alignscope.data.benchmarks.reading import (
    absent_files,
    at_least_one,
    line_records,
    subset_files,
    table_records,
    usable,
)
from alignscope.errors import BadData
from alignscope.records import Problem, Question


def test_lines_and_rows_are_read_no_further_than_asked(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n' * 9_999 + "{")
    records = usable(line_records(tmp_path / "a.jsonl", wanted="lines"), texts=("text",))
    assert [record.id for record in islice(records, 2)] == ["0", "1"]
    (tmp_path / "a.csv").write_text("text\n" + "a\n" * 9_999 + '"b')
    rows = table_records(tmp_path / "a.csv", ("text",), wanted="rows")
    assert [record.value for record in islice(rows, 2)] == [{"text": "a"}, {"text": "a"}]
    with pytest.raises(BadData, match=r"a\.csv:10001: got no valid CSV .*wanted rows"):
        list(rows)


def test_byte_order_marks_windows_line_ends_and_quoted_line_ends(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b'\xef\xbb\xbfkey,text\r\nx,"one\r\ntwo"\r\n\r\ny,caf\xc3\xa9\r\n')
    rows = list(table_records(path, ("text",), wanted="rows", key="key"))
    assert [(row.id, row.subject, row.value["text"]) for row in rows] == [
        ("x", "a.csv:3", "one\r\ntwo"),
        ("y", "a.csv:5", "café"),
    ]
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"id": 4}\r\n\r\n{"id": "caf\xe9"}\r\n{"id": 1, "id": 2}\r\n')
    first, second, third = line_records(path, wanted="lines", key="id")
    assert (first.id, first.value) == ("4", {"id": 4})
    assert isinstance(second, Problem)
    assert (second.item, second.subject) == ("line-3", "a.jsonl:3")
    assert isinstance(third, Problem)
    assert "the key 'id' twice" in third.what


def test_files_go_in_the_order_of_subsets(tmp_path):
    for name in ("b.json", "a.json", "c.txt"):
        (tmp_path / name).write_text("{}")
    files = subset_files(tmp_path, ["c", "b", "a"], wanted="files")
    assert list(files) == ["b", "a"]
    absent = list(absent_files(tmp_path, ["c", "b", "a"], files))
    assert absent == [Problem("c", str(tmp_path), "no file c.json", "unscored")]
    assert subset_files(tmp_path / "a.json", ["a"], wanted="files") == {"a": Path(tmp_path / "a.json")}
    assert list(absent_files(tmp_path / "a.json", ["a", "b"], ["a"])) == []
    with pytest.raises(BadData, match=r"got 'c\.txt', wanted one of a\.json; rename the file"):
        subset_files(tmp_path / "c.txt", ["a"], wanted="files")


def test_no_question_at_all_is_an_error_that_names_the_first_fault(tmp_path):
    question = Question("1", "", "", (), ("a", "b"))
    told, lost = Problem("", "f:1", "a note", "handled"), Problem("2", "f:2", "is empty", "unscored")
    assert list(at_least_one([told, question, lost], tmp_path, wanted="x")) == [told, question, lost]
    found = at_least_one([told, lost], tmp_path, wanted="such records")
    assert [next(found), next(found)] == [told, lost]
    with pytest.raises(BadData, match=r"got no usable record \(f:2: is empty\), wanted such records"):
        next(found)
