"""The cache of word classes: what is kept, what a failure leaves, what makes a key."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

pytest.importorskip("spacy", reason="needs the extra alignscope[language]")

from alignscope.errors import UnwritableOutput
from alignscope.language import cache, classes
from alignscope.language.classes import word_classes
from alignscope.records import Caption, Word

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


def rows(directory: Path) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(directory / cache.FILE)) as connection:
        return connection.execute("SELECT key, words FROM captions ORDER BY key").fetchall()


def test_only_what_is_missing_is_parsed_and_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    word_classes(TEXTS, cache=tmp_path)
    before = rows(tmp_path)
    parsed = counted(monkeypatch)
    word_classes([*TEXTS, "a new cat", "a new cat"], cache=tmp_path)
    after = rows(tmp_path)
    assert parsed == ["a new cat"]
    assert set(before) < set(after)
    assert len(after) == len(before) + 1


def test_more_texts_than_one_question_takes(tmp_path: Path) -> None:
    captions = [Caption(f"text {i}", (Word("text", 0, 4, "other"),)) for i in range(1201)]
    cache.append(tmp_path, "rules", captions)
    texts = [caption.text for caption in captions]
    assert cache.read(tmp_path, "rules", texts) == {caption.text: caption for caption in captions}
    assert cache.read(tmp_path, "other rules", texts) == {}


def test_what_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    cache.append(tmp_path, "rules", [Caption("kept")])
    broken = Caption("lost", (Word("lost", 0, 4, "other"),))
    with pytest.raises(UnwritableOutput), cache._table(tmp_path) as table:  # noqa: PT012
        table.execute("INSERT INTO captions VALUES (?, ?)", (cache.key_of(broken.text, "rules"), "[]"))
        raise sqlite3.InterfaceError("the power went off")
    assert set(cache.read(tmp_path, "rules", ["kept", "lost"])) == {"kept"}


def test_a_file_that_is_no_table_is_an_error_with_a_way_out(tmp_path: Path) -> None:
    (tmp_path / cache.FILE).write_bytes(b"no database " * 100)
    with pytest.raises(UnwritableOutput, match="delete it"):
        word_classes(TEXTS, cache=tmp_path)


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
