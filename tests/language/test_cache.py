"""The cache of word classes: what is kept, what a torn file costs, what makes a key."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("spacy", reason="needs the extra alignscope[language]")

from alignscope.errors import UnwritableOutput
from alignscope.language import cache, classes
from alignscope.language.classes import word_classes
from alignscope.records import Caption

TEXTS = ["A red dog on a bed.", "Zwei Mädchen 🐕", ""]


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Texts that are really parsed from here on."""
    parsed, original = [], classes.parsed

    def watching(texts: list[str]) -> object:
        parsed.extend(texts)
        return original(texts)

    monkeypatch.setattr(classes, "parsed", watching)
    return parsed


def test_second_time_nothing_is_parsed_and_the_result_is_equal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = word_classes(TEXTS, cache=tmp_path)
    parsed = counted(monkeypatch)
    assert word_classes(TEXTS, cache=tmp_path) == first == word_classes(TEXTS, cache=None)
    assert parsed == TEXTS  # by the call without a cache alone


def test_only_what_is_missing_is_parsed_and_appended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    word_classes(TEXTS, cache=tmp_path)
    before = (tmp_path / cache.FILE).read_bytes()
    parsed = counted(monkeypatch)
    word_classes([*TEXTS, "a new cat", "a new cat"], cache=tmp_path)
    after = (tmp_path / cache.FILE).read_bytes()
    assert parsed == ["a new cat"]
    assert after.startswith(before)
    assert after.count(b"\n") == before.count(b"\n") + 1


@pytest.mark.parametrize("cut", [1, 2, 10])
def test_a_torn_last_line_is_computed_again_and_harms_no_other(tmp_path: Path, cut: int) -> None:
    wanted = word_classes(TEXTS[:2], cache=tmp_path)
    path = tmp_path / cache.FILE
    path.write_bytes(path.read_bytes()[:-cut])
    assert word_classes(TEXTS[:2], cache=tmp_path) == wanted
    assert word_classes([*TEXTS[:2], "one more"], cache=tmp_path)[:2] == wanted
    whole = [line for line in path.read_bytes().splitlines() if cache._row(line)]
    assert len({json.loads(line)["key"] for line in whole}) == 3


@pytest.mark.parametrize(
    "rubbish",
    [b"\xff\xfe\n", b"[]\n", b"null\n", b'{"key": 1, "words": []}\n', b'{"key": "k", "words": [[1]]}\n'],
)
def test_lines_that_are_no_rows_are_passed_over(tmp_path: Path, rubbish: bytes) -> None:
    (tmp_path / cache.FILE).write_bytes(rubbish)
    assert word_classes(TEXTS, cache=tmp_path) == word_classes(TEXTS)


def test_text_parser_and_rules_all_make_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    word_classes(TEXTS[:1], cache=tmp_path)
    parsed = counted(monkeypatch)
    word_classes(TEXTS[:1], cache=tmp_path, numerals=True)
    monkeypatch.setattr(classes, "RULES_VERSION", "next")
    word_classes(TEXTS[:1], cache=tmp_path)
    monkeypatch.setattr(classes, "parser_name", lambda: "another-parser")
    word_classes(TEXTS[:1], cache=tmp_path)
    assert len(parsed) == 3
    keys = {cache.key_of(text, rules) for text in ("a", "b") for rules in ("1", "2")}
    assert len(keys) == 4


def test_a_place_that_cannot_be_written_is_an_error_with_a_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UnwritableOutput, match="ALIGNSCOPE_CACHE"):
        cache.append(tmp_path / "file" / "below", "rules", [Caption("a")])


def test_the_directory_is_the_users_choice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ALIGNSCOPE_CACHE", str(tmp_path))
    assert cache.default_directory() == tmp_path
    monkeypatch.delenv("ALIGNSCOPE_CACHE")
    assert cache.default_directory() == Path.home() / ".cache" / "alignscope"
