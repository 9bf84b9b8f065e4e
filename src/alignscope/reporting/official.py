"""Numbers of a benchmark put in order: as its authors count first, then ours, then what needs no image."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from alignscope.records import Measurement
from alignscope.reporting.wording import enumerated, interval_in_words, is_number, number, value_in_words

MANY = 16  # parts of a benchmark beyond which they get a section of their own
BAR = " | "  # between a question and the part of which it is asked
RULE = "official: "  # what the reason of a number begins with that follows the authors' rule
OFFICIAL = re.compile(r"official .*|p_c|p_f|acc|(mean )?recall\b.*|spearman|pearson")
UNSEEING = re.compile(r"baseline.*|chance\b.*|text alone.*|bag.of.words.*")  # what needs no image
PAPER = "by the authors’ rule"


@dataclass(frozen=True)
class Numbers:
    """A benchmark's numbers by who counts; `parts` are those of its subsets, groups and tags where they are many."""

    official: list[Measurement]
    official_parts: list[Measurement]
    ours: list[Measurement]
    our_parts: list[Measurement]
    baselines: list[Measurement]
    other: list[Measurement]

    @property
    def whole(self) -> Measurement | None:
        """The number whose counts are the benchmark's: ours over all items, or of all queries, or the first."""
        found = [m for m in (*self.ours, *self.official) if m.group == "all"]
        first = next(iter([*found, *self.ours, *self.official]), None)
        if first is None or not first.measure.startswith("recall@"):
            return first
        both = [m for m in self.official if m.measure == first.measure]
        items, ties, missing = (sum(getattr(m, name) for m in both) for name in ("items", "ties", "missing"))
        return replace(first, items=items, ties=ties, missing=missing)

    @property
    def rule(self) -> str:
        """How the authors count, in words; empty where no number says."""
        reasons = (m.reason for m in self.official)
        return next((reason.removeprefix(RULE) for reason in reasons if reason.startswith(RULE)), "")


@dataclass(frozen=True)
class Said:
    """A benchmark's official result in a few words, and what it is of."""

    value: str
    note: str


def in_order(measurements: Sequence[Measurement]) -> Numbers:
    """Numbers by who counts."""
    by: dict[str, list[Measurement]] = {"official": [], "ours": [], "baseline": [], "other": []}
    for m in measurements:
        by[_counted_by(m.measure)].append(m)
    official, official_parts = parted(by["official"])
    ours, our_parts = parted(sorted(by["ours"], key=lambda m: m.measure))
    return Numbers(official, official_parts, ours, our_parts, by["baseline"], by["other"])


def _counted_by(measure: str) -> str:
    if OFFICIAL.fullmatch(measure):
        return "official"
    if measure == "accuracy" or measure.startswith("accuracy (ties "):
        return "ours"
    return "baseline" if UNSEEING.fullmatch(measure) else "other"


def is_whole(m: Measurement) -> bool:
    """Whether a number sums the benchmark up, or what its authors make of it, and is not of one part."""
    composed = (RULE, "mean over ", "subset ", "tag ")
    return m.group == "all" or m.group.endswith("(macro)") or m.reason.startswith(composed)


def parted(found: Sequence[Measurement]) -> tuple[list[Measurement], list[Measurement]]:
    """Numbers for the main table, and those of parts where there are many.

    "QUESTION | PART" is counted apart from plain parts: three questions of few tags are many.
    """
    plain = [m for m in found if not is_whole(m) and BAR not in m.group]
    asked = [m for m in found if not is_whole(m) and BAR in m.group]
    away = [*(plain if len(plain) > MANY else ()), *(asked if len(asked) > MANY else ())]
    names = {(m.measure, m.group) for m in away}
    return [m for m in found if (m.measure, m.group) not in names], away


def summed(found: Sequence[Measurement]) -> list[Measurement]:
    """Numbers over all items: of every question where several are asked of each item."""
    whole = {m.measure for m in found if m.group == "all"}
    return [m for m in found if is_whole(m) or (m.measure not in whole and BAR not in m.group)]


def official_result(numbers: Numbers) -> Said:
    """What the authors would report, short; several numbers where they report several.

    >>> one = Measurement("official accuracy", "all", 0.696, None, None, 4, 4)
    >>> official_result(in_order([one]))
    Said(value='69.60 %', note='')
    """
    found = [m for m in numbers.official if m.measure == "official accuracy"]
    found = [m for m in found if m.reason.startswith(RULE)] or found
    first = [m for m in numbers.official if m.measure == numbers.official[0].measure]
    return _in_few_words(found or first)


def our_result(numbers: Numbers) -> Said:
    """Strict accuracy over all items, by question where there are several.

    >>> our_result(in_order([Measurement("accuracy", "all", 0.696, 0.6, 0.8, 4, 4)]))
    Said(value='69.60 %', note='60.00 to 80.00 %')
    """
    found = summed([m for m in numbers.ours if m.measure == "accuracy" and not m.group.endswith("(macro)")])
    said = _in_few_words(found)
    return (
        replace(said, note=interval_in_words(found[0], digits=2))
        if len(found) == 1 and not said.note
        else said
    )


def _in_few_words(found: Sequence[Measurement]) -> Said:
    found = [m for m in found if m.group == "all"] or found
    scored = [m for m in found if is_number(m.value)]
    if not scored:
        return Said("unscored", found[0].reason if found else "no such number was recorded")
    name = "" if scored[0].measure.endswith("accuracy") else scored[0].measure
    if len(scored) <= 3:
        groups = enumerated([m.group for m in scored if m.group != "all"])
        return Said(
            enumerated([value_in_words(m, digits=2) for m in scored]), " ".join(filter(None, (name, groups)))
        )
    low, high = (pick(m.value for m in scored if m.value is not None) for pick in (min, max))
    ends = [number(end, scored[0].unit, digits=2) for end in (low, high)]
    if all(end.endswith(" %") for end in ends):
        ends[0] = ends[0].removesuffix(" %")
    return Said(f"{ends[0]} to {ends[1]}", f"{len(scored)} parts, no average is reported")


def headline(numbers: Numbers, model: str, benchmark: str) -> str:
    """The result in one sentence: by the authors' rule, what tied, what is missing."""
    result = official_result(numbers)
    if result.value == "unscored":
        return f"{model} on {benchmark}: nothing could be scored by the authors’ rule ({result.note})."
    note = f" ({result.note})" if result.note else ""
    counts = counts_in_words(numbers)
    return f"{model} on {benchmark}: {result.value}{note} {PAPER}{'; ' + counts if counts else ''}."


def counts_in_words(numbers: Numbers) -> str:
    """How many items tied and how many are missing.

    >>> counts_in_words(in_order([Measurement("accuracy", "all", 0.5, None, None, 4, 4, ties=1, missing=2)]))
    '1 of 4 items tied, 2 of 6 missing'
    """
    whole = numbers.whole
    if whole is None:
        return ""
    tied = (
        f"{whole.ties:,} of {whole.items:,} items tied"
        if whole.ties
        else f"none of {whole.items:,} items tied"
    )
    every = whole.items + whole.missing
    return f"{tied}, {whole.missing:,} of {every:,} missing" if whole.missing else f"{tied}, none missing"
