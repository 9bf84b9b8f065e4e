"""Records are written whole, and read back equal by us and by the usual table readers."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import subprocess
import sys
import typing
from pathlib import Path

import duckdb
import pandas
import polars
import pytest

from alignscope import files, records
from alignscope.errors import BadData, UnwritableOutput


def _is_flat(record: type) -> bool:
    hints = typing.get_type_hints(record).values()
    kinds = [kind for hint in hints for kind in (hint, *typing.get_args(hint))]
    return not any(typing.get_origin(kind) is tuple or dataclasses.is_dataclass(kind) for kind in kinds)


ALL = [
    thing for thing in vars(records).values() if inspect.isclass(thing) and dataclasses.is_dataclass(thing)
]
FLAT = [record for record in ALL if _is_flat(record)]

EXAMPLES = {
    "str": ["", "a\nb", 'é "日本" 🦒', "\u2028"],
    "int": [0, -1, 2**53 + 1, 7],
    "float": [0.0, -1.5, 0.1, 1e-300],
    "bool": [True, False, True, False],
}


def _value(hint: typing.Any, row: int) -> typing.Any:
    if typing.get_origin(hint) is typing.Literal:
        return typing.get_args(hint)[row % len(typing.get_args(hint))]
    if type(None) in typing.get_args(hint):
        return None if row % 2 else _value(typing.get_args(hint)[0], row)
    return EXAMPLES[hint.__name__][row]


def _rows(record: type) -> list[typing.Any]:
    hints = typing.get_type_hints(record)
    return [record(**{name: _value(hint, row) for name, hint in hints.items()}) for row in range(4)]


def test_the_records_are_found_and_frozen():
    names = {record.__name__ for record in FLAT}
    assert {"Choice", "WordHeat", "EditedScore", "Rank", "Problem", "Example", "Measurement"} <= names
    assert "Item" not in names
    assert "Attribution" not in names
    assert [record.__name__ for record in ALL if not record.__dataclass_params__.frozen] == []


@pytest.mark.parametrize("record", FLAT, ids=lambda record: record.__name__)
def test_a_flat_record_survives_parquet(record: type, tmp_path: Path):
    rows, path = _rows(record), tmp_path / "rows.parquet"
    files.write_parquet(path, rows, record)
    assert files.read_parquet(path, record) == rows

    plain = [dataclasses.asdict(row) for row in rows]
    assert polars.read_parquet(path).to_dicts() == plain
    table = duckdb.sql(f"select * from '{path}'")
    assert [dict(zip(table.columns, row, strict=True)) for row in table.fetchall()] == plain
    frame = pandas.read_parquet(path)
    assert list(frame.columns) == [field.name for field in dataclasses.fields(record)]
    read = [
        {name: None if pandas.isna(cell) else cell for name, cell in row.items()}
        for row in frame.to_dict("records")
    ]
    assert read == plain


@pytest.mark.parametrize("record", FLAT, ids=lambda record: record.__name__)
def test_a_flat_record_survives_jsonl(record: type, tmp_path: Path):
    rows, path = _rows(record), tmp_path / "rows.jsonl"
    assert files.write_jsonl(path, rows) == 4
    assert [record(**row) for row in files.read_jsonl(path)] == rows
    plain = [dataclasses.asdict(row) for row in rows]
    assert polars.read_ndjson(path, infer_schema_length=None).to_dicts() == plain


def test_no_rows_keep_their_columns(tmp_path: Path):
    files.write_parquet(tmp_path / "none.parquet", [], records.Measurement)
    assert files.read_parquet(tmp_path / "none.parquet", records.Measurement) == []
    types = dict(
        zip(
            polars.read_parquet(tmp_path / "none.parquet").columns,
            polars.read_parquet(tmp_path / "none.parquet").dtypes,
            strict=True,
        )
    )
    assert (types["value"], types["items"], types["reason"]) == (polars.Float64, polars.Int64, polars.String)
    assert files.write_jsonl(tmp_path / "none.jsonl", []) == 0
    assert list(files.read_jsonl(tmp_path / "none.jsonl")) == []


def test_a_column_of_nothing_keeps_its_kind(tmp_path: Path):
    unscored = records.Measurement("accuracy", "swap", None, None, None, items=0, images=0, reason="no verb")
    files.write_parquet(tmp_path / "rows.parquet", [unscored], records.Measurement)
    frame = polars.read_parquet(tmp_path / "rows.parquet")
    assert frame.schema["value"] == polars.Float64
    assert frame["value"].to_list() == [None]
    assert files.read_parquet(tmp_path / "rows.parquet", records.Measurement) == [unscored]


def test_a_nested_record_is_refused_by_parquet_and_taken_by_jsonl(tmp_path: Path):
    caption = records.Caption("a dog", (records.Word("dog", 2, 5, "object"),))
    with pytest.raises(TypeError, match=r"Caption.words is .*JSONL"):
        files.write_parquet(tmp_path / "rows.parquet", [caption], records.Caption)
    files.write_jsonl(tmp_path / "rows.jsonl", [caption])
    (row,) = files.read_jsonl(tmp_path / "rows.jsonl")
    word = {"text": "dog", "start": 2, "end": 5, "word_class": "object"}
    assert row == {"text": "a dog", "words": [word]}


def test_a_file_of_an_older_record_is_read_with_defaults(tmp_path: Path):
    older = dataclasses.make_dataclass("Older", [("name", str)])
    newer = dataclasses.make_dataclass("Newer", [("name", str), ("count", int, 7)])
    files.write_parquet(tmp_path / "rows.parquet", [older("a")], older)
    assert files.read_parquet(tmp_path / "rows.parquet", newer) == [newer("a", 7)]


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (b'{"a": 1', "not JSON"),
        (b'{"a": "\xff"}', "not JSON in UTF-8"),
        (b"[1]", "not an object"),
        (b"null", "not an object"),
    ],
)
def test_a_broken_line_is_named(broken: bytes, told: str, tmp_path: Path):
    path = tmp_path / "pairs.jsonl"
    path.write_bytes(b'{"a": 1}\n\n' + broken + b"\n")
    rows = files.read_jsonl(path)
    assert next(rows) == {"a": 1}
    with pytest.raises(BadData, match=rf"pairs\.jsonl:3: {told}"):
        next(rows)


def test_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path: Path):
    path = tmp_path / "pairs.jsonl"
    path.write_bytes('\ufeff{"a": "é"}\r\n{"a": "b"}'.encode())
    assert [row["a"] for row in files.read_jsonl(path)] == ["é", "b"]


def test_half_of_a_surrogate_pair_survives_jsonl(tmp_path: Path):
    """A truncated emoji in somebody's JSON is a lone surrogate, which UTF-8 cannot hold."""
    row = json.loads(r'{"caption": "a giraffe \ud83e"}')
    files.write_jsonl(tmp_path / "rows.jsonl", [row])
    assert list(files.read_jsonl(tmp_path / "rows.jsonl")) == [row]
    assert re.fullmatch("[0-9a-f]{12}", files.sha_of(row))


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_number_that_is_not_finite_is_not_json(number: float, tmp_path: Path):
    with pytest.raises(ValueError, match="JSON compliant"):
        files.write_jsonl(tmp_path / "rows.jsonl", [{"value": number}])
    with pytest.raises(ValueError, match="JSON compliant"):
        files.write_json(tmp_path / "run.json", {"value": number})
    assert list(tmp_path.iterdir()) == []


def _breaking_rows() -> typing.Iterator[dict[str, int]]:
    yield {"a": 1}
    raise RuntimeError("the model fell over")


def test_an_error_leaves_the_old_file_and_no_half_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "rows.jsonl"
    path.write_text("old\n")
    with pytest.raises(RuntimeError, match="fell over"):
        files.write_jsonl(path, _breaking_rows())
    with pytest.raises(TypeError, match="asdict"):
        files.write_json(path, {"a": object()})
    monkeypatch.setattr("pyarrow.parquet.write_table", _break_half_way)
    with pytest.raises(RuntimeError, match="half way"):
        files.write_parquet(path, [], records.Rank)
    assert path.read_text() == "old\n"
    assert [each.name for each in tmp_path.iterdir()] == ["rows.jsonl"]


def _break_half_way(table: object, file: typing.BinaryIO) -> None:
    file.write(b"PAR1")
    raise RuntimeError("half way")


WRITERS = {
    "jsonl": lambda path: files.write_jsonl(path, []),
    "json": lambda path: files.write_json(path, {}),
    "parquet": lambda path: files.write_parquet(path, [], records.Choice),
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_a_place_that_cannot_be_written_is_an_error_of_ours(
    write: typing.Callable[[Path], object], tmp_path: Path
):
    with pytest.raises(UnwritableOutput, match=r"missing/rows cannot be written \(No such file"):
        write(tmp_path / "missing" / "rows")
    (tmp_path / "rows").mkdir()
    with pytest.raises(UnwritableOutput, match=r"rows cannot be written \(Is a directory"):
        write(tmp_path / "rows")
    assert [each.name for each in tmp_path.iterdir()] == ["rows"]


def test_trouble_with_another_file_keeps_its_name(tmp_path: Path):
    def rows() -> typing.Iterator[dict[str, str]]:
        yield {"text": (tmp_path / "captions.txt").read_text()}

    with pytest.raises(FileNotFoundError, match=r"captions\.txt"):
        files.write_jsonl(tmp_path / "rows.jsonl", rows())


def test_a_file_of_other_records_or_of_none_is_bad_data(tmp_path: Path):
    files.write_parquet(tmp_path / "ranks.parquet", _rows(records.Rank), records.Rank)
    with pytest.raises(BadData, match="not a Parquet file of Choice records"):
        files.read_parquet(tmp_path / "ranks.parquet", records.Choice)
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "ranks.parquet").read_bytes()[:100])
    with pytest.raises(BadData, match="not a Parquet file of Rank records"):
        files.read_parquet(tmp_path / "cut.parquet", records.Rank)


def test_the_hash_is_the_same_in_every_process_and_differs_where_the_value_does():
    value = {"b": [1, 2.5, None], "a": "é"}
    assert files.sha_of(value) == "c8e177ab11af"
    code = "from alignscope.files import sha_of; print(sha_of({'a': 'é', 'b': [1, 2.5, None]}))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "c8e177ab11af"
    others = [{"b": [1, 2.5, None], "a": "e"}, {"b": [2.5, 1, None], "a": "é"}, {"b": [1, 2.5], "a": "é"}]
    assert len({files.sha_of(each) for each in [value, *others]}) == 4
    choice = records.Choice("1", "a.png", "swap", "a", "b", 0.5, 0.25)
    assert files.sha_of([choice]) == files.sha_of([dataclasses.asdict(choice)])


@pytest.mark.parametrize(
    ("foil_score", "is_right", "is_tie"), [(0.2, True, False), (0.5, False, True), (0.6, False, False)]
)
def test_a_tie_is_not_right(foil_score: float, is_right: bool, is_tie: bool):
    choice = records.Choice("1", "a.png", "swap", "a", "b", 0.5, foil_score)
    assert (choice.is_right, choice.is_tie) == (is_right, is_tie)


def test_parts_become_one_file_in_their_order(tmp_path: Path) -> None:
    parts = [tmp_path / f"{n}.parquet" for n in range(3)]
    rows = [[records.Word("a", 0, 1, "other")], [], [records.Word("b", 1, 2, "object")] * 2]
    for part, some in zip(parts, rows, strict=True):
        files.write_parquet(part, some, records.Word)
    assert files.merge_parquet(tmp_path / "whole.parquet", parts, records.Word) == 3
    assert files.read_parquet(tmp_path / "whole.parquet", records.Word) == [*rows[0], *rows[2]]
    assert files.merge_parquet(tmp_path / "none.parquet", [], records.Word) == 0
    assert files.read_parquet(tmp_path / "none.parquet", records.Word) == []
    parts[1].write_bytes(b"rubbish")
    with pytest.raises(BadData, match=r"1\.parquet"):
        files.merge_parquet(tmp_path / "whole.parquet", parts, records.Word)


def test_damage_anywhere_in_a_parquet_file_is_bad_data_with_its_name(tmp_path: Path) -> None:
    """A broken byte makes pyarrow raise of Arrow, of the system or of text; no reader lets these through."""
    rows = [records.Rank(f"query {n}", "a.png", "text to image", n, 0, 500) for n in range(1, 500)]
    files.write_parquet(tmp_path / "whole.parquet", rows, records.Rank)
    raw, damaged = (tmp_path / "whole.parquet").read_bytes(), tmp_path / "damaged.parquet"
    told = 0
    for place in range(2, len(raw), len(raw) // 150):
        damaged.write_bytes(raw[:place] + bytes([raw[place] ^ 0x55]) + raw[place + 1 :])
        for read in (
            lambda: files.read_parquet(damaged, records.Rank),
            lambda: files.merge_parquet(tmp_path / "merged.parquet", [damaged], records.Rank),
        ):
            try:
                read()
            except BadData as error:
                told += "damaged.parquet: not a Parquet file of Rank records" in str(error)
    assert told > 100


def test_a_part_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"absent\.parquet"):
        files.merge_parquet(tmp_path / "whole.parquet", [tmp_path / "absent.parquet"], records.Rank)
    with pytest.raises(FileNotFoundError, match=r"absent\.parquet"):
        files.read_parquet(tmp_path / "absent.parquet", records.Rank)
