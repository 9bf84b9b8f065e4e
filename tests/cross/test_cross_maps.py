"""Image maps of cross-encoders: regions painted by hand, patches on their grid, the part of an image seen."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from torch import Tensor

from alignscope.attribution.cross import cross_heats
from alignscope.attribution.patches import CELLS, image_methods, painted, patch_maps
from alignscope.errors import Unsupported
from alignscope.evaluation.pointing import pointing
from alignscope.models.cross.encoder import TransformersCrossEncoder
from alignscope.models.cross.loading import load
from alignscope.models.cross.pixels import view
from alignscope.models.protocols import Picture
from alignscope.records import Box, Caption, Item, Regions, Word


def tagged(identity: str, text: str) -> Item:
    """Every word is an object."""
    words = tuple(Word(m[0], *m.span(), "object") for m in re.finditer(r"\w+", text))
    return Item(identity, f"{identity}.png", Caption(text, words))


def regions(*boxes: tuple[float, float, float, float], width: int = 48, height: int = 24) -> Regions:
    features = np.zeros((len(boxes), 6), np.float32)
    return Regions("i", width, height, np.array(boxes, np.float32).reshape(-1, 4), features)


def test_regions_are_painted_by_hand() -> None:
    """Cells are two pixels wide and one high, their middles at 1, 3, ... and 0.5, 1.5, ..."""
    seen = regions((0, 0, 4, 2), (3, 0.2, 6, 1), (10.1, 5.1, 10.3, 5.3), (40, 23.6, 48, 24))
    cells = painted(seen, torch.tensor([8.0, 1.0, 5.0, 4.0]))
    assert cells.shape == (CELLS, CELLS)
    wanted = torch.zeros(CELLS, CELLS)
    wanted[0:2, 0:2] += 2.0  # two columns, two rows
    wanted[0, 1:3] += 0.5  # middles at 3 and 5
    wanted[5, 5] += 5.0  # too small for any middle: the nearest are 11 and 5.5
    wanted[23, 20:24] += 1.0  # too low for a row's middle
    assert torch.allclose(cells, wanted)
    whole = painted(regions((0, 0, 48, 24)), torch.tensor([1.0]))
    assert torch.allclose(whole, torch.full((CELLS, CELLS), 1 / CELLS**2))
    assert painted(seen, torch.tensor([0.1, 0.0, 0.0, 0.2])).sum() > 0


def slow_painting(seen: Regions, heat: Tensor) -> Tensor:
    cells = torch.zeros(24, 24)
    for (x1, y1, x2, y2), value in zip(seen.boxes.tolist(), heat.tolist(), strict=True):
        middles_x = [(c + 0.5) * seen.width / 24 for c in range(24)]
        middles_y = [(r + 0.5) * seen.height / 24 for r in range(24)]
        columns = [c for c in range(24) if x1 <= middles_x[c] < x2]
        rows = [r for r in range(24) if y1 <= middles_y[r] < y2]
        columns = columns or [min(range(24), key=lambda c: abs(middles_x[c] - (x1 + x2) / 2))]
        rows = rows or [min(range(24), key=lambda r: abs(middles_y[r] - (y1 + y2) / 2))]
        for row in rows:
            for column in columns:
                cells[row, column] += value / (len(rows) * len(columns))
    return cells


def test_maps_as_records(model: TransformersCrossEncoder, picture_of: Callable[[str, int], Picture]) -> None:
    """Batches of different images and texts are each pair's own map; regions by plain loops over cells."""
    assert image_methods(model) == ("gradcam",)
    opened: list[str] = []

    def open_key(key: str) -> Picture:
        opened.append(key)
        return picture_of(model.traits.unit, int(key[0]))

    items = [replace(tagged("i", "x"), image=f"{number}.png") for number in (2, 0, 2, 1)]
    said = ["a red dog", "cat", "two cats", "a small cat"]
    told: list[tuple[int, int]] = []
    maps = list(
        patch_maps(model, items, open_key, said, batch_size=3, progress=lambda *done: told.append(done))
    )
    assert opened == ["2.png", "0.png", "1.png"]
    assert told == [(3, 4), (4, 4)]
    for item, text, found in zip(items, said, maps, strict=True):
        picture = picture_of(model.traits.unit, int(item.image[0]))
        inputs = model.inputs([picture], [text])
        alone = cross_heats(model, inputs).images
        assert alone is not None
        wide = picture.width, picture.height
        assert (found.image, found.text, found.method) == (item.image, text, "gradcam")
        assert found.view == Box(0, 0, *wide), "none of these processors crops"
        if isinstance(picture, Regions):
            assert (found.rows, found.columns) == (24, 24)
            alone = slow_painting(picture, alone[0])
        else:
            assert (found.rows, found.columns) == inputs.grids[0]
            assert found.rows * found.columns == inputs.counts[0]
        assert max(found.heats) > 0
        assert found.heats == pytest.approx(alone.flatten().tolist(), rel=1e-3, abs=1e-6)
        pointed = pointing(found, [Box(0, 0, *wide)], text)
        assert pointed.is_hit
        assert pointed.chance == 1
    with pytest.raises(Unsupported, match="gives no image maps by attention: ask for gradcam"):
        next(patch_maps(model, items, open_key, said, method="attention"))


def test_patches_that_the_model_left_out_have_no_heat(
    twin: Callable[..., Path], picture_of: Callable[[str, int], Picture]
) -> None:
    """Five of the twelve patches take part."""
    model = load(twin("vilt", max_image_length=5))
    item = tagged("0", "a red dog")
    (found,) = patch_maps(model, [item], lambda key: picture_of("patch", 0), ["a red dog"])
    seen = model.inputs([picture_of("patch", 0)], ["a red dog"]).units[0, 1:].tolist()
    assert (found.rows, found.columns) == (3, 4)
    assert 0 < sum(heat > 0 for heat in found.heats) <= len(seen) == 5
    assert not any(heat for place, heat in enumerate(found.heats) if place not in seen)


def test_the_map_of_a_region_points_at_it() -> None:
    """A detector's box on the thing, hotter than one elsewhere."""
    cells = painted(regions((8, 4, 16, 12), (30, 4, 38, 12)), torch.tensor([3.0, 1.0]))
    from_left = cells.sum(dim=0).argmax().item()
    assert 8 <= (from_left + 0.5) * 2 < 16


PROCESSORS = {
    "blip": transformers.BlipImageProcessorPil(size={"height": 48, "width": 48}),
    "vilt": transformers.ViltImageProcessorPil(size={"shortest_edge": 48}, size_divisor=16),
    "bridgetower": transformers.BridgeTowerImageProcessorPil(
        size={"shortest_edge": 48}, crop_size={"shortest_edge": 48}, size_divisor=16
    ),
    "flava": transformers.FlavaImageProcessorPil(
        size={"height": 48, "width": 48}, crop_size={"height": 32, "width": 32}
    ),
}


@pytest.mark.parametrize("size", [(120, 60), (60, 120), (90, 90), (130, 80)])
@pytest.mark.parametrize("name", PROCESSORS)
def test_the_view_is_where_pixels_come_from(name: str, size: tuple[int, int]) -> None:
    """A picture whose red says how far right a pixel is and whose green how far down, read off the pixels."""
    width, height = size
    red, green = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    ramp = Image.fromarray(np.stack([red, green, 0 * red], axis=-1).astype(np.uint8))
    found = view(PROCESSORS[name], width, height)
    shown = PROCESSORS[name](
        images=[ramp], do_normalize=False, do_rescale=False, return_tensors="pt",
        input_data_format="channels_last",
    )["pixel_values"][0].float()  # fmt: skip
    _, rows, columns = shown.shape
    for pixels, start, stop, count, size_of in (
        (shown[0].amax(dim=0), found.x1, found.x2, columns, width),
        (shown[1].amax(dim=1), found.y1, found.y2, rows, height),
    ):
        middle = start + (torch.arange(count) + 0.5) * (stop - start) / count
        is_inner = (middle > 4) & (middle < size_of - 4)  # edges are blurred, or filled up with black
        assert is_inner.sum() > count / 2
        assert (pixels - middle)[is_inner].abs().max() < 2.0
    assert found == Box(0, 0, width, height) or name in ("bridgetower", "flava")
