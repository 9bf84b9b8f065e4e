"""One page for the studies of papers A, B and C: what each found, how long it took, and where its own page is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from alignscope.errors import BadData
from alignscope.reporting import guided, scenes, variants
from alignscope.reporting.page import render, write_page
from alignscope.reporting.run import Run, read_run, read_settings

PAPERS = {
    "captions": ("A", "What captions does each model love?"),
    "composition": ("B", "Does training by attribution help composition?"),
    "scenes": ("C", "What changes in a captioner that learns scenes?"),
}
FEW = 3
"""Seeds below which nothing is claimed (macros.html says so on every page)."""
FINDINGS: Mapping[str, Callable[[Path], tuple[str, ...]]] = {
    "guided captioners": guided.findings_of,
    "variants": variants.findings_of,
    "scene captioners": scenes.findings_of,
}


@final
@dataclass(frozen=True)
class Told:
    """How one study went: `problem` where it failed, `missing` where it could not begin, `left_out` of its parts."""

    name: str
    problem: str = ""
    missing: tuple[str, ...] = ()
    seconds: float = 0.0
    left_out: tuple[str, ...] = ()


@final
@dataclass(frozen=True)
class Part:
    """One study as the page shows it."""

    told: Told
    paper: str
    asks: str
    study: str
    seeds: int
    headline: str
    findings: tuple[str, ...]
    minutes: str


@final
@dataclass(frozen=True)
class Page:
    """What the template shows."""

    run: Run
    parts: tuple[Part, ...]
    fewest: int  # seeds of a study
    minutes: str


def told_in(directory: Path) -> tuple[Told, ...]:
    """How the studies of a directory went so far; nothing where none has run."""
    path = directory / "run.json"
    studies = read_settings(path).get("studies", ()) if path.exists() else ()
    lists = ("missing", "left_out")
    return tuple(Told(**{**one, **{name: tuple(one.get(name, ())) for name in lists}}) for one in studies)


def everything_page(directory: Path) -> Path:
    """Write directory/index.html from the records of its studies; returns its path."""
    return write_page(directory / "index.html", render("everything.html", page_of(directory)))


def page_of(directory: Path) -> Page:
    """What is to be said of every study; one that did not run says why."""
    parts = tuple(_part(directory, told) for told in told_in(directory))
    if not parts:
        raise BadData(f"{directory}: got no studies, wanted the --out of `alignscope reproduce all`")
    seeds = [part.seeds for part in parts if part.seeds]
    total = sum(part.told.seconds for part in parts)
    return Page(read_run(directory, ()), parts, min(seeds, default=0), _minutes(total))


def summary_of(directory: Path) -> tuple[str, ...]:
    """A line per study: its headline, or why there is none."""
    return tuple(
        f"{part.told.name} (paper {part.paper}, {part.minutes}): "
        + ("quick run, no claim: " if 0 < part.seeds < FEW else "")
        + (part.headline or part.told.problem or f"cannot run, {len(part.told.missing)} missing")
        for part in page_of(directory).parts
    )


def _part(directory: Path, told: Told) -> Part:
    paper, asks = PAPERS[told.name]
    if told.problem or told.missing:
        return Part(told, paper, asks, "", 0, "", (), _minutes(told.seconds))
    place = directory / told.name
    identity: Any = read_settings(place / "run.json")["identity"]
    headline, *findings = FINDINGS[identity["kind"]](place)
    study = identity["study"]
    return Part(
        told,
        paper,
        asks,
        study["name"],
        len(study["seeds"]),
        headline,
        tuple(findings),
        _minutes(told.seconds),
    )


def _minutes(seconds: float) -> str:
    """A time as people say it.

    >>> _minutes(42.3), _minutes(150), _minutes(8000)
    ('42 s', '2.5 min', '2.2 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
