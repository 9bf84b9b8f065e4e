"""The page of `alignscope attribute`: the audit's sections on attribution alone, from records alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from alignscope.reporting.attributed import Attributed, attributed
from alignscope.reporting.page import render, write_page
from alignscope.reporting.run import Run, read_run


@dataclass(frozen=True)
class Page:
    """Everything the template shows."""

    run: Run
    model: str
    attributed: Attributed


def attribution_page(directory: Path) -> Path:
    """Write directory/report.html from the records beside it, whole or not at all; returns its path."""
    return write_page(directory / "report.html", render("attribution.html", page_of(read_run(directory))))


def page_of(run: Run) -> Page:
    """Sort the records into the page's sections."""
    return Page(
        run=run,
        model=str(run.setting("model", "name") or "the model"),
        attributed=attributed(run),
    )
