"""The page of `explore` as a person uses it, in a real browser: clicked, typed in, read with keys, and by axe."""

from __future__ import annotations

import json
import runpy
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import alignscope
from alignscope.studies.exploring.explore import Explorer
from alignscope.studies.exploring.gallery import world_gallery
from alignscope.studies.exploring.server import ExploreServer

driver = runpy.run_path(str(Path(__file__).parents[1] / "reporting" / "chromium.py"))
tab, axe = driver["tab"], driver["axe"]
SCORE = "document.querySelector('.score')?.textContent"


@pytest.fixture(scope="module")
def server() -> Iterator[ExploreServer]:
    models = [alignscope.model("tiny-clip"), alignscope.model("tiny-uniter")]
    with ExploreServer(Explorer(models, world_gallery(3))) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield running
        finally:
            running.shutdown()
            thread.join()


@pytest.fixture
def page(server: ExploreServer, tab: Any) -> Iterator[Any]:
    """The page, loaded; whatever was done to it, it asked no one but this program and broke no rule of its own."""
    tab.open(server.address)
    tab.wait(
        "document.querySelectorAll('input[name=image]').length >= 3 && !document.getElementById('go').disabled"
    )
    yield tab
    own = server.address.partition("/?")[0]
    assert [one for one in tab.requests if not one.startswith((own, "data:"))] == []
    assert tab.complaints == []


def said(server: ExploreServer, key: str, text: str, model: int = 0) -> str:
    """A score of the package as the page writes it."""
    one = server.explorer.models[model]
    picture = server.explorer.gallery.image(key)
    if one.traits.unit != "patch":
        picture = alignscope.World("test", size=3).regions(key, width=256)
    return f"{one.score([picture], [text]).item():.2f}".replace("-", "−")


def scored(page: Any) -> list[str]:
    """The scores shown, once the page has stopped asking."""
    page.wait("!document.getElementById('go').disabled")
    return page.value("[...document.querySelectorAll('.score')].map((one) => one.textContent)")


def status(page: Any) -> str:
    page.wait("!document.getElementById('go').disabled")
    return page.value("document.getElementById('status').textContent")


def typed(page: Any, caption: str) -> None:
    """Click into the caption, type another, and press Enter."""
    page.click("#caption")
    page.type(caption)
    page.press("Enter")


def test_another_image_another_caption_other_methods(page: Any, server: ExploreServer) -> None:
    images = list(server.explorer.gallery.captions)
    page.click("#gallery label:nth-child(2)")
    assert (
        page.value("document.getElementById('caption').value") == server.explorer.gallery.captions[images[1]]
    )
    assert page.wait("document.getElementById('chosen').naturalWidth") == 256
    typed(page, "a red ball")
    assert scored(page) == [said(server, images[1], "a red ball", model) for model in (0, 1)]
    before = page.value("[...document.querySelectorAll('.model')].map((one) => one.innerText)")
    picture = page.value("document.querySelector('.model img').src")
    page.click("#method")
    page.value("document.getElementById('method').focus()")
    page.press("ArrowDown")
    page.press("Enter")
    assert page.wait(
        "document.getElementById('method').value !== 'gradcam' && document.getElementById('method').value"
    )
    page.value("document.getElementById('map').value = 'attention'")
    page.click("#go")
    assert scored(page) == [said(server, images[1], "a red ball", model) for model in (0, 1)]
    after = page.value("[...document.querySelectorAll('.model')].map((one) => one.innerText)")
    assert after != before
    assert "gradient of the words, in numbers" in after[0]
    assert "attention of the image, 8 × 8" in after[0]
    assert "an image map by attention is unsupported by this model" in after[1]
    assert page.value("document.querySelector('.model img').src") != picture
    assert (
        page.value("document.querySelectorAll('.tried tbody tr').length") == 1
    )  # a method is no new caption


def test_a_swap_that_is_pressed_becomes_the_caption_and_changes_the_score(
    page: Any, server: ExploreServer
) -> None:
    key, text = next(iter(server.explorer.gallery.captions.items()))
    page.click("#go")
    own = scored(page)
    assert own[0] == said(server, key, text)
    page.click("#swap")
    assert status(page).endswith("swaps scored")
    assert {"wrong objects", "wrong attributes"} <= set(
        page.value("[...document.querySelectorAll('#swaps h3')].map((one) => one.textContent)")
    )
    row = "document.querySelector('#swaps tbody tr')"
    swap, beside = page.value(f"[{row}.cells[0].textContent, {row}.cells[1].innerText.split(/\\s+/)]")
    assert swap != text
    page.click("#swaps tbody tr button")
    page.wait(f"{SCORE} !== {json.dumps(own[0])}")
    assert scored(page) == [said(server, key, swap, model) for model in (0, 1)]
    assert beside[0] == scored(page)[0]
    assert page.value("document.getElementById('caption').value") == swap
    assert page.value("document.activeElement.id") == "results-title"
    change = page.value("document.querySelector('.model .change').textContent")
    assert change[0] == (
        "▼" if float(scored(page)[0].replace("−", "-")) < float(own[0].replace("−", "-")) else "▲"
    )
    assert page.value("[...document.querySelectorAll('.tried button')].map((one) => one.textContent)") == [
        swap,
        text,
    ]


def test_an_image_of_ones_own_and_files_that_are_none(
    page: Any, server: ExploreServer, tmp_path: Path
) -> None:
    picture = Image.new("RGB", (90, 60), "green")
    picture.save(tmp_path / "mine.png")
    (tmp_path / "page.png").write_text("<html><script>parent.hacked = 1</script>")
    (tmp_path / "drawing.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg' onload='hacked = 1'/>")
    for name in ("page.png", "drawing.svg"):
        page.choose_file("#upload", tmp_path / name)
        page.wait("document.getElementById('status').classList.contains('failed')")
        assert f"got {(tmp_path / name).stat().st_size} bytes that are no image" in status(page)
        assert "wanted PNG, JPEG, WEBP, GIF, BMP" in status(page)
        assert page.value("document.querySelectorAll('input[name=image]').length") == 3
        page.value("document.getElementById('status').classList.remove('failed')")
    with (tmp_path / "large.png").open("wb") as large:
        large.truncate(17 * 2**20)
    page.choose_file("#upload", tmp_path / "large.png")
    page.wait("document.getElementById('status').classList.contains('failed')")
    assert status(page) == "the image has more than 16 MiB: make it smaller"
    page.choose_file("#upload", tmp_path / "mine.png")
    page.wait("document.getElementById('status').textContent.startsWith('uploaded')")
    key = page.value("document.querySelector('input[name=image]:checked').value")
    assert key == "upload 1"  # whatever the file is called
    typed(page, "a green box")
    clip, uniter = scored(page)
    assert clip == said(server, key, "a green box")
    assert uniter == "no score"
    assert "cannot see an uploaded image" in page.value("document.querySelectorAll('.model')[1].innerText")
    assert page.value("typeof hacked") == "undefined"


def test_heats_are_read_with_keys_alone(page: Any, server: ExploreServer) -> None:
    page.click("#go")
    scored(page)
    page.value("document.getElementById('results-title').focus()")
    page.press("Tab")
    assert page.value("document.activeElement.textContent") == "gradcam of the words, in numbers"
    page.press("Enter")
    assert page.wait("document.activeElement.parentElement.open")
    rows = page.value(
        "[...document.querySelector('.numbers').querySelectorAll('tr')].map((row) => row.innerText)"
    )
    key, text = next(iter(server.explorer.gallery.captions.items()))
    [heard, _] = server.explorer.heard(key, text, method="gradcam", map_method="gradcam")
    assert [row.split("\t")[:2] for row in rows[1:]] == [[one.word, one.word_class] for one in heard.words]
    heats = [float(row.split("\t")[2]) for row in rows[1:]]
    assert heats == pytest.approx([one.heat for one in heard.words], abs=0.005)
    page.press("Tab")  # past all the words, to the next model's
    assert page.value("document.activeElement.textContent") == "gradcam of the words, in numbers"
    page.value("document.getElementById('gallery').querySelector('input').focus()")
    page.press("ArrowRight")
    assert (
        page.value("document.querySelector('input[name=image]:checked').value")
        == list(server.explorer.gallery.captions)[1]
    )


def test_it_meets_wcag_in_light_and_dark_on_a_desk_and_a_phone(page: Any, axe: str) -> None:
    page.click("#swap")
    status(page)
    page.click("#go")
    scored(page)
    page.value("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    for width, scheme in ((1200, "light"), (1200, "dark"), (390, "dark"), (390, "light")):
        page.show(width=width, scheme=scheme)
        assert page.violations(axe) == [], (width, scheme)
        assert page.value("document.documentElement.scrollWidth") <= width
    page.value(
        "document.querySelector('h1').style.color = '#cccccc'; chosen_ = document.getElementById('chosen')"
    )
    page.value("chosen_.removeAttribute('alt')")
    wanted = {"color-contrast", "image-alt"}
    assert wanted <= {rule for rule, *_ in page.violations(axe)}, "axe does not see what is wrong"
