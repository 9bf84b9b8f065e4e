"""Features of vision models: against one plain forward, at the image's own size where it is a convolution."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image

from alignscope.errors import BadImage, CheckpointError, CheckpointMismatch
from alignscope.models.captioners.backbone import open_backbone

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
VIT = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
VIT |= {"image_size": 24, "patch_size": 8}


def models() -> dict[str, Any]:
    resnet = transformers.ResNetConfig(
        embedding_size=4, hidden_sizes=[4, 6], depths=[1, 1], layer_type="basic", num_labels=3
    )
    size = {"height": 24, "width": 24}
    stats = {"image_mean": MEAN, "image_std": DEVIATION}
    return {
        "resnet": (
            transformers.ResNetForImageClassification(resnet),
            transformers.ConvNextImageProcessorPil(size={"shortest_edge": 24}, **stats),
        ),
        "vit": (
            transformers.ViTForImageClassification(transformers.ViTConfig(**VIT)),
            transformers.ViTImageProcessorPil(size=size, **stats),
        ),
        "dinov2": (
            transformers.Dinov2WithRegistersModel(
                transformers.Dinov2WithRegistersConfig(**VIT, num_register_tokens=3)
            ),
            transformers.ViTImageProcessorPil(size=size, **stats),
        ),
        "convnext": (
            transformers.ConvNextModel(
                transformers.ConvNextConfig(hidden_sizes=[4, 6], depths=[1, 1], num_stages=2)
            ),
            transformers.ConvNextImageProcessorPil(size={"shortest_edge": 24}, **stats),
        ),
    }


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    found = {}
    transformers.logging.disable_progress_bar()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for name, parts in models().items():
            found[name] = tmp_path_factory.mktemp("backbones") / name
            for part in parts:
                part.save_pretrained(found[name])
    return found


def picture(width: int, height: int) -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(noise)


def plain_pixels(image: Image.Image) -> torch.Tensor:
    scaled = (np.asarray(image) / 255 - MEAN) / DEVIATION
    return torch.from_numpy(scaled.transpose(2, 0, 1)[None]).float()


@pytest.mark.parametrize("size", [(64, 48), (37, 90)])
def test_a_convolution_sees_the_image_at_its_own_size(saved, size):
    backbone, image = open_backbone(saved["resnet"]), picture(*size)
    whole = transformers.ResNetForImageClassification.from_pretrained(saved["resnet"]).eval()
    with torch.no_grad():
        maps = whole.resnet(plain_pixels(image)).last_hidden_state[0].numpy()
    got = backbone.patches(image)
    assert got.shape == (maps.shape[1] * maps.shape[2], 6)
    for row in range(maps.shape[1]):
        for column in range(maps.shape[2]):
            np.testing.assert_allclose(got[row * maps.shape[2] + column], maps[:, row, column], atol=1e-5)
    np.testing.assert_allclose(backbone.vector(image), maps.mean(axis=(1, 2)), atol=1e-5)


@pytest.mark.parametrize(("kind", "before"), [("vit", 1), ("dinov2", 4)])
def test_a_transformer_gives_its_patches_without_the_tokens_before_them(saved, kind, before):
    backbone, image = open_backbone(saved[kind]), picture(24, 24)
    with torch.no_grad():
        states = backbone.model(plain_pixels(image)).last_hidden_state[0]
    got = backbone.patches(image)
    assert got.shape == (9, 8)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, states[before:].numpy(), atol=1e-5)
    assert backbone.patches(picture(80, 30)).shape == (9, 8)


def test_the_fingerprint_is_that_of_the_weights(saved):
    one, two = open_backbone(saved["vit"]), open_backbone(saved["vit"])
    assert one.fingerprint == two.fingerprint
    with torch.no_grad():
        next(two.model.parameters()).add_(1)
    assert one.fingerprint != two.fingerprint


def test_a_backbone_tells_its_width_and_the_size_in_which_it_sees(saved):
    opened = {kind: open_backbone(path) for kind, path in saved.items()}
    widths = {kind: backbone.width for kind, backbone in opened.items()}
    assert widths == {"resnet": 6, "vit": 8, "dinov2": 8, "convnext": 6}
    assert opened["resnet"].image_size == opened["convnext"].image_size == "its own"
    assert opened["vit"].image_size == "as ViTImageProcessorPil makes it"


def test_an_image_smaller_than_a_kernel_is_a_bad_image(saved):
    backbone = open_backbone(saved["convnext"])
    assert backbone.patches(picture(9, 8)).shape == (1, 6)
    with pytest.raises(BadImage, match="an image of 3x2 pixels does not go through convnext"):
        backbone.patches(picture(3, 2))


def test_a_model_that_gives_no_patches_is_refused_by_its_first_look(saved):
    backbone = open_backbone(saved["resnet"])
    backbone.model = transformers.ResNetForImageClassification(backbone.model.config).eval()
    with pytest.raises(CheckpointError, match=r"resnet: a blank image gives no features .*last_hidden_state"):
        _ = backbone.width


def test_a_detector_is_told_its_place(tmp_path):
    config = transformers.YolosConfig(**VIT | {"image_size": [24, 24]}, num_detection_tokens=2)
    transformers.YolosForObjectDetection(config).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"is a detector .*`regions detect` takes it"):
        open_backbone(tmp_path)


def test_other_models_and_broken_ones_are_refused(saved, tmp_path, twin):
    with pytest.raises(CheckpointError, match="BlipForConditionalGeneration, wanted a model of images alone"):
        open_backbone(twin("blip"))
    with pytest.raises(CheckpointError, match="model of no type, wanted"):
        open_backbone(tmp_path)
    model = transformers.ResNetModel.from_pretrained(saved["resnet"])
    config = transformers.ResNetConfig.from_pretrained(saved["resnet"])
    model.save_pretrained(tmp_path)
    config.depths = [1, 2]
    config.save_pretrained(tmp_path)
    models()["resnet"][1].save_pretrained(tmp_path)
    with pytest.raises(CheckpointMismatch, match="missing"):
        open_backbone(tmp_path)
