"""Image maps on the page: the view in pixels of the original lies where it belongs on the thumbnail."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from alignscope import files
from alignscope.errors import BadData
from alignscope.records import Box, PatchMap, Picture, WordHeat
from alignscope.reporting.attribution import attribution_page
from alignscope.reporting.image_maps import image_maps
from alignscope.reporting.overlays import OUTSIDE
from alignscope.reporting.page import Embedded

# an original of 400 x 200 of which the model saw the right half; its thumbnail is 100 x 50
RIGHT_HALF = PatchMap("a", "a.jpg", "a cat", "gradcam", 1, 2, (0.0, 1.0), Box(200.0, 0.0, 400.0, 200.0))


def png(width: int, height: int) -> str:
    out = io.BytesIO()
    Image.new("RGB", (width, height), (100, 100, 100)).save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode()


PICTURE = Picture("a.jpg", 400, 200, png(100, 50))


def pixels(embedded: Embedded) -> np.ndarray:
    image = Image.open(io.BytesIO(base64.b64decode(embedded.uri.partition(",")[2])))
    assert image.size == (embedded.width, embedded.height)
    return np.asarray(image.convert("L"), dtype=float)


def test_the_view_lies_where_it_belongs_on_the_thumbnail() -> None:
    found = image_maps([RIGHT_HALF], PICTURE, ())
    ((method, embedded),) = found.maps
    assert (method, found.text) == ("gradcam", "a cat")
    shown = pixels(embedded)
    assert shown.shape == (50, 100)
    assert np.abs(shown[:, :50] - 100 * OUTSIDE).max() <= 1  # not seen: dimmed
    assert (shown[:, 50:75] < shown[:, 75:].min()).all()  # the hotter patch is lighter
    assert len(np.unique(shown)) == 3
    assert (pixels(found.picture) == 100).all()


def test_a_small_original_is_measured_in_its_own_pixels() -> None:
    small = replace(PICTURE, width=10, height=5)
    patches = replace(RIGHT_HALF, view=Box(5.0, 0.0, 10.0, 5.0))
    ours, theirs = (
        image_maps([p], picture, ()).maps for p, picture in ((patches, small), (RIGHT_HALF, PICTURE))
    )
    assert ours == theirs


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (replace(PICTURE, png="no picture"), "cannot be read"),
        (replace(PICTURE, png=base64.b64encode(b"no picture").decode()), "cannot be read"),
        (replace(PICTURE, width=0), "has no size"),
    ],
)
def test_a_broken_picture_is_said(picture: Picture, message: str) -> None:
    with pytest.raises(BadData, match=rf"the picture of a\.jpg {message}"):
        image_maps([RIGHT_HALF], picture, ())


def section(directory: Path) -> str:
    html = attribution_page(directory).read_text(encoding="utf-8")
    return "".join(re.findall(r'<section id="image".*?</section>', html, re.S))


def test_the_page_sets_words_beside_the_maps(attribution_directory: Path, reader: type[Any]) -> None:
    assert "<img" not in section(attribution_directory)  # maps alone are not enough
    assert "The hottest place lies on the thing" in reader(section(attribution_directory)).words
    files.write_jsonl(
        attribution_directory / "pictures.jsonl", [Picture("image.png", 64, 64, png(256, 256)), PICTURE]
    )
    page = reader(section(attribution_directory))
    told = [a["alt"] for tag, a in page.tags if tag == "img"]
    caption = "a striped cup left of a large lamp in the kitchen"
    assert told == [
        f"The picture, described as: {caption}",
        f"Where the model looks under attention for: {caption}",
        f"Where the model looks under gradcam for: {caption}",
    ]
    html = section(attribution_directory)
    assert re.findall("<figcaption>(.*?)</figcaption>", html) == ["picture", "attention", "gradcam"]
    assert re.findall('class="method">(.*?)<', html) == ["attention", "gradcam"]
    assert html.count("--shade") == 18  # nine words under the two methods with maps


def test_a_caption_without_heats_is_plain(attribution_directory: Path, reader: type[Any]) -> None:
    files.write_jsonl(attribution_directory / "pictures.jsonl", [Picture("image.png", 64, 64, png(256, 256))])
    files.write_parquet(attribution_directory / "heats.parquet", [], WordHeat)
    assert "gradcam a striped cup left of a large lamp" in reader(section(attribution_directory)).words


def test_a_run_without_images_has_no_such_section(attribution_directory: Path) -> None:
    for name in ("maps.jsonl", "measurements.parquet"):
        (attribution_directory / name).unlink()
    assert section(attribution_directory) == ""
    assert "#image" not in (attribution_directory / "report.html").read_text(encoding="utf-8")
