"""The terminal's table."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from alignscope.records import Measurement
from alignscope.reporting.tables import WIDTH, evaluation_text, summary_text, text_table


def test_values_intervals_and_reasons_are_in_their_rows() -> None:
    lines = text_table(
        [
            Measurement("accuracy", "replace_object", 0.9712, 0.951, 0.9861, 400, 380, ties=3, missing=7),
            Measurement("accuracy", "swap_object", None, None, None, 0, 0, missing=12, reason="no nouns"),
            Measurement("drop gap", "nouns", 5.5, 5.0, 6.0, 40, 38, unit="score"),
        ]
    ).splitlines()
    assert len(lines) == 5  # head, rule, three rows
    assert lines[2].split() == [
        "accuracy",
        "replace_object",
        "97.1",
        "%",
        "95.1",
        "to",
        "98.6",
        "%",
        "400",
        "380",
        "3",
        "7",
    ]
    assert "unscored: no nouns" in lines[3]
    assert "0.0 %" not in lines[3]
    assert lines[3].split()[-4:] == ["0", "0", "0", "12"]
    assert "5.50" in lines[4]


def test_markup_and_control_characters_of_users_kinds_are_shown_not_obeyed() -> None:
    table = text_table([Measurement("accuracy", "[red]x[/] \x1b[31m", 0.5, 0.4, 0.6, 4, 4)])
    assert "[red]x[/] " in table
    assert "\x1b" not in table


def test_methods_have_a_column_where_any_row_has_one() -> None:
    plain = Measurement("accuracy", "all", 0.5, 0.4, 0.6, 4, 4)
    heat = Measurement("heat", "object", 0.287, 0.275, 0.3, 40, 38, unit="heat", method="gradcam")
    head, _, first, second = text_table([plain, heat]).splitlines()
    assert head.split()[:3] == ["measure", "method", "group"]
    assert first.split()[:3] == ["accuracy", "all", "50.0"]
    assert second.split()[:4] == ["heat", "gradcam", "object", "0.287"]
    assert "method" not in text_table([plain])


def heat_rows(method: str, scale: float = 1.0) -> list[Measurement]:
    def one(measure: str, group: str, value: float, unit: str = "heat") -> Measurement:
        ends = (value - 0.01 * abs(scale), value + 0.01 * abs(scale))
        return Measurement(measure, group, value, *ends, 50, 40, unit=unit, method=method)

    return [
        one("heat", "object", 0.4 * scale),
        one("heat", "relation", 0.1 * scale),
        one("heat", "scene", 0.2 * scale),
        one("heat gap", "object-relation", 0.3 * scale),
        one("object above relation", "all", 0.9, "share"),
        one("deletion gain", "all", 0.25, "area"),
    ]


def test_a_summary_is_short_and_counts_what_it_leaves_out() -> None:
    choices = Measurement("accuracy", "all", 0.7, 0.6, 0.8, 40, 40)
    phrases = Measurement("phrase similarity", "object", 0.5, 0.4, 0.6, 40, 40, unit="cosine")
    hits = Measurement("pointing game", "all", 0.96, 0.9, 0.99, 40, 40, method="gradcam")
    found = [phrases, choices, *heat_rows("gradcam"), *heat_rows("attention"), hits]
    text = summary_text(found, Path("run/measurements.parquet"))
    lines = text.splitlines()
    assert lines[-1] == "3 more, and all intervals, in run/measurements.parquet and the report"
    assert " ".join(lines[2].split()) == "accuracy all 70.0 % 60.0 to 80.0 % 40 40 0 0"
    first, below, second = (line.split() for line in lines[lines.index("") :][5:8])
    assert first == ["attention", "0.400", "0.100", "0.300", "90.0", "%", "0.250"]  # no hits of attention
    assert below == ["0.290", "to", "0.310"]
    assert second == ["gradcam", "0.400", "0.100", "0.300", "90.0", "%", "0.250", "96.0", "%"]
    assert "attr." not in text  # a column that nobody measured
    assert "Image hits" in text
    assert "Image hits" not in summary_text(heat_rows("gradcam"), Path("x"))


def test_what_was_not_scored_is_not_a_zero_in_the_summary() -> None:
    rows = heat_rows("gradcam")
    rows[0] = replace(rows[0], value=None, low=None, high=None, reason="no objects")
    line = next(line for line in summary_text(rows, Path("x")).splitlines() if line.startswith("gradcam"))
    assert line.split()[:3] == ["gradcam", "unscored", "0.100"]


def test_intervals_stay_on_one_line_of_a_terminal() -> None:
    kinds = [f"{'long ' * 9}kind {n}" for n in range(3)]
    choices = [Measurement("accuracy", kind, 0.97, 0.951, 0.986, 123456, 123456) for kind in kinds]
    methods = [row for method in ("attention", "perturbation") for row in heat_rows(method, scale=-0.0123)]
    rest = [
        Measurement(measure, "all", -0.00123, -0.0023, -0.0001, 50, 40, unit="area", method="perturbation")
        for measure in ("insertion gain", "agreement with scrambled", "pointing game")
    ]
    text = summary_text([*choices, *methods, *rest], Path("x"))
    assert len(re.findall(r"95\.1 to 98\.6 %", text)) == 3
    assert len(re.findall(r"-0\.0038 to -0\.0036", text)) == 2
    assert max(map(len, text.splitlines())) <= WIDTH == 100


def test_official_numbers_come_first_and_parts_that_are_many_are_counted() -> None:
    rule = "official: mean over 48 groups; ties wrong"
    ours = [Measurement("accuracy", "all", 0.61, 0.6, 0.62, 40, 40)]
    official = [Measurement("official accuracy", "all", 0.5913, 0.5, 0.6, 40, 40, reason=rule)]
    groups = [Measurement("official accuracy", f"relation {n}", 0.5, 0.4, 0.6, 4, 4) for n in range(48)]
    chance = [Measurement("chance", group, 0.5, 0.5, 0.5, 40, 40) for group in ("all", "relation 1")]
    text = evaluation_text([*ours, *chance, *groups, *official], Path("run/measurements.parquet"))
    lines = text.splitlines()
    assert lines[0] == "By the authors’ rule: mean over 48 groups; ties wrong"
    assert lines[3].split()[:5] == ["official", "accuracy", "as", "a", "whole"]
    assert "59.13 %" in lines[3]
    titles = [line for line in lines if line.startswith(("By", "Ours", "Without"))]
    assert [title.split()[0] for title in titles] == ["By", "Ours:", "Without"]
    assert "relation" not in text
    assert lines[-1] == "49 more in run/measurements.parquet and the report"
    assert max(map(len, lines)) <= WIDTH
