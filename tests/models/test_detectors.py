"""Regions from detectors: by hand, against transformers' own boxes, and with a twin of every family."""

from __future__ import annotations

import importlib.util
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from detector_twins import CLASSES, QUERIES, save_detector
from PIL import Image

from alignscope.errors import BadImage, CheckpointError, CheckpointMismatch, MissingExtra
from alignscope.models.detectors import AT_LEAST, FAMILIES, chosen, confidences_of, load, means_under
from alignscope.records.regions import fault_of_regions

SIZES = ((70, 50), (50, 70), (70, 50), (64, 64))


def noise(seed: int, width: int, height: int) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


@pytest.fixture(scope="module")
def twin(tmp_path_factory):
    made: dict[str, Path] = {}

    def find(kind: str) -> Path:
        if kind not in made:
            made[kind] = save_detector(tmp_path_factory.mktemp("detector") / f"tiny-random-{kind}", kind)
        return made[kind]

    return find


def seen(detector, sizes=SIZES, **how):
    prepared = [detector.prepared(f"{n}.png", noise(n, *size)) for n, size in enumerate(sizes)]
    return prepared, detector.detect(prepared, **how)


def slow_mean(features, box, width, height):
    """The mean over cells whose centre, in pixels, lies in the box, cell by cell in plain numbers."""
    channels, rows, columns = features.shape
    left, top, right, bottom = box

    def cells(start, end, side, count):
        inside = [c for c in range(count) if start <= (c + 0.5) * side / count < end]
        return inside or [min(count - 1, int((start + end) / 2 * count / side))]

    places = [(r, c) for r in cells(top, bottom, height, rows) for c in cells(left, right, width, columns)]
    return [
        math.fsum(float(features[channel, r, c]) for r, c in places) / len(places)
        for channel in range(channels)
    ]


@pytest.mark.parametrize("kind", FAMILIES)
def test_every_family_gives_regions(kind, twin):
    detector = load(twin(kind))
    prepared, found = seen(detector, regions=7, score=0.0)
    assert [one.image for one in found] == ["0.png", "1.png", "2.png", "3.png"]
    for image, one in zip(prepared, found, strict=True):
        assert len(one) == 7
        assert fault_of_regions(one) is None
        assert (one.width, one.height) == (image.width, image.height)
        assert (one.boxes >= 0).all()
        assert (one.boxes[:, 2] <= image.width).all()
        assert (one.boxes[:, 3] <= image.height).all()
        assert list(one.confidences) == sorted(one.confidences, reverse=True)
        assert set(one.tags) <= {"dog", "cat", "kite"}
        alone = detector.detect([image], regions=7, score=0.0)[0]
        np.testing.assert_array_equal(alone.tags, one.tags)
        np.testing.assert_allclose(alone.boxes, one.boxes, rtol=1e-4, atol=1e-3)
        np.testing.assert_allclose(alone.features, one.features, rtol=1e-3, atol=1e-5)
    assert f"tiny-random-{kind}@{detector.fingerprint[:12]} (" in found[0].made_by
    assert "NOT the Visual Genome features" in found[0].made_by
    width = 16 if FAMILIES[kind].backbone else detector.model.config.hidden_size
    assert found[0].features.shape[1] == width


@pytest.mark.parametrize("kind", ["detr", "dab-detr", "rt_detr", "deformable_detr"])
def test_features_are_means_of_the_backbones_map_under_the_box(kind, twin):
    detector = load(twin(kind))
    prepared, found = seen(detector, regions=12, score=0.0)
    backbone = detector.model.model.backbone
    backbone = getattr(backbone, "conv_encoder", backbone).model
    for image, one in zip(prepared, found, strict=True):
        with torch.no_grad():
            features = backbone(image.pixels[None]).feature_maps[-1][0]
        assert min(features.shape[1:]) > 1
        for box, row in zip(one.boxes.tolist(), one.features, strict=True):
            np.testing.assert_allclose(
                row, slow_mean(features, box, one.width, one.height), rtol=1e-4, atol=1e-6
            )


@pytest.mark.parametrize("kind", ["detr", "table-transformer", "yolos"])
def test_boxes_are_those_of_transformers(kind, twin):
    """Its processor knows the queries' best classes, not their order, bounds or features."""
    detector = load(twin(kind))
    prepared, found = seen(detector, regions=99, score=0.0)
    for image, one in zip(prepared, found, strict=True):
        with torch.no_grad():
            output = detector.model(pixel_values=image.pixels[None])
        sizes = [(image.height, image.width)]
        theirs = detector.image_processor.post_process_object_detection(output, 0.0, sizes)[0]
        order = sorted(range(QUERIES), key=lambda query: -float(theirs["scores"][query]))
        assert len(one) == QUERIES
        boxes = theirs["boxes"][order].clamp(min=0)
        boxes = torch.minimum(boxes, torch.tensor([image.width, image.height] * 2))
        np.testing.assert_allclose(one.boxes, boxes, atol=1e-3)
        np.testing.assert_allclose(one.confidences, theirs["scores"][order], atol=1e-6)
        names = detector.model.config.id2label
        assert list(one.tags) == [names[number] for number in theirs["labels"][order].tolist()]


def test_a_detector_without_convolutions_gives_its_queries(twin):
    detector = load(twin("yolos"))
    [image, *_], [one, *_] = seen(detector, regions=5, score=0.0)
    with torch.no_grad():
        output = detector.model(pixel_values=image.pixels[None])
    queries = output.last_hidden_state[0, -QUERIES:]
    for row, confidence in zip(one.features, one.confidences, strict=True):
        query = int((output.logits[0].softmax(-1)[:, :-1].max(-1).values - confidence).abs().argmin())
        np.testing.assert_allclose(row, queries[query], atol=1e-4)
    assert "last hidden state of the query" in one.made_by


def test_confidences_by_hand():
    logits = torch.tensor([[0.0, math.log(3), 0.0], [math.log(2), 0.0, math.log(7)]])
    sure, classes = confidences_of(logits, has_no_object=True)
    assert (sure.tolist(), classes.tolist()) == (pytest.approx([3 / 5, 2 / 10]), [1, 0])
    sure, classes = confidences_of(logits, has_no_object=False)
    assert (sure.tolist(), classes.tolist()) == (pytest.approx([3 / 4, 7 / 8]), [1, 2])


def test_which_boxes_are_kept():
    """By confidence, ties in the queries' order; what has no area or is no number never."""
    confidences = torch.tensor([0.1, 0.9, 0.5, 0.5, 0.99, math.nan, 0.3])
    boxes = torch.tensor([[0.0, 0.0, 9.0, 9.0]]).repeat(7, 1)
    boxes[4] = torch.tensor([3.0, 3.0, 3.5, 9.0])
    assert chosen(confidences, boxes, regions=9, score=0.0).tolist() == [1, 2, 3, 6, 0]
    assert chosen(confidences, boxes, regions=2, score=0.0).tolist() == [1, 2]
    assert chosen(confidences, boxes, regions=9, score=1.0).tolist() == [1, 2, 3, 6, 0]  # filled up
    boxes[2, 2] = math.nan
    assert chosen(confidences, boxes, regions=9, score=0.4).tolist() == [1, 3, 6, 0]
    many = torch.linspace(0.9, 0.1, 30)
    wide = torch.tensor([[0.0, 0.0, 9.0, 9.0]]).repeat(30, 1)
    for score, wanted in ((0.0, 20), (0.5, 15), (0.45, 17), (0.89, AT_LEAST), (1.0, AT_LEAST)):
        sure = [n for n in range(20) if float(many[n]) >= score]
        assert len(sure) == wanted or wanted == AT_LEAST > len(sure)
        assert chosen(many, wide, regions=20, score=score).tolist() == list(range(wanted))


def test_means_by_hand():
    features = torch.arange(8.0).reshape(1, 2, 4)
    shares = torch.tensor(
        [
            [0.0, 0.0, 1.0, 1.0],
            [0.0, 0.0, 0.5, 0.5],  # two cells of the first row
            [0.13, 0.0, 0.25, 1.0],  # holds no centre of a column: the first one, where its own centre is
            [0.99, 0.99, 1.0, 1.0],  # a corner
            [0.3, 0.3, 0.9, 0.74],  # columns 1 to 3 at 3/8, 5/8, 7/8; the row whose middle is nearest
        ]
    )
    assert means_under(features, shares)[:, 0].tolist() == [3.5, 0.5, 2.0, 7.0, 6.0]


def test_an_image_without_a_box_has_no_regions(twin):
    detector = load(twin("detr"))
    with torch.no_grad():
        detector.model.bbox_predictor.layers[-1].weight.zero_()
        detector.model.bbox_predictor.layers[-1].bias.fill_(-20)
    assert [len(one) for one in seen(detector)[1]] == [0, 0, 0, 0]


def test_the_image_processor_refuses_what_it_cannot_bring_to_size(twin):
    detector = load(twin("yolos"))
    with pytest.raises(BadImage, match="an image of 1x900 pixels cannot be brought to the size"):
        detector.detect([detector.prepared("thin.png", noise(0, 1, 900))])


def test_the_fingerprint_knows_names_of_classes_and_weights(twin, tmp_path):
    first = load(twin("detr"))
    again = load(shutil.copytree(twin("detr"), tmp_path / "renamed"))
    assert (again.fingerprint, again.name) == (first.fingerprint, "renamed")
    config = json.loads((tmp_path / "renamed" / "config.json").read_text())
    config["id2label"]["0"] = "wolf"
    (tmp_path / "renamed" / "config.json").write_text(json.dumps(config))
    assert load(tmp_path / "renamed").fingerprint != first.fingerprint
    with torch.no_grad():
        again.model.class_labels_classifier.bias += 1
    changed = type(again)(again.model, again.image_processor, name="changed")
    assert changed.fingerprint != first.fingerprint


def test_a_backbone_of_timm_needs_timm(tmp_path, monkeypatch):
    """facebook/detr-resnet-50's own config.json names its backbone so."""
    config = {"model_type": "detr", "architectures": ["DetrForObjectDetection"], "backbone": "resnet50"}
    (tmp_path / "config.json").write_text(json.dumps({**config, "use_timm_backbone": True}))
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "timm" else real(name)
    )
    with pytest.raises(
        MissingExtra, match=r"timm's resnet50.*no_timm.*run pip install 'alignscope\[detector\]'"
    ):
        load(tmp_path)


def test_a_part_that_needs_another_package_says_so(twin, tmp_path, monkeypatch):
    def needs(*given, **more):
        raise ImportError("\nThing requires the torchvision library\nand more")

    monkeypatch.setattr(transformers.AutoImageProcessor, "from_pretrained", needs)
    with pytest.raises(
        MissingExtra, match=r"its image processor needs a package .*torchvision library\): run pip"
    ):
        load(twin("detr"))


def test_what_is_no_detector_is_refused(twin, tmp_path):
    with pytest.raises(CheckpointError, match=r"has no config\.json"):
        load(tmp_path)
    transformers.BertConfig().save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"is a bert, wanted a detector of the kinds .*yolos"):
        load(tmp_path)
    shutil.copytree(twin("detr"), tmp_path / "d")
    from safetensors.torch import load_file, save_file

    state = load_file(tmp_path / "d" / "model.safetensors")
    counter = "model.backbone.conv_encoder.model.layer1.0.downsample.1.num_batches_tracked"
    save_file(
        {**state, counter: torch.tensor(7)}, tmp_path / "d" / "model.safetensors", metadata={"format": "pt"}
    )
    assert load(tmp_path / "d").fingerprint == load(twin("detr")).fingerprint
    del state["class_labels_classifier.bias"]
    save_file(state, tmp_path / "d" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointMismatch, match=r"1 missing \(class_labels_classifier.bias\)"):
        load(tmp_path / "d")


def test_twins_are_of_every_family():
    assert set(CLASSES) == set(FAMILIES)
