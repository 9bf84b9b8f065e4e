"""Tables with a column per captioner or model."""

from pathlib import Path

from alignscope.records import GramCount, Measurement, MinedPattern
from alignscope.reporting.probes import captions_text, columns_text, words_text


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
    for said in ("27.70 to 27.90", "1 ties", "2 missing", "unscored (1)", "7 missing", "(1) no Java"):
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
