"""Patch maps drawn over their images, as pictures for a page."""

from __future__ import annotations

import base64
import io

import numpy as np
from jaxtyping import Float
from PIL import Image
from PIL.Image import Resampling

from alignscope.errors import BadData
from alignscope.records import Box, PatchMap

RAMP = np.array(
    [(14, 12, 46), (60, 48, 124), (140, 80, 130), (208, 116, 100), (246, 168, 84), (255, 236, 150)],
    dtype=float,
)
"""From cool to hot: lightness rises all the way, so that the order survives any colour vision and print."""
OUTSIDE = 0.3  # brightness that is left to what the model did not see
SHARE = (0.5, 0.7)  # of the map in the mixture with the image, where it is coolest and where hottest


def overlay(image: Image.Image, patch_map: PatchMap, *, size: int = 256) -> str:
    """Base64 of a PNG, `size` pixels on its longer side: the map over the view, the rest dimmed.

    The view is shown in grey so that colour means heat alone. Colours span the map's own range: its
    coolest patch is darkest, its hottest brightest; a map of equal heats is dark throughout.
    """
    return encoded(drawn(image, patch_map, size=size))


def encoded(image: Image.Image) -> str:
    """Base64 of an image's PNG."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def resized(image: Image.Image, size: int) -> Image.Image:
    """The image with `size` pixels on its longer side; much enlarged, its pixels stay squares."""
    step = size / max(image.size)
    kept = Resampling.NEAREST if step >= 2 else Resampling.LANCZOS
    wanted = (max(1, round(image.width * step)), max(1, round(image.height * step)))
    return image.convert("RGB").resize(wanted, kept)


def drawn(image: Image.Image, patch_map: PatchMap, *, size: int) -> Image.Image:
    """The picture of `overlay`."""
    step, base = size / max(image.size), resized(image, size)
    canvas = Image.fromarray((np.asarray(base, dtype=float) * OUTSIDE).astype(np.uint8))
    inside = _placed(patch_map.view, step, base.size)
    shown = (inside[2] - inside[0], inside[3] - inside[1])
    if min(shown) < 1:
        return canvas
    # the map fills the whole view; what lies inside the image is cut out of it
    cells = Image.fromarray(scaled(patch_map).astype(np.float32))
    heat = np.asarray(
        cells.resize(shown, Resampling.NEAREST, box=_cells(patch_map, inside, step)), dtype=float
    )
    grey = np.asarray(base.convert("L").crop(inside), dtype=float)[..., None]
    share = np.interp(heat, (0, 1), SHARE)[..., None]
    mixed = share * coloured(heat) + (1 - share) * grey
    canvas.paste(Image.fromarray(mixed.round().astype(np.uint8)), inside[:2])
    return canvas


def scaled(patch_map: PatchMap) -> Float[np.ndarray, "row column"]:
    """Heats from 0 (coolest) to 1 (hottest)."""
    heats = np.array(patch_map.heats, dtype=float)
    if len(heats) != patch_map.rows * patch_map.columns or not np.isfinite(heats).all():
        raise BadData(
            f"the map of item {patch_map.item} has {len(heats)} heats, wanted {patch_map.rows} x "
            f"{patch_map.columns} finite numbers"
        )
    span = heats.max() - heats.min()
    scale = (heats - heats.min()) / (span or 1.0)
    return scale.reshape(patch_map.rows, patch_map.columns)


def coloured(heat: Float[np.ndarray, "row column"]) -> Float[np.ndarray, "row column 3"]:
    """Colours of heats from 0 to 1.

    >>> coloured(np.array([[0.0, 1.0]])).tolist() == [[RAMP[0].tolist(), RAMP[-1].tolist()]]
    True
    """
    places = np.linspace(0, 1, len(RAMP))
    return np.stack([np.interp(heat, places, channel) for channel in RAMP.T], axis=-1)


def _placed(view: Box, step: float, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The part of the view that lies inside a picture of this size, in its pixels."""
    left, top = max(0, round(view.x1 * step)), max(0, round(view.y1 * step))
    return left, top, min(size[0], round(view.x2 * step)), min(size[1], round(view.y2 * step))


def _cells(
    patch_map: PatchMap, inside: tuple[int, int, int, int], step: float
) -> tuple[float, float, float, float]:
    """The same part, counted in patches from the view's corner."""
    view = patch_map.view
    across = patch_map.columns / (view.x2 - view.x1)
    down = patch_map.rows / (view.y2 - view.y1)
    left, top, right, bottom = (edge / step for edge in inside)
    cells = (
        (left - view.x1) * across,
        (top - view.y1) * down,
        (right - view.x1) * across,
        (bottom - view.y1) * down,
    )
    limits = (patch_map.columns, patch_map.rows) * 2
    return tuple(min(max(0.0, c), limit) for c, limit in zip(cells, limits, strict=True))  # type: ignore[return-value]
