"""Pictures: every noun, finish, size and cue leaves its trace, and no finish changes a hue."""

from __future__ import annotations

import colorsys
from collections import Counter
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from alignscope.data.world.render import render, render_all
from alignscope.data.world.scene import FINISHES, SCENES, VARIANTS, WorldObject, WorldScene, sample_scenes
from alignscope.data.world.shapes import HUES, NOUNS, extent, shape_mask
from alignscope.records import Box

SIZES_PX = (12, 13, 14, 15, 21, 22, 23, 24)


def thing(noun: str, finish: str, size_px: int, *, x: float = 20.0, y: float = 20.0) -> WorldObject:
    width, height = extent(noun, size_px)
    size = "small" if size_px <= 15 else "large"
    return WorldObject(noun, finish, size, Box(x, y, x + width, y + height), size_px)


def alone(*things: WorldObject, **options) -> WorldScene:
    return WorldScene("alone", things, (), (), **{"scene": "beach", "has_background": False, **options})


def pixels_of(item: WorldObject) -> np.ndarray:
    picture = render(alone(item)).astype(int)
    mask = shape_mask(item.noun, item.size_px)
    top, left = int(item.box.y1), int(item.box.x1)
    return picture[top : top + mask.shape[0], left : left + mask.shape[1]][mask]


def test_a_scene_changes_exactly_the_pixels_of_its_shapes():
    empty = render(alone()).astype(int)
    for noun in NOUNS:
        item = thing(noun, "dark", 22)
        changed = np.abs(render(alone(item)).astype(int) - empty).max(-1) > 0
        rows, columns = np.nonzero(changed)
        assert changed.sum() == shape_mask(noun, 22).sum(), noun
        box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert box == (item.box.x1, item.box.y1, item.box.x2, item.box.y2), noun


def test_every_finish_shows_on_every_noun_at_every_size():
    compared = 0
    for noun in NOUNS:
        for size_px in SIZES_PX:
            for one, other in combinations(FINISHES, 2):
                apart = pixels_of(thing(noun, one, size_px)) - pixels_of(thing(noun, other, size_px))
                share = (np.abs(apart).max(-1) > 40).mean()
                assert share > 0.25, (noun, size_px, one, other, share)
                compared += 1
    assert compared == 12 * 8 * 15


@pytest.mark.parametrize("finish", FINISHES)
def test_no_finish_changes_the_hue(finish):
    for noun in NOUNS:
        colours = pixels_of(thing(noun, finish, 24)) / 255
        hues, weights = [], []
        for colour in colours:
            hue, saturation, value = colorsys.rgb_to_hsv(*colour)
            hues.append(np.exp(2j * np.pi * hue))
            weights.append(saturation * value)
        mean = np.angle(np.average(hues, weights=weights), deg=True) % 360
        off = min(abs(mean - HUES[noun]), 360 - abs(mean - HUES[noun]))
        nearest = min(HUES, key=lambda n: min(abs(mean - HUES[n]), 360 - abs(mean - HUES[n])))
        assert off < 9, (noun, finish, mean)
        assert nearest == noun


def test_shapes_differ_without_colour():
    for one, other in combinations(NOUNS, 2):
        a, b = (np.zeros((26, 26), bool) for _ in range(2))
        for canvas, noun in ((a, one), (b, other)):
            mask = shape_mask(noun, 24)
            canvas[: mask.shape[0], : mask.shape[1]] = mask
        assert (a & b).sum() / (a | b).sum() < 0.9, (one, other)


def test_backgrounds_differ_between_scenes_and_within():
    cues = {
        (label, variant): render(alone(scene=label, has_background=True, variant=variant)).astype(int)
        for label in SCENES
        for variant in range(VARIANTS)
    }
    for (one, a), (other, b) in combinations(cues.items(), 2):
        far = (np.abs(a - b).max(-1) > 12).mean()
        assert far > (0.5 if one[0] != other[0] else 0.005), (one, other, far)
    grey = render(alone()).astype(int)
    assert all((np.abs(cue - grey).max(-1) > 12).mean() > 0.5 for cue in cues.values())


def test_without_a_cue_the_label_leaves_no_trace():
    pictures = {render(alone(scene=label)).tobytes() for label in SCENES}
    assert len(pictures) == 1


def test_a_picture_is_the_same_every_time_and_grain_is_a_trifle():
    scenes = sample_scenes(40, seed=0, split="train")
    assert np.array_equal(render_all(scenes), np.stack([render(scene) for scene in scenes]))
    for scene in scenes:
        other = render(replace(scene, grain=(scene.grain + 1) % 16)).astype(int)
        apart = np.abs(other - render(scene).astype(int))
        assert 0 < apart.max() <= 12


def test_no_scenes_make_an_empty_array():
    assert render_all([]).shape == (0, 64, 64, 3)


def test_what_is_inside_is_drawn_over_what_holds_it():
    checked = Counter()
    for scene in sample_scenes(400, seed=5, split="train"):
        for fact in scene.relations:
            if fact.name == "inside":
                inner = scene.objects[fact.subject]
                without = replace(
                    scene,
                    objects=tuple(o for o in scene.objects if o is not inner),
                    relations=(),
                )
                apart = np.abs(render(scene).astype(int) - render(without)).max(-1) > 15
                assert apart.sum() > 0.75 * shape_mask(inner.noun, inner.size_px).sum(), inner
                checked[inner.noun] += 1
    assert sum(checked.values()) > 30
