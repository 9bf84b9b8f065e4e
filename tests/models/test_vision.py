"""Maps against transformers' own, and the view against what the processor does to coordinates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image

from alignscope.errors import BadImage, Unsupported
from alignscope.models.dual import vision
from alignscope.models.dual.encoder import TransformersDualEncoder
from alignscope.models.dual.loading import load

TRANSFORMERS = {"clip", "pair", "altclip", "chinese_clip", "metaclip"}


@pytest.fixture(scope="module", params=[*sorted(TRANSFORMERS), "siglip", "align"])
def model(request: pytest.FixtureRequest) -> TransformersDualEncoder:
    return load(request.getfixturevalue(f"tiny_{request.param}_dir"))


def pixels(count: int = 2) -> torch.Tensor:
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(5))


def implementations(model: TransformersDualEncoder) -> list[str]:
    return [t.config._attn_implementation for t in (model.model.text_model, model.model.vision_model)]


def hooks_of(model: TransformersDualEncoder) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.model.modules())


def test_the_readout_is_known(model):
    readouts = {"SiglipModel": "pooled", "AlignModel": "features"}
    assert model.traits.image_readout == readouts.get(type(model.model).__name__, "first")


def test_maps_are_those_of_transformers(model):
    tower = model.model.vision_model
    with torch.no_grad():
        if model.traits.image_readout == "features":
            want = [tower(pixel_values=pixels()).last_hidden_state]
        else:
            tower.set_attn_implementation("eager")
            want = list(tower(pixel_values=pixels(), output_attentions=True).attentions)
            tower.set_attn_implementation("sdpa")
    with model.image_attention() as maps:
        model.embed_pixels(pixels())
    pooled = int(model.traits.image_readout == "pooled")
    assert len(maps) == len(want) + pooled
    for got, wanted in zip(maps[: len(want)], want, strict=True):
        assert got.shape == wanted.shape
        torch.testing.assert_close(got.detach(), wanted)


def test_every_map_carries_a_gradient_and_nothing_else_changes(model):
    hooks, before_with = hooks_of(model), implementations(model)
    with torch.no_grad():
        before = model.embed_pixels(pixels())
    with model.image_attention() as maps:
        images = model.embed_pixels(pixels())
        assert implementations(model)[0] == before_with[0], "the text tower stays as it was"
        count = len(maps)
        model.embed_pixels(pixels())
        assert len(maps) == 2 * count, "every call is kept"
    torch.testing.assert_close(images.detach(), before, rtol=0, atol=2e-6)
    gradients = torch.autograd.grad(images[:, 0].sum(), maps[:count])
    assert all(gradient.abs().max() > 0 for gradient in gradients)
    with torch.no_grad():
        assert torch.equal(model.embed_pixels(pixels()), before)
    assert len(maps) == 2 * count, "the tap is closed"
    assert hooks_of(model) == hooks
    assert implementations(model) == before_with


def test_frozen_weights_have_the_same_maps_and_gradients(model):
    def gradients() -> list[torch.Tensor]:
        with model.image_attention() as maps:
            images = model.embed_pixels(pixels())
        return [*maps, *torch.autograd.grad(images[:, 0].sum(), maps)]

    trained = gradients()
    model.model.requires_grad_(False)
    try:
        frozen = gradients()
    finally:
        model.model.requires_grad_(True)
    for got, want in zip(frozen, trained, strict=True):
        torch.testing.assert_close(got, want)


def test_hooks_are_gone_after_an_error(model):
    hooks, before = hooks_of(model), implementations(model)

    def fail() -> None:
        with model.image_attention():
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert hooks_of(model) == hooks
    assert implementations(model) == before


def test_pooling_is_computed_as_torch_does(tiny_siglip_dir):
    """The explicit attention gives the module's output, and its map per head."""
    pooling = load(tiny_siglip_dir).model.vision_model.head.attention
    torch.nn.init.normal_(pooling.in_proj_bias)
    torch.nn.init.normal_(pooling.out_proj.bias)
    generator = torch.Generator().manual_seed(1)
    probe, patches = (torch.randn(3, n, 32, generator=generator) for n in (1, 16))
    with torch.no_grad():
        output, attention = pooling(probe, patches, patches, average_attn_weights=False)
        got = vision.explicit_attention(pooling, (probe, patches, patches), None)
    assert attention.shape == (3, 4, 1, 16)
    assert attention.std() > 0.01, "a flat map would hide a wrong one"
    torch.testing.assert_close(got[0], output)
    torch.testing.assert_close(got[1], attention)


def test_an_unknown_tower_says_so(tiny_clip_dir, monkeypatch):
    model = load(tiny_clip_dir)
    monkeypatch.setattr(vision, "IMAGE_SIDES", {})
    assert model.traits.image_readout is None
    with pytest.raises(Unsupported, match="IMAGE_SIDES"), model.image_attention():
        pass


PROCESSORS: dict[str, tuple[str, dict[str, Any]]] = {
    "clip": ("CLIP", {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}),
    "clip with a margin": ("CLIP", {"size": {"shortest_edge": 45}, "crop_size": {"height": 32, "width": 38}}),
    "clip padded": ("CLIP", {"size": {"shortest_edge": 32}, "crop_size": {"height": 41, "width": 75}}),
    "clip unresized": ("CLIP", {"do_resize": False, "crop_size": {"height": 31, "width": 32}}),
    "chinese": ("ChineseCLIP", {"size": {"shortest_edge": 40}, "crop_size": {"height": 40, "width": 40}}),
    "siglip": ("Siglip", {"size": {"height": 32, "width": 48}}),
    "vit": ("ViT", {"size": {"height": 32, "width": 32}}),
    "align": (
        "EfficientNet",
        {
            "size": {"height": 44, "width": 44},
            "do_center_crop": True,
            "crop_size": {"height": 37, "width": 37},
            "include_top": False,
        },
    ),
}


@pytest.mark.parametrize("size", [(200, 120), (120, 200), (97, 64), (48, 48), (33, 250)])
@pytest.mark.parametrize("name", PROCESSORS)
def test_view_is_where_the_processor_looks(name, size):
    """Red is the column and green the row, blue marks the image: each pixel says where it came from."""
    kind, settings = PROCESSORS[name]
    processor = getattr(transformers, f"{kind}ImageProcessorPil")(
        **settings, do_rescale=False, do_normalize=False, do_convert_rgb=True
    )
    width, height = size
    coded = np.zeros((height, width, 3), dtype=np.uint8)
    coded[..., 0] = np.arange(width)[None, :]
    coded[..., 1] = np.arange(height)[:, None]
    coded[..., 2] = 255
    seen = np.asarray(processor(images=Image.fromarray(coded), return_tensors="np")["pixel_values"][0])
    view = vision.view(processor, width, height)
    _, rows, columns = seen.shape
    across, down = (view.x2 - view.x1) / columns, (view.y2 - view.y1) / rows
    checked = 0
    for row in range(rows):
        for column in range(columns):
            x, y = view.x1 + (column + 0.5) * across, view.y1 + (row + 0.5) * down
            is_inside = 0 <= x < width and 0 <= y < height
            assert (seen[2, row, column] > 250) == is_inside
            if 3 * across < x < width - 3 * across and 3 * down < y < height - 3 * down:  # no edge effects
                assert seen[0, row, column] == pytest.approx(x - 0.5, abs=1.01)
                assert seen[1, row, column] == pytest.approx(y - 0.5, abs=1.01)
                checked += 1
    assert checked > 50


def test_a_processor_with_steps_unheard_of_is_refused():
    clip = transformers.CLIPImageProcessorPil(size={"shortest_edge": 32, "longest_edge": 50})
    with pytest.raises(Unsupported, match="longest_edge"):
        vision.view(clip, 100, 50)
    padding = transformers.CLIPImageProcessorPil(do_pad=True)
    with pytest.raises(Unsupported, match="pads"):
        vision.view(padding, 100, 50)


CLEAR = np.zeros((3, 5), dtype=np.uint8)
CLEAR[1, 2] = 255
HIDDEN = np.dstack([np.full((3, 5, 3), (200, 10, 90), dtype=np.uint8), CLEAR])
ON_WHITE = np.where(CLEAR[..., None] == 255, np.array([200, 10, 90], np.uint8), np.uint8(255))


def test_what_hides_under_transparency_is_not_seen():
    """As where files are opened: the same picture has one score, given by path or by hand."""
    image = Image.fromarray(HIDDEN)
    np.testing.assert_array_equal(np.asarray(vision.rgb(image)), ON_WHITE)
    grey = image.convert("LA")
    level = np.asarray(grey)[1, 2, 0]
    assert np.unique(np.asarray(vision.rgb(grey))).tolist() == sorted({int(level), 255})
    keyed = Image.fromarray(HIDDEN[..., :3])
    keyed.info["transparency"] = (200, 10, 90)
    assert (np.asarray(vision.rgb(keyed)) == 255).all()


def test_bytes_of_three_channels_are_as_they_were():
    image = Image.fromarray(HIDDEN[..., :3])
    assert vision.rgb(image) is image
    for mode in ("L", "1", "P", "CMYK", "YCbCr", "HSV"):
        other = image.convert(mode)
        np.testing.assert_array_equal(np.asarray(vision.rgb(other)), np.asarray(other.convert("RGB")))


@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.float32])
def test_deeper_greys_are_refused_and_not_turned_white(kind, tiny_clip_dir):
    deep = Image.fromarray((np.arange(12).reshape(3, 4) * 5000).astype(kind))
    with pytest.raises(BadImage, match=r"of mode (I;16|I|F), .*alignscope\.data\.images\.open_image"):
        load(tiny_clip_dir).encode_images([deep])
