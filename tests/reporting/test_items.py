"""Every choice is in the page's list; a real browser sorts, filters, searches and turns it by clicks and keys."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import random
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from alignscope import files
from alignscope.records import Choice, Example, Picture, Problem
from alignscope.reporting.audit import audit_page, page_of
from alignscope.reporting.items import browser
from alignscope.reporting.page import render
from alignscope.reporting.run import read_run, thumbnail_name

KINDS = ("replace_object", "swap_relation", "negated_verb")


def choice(n: int, kind: str, caption_score: float, foil_score: float, image: str | None = None) -> Choice:
    return Choice(
        f"item-{n}",
        image or f"image-{n}",
        kind,
        f"a red ball {n} on a cup",
        f"a blue ball {n} on a cup",
        caption_score,
        foil_score,
    )


def texts(n: int, kind: str) -> list[str]:
    return [f"item-{n}", f"image-{n}", kind, f"a red ball {n} on a cup", f"a blue ball {n} on a cup"]


def many(count: int) -> list[Choice]:
    draw = random.Random(0)
    found = []
    for n in range(count):
        own = draw.randint(-40, 40) / 8
        other = own if n % 10 == 0 else draw.randint(-40, 40) / 8
        found.append(choice(n, KINDS[n % 3], own, other, f"image-{n // 4}"))
    return found


def unpacked(data: str) -> list[list[Any]]:
    """The lines with their names again, read by a plain JSON reader."""
    found = json.loads(data)
    return [
        [item, found["images"][image], found["kinds"][kind][0], found["captions"][caption], *rest]
        for item, image, kind, caption, *rest in found["lines"]
    ]


def test_each_choice_is_there_once_with_its_outcome() -> None:
    choices = [
        choice(1, "swap_object", 2.0, 1.0),
        choice(2, "swap_object", 1.0, 1.0),
        choice(3, "replace_object", 0.1, 0.25),
        choice(4, "replace_object", math.nan, 1.0),
    ]
    problems = [
        Problem("item-3", "a blue ball 3 on a cup", "text of 90 tokens truncated at 77", "handled"),
        Problem("item-3", "another text", "of no concern here", "handled"),
        Problem("item-9", "lost.jpg", "image: missing", "unscored"),
        Problem("", "vocabulary", "about no item", "handled"),
    ]
    found = browser(choices, problems)
    assert unpacked(found.data) == [
        [*texts(4, "replace_object"), None, 1.0, "unscored", "a score is not a finite number"],
        ["item-9", "", "", "", "", None, None, "unscored", "image: missing: lost.jpg"],
        [*texts(3, "replace_object"), 0.1, 0.25, "wrong", "text of 90 tokens truncated at 77"],
        [*texts(2, "swap_object"), 1.0, 1.0, "tie", ""],
        [*texts(1, "swap_object"), 2.0, 1.0, "right", ""],
    ]
    assert found.outcomes == (("wrong", 1), ("tie", 1), ("unscored", 2), ("right", 1))
    assert [(kind, count) for kind, _, count in found.kinds] == [
        ("replace_object", 2),
        ("swap_object", 2),
        ("", 1),
    ]
    assert (found.shown, found.total, found.images) == (5, 5, 4)


def test_scores_that_differ_in_float32_differ_in_the_page() -> None:
    import numpy as np

    one = np.float32(8.5203)
    other = np.nextafter(one, np.float32(9))
    [line] = unpacked(browser([choice(1, "swap_object", float(one), float(other))]).data)
    assert np.float32(line[5]) == one
    assert np.float32(line[6]) == other
    assert line[7] == "wrong"


def test_what_does_not_fit_is_the_clearest_and_is_counted(run_directory: Path, reader: type[Any]) -> None:
    choices = many(500)
    found = browser(choices, limit=2_050_000)
    assert 100 < found.shown < 450
    assert found.total == 500
    assert len(found.data.encode()) < 50_000
    page = replace(page_of(read_run(run_directory), []), items=found)
    told = f"This page holds the {found.shown} choices with the smallest difference of 500; the others"
    assert told in reader(render("audit.html", page)).words
    kept = {line[0] for line in unpacked(found.data)}
    margins = {c.item: c.caption_score - c.foil_score for c in choices}
    assert max(margins[i] for i in kept) <= min(margin for i, margin in margins.items() if i not in kept)


def test_pictures_are_of_the_images_listed_and_bounded() -> None:
    choices = [choice(n, "swap_object", 1.0, 2.0, f"image-{n}") for n in range(3)]
    example = Example("item-0", "image-0", "swap_object", "a", "b", 1.0, 2.0, "large")
    pictures = [Picture("image-0", 8, 8, "small"), Picture("image-2", 8, 8, "x" * 3_000_000)]
    found = browser(choices, (), [example], pictures)
    assert found.beside == 0
    data = json.loads(found.data)
    assert {data["images"][int(place)]: png for place, png in data["pictures"].items()} == {
        "image-0": "small"
    }
    assert (found.pictured, found.images) == (1, 3)


def test_images_not_in_the_page_are_named_with_their_thumbnails() -> None:
    choices = [choice(n, "swap_object", 1.0, 2.0, f"../image-{n}") for n in range(3)]
    found = browser(
        choices,
        (),
        [Example("item-0", "../image-0", "swap_object", "a", "b", 1.0, 2.0, "large")],
        thumbnails=[thumbnail_name("../image-0"), thumbnail_name("../image-2"), "other.jpg"],
    )
    data = json.loads(found.data)
    named = {data["images"][int(place)]: name for place, name in data["thumbnails"].items()}
    digest = hashlib.sha256(b"../image-2").hexdigest()
    assert named == {"../image-2": f"{digest[:16]}.jpg"}  # image 0 is in the page
    assert (found.pictured, found.beside, found.images) == (1, 1, 3)


def test_the_page_lets_only_its_own_script_run(run_directory: Path, reader: type[Any]) -> None:
    text = audit_page(run_directory).read_text(encoding="utf-8")
    tags = reader(text).tags
    assert [a for tag, a in tags if tag == "script"] == [{"type": "application/json", "id": "items-data"}, {}]
    [script] = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    [policy] = [a["content"] for tag, a in tags if tag == "meta" and "http-equiv" in a]
    assert policy.split("script-src ")[1] == f"'sha256-{digest}'"
    assert not re.search(r"innerHTML|eval|fetch|XMLHttp|import\(|https?:|document\.write", script)


def test_without_javascript_a_sentence_stands_there(run_directory: Path) -> None:
    text = audit_page(run_directory).read_text(encoding="utf-8")
    assert "The list needs JavaScript, which is off here." in text[text.index("<noscript>") :]
    assert '<div id="items-browser" hidden>' in text


def test_an_audit_without_choices_says_so(run_directory: Path, reader: type[Any]) -> None:
    (run_directory / "choices.parquet").unlink()
    files.write_jsonl(run_directory / "problems.jsonl", [])
    page = reader(audit_page(run_directory).read_text(encoding="utf-8"))
    assert "The run holds no choices.parquet: no choice can be listed." in page.words


@contextmanager
def served(directory: Path) -> Iterator[str]:
    """A folder as any web server shows it."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(directory))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def write(run_directory: Path, choices: list[Choice]) -> None:
    files.write_parquet(run_directory / "choices.parquet", choices, Choice)
    files.write_jsonl(run_directory / "problems.jsonl", [])


@pytest.fixture
def driven(run_directory: Path, tab: Any) -> Callable[..., list[dict[str, Any]]]:
    """Does things to the page in a browser; what the list shows before them and after each."""

    def drive(choices: list[Choice], steps: str) -> list[dict[str, Any]]:
        write(run_directory, choices)
        tab.open(audit_page(run_directory).as_uri())
        return tab.value(
            "(() => { const found = []; const at = (name) => document.getElementById('items-' + name);"
            "const see = () => found.push({status: at('status').textContent, rows: [...at('rows').rows].map("
            "(row) => [...row.cells].map((cell) => cell.textContent)), sorts: [...document.querySelectorAll("
            "'#items th')].map((head) => head.getAttribute('aria-sort')), focus: document.activeElement.id});"
            "const type = (name, value) => { at(name).value = value;"
            " at(name).dispatchEvent(new Event('input', {bubbles: true})); see(); };"
            "const sort = (by) => { document.querySelector(`[data-by=${by}]`).click(); see(); };"
            "const press = (name) => { at(name).focus(); at(name).click(); see(); };"
            f"see(); {steps}; return found; }})()"
        )

    return drive


def differences(state: dict[str, Any]) -> list[float]:
    return [float(row[5]) for row in state["rows"]]


def test_it_runs_under_its_own_policy(run_directory: Path, tab: Any) -> None:
    write(run_directory, many(60))
    tab.open(audit_page(run_directory).as_uri())
    assert tab.value("document.getElementById('items-status').textContent") == "1 to 50 of 60 choices"
    assert tab.value("document.querySelectorAll('#items-rows tr[role=row]').length") == 50
    assert tab.complaints == []


def test_it_sorts_filters_searches_and_turns(driven: Callable[..., list[dict[str, Any]]]) -> None:
    choices = many(230)
    margins = sorted(c.caption_score - c.foil_score for c in choices)
    steps = (
        "press('next'); press('previous'); press('previous'); sort('difference'); sort('captionScore');"
        "type('kind', 'swap_relation'); type('outcome', 'tie'); press('clear');"
        "type('image', 'image-7'); type('image', ''); type('search', 'BALL 17'); type('search', 'blue nowhere')"
    )
    start, after, back, still, falling, own, kind, ties, clear, image, _, search, none = driven(
        choices, steps
    )
    assert start["status"] == "1 to 50 of 230 choices"
    assert differences(start) == [round(m, 3) for m in margins[:50]]
    assert start["sorts"] == ["none"] * 5 + ["ascending", "none"]
    assert after["status"] == "51 to 100 of 230 choices"
    assert after["focus"] == "items-next"
    assert differences(after) == [round(m, 3) for m in margins[50:100]]
    assert back["rows"] == start["rows"] == still["rows"]
    assert differences(falling) == [round(m, 3) for m in margins[::-1][:50]]
    assert falling["sorts"] == ["none"] * 5 + ["descending", "none"]
    assert [float(row[3]) for row in own["rows"]] == sorted(c.caption_score for c in choices)[:50]
    assert kind["status"] == f"1 to 50 of {sum(c.kind == 'swap_relation' for c in choices)} choices"
    assert {row[1] for row in kind["rows"]} == {"who-does-what"}
    tied = [c for c in choices if c.kind == "swap_relation" and c.caption_score == c.foil_score]
    assert len(tied) > 5
    assert ties["status"] == f"1 to {len(tied)} of {len(tied)} choices"
    assert {row[6] for row in ties["rows"]} == {"= tie"}
    assert clear["status"] == start["status"]
    assert sorted(row[0] for row in image["rows"]) == [f"image-7item-{n}" for n in (28, 29, 30, 31)]
    wanted = {n for n in range(230) if "17" in str(n) or n // 4 == 17}
    assert search["status"] == f"1 to {len(wanted)} of {len(wanted)} choices"
    assert none["status"].startswith("No choice fits")
    assert none["rows"] == []


def test_hostile_words_stay_words_and_differences_are_marked(
    driven: Callable[..., list[dict[str, Any]]],
) -> None:
    attack = "</script><img src=x onerror=alert(1)>"
    hostile = Choice(attack, attack, attack, f"a {attack} cup", f"a {attack} plate", 1.0, 2.0)
    [before, after] = driven(
        [hostile],
        "found.pop(); document.querySelector('#items tbody button').click(); see();"
        "found.push({marks: [...document.querySelectorAll('#items mark')].map((m) => m.textContent),"
        " images: document.querySelectorAll('#items img').length})",
    )
    assert before["status"] == "1 to 1 of 1 choices"
    assert before["focus"] == "items-image"
    assert attack in before["rows"][0][0]
    assert f"a {attack} plate" in before["rows"][0][2]
    assert after == {"marks": ["cup", "plate"], "images": 0}


ROW = "[...document.querySelectorAll('#items-rows tr')]"
SHOWN = f"{ROW}.map((row) => [row.cells[0].innerText, row.querySelector('img')?.naturalWidth ?? null])"


def test_of_ten_thousand_each_image_is_shown_soon_after_it_is_asked_for(
    run_directory: Path, tab: Any
) -> None:
    """Typed and clicked; 0.15 s from a key to the new rows on a busy core, half a second is the limit."""
    write(run_directory, [choice(n, KINDS[n % 3], 1.0, n / 8) for n in range(10_000)])
    folder = run_directory / "thumbnails"
    folder.mkdir()
    for n in (50, 9_876):
        Image.new("RGB", (64, 48), "navy").save(folder / thumbnail_name(f"image-{n}"))
    page = audit_page(run_directory)
    with served(run_directory) as address:
        for opened in (page.as_uri(), f"{address}/{page.name}"):
            tab.open(opened)
            tab.click("#items-search")
            tab.value(
                "window.slowest = 0; document.getElementById('items-search').addEventListener('input', () => {"
                "const start = performance.now(); requestAnimationFrame(() => setTimeout(() => {"
                "slowest = Math.max(slowest, performance.now() - start); })); }, true)"
            )
            for letter in "item-9876":
                tab.told("Input.insertText", text=letter)
            tab.wait(f"{ROW}.length === 1")
            assert tab.wait(f"({SHOWN})[0][1] && {SHOWN}") == [["image-9876\nitem-9876", 64]]
            assert 0 < tab.value("slowest") < 500
            tab.click("#items-clear")
            tab.click("[data-by=difference]")  # the clearest first
            tab.click("#items-next")
            tab.wait("document.getElementById('items-status').textContent.startsWith('51 to 100 of')")
            shown = tab.wait(f"({SHOWN})[0][1] && {SHOWN}")
            assert shown[:2] == [["image-50\nitem-50", 64], ["image-51\nitem-51", None]]
            outside = [
                one for one in tab.requests if not one.startswith((opened.rpartition("/")[0], "data:"))
            ]
            assert (outside, tab.complaints) == ([], [])


def test_without_the_folder_the_name_stands_alone(run_directory: Path, tab: Any) -> None:
    write(run_directory, [choice(1, "swap_object", 1.0, 2.0)])
    folder = run_directory / "thumbnails"
    folder.mkdir()
    (folder / thumbnail_name("image-1")).write_bytes(b"")
    text = audit_page(run_directory).read_text(encoding="utf-8")
    assert "0 of 1 images are shown from this page alone, 1 from the folder <code>thumbnails</code>" in text
    (folder / thumbnail_name("image-1")).unlink()
    tab.open((run_directory / "report.html").as_uri())
    tab.value("document.getElementById('items').scrollIntoView()")
    tab.wait(f"{SHOWN}[0][1] === null")
