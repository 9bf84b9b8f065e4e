"""Our numbers beside those that others published for the same model, with the gap and what may explain it.

The figures and where each was read are in published.json; numbers in percent, as printed there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files

from alignscope.records import Measurement, Published
from alignscope.registry import did_you_mean

EVERYWHERE = "another size, crop or interpolation of images, another precision, texts cut at another length"
REASONS: dict[str, tuple[str, ...]] = {
    "aro-relation": (
        "the number is the mean over relations without the symmetric ones, not over items",
        "tables leave out some rare relations that the authors' notebook keeps (issue 8 of their repository)",
    ),
    "aro-attribute": (
        "the number is the mean over pairs of attributes with 25 items or more, not over items",
    ),
    "aro-coco-order": ("the authors' shuffles were not published and depend on versions of spaCy and NLTK",),
    "aro-flickr-order": (
        "the authors' shuffles were not published and depend on versions of spaCy and NLTK",
    ),
    "sugarcrepe": ("swap_obj lost a record in November 2023 (246, now 245)", "argmax counts ties as right"),
    "sugarcrepe-pp": ("TOT asks for two comparisons in the code, one in the text that describes it",),
    "vl-checklist": (
        "the authors' code passes over items whose image is missing, and may stop at the first 2,000",
        "there is no official single number for objects, attributes or relations",
    ),
    "valse": (
        "over all is the share of items (micro), not the mean of instruments",
        "items that annotators did not confirm (mturk.caption below 2) were left in",
    ),
    "svo-probes": (
        "images are web addresses, many of them dead: others score another subset",
        "the authors' own number is the mean accuracy of yes-or-no answers, not a choice between images",
    ),
    "comvg": ("paper B's one number is taken to be that of the verb rows",),
    "winoground": ("argmax counts some ties as right", "paper B counts the 171 items without a tag alone"),
    "coco-retrieval": ("25,010 or 25,000 captions", "equal scores are ordered by the sort"),
    "flickr-retrieval": ("equal scores are ordered by the sort",),
    "sts-b": ("a trained regression (SentEval) is another number",),
    "sick-r": (
        "4,927 pairs of the test split or all 9,927",
        "a trained regression (SentEval) is another number",
    ),
}
"""What is known to move a benchmark's numbers; sources in the readers of each."""


@dataclass(frozen=True)
class Verified:
    """A published number and ours, in percent; `gap` is ours minus theirs."""

    benchmark: str
    measure: str
    group: str
    model: str
    ours: float | None
    published: float
    gap: float | None
    is_same: bool  # to the digits that are printed
    reasons: str
    source: str
    remark: str = ""


def published() -> list[Published]:
    """The table that is shipped."""
    text = files("alignscope.evaluation").joinpath("published.json").read_text(encoding="utf-8")
    return [Published(**row) for row in json.loads(text)]


def models_of(benchmark: str, table: Iterable[Published] | None = None) -> list[str]:
    """Models with published numbers on a benchmark.

    >>> models_of("svo-probes")[0]
    'CLIP ViT-B/32'
    """
    rows = published() if table is None else table
    return sorted({row.model for row in rows if row.benchmark == benchmark})


def verify(
    benchmark: str,
    measurements: Sequence[Measurement],
    *,
    model: str,
    table: Sequence[Published] | None = None,
) -> list[Verified]:
    """Every published number of `model` on `benchmark` beside ours.

    `ours` is None where nothing of ours is the same number; the reasons then say so. They are given wherever
    the numbers differ in a printed digit.
    """
    ours = {(number.measure, number.group): number for number in measurements}
    rows = published() if table is None else table
    return [
        _verified(row, ours.get((row.measure, row.group)))
        for row in rows
        if row.benchmark == benchmark and row.model == model
    ]


def verdict(benchmark: str, model: str, lines: Sequence[Verified]) -> str:
    """The lines as text, two decimals, gaps explained.

    >>> verdict("comvg", "clip vit-b/32", [])
    "comvg: nothing published for 'clip vit-b/32': did you mean 'CLIP ViT-B/32'?"
    """
    if not lines:
        return f"{benchmark}: nothing published for {model!r}: {did_you_mean(model, models_of(benchmark))}"
    said = [f"{benchmark}, {model}: ours, published, gap (percent)"]
    for line in lines:
        number = "   none" if line.ours is None else f"{line.ours:7.2f}"
        gap = "" if line.gap is None else f"{line.gap:+6.2f}"
        same = "same" if line.is_same else line.reasons
        said.append(f"{line.measure}, {line.group}: {number} {line.published:7.2f} {gap:>6}  {same}")
    return "\n".join([*said, *dict.fromkeys(f"source: {line.source}" for line in lines)])


def _verified(row: Published, number: Measurement | None) -> Verified:
    value = None if number is None or number.value is None else 100 * number.value
    gap = None if value is None else value - row.value
    step = 10.0 ** -len(
        f"{row.value}".partition(".")[2].rstrip("0") or "0"
    )  # at least one decimal is printed
    is_same = gap is not None and abs(gap) <= step / 2 + 1e-9
    reasons = [] if is_same else [*_own_reasons(number), *REASONS.get(row.benchmark, ()), EVERYWHERE]
    return Verified(
        row.benchmark,
        row.measure,
        row.group,
        row.model,
        value,
        row.value,
        gap,
        is_same,
        "; ".join(reasons),
        row.source,
        row.remark,
    )


def _own_reasons(number: Measurement | None) -> list[str]:
    if number is None:
        return ["not measured here"]
    said = [f"{number.missing} items are missing"] if number.missing else []
    return [*said, *([f"{number.ties} ties"] if number.ties else [])]
