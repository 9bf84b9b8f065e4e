"""Overlays pixel by pixel: colours in order, patches where they belong, the unseen dimmed."""

from __future__ import annotations

import base64
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alignscope.errors import BadData
from alignscope.records import Box, PatchMap
from alignscope.reporting.overlays import OUTSIDE, RAMP, SHARE, coloured, overlay, scaled

GREY = Image.new("RGB", (80, 40), (100, 100, 100))
WHOLE = PatchMap("a", "a.png", "a cat", "gradcam", 2, 2, (1.0, 3.0, 2.0, 1.5), Box(0, 0, 80, 40))
COCO = Path(__file__).parents[2].parent / "shared" / "data" / "coco_images"


def opened(png: str) -> np.ndarray:
    picture = Image.open(io.BytesIO(base64.b64decode(png)))
    assert (picture.format, picture.mode) == ("PNG", "RGB")
    return np.asarray(picture).astype(float)


def mixed(heat: float, grey: float = 100.0) -> np.ndarray:
    """What a patch of this heat (0 to 1) looks like over grey."""
    share = SHARE[0] + (SHARE[1] - SHARE[0]) * heat
    return share * coloured(np.array([[heat]]))[0, 0] + (1 - share) * grey


@pytest.mark.parametrize(
    "weights",
    [(0.2126, 0.7152, 0.0722), (0.0, 0.91, 0.09), (0.3, 0.6, 0.1)],
    ids=["all cones", "no red cones", "print"],
)
def test_hotter_is_lighter_to_every_eye(weights):
    lightness = coloured(np.linspace(0, 1, 200)[None, :])[0] @ np.array(weights)
    assert (np.diff(lightness) > 0).all()
    steps = np.diff(lightness[:: len(lightness) // 5])
    assert steps.max() < 2.5 * steps.min(), "no jump and no plateau"


def test_the_hottest_over_black_is_lighter_than_the_coolest_over_white():
    assert mixed(1.0, grey=0.0).mean() > mixed(0.0, grey=255.0).mean()


def test_every_patch_is_drawn_where_it_lies():
    picture = opened(overlay(GREY, WHOLE, size=160))
    assert picture.shape == (80, 160, 3)
    heats = np.array([[0.0, 1.0], [0.5, 0.25]])
    assert scaled(WHOLE).tolist() == heats.tolist()
    for row in range(80):
        for column in (0, 79, 80, 159):
            want = mixed(heats[row // 40, column // 80])
            assert picture[row, column] == pytest.approx(want, abs=1)


def test_what_the_model_did_not_see_is_dimmed_and_keeps_its_colour():
    red = Image.new("RGB", (80, 40), (200, 40, 20))
    cropped = replace(WHOLE, view=Box(20, 0, 60, 40))
    picture = opened(overlay(red, cropped, size=80))
    want = np.array([200, 40, 20]) * OUTSIDE
    for columns in (slice(0, 20), slice(60, 80)):
        assert np.abs(picture[:, columns] - want).max() <= 1
    grey = float(np.asarray(red.convert("L"))[0, 0])
    assert picture[0, 20] == pytest.approx(mixed(0.0, grey), abs=1)
    assert picture[0, 59] == pytest.approx(mixed(1.0, grey), abs=1)
    assert picture[39, 20] == pytest.approx(mixed(0.5, grey), abs=1)
    assert np.abs(np.diff(picture[0, 20:40], axis=0)).max() == 0, "one patch, one colour"


def test_a_view_beyond_the_edges_is_cut():
    """20 pixels of padding on both sides: 60 x 60 patches of which the image shows a part."""
    padded = replace(WHOLE, view=Box(-20, -40, 100, 80))
    picture = opened(overlay(GREY, padded, size=80))
    assert picture.shape == (40, 80, 3)
    heats = np.array([[0.0, 1.0], [0.5, 0.25]])
    for row in (0, 19, 20, 39):
        for column in (0, 39, 40, 79):
            want = mixed(heats[(row + 40) // 60, (column + 20) // 60])
            assert picture[row, column] == pytest.approx(want, abs=1)


def test_equal_heats_are_dark_throughout():
    picture = opened(overlay(GREY, replace(WHOLE, heats=(0.7,) * 4), size=80))
    assert np.abs(picture - mixed(0.0)).max() <= 1


def test_the_image_is_left_as_it_was_whatever_its_mode_and_size():
    for mode in ("L", "RGBA", "P"):
        image = Image.new(mode, (7, 3))
        before = image.tobytes()
        assert opened(overlay(image, replace(WHOLE, view=Box(0, 0, 7, 3)), size=90)).shape == (39, 90, 3)
        assert (image.mode, image.tobytes()) == (mode, before)
    thin = Image.new("RGB", (1000, 1))
    assert opened(overlay(thin, replace(WHOLE, view=Box(499, 0, 500, 1)), size=50)).shape == (1, 50, 3)


@pytest.mark.parametrize("heats", [(1.0, 2.0, 3.0), (1.0, float("nan"), 2.0, 3.0)])
def test_a_broken_map_is_refused(heats):
    with pytest.raises(BadData, match="2 x 2 finite numbers"):
        overlay(GREY, replace(WHOLE, heats=heats))


def test_the_ramp_ends_are_its_extremes():
    assert RAMP.sum(axis=1).argmin() == 0
    assert RAMP.sum(axis=1).argmax() == len(RAMP) - 1


def test_a_photograph_with_a_cropped_view():
    path = COCO / "000000000785.jpg"
    if not path.is_file():
        pytest.skip(f"{path} is not here")
    photograph = Image.open(path)
    width, height = photograph.size
    left = (width - height) / 2
    noise = np.random.default_rng(0).random(49)
    seen = PatchMap("a", "a", "a skier", "gradcam", 7, 7, tuple(noise), Box(left, 0, width - left, height))
    picture = opened(overlay(photograph, seen, size=320))
    assert picture.shape[1] == 320
    small = np.asarray(photograph.resize((320, picture.shape[0]), Image.Resampling.LANCZOS), dtype=float)
    edge = round(left / width * 320)
    assert np.abs(picture[:, : edge - 1] - small[:, : edge - 1] * OUTSIDE).max() <= 1
    assert np.abs(picture[:, edge + 1 : 319 - edge] - small[:, edge + 1 : 319 - edge]).mean() > 20
