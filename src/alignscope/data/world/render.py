"""Scenes to pixels: cached sprites pasted on cached backgrounds, with a little seeded noise.

A finish changes lightness and saturation in a pattern and leaves the noun's hue alone.
"""

from __future__ import annotations

import colorsys
from collections.abc import Iterable
from functools import cache

import numpy as np
from jaxtyping import Bool, Float, Int16, UInt8

from alignscope.data.world.scene import GRAINS, SCENES, SIDE, WorldObject, WorldScene
from alignscope.data.world.shapes import HOLE_RADIUS, HUES, hole_centre, shape_mask

_NOISE_PX = 6  # largest change of a channel by the noise


def render(scene: WorldScene) -> UInt8[np.ndarray, "64 64 3"]:
    """The picture of a scene: background, ropes, then objects with whole things before what is in them."""
    canvas = _backdrop(scene.scene if scene.has_background else "", scene.variant).copy()
    for fact in scene.relations:
        if fact.name == "pulling":
            _draw_rope(canvas, scene.objects[fact.subject], scene.objects[fact.target])
    for thing in sorted(scene.objects, key=lambda thing: not thing.is_hollow):
        pixels, mask = _sprite(thing.noun, thing.finish, thing.size_px, thing.is_hollow)
        left, top = int(thing.box.x1), int(thing.box.y1)
        patch = canvas[top : top + mask.shape[0], left : left + mask.shape[1]]
        np.copyto(patch, pixels, where=mask)
    canvas += _noise(scene.grain)
    return canvas.clip(0, 255).astype(np.uint8)


def render_all(scenes: Iterable[WorldScene]) -> UInt8[np.ndarray, "scene 64 64 3"]:
    """Pictures of many scenes in one array."""
    pictures = [render(scene) for scene in scenes]
    return np.stack(pictures) if pictures else np.zeros((0, SIDE, SIDE, 3), np.uint8)


def _hsv(hue_degrees: float, saturation: float, value: float) -> tuple[float, float, float]:
    red, green, blue = colorsys.hsv_to_rgb(hue_degrees / 360, saturation, value)
    return 255 * red, 255 * green, 255 * blue


@cache
def _noise(grain: int) -> Int16[np.ndarray, "64 64 3"]:
    plane = np.random.default_rng(grain % GRAINS).integers(-_NOISE_PX, _NOISE_PX + 1, (SIDE, SIDE, 3))
    return plane.astype(np.int16)


def _draw_rope(canvas: Int16[np.ndarray, "64 64 3"], puller: WorldObject, pulled: WorldObject) -> None:
    """A dark rope between two centres, with a knot where the puller holds it."""
    (x1, y1), (x2, y2) = puller.centre, pulled.centre
    row = int((y1 + y2) / 2)
    canvas[row - 1 : row + 1, int(min(x1, x2)) : int(max(x1, x2))] = (92, 60, 40)
    knot = int(puller.box.x2) + 1 if x1 < x2 else int(puller.box.x1) - 4
    canvas[row - 3 : row + 3, knot : knot + 3] = (92, 60, 40)


# --- objects


@cache
def _sprite(
    noun: str, finish: str, size_px: int, is_hollow: bool
) -> tuple[Int16[np.ndarray, "height width 3"], Bool[np.ndarray, "height width 1"]]:
    """Pixels of one object and where they cover the background."""
    mask = shape_mask(noun, size_px)
    hue = HUES[noun]
    paint = {"base": _hsv(hue, 0.88, 0.88), "light": _hsv(hue, 0.30, 1.0), "deep": _hsv(hue, 0.95, 0.42)}
    pixels = np.empty((*mask.shape, 3), np.float64)
    pixels[:] = paint["light"] if finish == "pale" else paint["deep"] if finish == "dark" else paint["base"]
    rows, columns = np.indices(mask.shape)
    if finish == "striped":
        pixels[(rows + columns) % 6 < 3] = paint["light"]
    elif finish == "dotted":
        pixels[((rows + 1) % 5 < 2) & ((columns + 1) % 5 < 2)] = paint["deep"]
    elif finish == "glossy":
        pixels = _glossy(pixels, mask, paint)
    elif finish == "framed":
        pixels[mask & ~_core(mask)] = paint["deep"]
    if is_hollow:
        x, y = hole_centre(noun, size_px)
        distance = np.hypot(columns + 0.5 - x, rows + 0.5 - y)
        mask = mask | (distance <= HOLE_RADIUS)
        pixels[distance <= HOLE_RADIUS] = (250, 250, 250)
    return np.rint(pixels).astype(np.int16), mask[..., None]


def _core(mask: Bool[np.ndarray, "height width"]) -> Bool[np.ndarray, "height width"]:
    """What a frame leaves free: as thick a frame as leaves a third of the shape."""
    cores = (_eroded(mask, depth_px) for depth_px in (3, 2))
    return next((core for core in cores if 3 * core.sum() >= mask.sum()), _eroded(mask, 1))


def _eroded(mask: Bool[np.ndarray, "height width"], depth_px: int) -> Bool[np.ndarray, "height width"]:
    """The mask without the pixels that lie within `depth_px` steps of its outside."""
    inner = np.pad(mask, 1)
    for _ in range(depth_px):
        core = inner.copy()
        core[1:-1, 1:-1] &= inner[:-2, 1:-1] & inner[2:, 1:-1] & inner[1:-1, :-2] & inner[1:-1, 2:]
        inner = core
    return inner[1:-1, 1:-1]


def _glossy(
    pixels: Float[np.ndarray, "height width 3"],
    mask: Bool[np.ndarray, "height width"],
    paint: dict[str, tuple[float, float, float]],
) -> Float[np.ndarray, "height width 3"]:
    """Light falling from the upper left: a near-white spot that fades, and a shaded lower right."""
    rows, columns = np.indices(mask.shape)
    depth = max(d for d in (1, 2, 3, 4) if d == 1 or _eroded(mask, d).any())
    inner_rows, inner_columns = np.nonzero(_eroded(mask, depth))
    spot = np.argmin(inner_rows * 1.0 + inner_columns)
    reach = 0.17 * sum(mask.shape) / 2
    distance = np.hypot(rows - inner_rows[spot], columns - inner_columns[spot])
    light = np.expand_dims((1.6 - distance / reach).clip(0, 1), -1)
    slope = np.expand_dims((rows + columns) / (sum(mask.shape) - 2), -1)
    shaded = pixels * (1.12 - 0.5 * slope)
    return np.clip(shaded * (1 - light) + 252 * light, 0, 255)


# --- backgrounds: pale and greyish, so that a noun keeps its hue


@cache
def _backdrop(scene: str, variant: int) -> Int16[np.ndarray, "64 64 3"]:
    """The background cue of a scene type in one of its variants; grey where there is no cue."""
    canvas = np.full((SIDE, SIDE, 3), 178.0)
    if scene:
        rng = np.random.default_rng([SCENES.index(scene), variant])
        _PAINTERS[scene](canvas, rng)
    return np.rint(canvas).clip(0, 255).astype(np.int16)


Canvas = Float[np.ndarray, "64 64 3"]


def _beach(canvas: Canvas, rng: np.random.Generator) -> None:
    sea, sand = int(rng.integers(14, 22)), int(rng.integers(34, 42))
    canvas[:sea] = (214, 232, 244)
    canvas[sea:sand] = (146, 184, 206)
    canvas[sand:] = (232, 220, 190)
    waves = sand + np.rint(2 * np.sin(np.arange(SIDE) / 4 + rng.uniform(0, 6))).astype(int)
    for column, row in enumerate(waves):
        canvas[row - 1 : row + 2, column] = (250, 250, 250)


def _forest(canvas: Canvas, rng: np.random.Generator) -> None:
    canvas[:] = (142, 160, 140)
    for left in range(int(rng.integers(0, 8)), SIDE, 12):
        canvas[:, left : left + 5] = (108, 104, 92)
    canvas[-int(rng.integers(5, 13)) :] = (112, 126, 104)


def _street(canvas: Canvas, rng: np.random.Generator) -> None:
    road = int(rng.integers(38, 46))
    canvas[:] = (206, 206, 210)
    for left in range(0, SIDE, 11):
        height = int(rng.integers(12, road - 4))
        canvas[road - height : road, left : left + 10] = (166, 160, 162)
        canvas[road - height + 3 : road - 2 : 5, left + 2 : left + 8 : 3] = (222, 218, 200)
    canvas[road:] = (112, 112, 116)
    for left in range(int(rng.integers(0, 8)), SIDE, 14):
        canvas[road + 9 : road + 12, left : left + 8] = (236, 234, 226)


def _kitchen(canvas: Canvas, rng: np.random.Generator) -> None:
    tile = int(rng.integers(8, 11))
    rows, columns = np.indices((SIDE, SIDE)) + rng.integers(0, tile, (2, 1, 1))
    canvas[:] = (240, 236, 228)
    canvas[((rows // tile + columns // tile) % 2).astype(bool)] = (206, 204, 200)


def _snow(canvas: Canvas, rng: np.random.Generator) -> None:
    canvas[:] = (206, 214, 224)
    canvas[int(rng.integers(40, 50)) :] = (246, 248, 252)
    for row, column in rng.integers(0, SIDE - 2, (40, 2)):
        canvas[row : row + 2, column : column + 2] = (254, 254, 254)


def _night(canvas: Canvas, rng: np.random.Generator) -> None:
    canvas[:] = (82, 88, 114)
    canvas[int(rng.integers(50, 58)) :] = (58, 60, 72)
    for row, column in rng.integers(0, 50, (30, 2)) * (1, 1.28):
        canvas[int(row), int(column)] = (232, 232, 214)


def _desert(canvas: Canvas, rng: np.random.Generator) -> None:
    canvas[:] = (236, 224, 206)
    phase = rng.uniform(0, 6)
    columns = np.arange(SIDE)
    for row, paint in ((24, (220, 198, 164)), (38, (208, 184, 148)), (50, (196, 170, 134))):
        tops = row + np.rint(4 * np.sin(columns / 9 + phase + row)).astype(int)
        for column, top in enumerate(tops):
            canvas[top:, column] = paint


def _garden(canvas: Canvas, rng: np.random.Generator) -> None:
    fence = int(rng.integers(10, 16))
    canvas[:] = (190, 212, 176)
    canvas[:fence] = (218, 230, 238)
    for left in range(int(rng.integers(0, 4)), SIDE, 6):
        canvas[fence - 8 : fence + 6, left : left + 3] = (246, 244, 238)
    canvas[fence : fence + 2] = (246, 244, 238)
    for row, column in rng.integers(fence + 8, SIDE - 3, (16, 2)):
        canvas[row, column - 1 : column + 2] = (240, 220, 232)
        canvas[row - 1 : row + 2, column] = (240, 220, 232)
        canvas[row, column] = (236, 200, 90)


_PAINTERS = {
    "beach": _beach,
    "forest": _forest,
    "street": _street,
    "kitchen": _kitchen,
    "snow": _snow,
    "night": _night,
    "desert": _desert,
    "garden": _garden,
}
