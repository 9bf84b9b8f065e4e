"""A real browser lays the page out: nothing wider than the screen, on a desk and on a phone."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from alignscope import files
from alignscope.records import Choice, Example, Problem
from alignscope.reporting.attribution import attribution_page
from alignscope.reporting.audit import audit_page
from alignscope.reporting.evaluation import evaluation_page, suite_page
from alignscope.reporting.pair import pair_page


def width_of(tab: Any, page: Path, width: int) -> int:
    """How wide a page's contents are in a window of a width, all its details open."""
    tab.open(page.as_uri(), width=width)
    tab.value("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    return tab.value("document.documentElement.scrollWidth")


def with_unbreakable_contents(run_directory: Path) -> None:
    long = "x" * 400
    shown = next(files.read_jsonl(run_directory / "examples.jsonl"))
    files.write_jsonl(
        run_directory / "examples.jsonl",
        [Example(long, long, long, long, long + "y", 1.0, 2.0, shown["png"])],
    )
    files.write_jsonl(run_directory / "problems.jsonl", [Problem(long, long, long, "handled")])
    files.write_parquet(
        run_directory / "choices.parquet", [Choice(long, long, long, long, long, 1.0, 1.0)], Choice
    )
    settings = json.loads((run_directory / "run.json").read_text())
    files.write_json(
        run_directory / "run.json", {**settings, "command": long, "model": {"name": "/m/" + long}}
    )


def test_no_page_is_wider_than_its_screen(
    run_directory: Path,
    attribution_directory: Path,
    evaluation_directory: Path,
    suite_directory: Path,
    tmp_path: Path,
    write_pair: Callable[..., Path],
    tab: Any,
) -> None:
    usual = audit_page(run_directory).rename(tmp_path / "usual.html")
    with_unbreakable_contents(run_directory)
    hard = audit_page(run_directory)
    assert "x" * 400 in hard.read_text(encoding="utf-8")
    pair = pair_page(write_pair(tmp_path / "pair", [f"model-{n}-{'x' * 60}" for n in range(5)]))
    asked = [
        (page, width)
        for page in (
            usual,
            hard,
            attribution_page(attribution_directory),
            evaluation_page(evaluation_directory),
        )
        for width in (1200, 760, 390)
    ]
    asked += [(pair, 1200), (pair, 320), (usual, 320), (suite_page(suite_directory), 320)]
    too_wide = tmp_path / "meta.html"
    too_wide.write_text(
        "<!doctype html><meta name=viewport content='width=device-width'><div style='width:800px;margin:-8px'>x</div>"
    )
    assert width_of(tab, too_wide, 390) == 800, "the measurement does not notice a page that is too wide"
    assert [width_of(tab, page, width) for page, width in asked] == [width for _, width in asked]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_drawn_in_light_and_dark(
    run_directory: Path, tmp_path: Path, scheme: str, tab: Any
) -> None:
    picture = tmp_path / "page.png"
    tab.open(audit_page(run_directory).as_uri(), height=1400, scheme=scheme)
    tab.screenshot(picture)
    with Image.open(picture) as image:
        shot = image.convert("L")
    assert shot.width == 1200
    assert (shot.getpixel((5, 700)) < 60) == (scheme == "dark")
    low, high = shot.getextrema()
    assert high - low > 150, "nothing legible was drawn"


def test_it_prints(four_method_directory: Path, tab: Any) -> None:
    tab.open(audit_page(four_method_directory).as_uri())
    printed = base64.b64decode(tab.told("Page.printToPDF")["data"])
    assert printed.startswith(b"%PDF")
    assert len(printed) > 20_000
