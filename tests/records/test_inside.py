"""Records of what is measured inside captioners are flat: Parquet takes and returns them."""

from __future__ import annotations

import typing
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from alignscope.files import read_parquet, write_parquet
from alignscope.records import inside

RECORDS = [
    one for one in vars(inside).values() if isinstance(one, type) and one.__module__ == inside.__name__
]


def _filled(record: Any, *, is_scored: bool) -> Any:
    """A record with a value of each field's kind; None where there may be none and nothing was scored."""
    hints = typing.get_type_hints(record)
    values = {}
    for place, field in enumerate(fields(record)):
        hint = hints[field.name]
        is_open = type(None) in typing.get_args(hint)
        kind = next((each for each in typing.get_args(hint) if each is not type(None)), hint)
        values[field.name] = None if is_open and not is_scored else kind(place)
    return record(**values)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
def test_a_table_of_them_is_read_as_it_was_written(record: Any, tmp_path: Path) -> None:
    assert len(RECORDS) == 11
    rows = [_filled(record, is_scored=True), _filled(record, is_scored=False)]
    write_parquet(tmp_path / "rows.parquet", rows, record)
    assert read_parquet(tmp_path / "rows.parquet", record) == rows
