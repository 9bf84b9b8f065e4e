"""The audit's page: one HTML file made from records alone, without scripts, network or fonts."""

from __future__ import annotations

import base64
import binascii
import math
import os
import re
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from alignscope.errors import UnwritableOutput
from alignscope.records import Choice, EditedScore, Example, Measurement, Problem, Rank
from alignscope.reporting.captions import Part, ShadedCaption, differences, shaded_captions
from alignscope.reporting.charts import SHARES, WHOLE, Axis, axis_of, interval_chart
from alignscope.reporting.glossary import GLOSSARY
from alignscope.reporting.headline import (
    answer,
    drop_sentence,
    heat_sentence,
    unscored_sentence,
    verdict,
)
from alignscope.reporting.run import Run, read_run
from alignscope.reporting.wording import (
    CLASS_LABELS,
    SUMMARY_GROUPS,
    interval_in_words,
    is_number,
    kind_in_words,
    kind_order,
    value_in_words,
)

ROOM = Path(__file__).parent
LISTED_PROBLEMS = 200
LISTED_TIES = 50
SHADED_CAPTIONS = 10
EDITED_CAPTIONS = 8
PNG_HEADER = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Row:
    """One measurement as its table shows it."""

    label: str
    detail: str
    value: str
    is_scored: bool
    interval: str
    chart: Markup
    measurement: Measurement
    remark: str = ""
    verdict: str = ""
    is_summary: bool = False


@dataclass(frozen=True)
class Shown:
    """An example with its words compared and its picture checked."""

    example: Example
    kind: str
    caption: tuple[Part, ...]
    foil: tuple[Part, ...]
    result: str  # "right", "wrong", "tie", "unscored"
    margin: float
    picture: str  # data URI, empty where the record holds no PNG
    width: int
    height: int


@dataclass(frozen=True)
class Direction:
    """How deep the right answers were found in one direction."""

    name: str
    queries: int
    candidates: int
    median_rank: float
    tied: int


@dataclass(frozen=True)
class Page:
    """Everything the template shows."""

    run: Run
    model: str
    headline: str
    unscored: str
    accuracy: list[Row]
    words: list[Row]
    heat_sentence: str
    captions: list[ShadedCaption]
    sensitivity: list[Row]
    drop_sentence: str
    edits: list[EditedScore]
    retrieval: list[Row]
    directions: list[Direction]
    other: list[Row]
    examples: list[Shown]
    problems: list[tuple[str, str, int]]
    listed_problems: list[Problem]
    ties: list[Choice]
    ties_by_kind: list[tuple[str, int, int]]
    signatures: list[tuple[str, list[str]]]
    seconds: list[tuple[str, float]]


def audit_page(directory: Path) -> Path:
    """Write directory/report.html from the records beside it, whole or not at all; returns its path."""
    target = directory / "report.html"
    html = render(read_run(directory))
    half = target.with_name(target.name + ".part")
    try:
        half.write_text(html, encoding="utf-8", errors="replace")
        os.replace(half, target)
    except OSError as error:
        half.unlink(missing_ok=True)
        raise UnwritableOutput(
            f"{target} cannot be written ({error.strerror}): make its directory writable, or copy the run"
        ) from error
    return target


def render(run: Run) -> str:
    """The page's HTML."""
    environment = Environment(
        loader=FileSystemLoader(ROOM),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["firm"] = _firm
    environment.filters["score"] = _score
    environment.filters["kind"] = kind_in_words
    return environment.get_template("audit.html").render(
        page=page_of(run),
        css=Markup((ROOM / "audit.css").read_text(encoding="utf-8")),
        glossary=GLOSSARY,
        class_labels=CLASS_LABELS,
    )


def page_of(run: Run) -> Page:
    """Sort the records into the page's sections."""
    model = str(run.setting("model", "name") or "the model")
    sections: dict[str, list[Measurement]] = {"accuracy": [], "heat": [], "drop": [], "recall": [], "": []}
    for m in run.measurements:
        sections[_section(m.measure)].append(m)
    sections["accuracy"].sort(key=lambda m: kind_order(m.group))
    ties = [choice for choice in run.choices if choice.is_tie]
    tied, offered = Counter(c.kind for c in ties), Counter(c.kind for c in run.choices)
    return Page(
        run=run,
        model=model,
        headline=answer(run.measurements, model),
        unscored=unscored_sentence(run.measurements),
        accuracy=[_accuracy_row(m) for m in sections["accuracy"]],
        words=_rows(sections["heat"]),
        heat_sentence=heat_sentence(run.measurements),
        captions=_captions(run),
        sensitivity=_rows(sections["drop"]),
        drop_sentence=drop_sentence(run.measurements),
        edits=_edits(run.edits),
        retrieval=_rows(sections["recall"]),
        directions=_directions(run.ranks),
        other=_rows(sections[""]),
        examples=_examples(run.examples),
        problems=_grouped(run.problems),
        listed_problems=run.problems[:LISTED_PROBLEMS],
        ties=ties[:LISTED_TIES],
        ties_by_kind=[(kind_in_words(k), tied[k], offered[k]) for k in sorted(tied, key=kind_order)],
        signatures=_signatures(run.measurements),
        seconds=_seconds(run),
    )


def _section(measure: str) -> str:
    if measure == "accuracy":
        return measure
    if measure.startswith("heat") or measure == "object above rest":
        return "heat"
    if measure.startswith(("score drop", "drop ")) or measure == "nouns drop more":
        return "drop"
    return "recall" if measure.startswith("recall@") else ""


def _rows(measurements: list[Measurement]) -> list[Row]:
    """Rows of a section; shares are drawn from 0 to 1, anything else on its measure's own axis."""
    axes = {
        measure: axis_of([m for m in measurements if m.measure == measure])
        for measure in {m.measure for m in measurements}
    }
    axes |= {m.measure: WHOLE for m in measurements if m.unit == "share"}
    return [_row(m, axes[m.measure], bar=m.measure in ("heat", "score drop")) for m in measurements]


def _row(m: Measurement, axis: Axis, *, bar: bool = False) -> Row:
    return Row(
        label=m.measure,
        detail=m.group,
        value=value_in_words(m),
        is_scored=is_number(m.value),
        interval=interval_in_words(m),
        chart=interval_chart(m, axis, bar=bar),
        measurement=m,
        remark=m.reason if is_number(m.value) else "",
    )


def _accuracy_row(m: Measurement) -> Row:
    return Row(
        label=kind_in_words(m.group),
        detail="" if m.group in SUMMARY_GROUPS else m.group,
        value=value_in_words(m),
        is_scored=is_number(m.value),
        interval=interval_in_words(m),
        chart=interval_chart(m, SHARES),
        measurement=m,
        remark=m.reason if is_number(m.value) else "",
        verdict=verdict(m),
        is_summary=m.group in SUMMARY_GROUPS,
    )


def _captions(run: Run) -> list[ShadedCaption]:
    texts = {choice.item: choice.caption for choice in run.choices}
    texts |= {example.item: example.caption for example in run.examples}
    first = [example.item for example in run.examples]
    return shaded_captions(run.heats, texts, first, limit=SHADED_CAPTIONS)


def _edits(edits: Sequence[EditedScore]) -> list[EditedScore]:
    """A few edited captions from the whole length of the list."""
    return list(edits[:: max(1, len(edits) // EDITED_CAPTIONS)])[:EDITED_CAPTIONS]


def _directions(ranks: Sequence[Rank]) -> list[Direction]:
    found = []
    for name in sorted({rank.direction for rank in ranks}):
        here = [rank for rank in ranks if rank.direction == name]
        found.append(
            Direction(
                name=name,
                queries=len(here),
                candidates=max(rank.candidates for rank in here),
                median_rank=statistics.median(rank.rank for rank in here),
                tied=sum(rank.ties > 0 for rank in here),
            )
        )
    return found


def _examples(examples: Sequence[Example]) -> list[Shown]:
    return [_shown(example) for example in sorted(examples, key=lambda e: kind_order(e.kind))]


def _shown(example: Example) -> Shown:
    caption, foil = differences(example.caption, example.foil)
    scores = (example.caption_score, example.foil_score)
    margin = scores[0] - scores[1] if all(map(is_number, scores)) else math.nan
    width, height = png_size(example.png)
    return Shown(
        example=example,
        kind=kind_in_words(example.kind),
        caption=caption,
        foil=foil,
        result=_result(margin),
        margin=margin,
        picture=f"data:image/png;base64,{example.png}" if width else "",
        width=width,
        height=height,
    )


def _result(margin: float) -> str:
    if not is_number(margin):
        return "unscored"
    return "tie" if margin == 0 else "right" if margin > 0 else "wrong"


def png_size(png: str) -> tuple[int, int]:
    """Width and height in the header of a base64 PNG, zeros where it is none.

    >>> png_size("not a picture")
    (0, 0)
    """
    try:
        start = base64.b64decode(png, validate=True)[:24]
    except (binascii.Error, ValueError):
        return 0, 0
    if len(start) < 24 or not start.startswith(PNG_HEADER):
        return 0, 0
    return int.from_bytes(start[16:20], "big"), int.from_bytes(start[20:24], "big")


def _grouped(problems: Iterable[Problem]) -> list[tuple[str, str, int]]:
    counts = Counter((problem.what, problem.action) for problem in problems)
    return [(what, action, count) for (what, action), count in counts.most_common()]


def _signatures(measurements: Sequence[Measurement]) -> list[tuple[str, list[str]]]:
    """Signatures without their first part, each with the measures that share it."""
    shared: dict[str, list[str]] = {}
    for m in measurements:
        _, _, tail = m.signature.partition("|")
        if m.signature and m.measure not in shared.setdefault(tail, []):
            shared[tail].append(m.measure)
    return list(shared.items())


def _seconds(run: Run) -> list[tuple[str, float]]:
    seconds = run.setting("seconds")
    if not isinstance(seconds, dict):
        return []
    return [(str(stage), float(s)) for stage, s in seconds.items() if isinstance(s, int | float)]


def _score(score: float | None) -> str:
    return f"{score:.2f}" if is_number(score) else "no score"


def _firm(text: str) -> Markup:
    """Keep a number and its percent sign on one line."""
    return Markup(re.sub(r"(\d) %", "\\1\N{NARROW NO-BREAK SPACE}%", str(escape(text))))
