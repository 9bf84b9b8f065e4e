"""The terminal's table."""

from __future__ import annotations

from alignscope.records import Measurement
from alignscope.reporting.tables import text_table


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
    table = text_table([Measurement("accuracy", "[red]x[/] \x1b[31m", 0.5, 0.4, 0.6, 4, 4)], width=140)
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
