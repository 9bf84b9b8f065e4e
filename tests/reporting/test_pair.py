"""One pair under several models: a column each, with what it gives and what it does not."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from alignscope.errors import BadData
from alignscope.files import write_json
from alignscope.reporting.pair import pair_page


def html_of(directory: Path) -> str:
    return pair_page(directory).read_text(encoding="utf-8")


def test_every_model_has_its_column(pair_directory: Path, reader: type[Any]) -> None:
    html = html_of(pair_directory)
    first, second = re.findall(r"<article.*?</article>", html, re.S)
    words = [reader(column).words for column in (first, second)]
    assert words[0].startswith("tiny-clip score 27.10 · weights 02cd34ef56ab attention: words a striped cup")
    assert "unsupported" not in words[0]
    assert words[1].startswith(
        "other score 26.10 · weights 12cd34ef56ab attention: words unsupported by this"
    )
    assert words[1].count("unsupported by this model") == 3  # attention of words, both image maps
    assert [column.count("<img") for column in (first, second)] == [2, 0]
    assert [column.count("--shade") for column in (first, second)] == [18, 9]


def test_a_score_says_what_it_is(pair_directory: Path, reader: type[Any]) -> None:
    pair = json.loads((pair_directory / "pair.json").read_text())
    pair["models"][1]["unit"] = "yes"
    write_json(pair_directory / "pair.json", pair)
    words = reader(html_of(pair_directory)).words
    assert "other score 26.10 (log-odds of yes) · weights" in words
    assert "tiny-clip score 27.10 · weights" in words  # a run that does not say it


def test_pictures_hold_the_map(pair_directory: Path) -> None:
    uris = re.findall(
        r'<img src="data:image/png;base64,([^"]*)" width="(\d+)" height="(\d+)"', html_of(pair_directory)
    )
    pictures = [Image.open(io.BytesIO(base64.b64decode(uri))) for uri, _, _ in uris]
    assert [picture.size for picture in pictures] == [(int(w), int(h)) for _, w, h in uris]
    assert len({picture.size for picture in pictures}) == 1  # the image and its maps lie alike
    image, overlaid = (np.asarray(picture.convert("RGB"), dtype=float) for picture in pictures[:2])
    assert np.abs(image - overlaid).max() > 50


def test_nothing_is_fetched(pair_directory: Path, reader: type[Any]) -> None:
    html = html_of(pair_directory)
    page = reader(html)
    assert "script" not in {tag for tag, _ in page.tags}
    assert not re.search(r"https?://", html)
    assert all((a.get("alt") or "") for tag, a in page.tags if tag == "img")


def test_names_and_captions_are_escaped(
    tmp_path: Path, write_pair: Callable[..., Path], reader: type[Any]
) -> None:
    attack = '"><script>alert(1)</script>'
    directory = write_pair(tmp_path / "pair", [attack, "other"])
    models = [{"name": attack, "fingerprint": attack, "score": 1.0}]
    write_json(directory / "pair.json", {"caption": attack, "models": models})
    page = reader(html_of(directory))
    assert "script" not in {tag for tag, _ in page.tags}
    assert page.words.count("<script>alert(1)</script>") >= 2


def test_maps_alone_and_heats_alone_are_enough(pair_directory: Path, reader: type[Any]) -> None:
    (pair_directory / "heats.parquet").unlink()
    assert "No word heats were recorded." in reader(html_of(pair_directory)).words
    (pair_directory / "maps.jsonl").unlink()
    assert "No image maps were recorded." in reader(html_of(pair_directory)).words


def test_what_is_no_pair_is_said(pair_directory: Path, tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"no pair\.json in"):
        pair_page(tmp_path)
    write_json(pair_directory / "pair.json", {"caption": "a", "models": [{"name": "x"}]})
    with pytest.raises(BadData, match="wanted a caption and models with name, fingerprint and score"):
        pair_page(pair_directory)
    (pair_directory / "image.png").write_bytes(b"no picture")
    with pytest.raises(BadData, match=r"image\.png cannot be read"):
        pair_page(pair_directory)
    assert not (pair_directory / "report.html").exists()
