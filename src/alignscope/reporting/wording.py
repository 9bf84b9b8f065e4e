"""Numbers and names as a reader meets them: plain words for kinds, percent that never rounds to certainty."""

from __future__ import annotations

import math
from collections.abc import Sequence

from alignscope.records import FOIL_KINDS, Measurement

SUMMARY_GROUPS = ("all", "all kinds (macro)")

KINDS = {
    "replace_object": "wrong objects",
    "replace_attribute": "wrong attributes",
    "replace_relation": "wrong relations",
    "swap_object": "swapped objects",
    "swap_attribute": "swapped attributes",
    "swap_relation": "who-does-what",
    "add_object": "added objects",
    "add_attribute": "added attributes",
    "all": "all choices together",
    "all kinds (macro)": "mean over kinds",
}

METHODS = ("attention", "gradcam", "gradient", "perturbation")
"""Known methods of attribution in the order tables show them; other names come after them."""

CLASS_LABELS = {
    "object": "object",
    "attribute": "attr.",
    "relation": "relation",
    "scene": "scene",
    "other": "",
}


def counted(count: int, noun: str) -> str:
    """A number of things.

    >>> counted(1, "problem"), counted(1200, "problem")
    ('1 problem', '1200 problems')
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def kind_in_words(kind: str) -> str:
    """A foil kind as a reader would say it; unknown kinds lose their underscores.

    >>> kind_in_words("swap_relation"), kind_in_words("negated_verb")
    ('who-does-what', 'negated verb')
    """
    return KINDS.get(kind, kind.replace("_", " "))


def group_in_words(group: str, *, is_averaged: bool = False) -> str:
    """A benchmark's group as a table names it, micro and macro said; `is_averaged` where a rule of its own holds.

    >>> group_in_words("all"), group_in_words("all subsets (macro)"), group_in_words("ITT | all subsets (macro)")
    ('all items (micro)', 'mean over subsets (macro)', 'ITT, mean over subsets (macro)')
    >>> group_in_words("all", is_averaged=True), group_in_words("replace_att")
    ('as a whole', 'replace_att')
    """
    asked, bar, part = group.rpartition(" | ")
    if part == "all":
        part = "as a whole" if is_averaged else "all items (micro)"
    elif part.startswith("all ") and part.endswith(" (macro)"):
        part = f"mean over {part.removeprefix('all ')}"
    return f"{asked}, {part}" if bar else part


def kind_order(kind: str) -> tuple[int, str]:
    """Sort key: known kinds in their order, then others by name, then the summaries.

    >>> sorted(["all", "zebra", "swap_object", "replace_object"], key=kind_order)
    ['replace_object', 'swap_object', 'zebra', 'all']
    """
    if kind in FOIL_KINDS:
        return FOIL_KINDS.index(kind), kind
    if kind in SUMMARY_GROUPS:
        return len(FOIL_KINDS) + 1 + SUMMARY_GROUPS.index(kind), kind
    return len(FOIL_KINDS), kind


def method_order(method: str) -> tuple[int, str]:
    """Sort key: known methods in their order, others by name, chance's order last.

    >>> sorted(["random", "shapley", "gradient", "attention"], key=method_order)
    ['attention', 'gradient', 'shapley', 'random']
    """
    if method in METHODS:
        return METHODS.index(method), method
    return len(METHODS) + (method == "random"), method


def section_of(measure: str) -> str:
    """The part of an audit that a measure belongs to; empty for any other.

    >>> section_of("accuracy"), section_of("score drop per word"), section_of("recall@5"), section_of("heat")
    ('accuracy', 'drop', 'recall', '')
    >>> section_of("calibration AUC")
    'calibration'
    """
    if measure == "calibration AUC":
        return "calibration"
    if measure.startswith(("score drop", "drop ", "nouns drop more")):
        return "drop"
    return "recall" if measure.startswith("recall@") else measure if measure == "accuracy" else ""


def is_number(value: float | None) -> bool:
    """Whether there is a finite value to show."""
    return value is not None and math.isfinite(value)


def result_of(margin: float) -> str:
    """Whether the right answer scored higher than the best wrong one.

    >>> result_of(0.2), result_of(0.0), result_of(-0.1), result_of(math.nan)
    ('right', 'tie', 'wrong', 'unscored')
    """
    if not is_number(margin):
        return "unscored"
    return "tie" if margin == 0 else "right" if margin > 0 else "wrong"


def percent(share: float, *, digits: int = 0) -> str:
    """A share in percent; 0 and 100 are kept for shares that are exactly that.

    >>> percent(0.968), percent(0.996), percent(1.0), percent(0.99996), percent(0.0004)
    ('97 %', '99.6 %', '100 %', 'over 99.9 %', 'under 0.1 %')
    >>> percent(-0.0312, digits=1)
    '-3.1 %'
    """
    text = f"{100 * share:.{digits}f}"
    if float(text) in (0.0, 100.0) and share not in (0.0, 1.0):
        text = f"{100 * share:.1f}"
        if float(text) == 100.0:
            return "over 99.9 %" if share < 1 else "100.0 %"
        if float(text) == 0.0:
            return "under 0.1 %" if share > 0 else "-0.0 %"
    return f"{text} %"


def percent_range(shares: Sequence[float]) -> str:
    """Smallest to largest of several shares.

    >>> percent_range([0.52, 0.49, 0.5]), percent_range([0.521, 0.519])
    ('49 to 52 %', '52 %')
    """
    low, high = percent(min(shares)), percent(max(shares))
    return low if low == high else f"{low.removesuffix(' %')} to {high}"


def number(value: float, unit: str, *, digits: int = 1) -> str:
    """A value in its unit: shares in percent, counts whole, anything else as a plain number.

    >>> number(0.5123, "share"), number(775.0, "items"), number(0.0712, "score"), number(27.3149, "score")
    ('51.2 %', '775', '0.071', '27.31')
    >>> number(0.69125, "share", digits=2)
    '69.12 %'
    >>> number(6.7, "score"), number(0.00012, "heat"), number(0.0, "heat")
    ('6.70', '0.00012', '0.000')
    """
    if unit == "share":
        return percent(value, digits=digits)
    if unit == "items":
        return f"{value:.0f}"
    if abs(value) >= 1:
        return f"{value:.2f}"
    return f"{value:.3f}" if abs(value) >= 0.01 or value == 0 else f"{value:.2g}"


def value_in_words(measurement: Measurement, *, digits: int = 1) -> str:
    """The value, or "unscored" with its reason: never a zero in its place."""
    if is_number(measurement.value):
        return number(measurement.value, measurement.unit, digits=digits)  # type: ignore[arg-type]
    return f"unscored: {measurement.reason or 'no reason was recorded'}"


def interval_in_words(measurement: Measurement, *, digits: int = 1) -> str:
    """The interval's two ends to as many places as its value, or nothing where there is none."""
    if not (is_number(measurement.value) and is_number(measurement.low) and is_number(measurement.high)):
        return ""
    low, high = (number(end, measurement.unit, digits=digits) for end in (measurement.low, measurement.high))  # type: ignore[arg-type]
    if low.endswith(" %") and high.endswith(" %"):
        low = low.removesuffix(" %")
    return f"{low} to {high}"


def enumerated(parts: Sequence[str]) -> str:
    """Several things in one sentence.

    >>> enumerated(["a", "b", "c"]), enumerated(["a"])
    ('a, b and c', 'a')
    """
    return " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))
