"""Pages meet WCAG 2.2 A and AA as far as axe-core can tell, in light and dark, and their colours where it cannot."""

from __future__ import annotations

import json
import re
import runpy
import shutil
from pathlib import Path
from typing import Any

import pytest

import alignscope.reporting
from alignscope.reporting.compared import compared_page
from alignscope.reporting.pages import page

HERE = Path(__file__).parent
GUIDED = runpy.run_path(str(HERE / "test_guided.py"))
SCENES = runpy.run_path(str(HERE / "scene_runs.py"))
RULES = {  # in the dark only colours differ
    "light": runpy.run_path(str(HERE / "chromium.py"))["RULES"],
    "dark": ("color-contrast",),
}


def _other(directory: Path) -> Path:
    return Path(shutil.copytree(directory, directory.with_name("other")))


@pytest.mark.parametrize("scheme", RULES)
def test_pages_have_no_violation(
    four_method_directory: Path,
    attribution_directory: Path,
    evaluation_directory: Path,
    tmp_path: Path,
    axe: str,
    tab: Any,
    scheme: str,
) -> None:
    directories = {
        "audit": four_method_directory,
        "attribution": attribution_directory,
        "evaluation": evaluation_directory,
        "captions": GUIDED["study"](tmp_path / "captions", GUIDED["some_effects"]()),
        "scenes": SCENES["write_study"](tmp_path / "scenes"),
    }
    pages = {}
    for name, directory in directories.items():
        kept = json.loads((directory / "run.json").read_text())
        kind = {"audit": "audit", "attribution": "attribute", "evaluation": "evaluate"}.get(name)
        if kind:
            kept |= {"identity": {"kind": kind}, "finished": True}
            (directory / "run.json").write_text(json.dumps(kept))
        pages[name] = (page(directory), 1200)
    pages["compared"] = (
        compared_page([four_method_directory, _other(four_method_directory)], tmp_path / "compared.html"),
        1200,
    )
    if scheme == "light":
        pages["audit on a phone"] = (pages["audit"][0], 390)
    bad = tmp_path / "bad.html"
    bad.write_text(
        "<!doctype html><html><body style='background:#fff;color:#ccc'><img src='data:,'><p>faint</p></body></html>"
    )

    def violations(path: Path, width: int) -> list[list[str]]:
        tab.open(path.as_uri(), width=width, scheme=scheme)
        tab.value("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        return tab.violations(axe, RULES[scheme])

    wanted = {"color-contrast", *(("image-alt", "html-has-lang") if scheme == "light" else ())}
    assert wanted <= {rule for rule, *_ in violations(bad, 400)}
    assert {name: violations(*asked) for name, asked in pages.items()} == {name: [] for name in pages}


def luminance(colour: tuple[float, ...]) -> float:
    """Relative luminance of an sRGB colour (WCAG 2.2)."""
    red, green, blue = (
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in colour)
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def colours(css: str) -> dict[str, tuple[float, ...]]:
    found = re.findall(r"--([\w-]+): #([0-9a-f]{6});", css)
    return {name: tuple(int(code[i : i + 2], 16) for i in (0, 2, 4)) for name, code in found}


@pytest.mark.parametrize("scheme", RULES)
def test_colours_of_figures_and_words_are_told_from_what_they_stand_on(scheme: str) -> None:
    """axe leaves out text of SVG and very short text: the palette itself is checked."""
    css = (Path(alignscope.reporting.__file__).parent / "page.css").read_text(encoding="utf-8")
    light, dark = re.findall(r":root \{(.*?)\n *\}", css, re.DOTALL)[:2]
    block = light if scheme == "light" else dark
    colour = colours(block)
    texts = ("ink", "muted", "accent", "good", "bad", "noted", "object", "attribute", "relation", "scene")
    pairs = [(text, ground) for text in texts for ground in ("paper", "card")]
    pairs += [("ink", ground) for ground in ("ours", "theirs")]
    pairs += [(method, "paper") for method in ("attention", "gradcam", "gradient", "perturbation")]
    low = {pair: contrast(colour[pair[0]], colour[pair[1]]) for pair in pairs}
    assert {pair: value for pair, value in low.items() if value < 4.5} == {}
    heat = tuple(int(part) for part in re.findall(r"--heat: (\d+), (\d+), (\d+)", block)[0])
    for shade in (0.25, 0.5, 0.75, 1.0):
        ground = tuple(
            0.78 * shade * h + (1 - 0.78 * shade) * p for h, p in zip(heat, colour["paper"], strict=True)
        )
        assert contrast(colour["ink"], ground) >= 4.5, shade


def test_contrast_is_that_of_the_standard() -> None:
    assert contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21.0)
    assert contrast((118, 118, 118), (255, 255, 255)) == pytest.approx(4.54, abs=0.005)
