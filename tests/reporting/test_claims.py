"""Sentences about attribution say no more than the intervals allow."""

from __future__ import annotations

import pytest

from alignscope.records import Measurement
from alignscope.reporting.claims import (
    GAINS,
    agreement_sentence,
    faithful_sentences,
    object_sentence,
    phrase_sentence,
    pointing_sentence,
    side,
    warnings,
)


def number(
    measure: str,
    group: str,
    method: str,
    value: float | None,
    low: float | None = None,
    high: float | None = None,
    **rest: object,
) -> Measurement:
    fields = {"items": 400, "images": 400, "unit": "heat", **rest}
    return Measurement(measure, group, value, low, high, method=method, **fields)  # type: ignore[arg-type]


def gap(
    method: str, value: float | None, low: float | None, high: float | None, **rest: object
) -> Measurement:
    return number("heat gap", "object-relation", method, value, low, high, **rest)


ABOVE = (0.2, 0.1, 0.3)
HOLDS_ZERO = (0.1, -0.1, 0.3)
BELOW = (-0.2, -0.3, -0.1)


@pytest.mark.parametrize(
    ("value", "low", "high", "images", "wanted"),
    [
        (*ABOVE, 10, "above"),
        (*ABOVE, 9, "too few"),
        (*BELOW, 10, "below"),
        (*HOLDS_ZERO, 10, "not told"),
        (0.1, 0.0, 0.2, 10, "not told"),  # touching zero is not above it
        (0.1, None, None, 10, "no interval"),
        (None, None, None, 0, "unmeasured"),
        (float("nan"), None, None, 10, "unmeasured"),
    ],
)
def test_side_by_hand(
    value: float | None, low: float | None, high: float | None, images: int, wanted: str
) -> None:
    assert side(gap("gradcam", value, low, high, images=images)) == wanted


def test_objects_lead_under_all_or_some_methods() -> None:
    assert object_sentence([gap("gradcam", *ABOVE), gap("attention", *ABOVE)]) == (
        "Words that name objects get more heat than words that name relations under all 2 methods "
        "(in each case the whole 95 % interval of the difference lies above zero)."
    )
    said = object_sentence(
        [
            gap("perturbation", *BELOW),
            gap("gradient", *HOLDS_ZERO),
            gap("gradcam", *ABOVE),
            gap("attention", *ABOVE, images=4),
        ]
    )
    assert said == (
        "Words that name objects get more heat than words that name relations under 1 of the 4 methods "
        "(gradcam; the whole 95 % interval of the difference lies above zero); they get less under perturbation; "
        "no difference could be told under gradient (the interval holds zero); nothing is decided under attention "
        "(fewer than ten images)."
    )


def test_objects_under_no_method_and_unmeasured_methods() -> None:
    said = object_sentence([gap("gradcam", *BELOW), gap("gradient", None, None, None, reason="no relations")])
    assert "under no method; they get less under gradcam." in said
    assert said.endswith("Not measured: gradient (no relations).")
    assert object_sentence([]).endswith("it was not measured.")
    assert object_sentence([gap("gradient", None, None, None, reason="no relations")]).endswith(
        ": no relations."
    )


def gains(method: str, *ends: tuple[float, float, float]) -> list[Measurement]:
    return [number(name, "all", method, *end) for name, end in zip(GAINS, ends, strict=False)]


def test_better_than_random_needs_every_measure() -> None:
    found = [*gains("gradcam", *[ABOVE] * 4), *gains("attention", ABOVE, ABOVE, ABOVE, HOLDS_ZERO)]
    assert faithful_sentences(found) == [
        "Under gradcam, the hottest words carry more of the score than words taken at random, by all 4 measures."
    ]
    assert faithful_sentences(gains("gradient", *[HOLDS_ZERO] * 4)) == []


def test_a_method_no_better_than_random_is_warned_of() -> None:
    found = [*gains("gradcam", *[ABOVE] * 4), *gains("attention", HOLDS_ZERO, ABOVE, HOLDS_ZERO, BELOW)]
    assert warnings(found) == [
        "attention is not shown to be better than a random order of words: sufficiency is worse; "
        "deletion and comprehensiveness cannot be told from it (the interval holds zero)."
    ]


@pytest.mark.parametrize(
    ("correlation", "is_warned"), [(0.81, True), (0.5, True), (0.49, False), (-0.9, False)]
)
def test_a_map_that_scrambling_leaves_alone_is_warned_of(correlation: float, is_warned: bool) -> None:
    found = warnings([number("agreement with scrambled", "all", "attention", correlation, -1, 1)])
    assert bool(found) == is_warned
    assert all("attention gives about the same map with scrambled weights" in said for said in found)


def test_nothing_measured_is_no_warning() -> None:
    assert warnings([number("deletion gain", "all", "gradient", None, reason="unsupported")]) == []
    assert warnings([number("agreement with scrambled", "all", "gradient", None)]) == []


def test_agreement_names_the_extremes() -> None:
    pairs = {"attention~gradcam": 0.62, "attention~gradient": 0.35, "gradcam~gradient": 0.21}
    found = [number("agreement", pair, "", value, 0, 1) for pair, value in pairs.items()]
    assert agreement_sentence(found) == (
        "The methods’ rankings of a caption’s words correlate from 0.210 (gradcam and gradient) to 0.620 "
        "(attention and gradcam)."
    )
    assert agreement_sentence(found[:1]) == (
        "Attention and gradcam rank the words of a caption with a mean correlation of 0.620."
    )
    assert agreement_sentence([]) == ""


def test_pointing_follows_the_interval() -> None:
    found = [
        number("pointing game", "above chance", "gradcam", *ABOVE),
        number("pointing game", "above chance", "attention", *HOLDS_ZERO),
        number("pointing game", "all", "attention", 0.9, 0.8, 1.0),
    ]
    said = pointing_sentence(found)
    assert "more often than a random place would under gradcam" in said
    assert "about as often as a random place would under attention" in said
    assert pointing_sentence(found[2:]) == ""


def test_phrases_are_ordered_only_where_intervals_are_apart() -> None:
    attribute = number("phrase similarity", "attribute", "", 0.505, 0.48, 0.53)
    relation = number("phrase similarity", "relation", "", 0.159, 0.137, 0.181)
    near = number("phrase similarity", "relation", "", 0.49, 0.46, 0.52)
    assert "closest to its attribute phrases (cosine 0.505)" in phrase_sentence([relation, attribute])
    assert "overlap" in phrase_sentence([attribute, near])
    assert phrase_sentence([attribute]) == ""
