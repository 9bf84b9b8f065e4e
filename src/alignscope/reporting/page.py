"""What every page shares: its templates, its rows of measurements, and writing it whole or not at all."""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from alignscope.errors import UnwritableOutput
from alignscope.records import Measurement
from alignscope.reporting.captions import in_numbers
from alignscope.reporting.charts import WHOLE, Axis, axis_of, interval_chart
from alignscope.reporting.entries import plain
from alignscope.reporting.glossary import GLOSSARY
from alignscope.reporting.run import Run
from alignscope.reporting.wording import (
    CLASS_LABELS,
    interval_in_words,
    is_number,
    kind_in_words,
    number,
    value_in_words,
)

ROOM = Path(__file__).parent
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


def render(template: str, page: object) -> str:
    """A template's HTML; everything that is not Markup is escaped."""
    environment = Environment(
        loader=FileSystemLoader(ROOM),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["firm"] = firm
    environment.filters["score"] = score_in_words
    environment.filters["kind"] = kind_in_words
    environment.filters["plain"] = plain
    return environment.get_template(template).render(
        page=page,
        facts=facts,
        signatures_of=signatures_of,
        seconds_of=seconds_of,
        in_numbers=in_numbers,
        css=Markup((ROOM / "page.css").read_text(encoding="utf-8")),
        glossary=GLOSSARY,
        class_labels=CLASS_LABELS,
    )


def write_page(target: Path, html: str) -> Path:
    """Write a page, whole or not at all; returns its path."""
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


def rows_of(measurements: Sequence[Measurement]) -> list[Row]:
    """Rows of a section; shares are drawn from 0 to 1, anything else on its measure's and method's own axis."""
    kin: dict[tuple[str, str], list[Measurement]] = {}
    for m in measurements:
        kin.setdefault((m.measure, m.method), []).append(m)
    axes = {key: axis_of(found) for key, found in kin.items()}
    return [
        row_of(m, _axis(m, axes[m.measure, m.method]), bar=m.measure in ("heat", "score drop"))
        for m in measurements
    ]


def _axis(m: Measurement, own: Axis) -> Axis:
    """A share that may be below zero (a difference of shares) keeps its own axis."""
    return WHOLE if m.unit == "share" and own.low >= 0 else own


def row_of(m: Measurement, axis: Axis, *, bar: bool = False) -> Row:
    """A measurement's row, drawn on `axis`."""
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


def signatures_of(measurements: Sequence[Measurement]) -> list[tuple[str, list[str]]]:
    """Signatures without their first part, each with the measures that share it."""
    shared: dict[str, list[str]] = {}
    for m in measurements:
        _, _, tail = m.signature.partition("|")
        if m.signature and m.measure not in shared.setdefault(tail, []):
            shared[tail].append(m.measure)
    return list(shared.items())


@dataclass(frozen=True)
class Embedded:
    """A PNG inside the page; width and height are zero where the record holds none."""

    uri: str
    width: int
    height: int


def embedded(png: str) -> Embedded:
    """A base64 PNG as a data URI with its size."""
    return Embedded(f"data:image/png;base64,{png}", *png_size(png))


def seconds_of(run: Run) -> list[tuple[str, float]]:
    """How long each stage of a run took, where run.json says."""
    seconds = run.setting("seconds")
    if not isinstance(seconds, dict):
        return []
    return [(str(stage), float(s)) for stage, s in seconds.items() if isinstance(s, int | float)]


def facts(settings: Any, under: str = "") -> list[tuple[str, str]]:
    """Settings by name, those inside others after the others' names.

    >>> facts({"seed": 0, "plan": {"methods": ["a", "b"], "on_all": None}})
    [('seed', '0'), ('plan methods', 'a, b')]
    """
    found = []
    for name, value in settings.items() if isinstance(settings, Mapping) else ():
        path = f"{under} {name}".strip().replace("_", " ")
        if isinstance(value, Mapping):
            found += facts(value, path)
        elif value is not None:
            found.append((path, ", ".join(map(str, value)) if isinstance(value, list) else str(value)))
    return found


def score_in_words(score: float | None) -> str:
    """A score as a plain number, small ones (cosines, probabilities) to more places.

    >>> score_in_words(27.114), score_in_words(0.2713), score_in_words(0.000012), score_in_words(None)
    ('27.11', '0.271', '1.2e-05', 'no score')
    """
    return number(score, "score") if score is not None and is_number(score) else "no score"


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


def firm(text: str) -> Markup:
    """Keep a number on one line with its percent sign, and with the sign of half an interval."""
    firmer = str(escape(text)).replace("± ", "±\N{NO-BREAK SPACE}")
    return Markup(re.sub(r"(\d) %", "\\1\N{NARROW NO-BREAK SPACE}%", firmer))
