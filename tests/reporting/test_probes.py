"""Tables with a column per captioner or model."""

from pathlib import Path

from alignscope.records import GramCount, Measurement, MinedPattern, Problem
from alignscope.reporting.probes import captions_text, columns_text, problems_text, words_text


def number(measure, group, value, *, unit="share", missing=0, ties=0, reason=""):
    low, high = (None, None) if value is None else (value - 0.1, value + 0.1)
    return Measurement(
        measure, group, value, low, high, 5, 5, ties=ties, missing=missing, unit=unit, reason=reason
    )


def test_a_column_each_and_why_a_cell_is_empty():
    rows = [
        number("score", "m | ce | captions", 71.6, unit="100 x probability"),
        number("score", "clip | ce | captions", 27.8, unit="100 x cosine", missing=2, ties=1),
        number("SPICE", "clip | all", None, reason="no Java", missing=7),
    ]
    lines = columns_text(rows, first=["clip"]).splitlines()
    assert lines[0].split() == ["clip", "m"]
    assert lines[1].split() == ["measure", "100", "x", "cosine", "100", "x", "probability"]
    text = "\n".join(lines)
    assert text.index("27.80") < text.index("71.60")
    for said in ("27.70 to 27.90", "1 tie", "2 missing", "unscored (1)", "7 missing", "(1) no Java"):
        assert said in text


def test_the_other_readings_are_counted():
    rows = [number(f"pattern ratio, {reading}", "ce | UNITER: NP+", 0.5) for reading in ("strict", "opening")]
    text = captions_text([*rows, number("prefix ratio", "ce | mined 1: NP+", 0.5)], Path("run/m.parquet"))
    assert "strict" in text
    assert "opening" not in text
    assert text.endswith("2 more, of mined patterns and other readings, in run/m.parquet")


def test_words_and_patterns_of_each_captioner_move_no_cursor():
    grams = [GramCount("words", "anywhere", 1, "dog", "NOUN", 3, 2, 0.25)]
    mined = [MinedPattern(1, "NP+ REL", "NP+", 3, 0.5, "a \x1b[31mdog on grass")]
    text = words_text({"ce": grams, "none": []}, {"ce": mined})
    assert "ce: most frequent words: dog 25.0 %" in text
    assert "50.0 %  NP+ REL NP+" in text
    assert "none: most frequent words: none" in text
    assert "\x1b" not in text


def test_columns_that_do_not_fit_a_terminal_make_tables_of_their_own():
    names = [f"a long name of captioner {place}" for place in range(5)]
    rows = [number("score", f"{name} | captions", 0.123) for name in names]
    text = columns_text([*rows, number("calibration AUC", names[4], None, reason="none")])
    assert max(map(len, text.splitlines())) <= 100
    first, second = text.split("\n\n")
    assert (first.count("12.3 %"), second.count("12.3 %")) == (3, 2)
    assert ("calibration" in first, "calibration" in second) == (False, True)
    assert text.endswith("\n(1) none\neach number is of 5 images")


def test_problems_that_differ_in_numbers_alone_are_one_kind():
    problems = [Problem("", "", f"no room for {n} of 7 labels", "unscored") for n in (2, 3)]
    problems += [Problem("", "", "no scene" * 20, "unscored")] * 3
    problems += [Problem("", "", f"kind {letter}", "handled") for letter in "abc"]
    lines = problems_text(problems, Path("run/problems.jsonl")).splitlines()
    assert lines[0] == "8 problems, listed in run/problems.jsonl"
    assert lines[1].startswith("      3  no sceneno scene")
    assert lines[1].endswith("…")
    assert lines[2] == "      2  e.g. no room for 2 of 7 labels"
    assert lines[-1] == "      1  of 1 other kind"
    assert max(map(len, lines)) <= 100
