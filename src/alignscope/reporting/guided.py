"""The page of a study of guided captioners: paper A's tables and figures, and what they say."""

from __future__ import annotations

from pathlib import Path


def guided_page(directory: Path) -> Path:
    """Write directory/report.html from the records of a finished study; returns its path."""
    return directory / "report.html"


def findings_of(directory: Path) -> tuple[str, ...]:
    """What a finished study found, as sentences with numbers."""
    return ()
