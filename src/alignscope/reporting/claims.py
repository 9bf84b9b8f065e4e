"""What the numbers of attribution say, in sentences that claim no more than the intervals allow.

A difference lies above or below zero when its whole interval does; below ten images nothing is decided,
because a bootstrap over so few says little.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Literal

from alignscope.records import Measurement
from alignscope.reporting.headline import FEWEST_IMAGES
from alignscope.reporting.wording import enumerated, is_number, method_order, number, percent

Side = Literal["above", "below", "not told", "too few", "no interval", "unmeasured"]

GAINS = ("deletion gain", "insertion gain", "comprehensiveness gain", "sufficiency gain")
SAME_MAP = 0.5  # Spearman with the map of scrambled weights from which on the maps count as alike


def side(difference: Measurement) -> Side:
    """On which side of zero a difference lies."""
    if not is_number(difference.value):
        return "unmeasured"
    if difference.low is None or difference.high is None:
        return "no interval"
    if difference.images < FEWEST_IMAGES:
        return "too few"
    return "above" if difference.low > 0 else "below" if difference.high < 0 else "not told"


def among(measurements: Iterable[Measurement], measure: str, group: str | None = None) -> list[Measurement]:
    """One measure (of one group), ordered by method."""
    found = [m for m in measurements if m.measure == measure and group in (None, m.group)]
    return sorted(found, key=lambda m: method_order(m.method))


def object_sentence(measurements: Sequence[Measurement]) -> str:
    """Under how many methods object words are hotter than relation words."""
    gaps = among(measurements, "heat gap", "object-relation")
    scored = [gap for gap in gaps if is_number(gap.value)]
    if not scored:
        reasons = "; ".join(dict.fromkeys(gap.reason for gap in gaps if gap.reason))
        return (
            "The heat of object words could not be compared with that of relation words: "
            f"{reasons or 'it was not measured'}."
        )
    above = [gap for gap in scored if side(gap) == "above"]
    lead = (
        f"Words that name objects get more heat than words that name relations under {_of(above, scored)}"
        f"{_holding(above, scored)}"
    )
    rest = _by_side(scored, {
        "below": "they get less under {}",
        "not told": "no difference could be told under {} (the interval holds zero)",
        "too few": "nothing is decided under {} (fewer than ten images)",
        "no interval": "the difference has no interval under {}",
    })  # fmt: skip
    return "; ".join([lead, *rest]) + "." + _unmeasured(gaps)


def _holding(above: Sequence[Measurement], scored: Sequence[Measurement]) -> str:
    if not above:
        return ""
    levels = {percent(gap.level) for gap in above}
    whole = "the whole" if len(above) == 1 else "in each case the whole"
    names = "" if len(above) == len(scored) > 1 else f"{_names(above)}; "
    return f" ({names}{whole} {'/'.join(sorted(levels))} interval of the difference lies above zero)"


def _of(some: Sequence[Measurement], scored: Sequence[Measurement]) -> str:
    if len(scored) == 1:
        return "the one method used" if some else "no method"
    if not some:
        return f"none of the {len(scored)} methods"
    return f"{'all' if len(some) == len(scored) else f'{len(some)} of the'} {len(scored)} methods"


def _by_side(found: Sequence[Measurement], phrases: dict[Side, str]) -> list[str]:
    return [
        phrase.format(_names(here))
        for name, phrase in phrases.items()
        if (here := [m for m in found if side(m) == name])
    ]


def _unmeasured(found: Sequence[Measurement]) -> str:
    missing = [m for m in found if not is_number(m.value)]
    said = [f"{m.method or 'a method'} ({m.reason or 'no reason was recorded'})" for m in missing]
    return f" Not measured: {enumerated(said)}." if said else ""


def faithful_sentences(measurements: Sequence[Measurement]) -> list[str]:
    """Which methods order words better than chance, by all four gains over a random order."""
    gains = [m for m in measurements if m.measure in GAINS and is_number(m.value)]
    by_method = _by_method(gains)
    better = [method for method, found in by_method.items() if all(side(m) == "above" for m in found)]
    if not better:
        return []
    measures = {len(by_method[method]) for method in better}
    count = f"all {measures.pop()} measures" if len(measures) == 1 else "every measure"
    return [
        f"Under {enumerated(better)}, the hottest words carry more of the score than words taken at random, by {count}."
    ]


def warnings(measurements: Sequence[Measurement]) -> list[str]:
    """Where a map is no better than a random order, or is about the same with scrambled weights."""
    found = []
    for method, gains in _by_method([m for m in measurements if m.measure in GAINS]).items():
        unsure = _by_side_of_gain(gains)
        if unsure:
            found.append(
                f"{method} is not shown to be better than a random order of words: {'; '.join(unsure)}."
            )
    alike = [m for m in among(measurements, "agreement with scrambled") if _height(m) >= SAME_MAP]
    return found + [
        f"{m.method} gives about the same map with scrambled weights (correlation {_two(m)}): what it shows "
        "is then mostly the caption’s form, not what the model learnt."
        for m in alike
    ]


def _by_side_of_gain(gains: Sequence[Measurement]) -> list[str]:
    phrases: dict[Side, str] = {
        "below": "{} is worse",
        "not told": "{} cannot be told from it (the interval holds zero)",
        "too few": "{} was measured on fewer than ten images",
        "no interval": "{} has no interval",
    }
    said = []
    for name, phrase in phrases.items():
        here = [m.measure.removesuffix(" gain") for m in gains if side(m) == name]
        if here:
            text = phrase.format(enumerated(here))
            said.append(
                text
                if len(here) == 1
                else text.replace(" is ", " are ").replace(" was ", " were ").replace(" has ", " have ")
            )
    return said


def agreement_sentence(measurements: Sequence[Measurement]) -> str:
    """How far the methods tell the same story."""
    scored = [m for m in measurements if m.measure == "agreement" and is_number(m.value)]
    if not scored:
        return ""
    most, least = (pick(scored, key=_height) for pick in (max, min))
    pair = "{} and {}".format(*_pair(most.group))
    if most is least:
        return f"{pair[0].upper()}{pair[1:]} rank the words of a caption with a mean correlation of {_two(most)}."
    return (
        f"The methods’ rankings of a caption’s words correlate from {_two(least)} "
        f"({' and '.join(_pair(least.group))}) to {_two(most)} ({pair})."
    )


def _pair(group: str) -> tuple[str, str]:
    first, _, second = group.partition("~")
    return first, second


def _height(m: Measurement) -> float:
    """The value for comparing; what was not measured comes below everything."""
    return m.value if m.value is not None and is_number(m.value) else -math.inf


def _two(m: Measurement) -> str:
    return number(m.value, "correlation")  # type: ignore[arg-type]


def pointing_sentence(measurements: Sequence[Measurement]) -> str:
    """Under which methods the hottest place lies on the thing more often than a random one."""
    gaps = [m for m in among(measurements, "pointing game", "above chance") if is_number(m.value)]
    said = _by_side(gaps, {
        "above": "more often than a random place would under {}",
        "below": "less often than a random place would under {}",
        "not told": "about as often as a random place would under {} (the interval of the difference holds zero)",
        "too few": "on too few images to decide under {}",
        "no interval": "without an interval under {}",
    })  # fmt: skip
    return f"The hottest place lies on the thing a phrase names {'; '.join(said)}." if said else ""


def phrase_sentence(measurements: Sequence[Measurement]) -> str:
    """To which of its phrases a caption's embedding is closest."""
    found = [m for m in among(measurements, "phrase similarity") if is_number(m.value)]
    if len(found) < 2:
        return ""
    most, least = (pick(found, key=_height) for pick in (max, min))
    apart = all(is_number(end) for end in (most.low, least.high)) and most.low > least.high  # type: ignore[operator]
    if not apart:
        return "The classes’ intervals overlap: no class of phrase is told to be closer to its whole caption."
    return (
        f"A whole caption is closest to its {most.group} phrases (cosine {_two(most)}) and farthest from its "
        f"{least.group} phrases ({_two(least)})."
    )


def _by_method(found: Sequence[Measurement]) -> dict[str, list[Measurement]]:
    key: Callable[[Measurement], tuple[int, str]] = lambda m: method_order(m.method)  # noqa: E731
    return {name: list(group) for (_, name), group in groupby(sorted(found, key=key), key)}


def _names(found: Sequence[Measurement]) -> str:
    return enumerated([m.method or "the method" for m in found])
