"""A run's page is made by its kind."""

from __future__ import annotations

from pathlib import Path

import pytest

from alignscope.errors import BadData
from alignscope.files import write_json
from alignscope.reporting.pages import page

TITLES = {
    "audit": "alignscope audit",
    "attribute": "alignscope attribute",
    "inspect": "one image, one caption",
    "evaluate": "alignscope evaluate",
}


@pytest.mark.parametrize("kind", TITLES)
def test_the_kind_decides(kind: str, four_method_directory: Path, write_pair) -> None:
    directory = write_pair(four_method_directory)  # holds what each of the three pages needs
    write_json(directory / "run.json", {"identity": {"kind": kind}, "finished": True})
    assert page(directory) == directory / "report.html"
    html = (directory / "report.html").read_text(encoding="utf-8")
    assert [other for other, title in TITLES.items() if title in html] == [kind]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"identity": {"kind": "train"}, "finished": True},
            "got a run of kind 'train', wanted audit, attribute",
        ),
        ({"identity": {"kind": ["audit"]}}, "got a run of kind"),
        ({"identity": "audit"}, "got a run of kind None"),
        ({}, "got a run of kind None"),
        ({"identity": {"kind": "audit"}, "finished": False}, "unfinished run: end it with `alignscope audit"),
    ],
)
def test_what_has_no_page_is_said(settings: dict[str, object], message: str, tmp_path: Path) -> None:
    write_json(tmp_path / "run.json", settings)
    with pytest.raises(BadData, match=message):
        page(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_a_directory_without_a_run_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"no run\.json in"):
        page(tmp_path)
