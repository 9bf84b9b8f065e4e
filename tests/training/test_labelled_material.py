"""Captions of HL and of Oscar's files as what a captioner is trained on: made by hand, and left out what lacks."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from captioning_cases import stages
from oscar_twins import SIZES, WORDS

from alignscope.errors import BadInput
from alignscope.models.captioners.captioner_loading import open_captioner, save_captioner
from alignscope.models.captioners.oscar_loading import fresh_oscar
from alignscope.training import captioning
from alignscope.training.captioning_material import material
from alignscope.training.recipe import (
    Captioning,
    HighLevelCaptions,
    MaskedCaption,
    OscarCaptions,
    SavedCaptioner,
)

WIDTH = 5


def lines(path: Path, rows: dict[str, Any]) -> Path:
    path.write_text("".join(f"{key}\t{json.dumps(value)}\n" for key, value in rows.items()))
    return path


def seen(folder: Path, split: str, images: list[str], *, labels: bool = True) -> Path:
    """VinVL's files of a split: features of two regions with their places, sizes, and labels of another detector."""
    random = np.random.default_rng(0)
    places = np.array([[0, 0, 0.5, 0.5, 0.5, 0.5], [0.25, 0.5, 0.75, 1, 0.5, 0.5]])
    features = {
        image: {
            "num_boxes": 2,
            "features": base64.b64encode(
                np.concatenate([random.normal(size=(2, WIDTH)), places], axis=1).astype(np.float32).tobytes()
            ).decode(),
        }
        for image in images
    }
    lines(folder / f"{split}.hw.tsv", {image: [{"height": 60, "width": 80}] for image in images})
    if labels:
        named = {image: [{"class": "dog", "rect": [0, 0, 8, 6], "conf": 0.5}] * 3 for image in images}
        lines(folder / f"{split}.label.tsv", named)
    return lines(folder / f"{split}.feature.tsv", features)


def high_level(path: Path, images: list[str]) -> Path:
    rows = []
    for image in images:
        captions = {axis: [f"{axis} {image} {n}" for n in "abc"] for axis in ("scene", "action", "rationale")}
        numbers = {axis: [1, 1, 1] for axis in captions}
        rows.append(
            {"file_name": f"COCO_train2014_{image:0>12}.jpg", "captions": {**captions, "object": ["a dog"]},
             "confidence": numbers, "purity": numbers, "diversity": dict.fromkeys(captions, 1)}
        )  # fmt: skip
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def hl(folder: Path, **changes: Any) -> HighLevelCaptions:
    """Ten images to train on, of which one has no features, and three to test."""
    known = [str(n) for n in range(13) if n != 4]
    paths = {
        "train": high_level(folder / "train.jsonl", [str(n) for n in range(10)]),
        "test": high_level(folder / "test.jsonl", ["10", "11", "12"]),
        "regions": seen(folder, "all", known),
        "labels": folder / "all.label.tsv",
    }
    given = {**{name: str(path) for name, path in paths.items()}, "validation": 3, **changes}
    return HighLevelCaptions("hl", **given)


@pytest.mark.parametrize("axis", ["scene", "rationale"])
def test_one_axis_of_hl_over_regions_with_labels(tmp_path: Path, axis: str) -> None:
    data = material(hl(tmp_path, axis=axis))
    assert [len(part) for part in (data.train, data.validation, data.test)] == [6, 3, 3]
    assert data.left_out == 1
    numbers = {int(key[-16:-4]) for part in (data.train, data.validation) for key in part.keys}
    assert numbers == {*range(10)} - {4}
    assert [*data.test.captions[0]] == [f"{axis} 10 {n}" for n in "abc"]
    sight = data.test.sights[0]
    assert (sight.regions.features.shape, sight.regions.width) == ((2, WIDTH), 80)
    assert [label.name for label in sight.labels] == ["dog"] * 3
    assert material(hl(tmp_path, axis=axis, seed=1)).validation.keys != data.validation.keys


def test_objects_of_hl_are_cocos_captions(tmp_path: Path) -> None:
    assert [*material(hl(tmp_path, axis="object")).train.captions[0]] == ["a dog"]


def test_regions_of_other_images_are_refused(tmp_path: Path) -> None:
    plan = hl(tmp_path)
    (tmp_path / "other").mkdir()
    strangers = seen(tmp_path / "other", "all", ["77", "78"])
    with pytest.raises(BadInput, match=r"train\.jsonl: got none of its images in .*: give the regions of HL"):
        material(HighLevelCaptions("hl", plan.train, plan.test, str(strangers)))


def oscar_files(folder: Path) -> OscarCaptions:
    paths = []
    for split in ("train", "val", "test"):
        images = [f"{split}{n}" for n in range(4)]
        seen(folder, split, images[1:])
        rows = [
            {"image_id": image, "caption": f"a dog near {n}"} for image in images for n in ("a cat", "table")
        ]
        (folder / f"{split}_caption.json").write_text(json.dumps(rows))
        (folder / f"{split}.yaml").write_text(
            f"feature: {split}.feature.tsv\nlabel: {split}.label.tsv\ncaption: {split}_caption.json\n"
        )
        paths.append(str(folder / f"{split}.yaml"))
    return OscarCaptions("oscar", *paths)


def test_oscars_files_of_each_split(tmp_path: Path) -> None:
    data = material(oscar_files(tmp_path))
    assert [[*part.keys] for part in (data.train, data.test)] == [
        ["train1", "train2", "train3"],
        ["test1", "test2", "test3"],
    ]
    assert data.left_out == 3
    assert [*data.validation.captions[2]] == ["a dog near a cat", "a dog near table"]
    assert len(data.validation.sights[2].labels) == 3


def test_a_yaml_without_captions_is_refused(tmp_path: Path) -> None:
    plan = oscar_files(tmp_path)
    (tmp_path / "val.yaml").write_text("feature: val.feature.tsv\n")
    with pytest.raises(BadInput, match="got no `feature` or no `caption`"):
        material(plan)


@pytest.mark.parametrize("kind", ["hl", "oscar"])
def test_a_saved_vinvl_is_fine_tuned_on_files(tmp_path: Path, kind: str) -> None:
    """From file to finished captioner, in words of the captioner's own pieces."""
    begun = fresh_oscar(SIZES, [*WORDS, "scene"], seed=0, name="begun")
    save_captioner(begun, tmp_path / "begun")
    recipe: Captioning = stages(MaskedCaption("masked-caption", epochs=1, images=4, learning_rate=1e-2))
    recipe = Captioning(
        **{
            **vars(recipe),
            "data": hl(tmp_path) if kind == "hl" else oscar_files(tmp_path),
            "captioner": SavedCaptioner("saved", str(tmp_path / "begun")),
        }
    )
    found = open_captioner(captioning.train(recipe, tmp_path / "run"))
    assert found.speller.tokenizer.get_vocab() == begun.speller.tokenizer.get_vocab()
    moved = (
        found.model.state_dict()["cls.predictions.bias"] - begun.model.state_dict()["cls.predictions.bias"]
    )
    assert float(torch.abs(moved).max()) > 1e-3
    steps = {"hl": 5, "oscar": 2}[kind]  # 18 and 6 captions, four a step
    files = {path.name for path in (tmp_path / "run" / "validation").iterdir()}
    assert files == {f"{steps:06d}.jsonl", "references.jsonl"}
    assert len((tmp_path / "run" / "captions.jsonl").read_text().splitlines()) == 3
