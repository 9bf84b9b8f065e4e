"""What the numbers say, in sentences that claim no more than the intervals allow.

A kind of foil is above or below chance when its whole interval is, but only barely above while the
interval ends below 60 %; at chance when the interval holds
50 % and stays within 15 points of it; otherwise undecided. Below ten images nothing is decided, because
a bootstrap over so few says little. A result that lies off chance only by what ties were counted as
(wrong, or right) is called tied.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from alignscope.records import Measurement
from alignscope.reporting.wording import (
    SUMMARY_GROUPS,
    enumerated,
    interval_in_words,
    is_number,
    kind_in_words,
    kind_order,
    number,
    percent,
    percent_range,
)

Verdict = Literal[
    "above chance",
    "barely above chance",
    "at chance",
    "below chance",
    "tied",
    "undecided",
    "no interval",
    "unscored",
]

CHANCE = 0.5
CHANCE_WIDTH = 0.15  # how far an interval around chance may reach and still say "at chance"
BARELY = 0.6  # an interval that ends below it is barely above chance
FEWEST_IMAGES = 10
HEARD = 0.9  # a kind counts as heard from here on
NOUNS_HEARD = 0.75  # "stops at nouns" needs at least this share of wrong objects caught
BEYOND_NOUNS = ("replace_relation", "swap_object", "swap_attribute", "swap_relation")


def verdict(accuracy: Measurement) -> Verdict:
    """Where a two-way choice stands against chance."""
    if not is_number(accuracy.value):
        return "unscored"
    low, high = accuracy.low, accuracy.high
    if low is None or high is None or not (is_number(low) and is_number(high)):
        return "no interval"
    if accuracy.images < FEWEST_IMAGES:
        return "undecided"
    half = accuracy.ties / (2 * max(accuracy.items, 1))  # what ties would add, or take, at half a credit
    ties = _ties_counted_as(accuracy)
    if low > CHANCE:
        if ties == "right" and low - half <= CHANCE:
            return "tied"
        return "barely above chance" if high < BARELY else "above chance"
    if high < CHANCE:
        return "tied" if ties == "wrong" and high + half >= CHANCE else "below chance"
    near = max(high - CHANCE, CHANCE - low) <= CHANCE_WIDTH
    return "at chance" if near else "undecided"


def _ties_counted_as(accuracy: Measurement) -> str:
    parts = [part for part in accuracy.signature.split("|") if part.startswith("ties:")]
    return parts[0].removeprefix("ties:") if parts else "wrong"


def answer(measurements: Sequence[Measurement], model: str) -> str:
    """Which wrong captions the model catches, in one sentence."""
    kinds = _by_kind(measurements)
    scored = [kind for kind in kinds if verdict(kind) != "unscored"]
    if not scored:
        return f"Nothing can be said about what {model} hears: no choice between captions was scored."
    if all(verdict(kind) == "at chance" for kind in scored):
        shares = percent_range([_value(kind) for kind in scored])
        where = "everywhere" if len(scored) == len(kinds) else "everywhere it could be scored"
        where = where if len(scored) > 1 else f"for {kind_in_words(scored[0].group)}"
        return f"{model} is at chance {where}: it prefers the right caption in {shares} of the choices."
    return f"{model} {_lead(scored, partial=len(scored) < len(kinds))}: it {_clauses(scored)}."


def unscored_sentence(measurements: Sequence[Measurement]) -> str:
    """Which kinds could not be scored and why; empty where all were."""
    unscored = [
        f"{kind_in_words(kind.group)} ({kind.reason or 'no reason was recorded'})"
        for kind in _by_kind(measurements)
        if verdict(kind) == "unscored"
    ]
    return f"Not scored: {enumerated(unscored)}." if unscored else ""


def _by_kind(measurements: Sequence[Measurement]) -> list[Measurement]:
    accuracies = [m for m in measurements if m.measure == "accuracy"]
    kinds = [m for m in accuracies if m.group not in SUMMARY_GROUPS]
    return sorted(kinds or [m for m in accuracies if m.group == "all"], key=lambda m: kind_order(m.group))


def _value(accuracy: Measurement) -> float:
    assert accuracy.value is not None
    return accuracy.value


def _lead(scored: Sequence[Measurement], *, partial: bool) -> str:
    verdicts = {kind.group: verdict(kind) for kind in scored}
    every = "every kind of wrong caption that could be scored" if partial else "every kind of wrong caption"
    if _objects_lead(scored, verdicts):
        objects = next(kind for kind in scored if kind.group == "replace_object")
        beyond = [verdicts[group] for group in BEYOND_NOUNS if group in verdicts]
        deaf = [v for v in beyond if v in ("barely above chance", "at chance", "below chance", "tied")]
        if deaf and len(deaf) == len(beyond) and _value(objects) >= NOUNS_HEARD:
            return "stops at nouns"
        return "hears nouns best"
    if all(v == "above chance" for v in verdicts.values()):
        if all(_value(kind) >= HEARD for kind in scored):
            return f"hears {every}" if len(scored) > 1 else "hears what was tested"
        return f"hears {every}, but not equally well" if len(scored) > 1 else "hears only part of it"
    if any(v in ("undecided", "no interval") for v in verdicts.values()):
        return "cannot be judged in full"
    if all(not v.endswith("above chance") for v in verdicts.values()):
        return f"hears no kind of wrong caption{' that could be scored' if partial else ''}"
    return "hears some kinds of wrong caption and not others"


def _objects_lead(scored: Sequence[Measurement], verdicts: dict[str, Verdict]) -> bool:
    """Whether wrong objects are caught more often than any other replaced or swapped word."""
    if verdicts.get("replace_object") != "above chance":
        return False
    floor = next((k.low for k in scored if k.group == "replace_object" and k.low is not None), 0.0)
    others = [k for k in scored if k.group.startswith(("replace_", "swap_")) and k.group != "replace_object"]
    return bool(others) and all(k.high is not None and k.high < floor for k in others)


def _clauses(scored: Sequence[Measurement]) -> str:
    phrases: dict[Verdict, Callable[[list[Measurement]], str]] = {
        "above chance": _caught,
        "barely above chance": lambda kinds: f"is barely above chance for {_names(kinds)}",
        "at chance": lambda kinds: f"is at chance for {_names(kinds)}",
        "below chance": lambda kinds: f"is below chance for {_names(kinds)}",
        "tied": lambda kinds: f"mostly gives right and wrong captions the same score for {_tied(kinds)}",
        "undecided": lambda kinds: (
            f"cannot be judged for {_names(kinds)}, on too few images to tell it from chance"
        ),
        "no interval": lambda kinds: f"came without intervals for {_names(kinds)}",
    }
    clauses = []
    for name, phrase in phrases.items():
        kinds = [kind for kind in scored if verdict(kind) == name]
        if kinds:
            clauses.append(phrase(kinds))
    return clauses[0] if len(clauses) == 1 else ", ".join(clauses[:-1]) + ", and " + clauses[-1]


def _caught(kinds: list[Measurement]) -> str:
    return "catches " + enumerated([f"{percent(_value(k))} of {kind_in_words(k.group)}" for k in kinds])


def _names(kinds: list[Measurement]) -> str:
    shares = percent_range([_value(kind) for kind in kinds])
    return f"{enumerated([kind_in_words(kind.group) for kind in kinds])} ({shares})"


def _tied(kinds: list[Measurement]) -> str:
    return enumerated([f"{kind_in_words(k.group)} ({k.ties} of {k.items} tied)" for k in kinds])


def heat_sentence(measurements: Sequence[Measurement]) -> str:
    """Whether object words get more heat than relation words."""
    gap = next((m for m in measurements if (m.measure, m.group) == ("heat gap", "object-relation")), None)
    return _difference(
        gap,
        more="A word that names an object gets more heat than one that names a relation",
        less="A word that names an object gets less heat than one that names a relation",
        same="Words that name objects and words that name relations get about the same heat: "
        "the interval of the difference holds zero",
        absent="The heat of object words could not be compared with that of relation words",
    )


def drop_sentence(measurements: Sequence[Measurement]) -> str:
    """Whether wrong nouns cost more score than other wrong words."""
    gap = next((m for m in measurements if m.measure == "drop gap"), None)
    return _difference(
        gap,
        more="Wrong nouns cost the score more than other wrong words do",
        less="Wrong nouns cost the score less than other wrong words do",
        same="Wrong nouns cost the score about as much as other wrong words: the interval of the "
        "difference holds zero",
        absent="The cost of wrong nouns could not be compared with that of other wrong words",
    )


def _difference(gap: Measurement | None, *, more: str, less: str, same: str, absent: str) -> str:
    if gap is None:
        return f"{absent}: it was not measured."
    if not is_number(gap.value):
        return f"{absent}: {gap.reason or 'no reason was recorded'}."
    value = number(gap.value, gap.unit)  # type: ignore[arg-type]
    ends = interval_in_words(gap)
    if gap.low is None or gap.high is None or not ends:
        return f"{absent} with any certainty: the difference is {value}, without an interval."
    said = more if gap.low > 0 else less if gap.high < 0 else same
    return f"{said} (difference {value}, {percent(gap.level)} interval {ends})."
