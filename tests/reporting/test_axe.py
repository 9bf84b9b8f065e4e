"""Pages meet WCAG 2.2 A and AA as far as axe-core can tell, in light and dark, and their colours where it cannot."""

from __future__ import annotations

import html
import json
import re
import runpy
import shutil
from collections.abc import Callable
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


@pytest.fixture
def violations(
    axe: str, browse: Callable[..., str], tmp_path: Path
) -> Callable[..., dict[str, list[list[str]]]]:
    """What axe finds in each page in a frame of the width beside it: rule, element, why."""

    def found(pages: dict[str, tuple[str, int]], scheme: str) -> dict[str, list[list[str]]]:
        frames = "".join(
            f'<iframe width="{width}" height="900" srcdoc="{html.escape(_ready(text, axe, name, scheme))}"></iframe>'
            for name, (text, width) in pages.items()
        )
        collect = (
            "const found = {}; window.done = (name, told) => { found[name] = told;"
            f"if (Object.keys(found).length < {len(pages)}) return;"
            "const out = document.createElement('pre'); out.id = 'axe'; out.textContent = JSON.stringify(found);"
            "document.body.replaceChildren(out); };"
        )
        copy = tmp_path / f"{scheme}.html"
        copy.write_text(f"<!doctype html><script>{collect}</script><body>{frames}</body>", encoding="utf-8")
        shown = f"--blink-settings=preferredColorScheme={int(scheme == 'light')}"
        dom = browse(shown, "--virtual-time-budget=60000", "--dump-dom", copy.as_uri())
        told = re.search(r'<pre id="axe">(.*?)</pre>', dom, re.DOTALL)
        assert told is not None, "axe did not end"
        return json.loads(html.unescape(told[1]))

    return found


def _ready(text: str, axe: str, name: str, scheme: str) -> str:
    """A page that lets axe run in it and tells its parent."""
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    text = text.replace("<details", "<details open")
    run = (
        f"axe.run(document, {{runOnly: {json.dumps(RULES[scheme])}}}).then((told) => parent.done({json.dumps(name)},"
        "told.violations.flatMap((one) => one.nodes.map((node) => [one.id, node.target.join(' '), node.failureSummary]))))"
    )
    before, after = text.rsplit("</body>", 1)
    return f"{before}<script>{axe}</script><script>{run}</script></body>{after}"


def _other(directory: Path) -> Path:
    return Path(shutil.copytree(directory, directory.with_name("other")))


@pytest.mark.parametrize("scheme", RULES)
def test_pages_have_no_violation(
    four_method_directory: Path,
    attribution_directory: Path,
    evaluation_directory: Path,
    tmp_path: Path,
    violations: Callable[..., Any],
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
        pages[name] = (page(directory).read_text(encoding="utf-8"), 1200)
    side = compared_page([four_method_directory, _other(four_method_directory)], tmp_path / "compared.html")
    pages["compared"] = (side.read_text(encoding="utf-8"), 1200)
    if scheme == "light":
        pages["audit on a phone"] = (pages["audit"][0], 390)
    bad = "<!doctype html><html><body style='background:#fff;color:#ccc'><img src='data:,'><p>faint</p></body></html>"
    found = violations({**pages, "bad": (bad, 400)}, scheme)
    wanted = {"color-contrast", *(("image-alt", "html-has-lang") if scheme == "light" else ())}
    assert wanted <= {rule for rule, *_ in found.pop("bad")}
    assert found == {name: [] for name in pages}


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
