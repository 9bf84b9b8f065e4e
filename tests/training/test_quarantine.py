"""Unreadable images: named once, counted each time, too many of them an end."""

import pytest

from alignscope.errors import BadData
from alignscope.files import read_jsonl
from alignscope.records import Problem
from alignscope.training.loading import Quarantine


def test_quarantine_keeps_names_and_stops_over_its_share(tmp_path):
    path = tmp_path / "quarantine.jsonl"
    ward = Quarantine(path, limit=0.1, at_least=20)
    assert not path.exists()

    def bad(*names: str) -> list[Problem]:
        return [Problem(name, name, f"{name} is broken", "handled") for name in names]

    ward.add(bad("a", "b"), 4, step=0)  # 2 of 4, yet of at least 20 no more than a tenth
    ward.add([], 20, step=1)
    ward.add(bad("a"), 10, step=2)  # 3 of 34
    assert (ward.tried, ward.unreadable) == (34, 3)
    rows = list(read_jsonl(path))
    assert rows == [{"name": n, "reason": f"{n} is broken", "step": 0} for n in "ab"]
    taken_up = Quarantine(path, limit=0.1, at_least=20, step=2, tried=24, unreadable=2)
    with pytest.raises(BadData, match=r"4 of 34 .*3 by name") as caught:
        taken_up.add(bad("a", "c"), 10, step=2)
    assert "a: a is broken; b: b is broken; c: c is broken" in str(caught.value)
    assert [row["name"] for row in read_jsonl(path)] == ["a", "b", "c"]
    assert [row["step"] for row in read_jsonl(path)] == [0, 0, 2]
    Quarantine(path, limit=0.1, step=2)
    assert [row["name"] for row in read_jsonl(path)] == ["a", "b"]
    Quarantine(path, limit=0.1)
    assert list(read_jsonl(path)) == []
    silent = Quarantine(None, limit=0.0, at_least=0)
    with pytest.raises(BadData, match="1 of 1"):
        silent.add(bad("x"), 1, step=0)
