"""The headline says no more than the intervals allow, for models of every sort."""

from __future__ import annotations

import pytest

from alignscope.records import Measurement, Signature
from alignscope.reporting.headline import (
    answer,
    drop_sentence,
    heat_sentence,
    unscored_sentence,
    verdict,
)


def headline(found: list[Measurement], model: str) -> str:
    """Both sentences, as the page shows them."""
    return f"{answer(found, model)} {unscored_sentence(found)}".strip()


def accuracy(
    kind: str, value: float | None, low: float | None, high: float | None, **rest: object
) -> Measurement:
    fields = {"items": 400, "images": 400, **rest}
    return Measurement("accuracy", kind, value, low, high, **fields)  # type: ignore[arg-type]


def chance(kind: str, value: float = 0.51) -> Measurement:
    return accuracy(kind, value, value - 0.05, value + 0.05)


OBJECTS = accuracy("replace_object", 0.97, 0.95, 0.99)
ATTRIBUTES = accuracy("replace_attribute", 0.68, 0.63, 0.73)


@pytest.mark.parametrize(
    ("value", "low", "high", "rest", "wanted"),
    [
        (0.60, 0.55, 0.65, {}, "above chance"),
        (0.56, 0.53, 0.59, {}, "barely above chance"),
        (0.56, 0.52, 0.60, {}, "above chance"),
        (0.52, 0.47, 0.57, {}, "at chance"),
        (0.55, 0.50, 0.60, {}, "at chance"),  # touching 50 % is not above it
        (0.45, 0.40, 0.50, {}, "at chance"),
        (0.40, 0.35, 0.45, {}, "below chance"),
        (0.62, 0.43, 0.80, {}, "undecided"),  # holds 50 % but says little
        (1.00, 1.00, 1.00, {"images": 9}, "undecided"),
        (1.00, 1.00, 1.00, {"images": 10}, "above chance"),
        (0.70, None, None, {}, "no interval"),
        (None, None, None, {"reason": "no foils"}, "unscored"),
        (float("nan"), None, None, {}, "unscored"),
        (0.00, 0.00, 0.00, {"ties": 400}, "tied"),  # a model that gives every caption one score
        (0.40, 0.35, 0.45, {"ties": 30}, "below chance"),  # half of 30 ties adds 3.75 points: 48.75
        (0.40, 0.35, 0.45, {"ties": 40}, "tied"),  # half of 40 adds 5: 50
    ],
)
def test_verdict_by_hand(
    value: float | None, low: float | None, high: float | None, rest: dict[str, object], wanted: str
) -> None:
    assert verdict(accuracy("replace_object", value, low, high, **rest)) == wanted


def test_ties_counted_as_right_do_not_make_a_model_hear() -> None:
    sign = str(Signature("accuracy", "d", "s", 400, 400, "m", "w", ties="right"))
    assert verdict(accuracy("x", 1.0, 1.0, 1.0, ties=400, signature=sign)) == "tied"
    assert verdict(accuracy("x", 1.0, 1.0, 1.0, ties=0, signature=sign)) == "above chance"


def test_a_model_that_stops_at_nouns() -> None:
    found = [chance("swap_relation", 0.49), ATTRIBUTES, chance("replace_relation", 0.52), OBJECTS]
    assert headline(found, "tiny-clip") == (
        "tiny-clip stops at nouns: it catches 97 % of wrong objects and 68 % of wrong attributes, "
        "and is at chance for wrong relations and who-does-what (49 to 52 %)."
    )


def test_barely_above_chance_is_not_hearing() -> None:
    barely = accuracy("replace_relation", 0.56, 0.53, 0.59)
    assert headline([OBJECTS, ATTRIBUTES, barely, chance("swap_relation", 0.51)], "tiny-clip") == (
        "tiny-clip stops at nouns: it catches 97 % of wrong objects and 68 % of wrong attributes, "
        "is barely above chance for wrong relations (56 %), and is at chance for who-does-what (51 %)."
    )


def test_nouns_best_is_weaker_than_stopping_at_nouns() -> None:
    heard = accuracy("replace_relation", 0.62, 0.58, 0.66)
    assert headline([OBJECTS, heard, chance("swap_relation")], "m").startswith(
        "m hears nouns best: it catches 97 %"
    )
    no_relations_asked = [OBJECTS, ATTRIBUTES]
    assert headline(no_relations_asked, "m").startswith("m hears nouns best:")


def test_weak_nouns_are_not_stopped_at() -> None:
    weak = accuracy("replace_object", 0.64, 0.60, 0.68)
    assert "stops at nouns" not in headline([weak, chance("replace_relation")], "m")


def test_a_model_that_hears_everything() -> None:
    found = [
        OBJECTS,
        accuracy("replace_relation", 0.95, 0.93, 0.97),
        accuracy("swap_relation", 0.98, 0.96, 0.99),
    ]
    assert headline(found, "m") == (
        "m hears every kind of wrong caption: it catches 97 % of wrong objects, "
        "95 % of wrong relations and 98 % of who-does-what."
    )


def test_random_weights_are_at_chance_everywhere() -> None:
    found = [chance("replace_object", 0.48), chance("swap_relation", 0.53)]
    assert headline(found, "m") == (
        "m is at chance everywhere: it prefers the right caption in 48 to 53 % of the choices."
    )


def test_everywhere_is_not_claimed_for_what_was_not_scored() -> None:
    silent = accuracy("swap_attribute", None, None, None, items=0, reason="no caption names two")
    said = headline([chance("replace_object"), chance("swap_relation"), silent], "m")
    assert said.startswith("m is at chance everywhere it could be scored:")
    assert said.endswith("Not scored: swapped attributes (no caption names two).")
    heard = accuracy("swap_relation", 0.98, 0.96, 0.99)
    everything = headline([heard, accuracy("add_object", 0.95, 0.93, 0.97), silent], "m")
    assert everything.startswith("m hears every kind of wrong caption that could be scored:")


def test_below_chance_tied_and_undecided_are_said() -> None:
    said = headline(
        [
            accuracy("replace_object", 0.2, 0.15, 0.25),
            accuracy("replace_relation", 0.0, 0.0, 0.0, ties=400),
            accuracy("swap_object", 0.6, 0.3, 0.9),
        ],
        "m",
    )
    assert said == (
        "m cannot be judged in full: it is below chance for wrong objects (20 %), mostly gives right and wrong "
        "captions the same score for wrong relations (400 of 400 tied), and cannot be judged for swapped objects "
        "(60 %), on too few images to tell it from chance."
    )


def test_nothing_heard_and_something_unheard() -> None:
    below = accuracy("replace_object", 0.2, 0.15, 0.25)
    assert headline([below, chance("swap_object")], "m").startswith("m hears no kind of wrong caption: it is")
    mixed = [chance("replace_object"), accuracy("swap_object", 0.9, 0.88, 0.92)]
    assert headline(mixed, "m").startswith("m hears some kinds of wrong caption and not others:")


@pytest.mark.parametrize("found", [[], [accuracy("replace_object", None, None, None, reason="no images")]])
def test_nothing_scored_is_not_zero(found: list[Measurement]) -> None:
    said = headline(found, "m")
    assert said.startswith("Nothing can be said about what m hears")
    assert "0 %" not in said
    assert ("no images" in said) == bool(found)


def test_the_summaries_are_not_kinds() -> None:
    said = headline([OBJECTS, ATTRIBUTES, accuracy("all", 0.4, 0.38, 0.42)], "m")
    assert "40 %" not in said


def test_users_own_kinds_are_named() -> None:
    said = headline([OBJECTS, accuracy("negated_verb", 0.65, 0.63, 0.67)], "m")
    assert "65 % of negated verb" in said


def gap(measure: str, group: str, value: float | None, low: float | None, high: float | None) -> Measurement:
    return Measurement(
        measure, group, value, low, high, 10, 10, unit="heat", reason="" if value else "no relations"
    )


def test_the_heat_sentence_follows_the_interval() -> None:
    assert heat_sentence([gap("heat gap", "object-relation", 0.3, 0.2, 0.4)]) == (
        "A word that names an object gets more heat than one that names a relation "
        "(difference 0.300, 95 % interval 0.200 to 0.400)."
    )
    assert "about the same heat" in heat_sentence([gap("heat gap", "object-relation", 0.1, -0.1, 0.3)])
    assert "gets less heat" in heat_sentence([gap("heat gap", "object-relation", -0.3, -0.4, -0.2)])
    assert heat_sentence([gap("heat gap", "object-relation", None, None, None)]).endswith(": no relations.")
    assert heat_sentence([gap("heat gap", "object-attribute", 0.3, 0.2, 0.4)]).endswith(
        "it was not measured."
    )


def test_the_drop_sentence_follows_the_interval() -> None:
    assert "cost the score more" in drop_sentence([gap("drop gap", "nouns against others", 5.0, 4.0, 6.0)])
    assert "about as much" in drop_sentence([gap("drop gap", "nouns against others", 0.5, -1.0, 2.0)])
    assert "without an interval" in drop_sentence([gap("drop gap", "nouns against others", 0.5, None, None)])
