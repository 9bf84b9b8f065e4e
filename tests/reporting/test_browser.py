"""A real browser lays the page out: nothing wider than the screen, on a desk and on a phone."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from alignscope import files
from alignscope.records import Choice, Example, Problem
from alignscope.reporting.attribution import attribution_page
from alignscope.reporting.audit import audit_page
from alignscope.reporting.evaluation import evaluation_page, suite_page
from alignscope.reporting.pair import pair_page

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium on this machine")
QUIET = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
]


def browse(profile: Path, *arguments: str) -> str:
    assert BROWSER is not None
    done = subprocess.run(
        [BROWSER, *QUIET, f"--user-data-dir={profile}", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout


def widths(folder: Path, pages: dict[str, tuple[str, int]]) -> dict[str, int]:
    """How wide each page's contents are in a frame of the width beside it."""
    frames = "".join(
        f'<iframe id="{name}" width="{width}" height="900" style="border:0" srcdoc="{html.escape(page)}"></iframe>'
        for name, (page, width) in pages.items()
    )
    script = (
        "addEventListener('load', () => { const found = {}; for (const f of document.querySelectorAll('iframe'))"
        " found[f.id] = f.contentDocument.documentElement.scrollWidth;"
        " document.body.innerHTML = '<pre>' + JSON.stringify(found) + '</pre>'; });"
    )
    wrapper = folder / "wrapper.html"
    wrapper.write_text(f"<!doctype html><script>{script}</script><body>{frames}</body>", encoding="utf-8")
    dom = browse(folder / "profile-widths", "--dump-dom", wrapper.as_uri())
    found = re.search(r"<pre>(\{.*?\})</pre>", dom)
    assert found is not None, dom[:2000]
    return json.loads(found[1])


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
) -> None:
    attributed, evaluated, suite, pair = (
        page.read_text(encoding="utf-8").replace("<details", "<details open")
        for page in (
            attribution_page(attribution_directory),
            evaluation_page(evaluation_directory),
            suite_page(suite_directory),
            pair_page(write_pair(tmp_path / "pair", [f"model-{n}-{'x' * 60}" for n in range(5)])),
        )
    )
    usual = audit_page(run_directory).read_text(encoding="utf-8").replace("<details", "<details open")
    with_unbreakable_contents(run_directory)
    hard = audit_page(run_directory).read_text(encoding="utf-8").replace("<details", "<details open")
    assert "<details open>" in hard
    pages = {"usual": usual, "hard": hard, "attributed": attributed, "evaluated": evaluated}
    asked = {f"{name}-{width}": (html, width) for name, html in pages.items() for width in (1200, 760, 390)}
    asked |= {f"pair-{width}": (pair, width) for width in (1200, 320)}
    asked |= {f"{name}-320": (html, 320) for name, html in (("usual", usual), ("suite", suite))}
    too_wide = "<!doctype html><body style='margin:0'><div style='width:800px'>x</div>"
    found = widths(tmp_path, {**asked, "meta": (too_wide, 390)})
    assert found.pop("meta") == 800, "the measurement does not notice a page that is too wide"
    assert found == {name: width for name, (_, width) in asked.items()}


@pytest.mark.parametrize(("scheme", "is_dark"), [("1", False), ("0", True)])
def test_the_page_is_drawn_in_light_and_dark(
    run_directory: Path, tmp_path: Path, scheme: str, is_dark: bool
) -> None:
    page, picture = audit_page(run_directory), tmp_path / "page.png"
    browse(
        tmp_path / "profile",
        f"--blink-settings=preferredColorScheme={scheme}",
        "--window-size=1200,1400",
        f"--screenshot={picture}",
        page.as_uri(),
    )
    with Image.open(picture) as image:
        shot = image.convert("L")
    assert shot.size == (1200, 1400)
    assert (shot.getpixel((5, 700)) < 60) == is_dark
    low, high = shot.getextrema()
    assert high - low > 150, "nothing legible was drawn"


def test_it_prints(four_method_directory: Path, tmp_path: Path) -> None:
    printed = tmp_path / "page.pdf"
    browse(tmp_path / "profile", f"--print-to-pdf={printed}", audit_page(four_method_directory).as_uri())
    assert printed.read_bytes().startswith(b"%PDF")
    assert len(printed.read_bytes()) > 20_000
