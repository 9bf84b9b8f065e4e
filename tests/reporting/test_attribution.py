"""The page of `alignscope attribute`: every method or why not, one caption under each, whether the map is right."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from alignscope import files
from alignscope.records import Measurement, Point, WordHeat
from alignscope.reporting.attribution import attribution_page
from alignscope.reporting.audit import audit_page

FIRM = "\N{NARROW NO-BREAK SPACE}"


def html_of(directory: Path) -> str:
    return attribution_page(directory).read_text(encoding="utf-8")


def test_the_page_shows_all_methods_and_what_is_unsupported(
    attribution_directory: Path, reader: type[Any]
) -> None:
    page = reader(html_of(attribution_directory))
    words = page.words.replace(FIRM, " ")
    for wanted in (
        "Which words tiny-clip listens to",
        "Under attention, gradcam, gradient, perturbation",
        "more heat than words that name relations under 2 of the 3 methods (attention and gradcam;",
        "no difference could be told under gradient",
        "attention 0.129 0.126 to 0.133 median 0.115 0.075 0.072 to 0.078",
        "91.2 % 87.6 to 94.5 %",
        "perturbation unsupported unsupported unsupported unsupported",
        "Take care: gradient is not shown to be better than a random order of words: deletion, insertion, "
        "comprehensiveness and sufficiency cannot be told from it",
        "Take care: attention gives about the same map with scrambled weights (correlation 0.810)",
        "Under attention and gradcam, the hottest words carry more of the score",
        "0.328 0.298 to 0.358 0.861 against 0.533 better",
        "0.010 -0.020 to 0.040 0.543 against 0.533 not told apart",
        "correlate from 0.210 (gradcam and gradient) to 0.622 (attention and gradcam)",
        "The hottest place lies on the thing a phrase names more often than a random place would under gradcam.",
        "95.9 % 94.1 to 97.6 % 8.6 % 8.1 to 9.1 % 87.3 % 85.5 to 88.9 %",
        "closest to its attribute phrases (cosine 0.505)",
        "45.3 % 38.9 to 51.9 % 60.4 % 54.1 to 66.2 % 15.1 % 6.2 to 24.2 %",
        "perturbation is unsupported by this model unscored 1",
    ):
        assert wanted in words, wanted
    assert "perturbation 0" not in words
    assert "1 problem was met" in words
    pointing = re.search(r"<caption>Pointing game</caption>.*?</table>", html_of(attribution_directory), re.S)
    assert pointing is not None
    named = re.findall(r'scope="row">(\w+)<', pointing[0])
    assert named == ["gradcam", "perturbation"]  # nobody asked attention and gradient for image maps
    assert "choices.parquet" not in words  # of audits alone


def test_figures_are_small_multiples_with_titles(attribution_directory: Path, reader: type[Any]) -> None:
    html = html_of(attribution_directory)
    titles = re.findall(r'<svg class="curves"[^>]*><title[^>]*>([^<]*)<', html)
    assert titles == [
        "Heat under attention",
        "Heat under gradcam",
        "Accuracy by ratio under gradcam",
        "Accuracy by ratio under gradient",
        "Cosine of captions with their phrases",
        "Deletion: hottest words removed first: lower is better",
        "Insertion: hottest words put in first: higher is better",
    ]
    assert 'class="curve s-other"' not in html  # words of no class are not drawn
    ids = [a["id"] for _, a in reader(html).tags if "id" in a]
    assert len(ids) == len(set(ids))
    assert all(a.get("role") == "img" for tag, a in reader(html).tags if tag == "svg")


def test_a_caption_is_whole_under_every_method(attribution_directory: Path) -> None:
    html = html_of(attribution_directory)
    block = next(b for b in re.findall(r"<li>(<div class=\"shaded\">.*?)</li>", html, re.S) if "striped" in b)
    rows = re.findall(r'<span class="method">(\w+)</span><div[^>]*>(.*?)</div></div>', block, re.S)
    assert [method for method, _ in rows] == ["attention", "gradcam", "gradient"]
    texts = [re.sub(r"<[^>]*>", "", re.sub(r"<small>.*?</small>", "", row)) for _, row in rows]
    assert texts == ["a striped cup left of a large lamp in the kitchen"] * 3
    shaded = [row.count("--shade") for _, row in rows]
    assert shaded[0] == shaded[1] == 9
    assert shaded[2] == 6  # gradient gives function words no heat: they are plain
    assert [row.count("<small>") > 0 for _, row in rows] == [True, False, False]  # classes are named once


def test_the_heat_of_each_word_can_be_read_with_the_keyboard_alone(
    attribution_directory: Path, tab: Any
) -> None:
    """One stop of the Tab key for a caption, whatever its words; Enter opens a table of all its methods."""
    tab.open(attribution_page(attribution_directory).as_uri(), width=390)
    assert tab.value("document.querySelectorAll('.numbers').length") == 2  # captions that are shaded
    for _ in range(200):
        tab.press("Tab")
        if tab.value("document.activeElement.textContent.includes('striped')"):
            break
    told = "in numbers: heat of the words of “a striped cup left of a large lamp in the kitchen”"
    assert tab.value("document.activeElement.textContent") == told
    assert tab.value("getComputedStyle(document.activeElement).outlineStyle") != "none"
    read = "[...document.activeElement.parentElement.querySelectorAll('tr')].map((row) => [...row.cells].map((cell) => cell.textContent))"
    is_shown = "document.activeElement.parentElement.querySelector('table').checkVisibility()"
    assert tab.value(is_shown) is False
    tab.press("Enter")
    assert tab.wait(is_shown)
    head, *rows = tab.value(read)
    assert head == ["word", "class", "attention", "gradcam", "gradient"]
    assert rows[:3] == [
        ["a", "other", "0.02", "0.01", "no heat"],
        ["striped", "attribute", "0.22", "0.11", "0.11"],
        ["cup", "object", "1.04", "0.52", "0.52"],
    ]
    assert len(rows) == 9
    tab.press("Tab")
    assert tab.value("document.activeElement.closest('table') === null"), "words are no stops of their own"


def test_the_ratio_is_drawn_without_its_ends_and_in_powers_of_ten(attribution_directory: Path) -> None:
    html = html_of(attribution_directory)
    drawn = re.findall(r'ratio under (\w+)</title>.*?<polyline class="curve s-\w+" points="([^"]*)"', html)
    points = {name: [float(p.split(",")[0]) for p in line.split()] for name, line in drawn}
    assert {name: len(xs) for name, xs in points.items()} == {"gradcam": 10, "gradient": 10}
    steps = [b - a for a, b in pairwise(points["gradient"])]
    assert max(steps) - min(steps) < 0.05  # powers of ten, evenly apart


def test_the_audit_shows_the_same_sections(
    four_method_directory: Path, attribution_directory: Path, reader: type[Any]
) -> None:
    def sections(html: str) -> list[str]:
        found = re.findall(r'<section id="(?:words|right)".*?</section>', html, re.S)
        return [re.sub(r'<ul class="captions">.*?</ul>', "", section, flags=re.S) for section in found]

    audit = audit_page(four_method_directory).read_text(encoding="utf-8")
    assert len(sections(audit)) == 2
    assert sections(audit) == sections(html_of(attribution_directory))
    words = reader(audit).words.replace(FIRM, " ")
    assert "tiny-clip stops at nouns: it catches 97 % of wrong objects" in words
    assert "Other measures" in words  # "symmetry" still is one; attribution's are not
    assert words.count("Measures this page has no section for") == 1
    other = words[words.index("Other measures") :]
    assert "symmetry left half" in other[:400]
    assert "gain" not in other[:400]


def test_an_old_run_has_one_method_and_says_that_nothing_checks_it(
    run_directory: Path, reader: type[Any]
) -> None:
    words = reader(audit_page(run_directory).read_text(encoding="utf-8")).words
    assert "Nothing that checks the maps was recorded in this run" in words
    assert "gradcam 0.412 0.401 to 0.424" in words
    assert "unsupported" not in words
    assert "A word that names an object gets more heat than one that names a relation" in words


def test_a_measure_without_value_shows_its_reason(attribution_directory: Path, reader: type[Any]) -> None:
    path = attribution_directory / "measurements.parquet"
    found = files.read_parquet(path, Measurement)
    silent = [
        replace(m, value=None, low=None, high=None, reason="no caption has a relation")
        if (m.measure, m.group, m.method) == ("heat", "relation", "gradcam")
        else m
        for m in found
    ]
    files.write_parquet(path, silent, Measurement)
    words = reader(html_of(attribution_directory)).words
    assert "gradcam 0.287 0.275 to 0.300 no caption has a relation" in words


def test_nothing_of_the_users_becomes_markup(attribution_directory: Path, reader: type[Any]) -> None:
    attack = '"><script>alert(1)</script>'
    heat = WordHeat(attack, attack, 0, attack, 0, len(attack), "object", 1.0, attack)
    files.write_parquet(attribution_directory / "heats.parquet", [heat, replace(heat, method="b")], WordHeat)
    odd = [
        Measurement(name, group, 0.5, 0.4, 0.6, 50, 50, unit=attack, method=attack)
        for name, group in (("heat", "object"), ("deletion gain", "all"), ("agreement", attack))
    ]
    files.write_parquet(attribution_directory / "measurements.parquet", odd, Measurement)
    figures = ("deletion curve", "accuracy by ratio", "phrase similarity density")
    points = [Point(f, s, x, x, 0.0, 1.0, 9) for f in figures for s in (attack, "b") for x in (0.0, 1.0)]
    points += [Point("heat density", f"{attack}/object", x, x, 0.0, 1.0, 9) for x in (0.0, 1.0)]
    files.write_parquet(attribution_directory / "points.parquet", points, Point)
    page = reader(html_of(attribution_directory))
    assert page.words.count(attack) >= 10
    assert "script" not in {tag for tag, _ in page.tags}


@pytest.mark.parametrize("name", ["measurements", "heats", "points"])
def test_absent_files_are_no_error(attribution_directory: Path, reader: type[Any], name: str) -> None:
    (attribution_directory / f"{name}.parquet").unlink()
    assert reader(html_of(attribution_directory)).words


def test_of_very_many_captions_some_are_read(attribution_directory: Path) -> None:
    from alignscope.reporting.run import read_heats

    heats = [
        WordHeat(f"i{n:05}", "x", p, "w", p, p + 1, "object", 1.0, "attention")
        for n in range(5000)
        for p in range(2)
    ]
    path = attribution_directory / "heats.parquet"
    files.write_parquet(path, heats, WordHeat)
    found = read_heats(path, ["i04999"], most=100)
    items = {heat.item for heat in found}
    assert 100 <= len(items) <= 103
    assert {"i00000", "i04950", "i04999"} <= items
    assert len(found) == 2 * len(items)  # captions are read whole
    assert read_heats(path, most=5000) == heats
