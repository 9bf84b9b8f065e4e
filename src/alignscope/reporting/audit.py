"""The audit's page: one HTML file made from records alone, without network or fonts, and one script for its list."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from alignscope.records import Choice, EditedScore, Example, Measurement, Problem
from alignscope.reporting.attributed import Attributed, attributed, is_attribution
from alignscope.reporting.captions import Part, differences
from alignscope.reporting.charts import SHARES
from alignscope.reporting.headline import answer, drop_sentence, unscored_sentence, verdict
from alignscope.reporting.items import Browser, browser
from alignscope.reporting.page import (
    Embedded,
    Row,
    embedded,
    render,
    row_of,
    rows_of,
    write_page,
)
from alignscope.reporting.ranks import Direction, directions_of
from alignscope.reporting.run import PROBLEMS, Run, read_rows, read_run
from alignscope.reporting.wording import (
    SUMMARY_GROUPS,
    is_number,
    kind_in_words,
    kind_order,
    result_of,
    section_of,
)

LISTED_TIES = 50
EDITED_CAPTIONS = 8


@dataclass(frozen=True)
class Shown:
    """An example with its words compared and its picture checked."""

    example: Example
    kind: str
    caption: tuple[Part, ...]
    foil: tuple[Part, ...]
    result: str  # "right", "wrong", "tie", "unscored"
    margin: float
    picture: Embedded


@dataclass(frozen=True)
class Page:
    """Everything the template shows."""

    run: Run
    model: str
    headline: str
    unscored: str
    accuracy: list[Row]
    attributed: Attributed
    sensitivity: list[Row]
    drop_sentence: str
    edits: list[EditedScore]
    retrieval: list[Row]
    directions: list[Direction]
    calibration: list[Row]
    reads_together: bool  # image and text: it is calibrated, and there is no retrieval
    other: list[Row]
    examples: list[Shown]
    ties: list[Choice]
    ties_by_kind: list[tuple[str, int, int]]
    items: Browser


def audit_page(directory: Path) -> Path:
    """Write directory/report.html from the records beside it, whole or not at all; returns its path."""
    run = read_run(directory)
    problems = read_rows(directory / PROBLEMS, Problem)
    return write_page(directory / "report.html", render("audit.html", page_of(run, problems)))


def page_of(run: Run, problems: Sequence[Problem]) -> Page:
    """Sort the records into the page's sections."""
    model = str(run.setting("model", "name") or "the model")
    sections: dict[str, list[Measurement]] = {
        "accuracy": [],
        "attribution": [],
        "drop": [],
        "recall": [],
        "calibration": [],
        "": [],
    }
    for m in run.measurements:
        sections["attribution" if is_attribution(m) else section_of(m.measure)].append(m)
    sections["accuracy"].sort(key=lambda m: kind_order(m.group))
    ties = [choice for choice in run.choices if choice.is_tie]
    tied, offered = Counter(c.kind for c in ties), Counter(c.kind for c in run.choices)
    return Page(
        run=run,
        model=model,
        headline=answer(run.measurements, model),
        unscored=unscored_sentence(run.measurements),
        accuracy=[_accuracy_row(m) for m in sections["accuracy"]],
        attributed=attributed(run),
        sensitivity=rows_of(sections["drop"]),
        drop_sentence=drop_sentence(run.measurements),
        edits=_edits(run.edits),
        retrieval=rows_of(sections["recall"]),
        directions=directions_of(run.ranks),
        calibration=rows_of(sections["calibration"]),
        reads_together=run.setting("model", "traits", "family") in ("cross", "captioner"),
        other=rows_of(sections[""]),
        examples=_examples(run.examples),
        ties=ties[:LISTED_TIES],
        ties_by_kind=[(kind_in_words(k), tied[k], offered[k]) for k in sorted(tied, key=kind_order)],
        items=browser(run.choices, problems, run.examples, run.pictures, run.thumbnails),
    )


def _accuracy_row(m: Measurement) -> Row:
    is_summary = m.group in SUMMARY_GROUPS
    return replace(
        row_of(m, SHARES),
        label=kind_in_words(m.group),
        detail="" if is_summary else m.group,
        verdict=verdict(m),
        is_summary=is_summary,
    )


def _edits(edits: Sequence[EditedScore]) -> list[EditedScore]:
    """A few edited captions from the whole length of the list."""
    return list(edits[:: max(1, len(edits) // EDITED_CAPTIONS)])[:EDITED_CAPTIONS]


def _examples(examples: Sequence[Example]) -> list[Shown]:
    return [_shown(example) for example in sorted(examples, key=lambda e: kind_order(e.kind))]


def _shown(example: Example) -> Shown:
    caption, foil = differences(example.caption, example.foil)
    scores = (example.caption_score, example.foil_score)
    margin = scores[0] - scores[1] if all(map(is_number, scores)) else math.nan
    return Shown(
        example=example,
        kind=kind_in_words(example.kind),
        caption=caption,
        foil=foil,
        result=result_of(margin),
        margin=margin,
        picture=embedded(example.png),
    )
