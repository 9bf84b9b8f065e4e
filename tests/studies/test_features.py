"""A folder of images to features for captioners: against a plain forward, resumed to the same bytes, and trained on."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from typer.testing import CliRunner

import alignscope
from alignscope.cli import app
from alignscope.data.features import FeatureFolder
from alignscope.errors import BadData, CheckpointError, OutputExists
from alignscope.files import read_jsonl
from alignscope.models.captioners.backbone import Backbone, open_backbone
from alignscope.studies import features
from alignscope.studies.features import write_features
from alignscope.studies.output import alone

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
NAMES = [
    "alpha.png",
    *(f"train/{n}.png" for n in range(3)),
    *(f"val/{n}.png" for n in range(3)),
    "val/grey.PNG",
]


@pytest.fixture(scope="module")
def resnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ResNet of chance with bottlenecks, as ResNet-101 has them."""
    directory = tmp_path_factory.mktemp("backbones") / "tiny-random-resnet"
    config = transformers.ResNetConfig(embedding_size=4, hidden_sizes=[8, 16], depths=[1, 1], num_labels=3)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        transformers.ResNetForImageClassification(config).save_pretrained(directory)
    processor = transformers.ConvNextImageProcessorPil(
        size={"shortest_edge": 24}, image_mean=MEAN, image_std=DEVIATION
    )
    processor.save_pretrained(directory)
    return directory


@pytest.fixture(scope="module")
def backbone(resnet: Path) -> Backbone:
    return open_backbone(resnet)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Names that two folders share; a grey, a transparent and a broken image, and a text."""
    folder, noise = tmp_path / "images", np.random.default_rng(0)
    (folder / "train").mkdir(parents=True)
    (folder / "val").mkdir()
    for at, name in enumerate(NAMES[1:7]):
        size = [(50, 70, 3), (64, 40, 3)][at % 2]
        Image.fromarray(noise.integers(0, 256, size, dtype=np.uint8)).save(folder / name)
    Image.fromarray(noise.integers(0, 256, (40, 60), dtype=np.uint8)).save(folder / "val" / "grey.PNG")
    Image.fromarray(noise.integers(0, 256, (40, 60, 4), dtype=np.uint8), "RGBA").save(folder / "alpha.png")
    (folder / "val" / "broken.jpg").write_bytes(b"\xff\xd8 no picture")
    (folder / "readme.txt").write_text("not one")
    return folder


def plain(directory: Path, image: Path) -> np.ndarray:
    """Patches of one image, whatever its mode: row by row of the last map at the image's own size."""
    values = np.asarray(Image.open(image)).astype(np.float64)
    if values.ndim == 2:
        values = np.stack([values] * 3, axis=-1)
    if values.shape[-1] == 4:
        cover = values[..., 3:] / 255
        values = np.rint(values[..., :3] * cover + 255 * (1 - cover))
    scaled = torch.from_numpy(((values / 255 - MEAN) / DEVIATION).transpose(2, 0, 1)[None]).float()
    whole = transformers.ResNetForImageClassification.from_pretrained(directory).eval()
    with torch.no_grad():
        found = whole.resnet(scaled).last_hidden_state[0].numpy()
    return np.array(
        [found[:, row, column] for row in range(found.shape[1]) for column in range(found.shape[2])]
    )


def contents(folder: Path) -> dict[str, bytes]:
    files = (file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


def test_every_image_is_written_or_said(
    resnet: Path, backbone: Backbone, images: Path, tmp_path: Path
) -> None:
    done = write_features(backbone, images, tmp_path / "fc")
    write_features(backbone, images, tmp_path / "att", patches=True)
    assert (done.images, done.written, done.left_out, done.width, done.others) == (9, 8, 1, 16, 1)
    assert sorted(contents(tmp_path / "fc")) == sorted(
        [*(f"{name}.npy" for name in NAMES), "problems.jsonl", "run.json"]
    )
    vectors, patches = FeatureFolder(tmp_path / "fc"), FeatureFolder(tmp_path / "att")
    assert [*vectors] == NAMES
    for name in NAMES:
        wanted = plain(resnet, images / name)
        atol = 0.02 if name == "alpha.png" else 1e-5  # Pillow composes in bytes and rounds in its own way
        np.testing.assert_allclose(patches[name], wanted, atol=atol)
        np.testing.assert_allclose(vectors[name], wanted.mean(axis=0), atol=atol)
    told = {row["item"]: (row["action"], row["what"]) for row in read_jsonl(done.problems_file)}
    assert told["val/grey.PNG"] == ("handled", "image: greyscale made RGB")
    assert told["alpha.png"] == ("handled", "image: transparency put on white")
    assert told["val/broken.jpg"][0] == "unscored"
    assert "does not decode" in told["val/broken.jpg"][1]
    assert len(done.problems) == len(told) == 3
    run = json.loads((tmp_path / "att" / "run.json").read_text())
    assert (run["kind"], run["finished"], run["written"]) == ("features", True, 8)
    assert (run["version"], run["device"], run["data"]["images"]) == (alignscope.__version__, "cpu", 9)
    assert run["model"] == {"name": "tiny-random-resnet", "fingerprint": backbone.fingerprint}
    assert run["features"] == {"of": "patches", "width": 16, "dtype": "float32", "image_size": "its own"}


def test_images_of_one_name_in_two_folders_are_told_apart(
    backbone: Backbone, images: Path, tmp_path: Path
) -> None:
    Image.new("RGB", (40, 40), "red").save(images / "val" / "0.jpg")  # and two endings in one folder
    write_features(backbone, images, tmp_path / "fc")
    found = FeatureFolder(tmp_path / "fc")
    assert not np.array_equal(found["train/0.png"], found["val/0.png"])
    assert not np.array_equal(found["val/0.jpg"], found["val/0.png"])
    np.testing.assert_array_equal(found["train/2"], found["train/2.png"])
    np.testing.assert_array_equal(found["grey.jpg"], found["val/grey.PNG"])
    with pytest.raises(BadData, match=r"got the image '2.png', which may be 'train/2.png' or 'val/2.png'"):
        found["2.png"]


def test_a_stopped_run_goes_on_to_the_same_bytes(
    backbone: Backbone, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "PART", 3)
    told: list[tuple[str, int, int]] = []
    write_features(backbone, images, tmp_path / "whole", progress=lambda *each: told.append(each))
    assert (told[0], told[-1]) == (("images", 0, 9), ("images", 9, 9))
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)
    look, seen, out = Backbone.vector, [], tmp_path / "stopped"

    def counting(self: Backbone, image: Image.Image) -> np.ndarray:
        if len(seen) == 5:
            raise KeyboardInterrupt
        seen.append(image)
        return look(self, image)

    monkeypatch.setattr(Backbone, "vector", counting)
    with pytest.raises(KeyboardInterrupt):
        write_features(backbone, images, out)
    half = out / "val" / "1.png.npy.part"
    half.write_bytes(b"half")  # as a kill leaves it
    assert len(FeatureFolder(out)) == 5
    with pytest.raises(OutputExists, match="give --resume, --overwrite"):
        write_features(backbone, images, out)
    with pytest.raises(OutputExists, match=r"features\.of: was \"mean\", now \"patches\""):
        write_features(backbone, images, out, patches=True, resume=True)
    with alone(out), pytest.raises(OutputExists, match="another process is at work"):
        write_features(backbone, images, out, resume=True)
    stamps = {path: path.stat().st_mtime_ns for path in out.rglob("*.npy")}
    seen[:] = [None] * 2  # three are left, and no more than three are looked at
    write_features(backbone, images, out, resume=True)
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    assert contents(out) == contents(tmp_path / "whole")
    write_features(backbone, images, out, resume=True)  # of a finished one: nothing to look at
    assert contents(out) == contents(tmp_path / "whole")
    os.utime(images / "val" / "1.png", (1, 1))
    with pytest.raises(OutputExists, match="different data"):
        write_features(backbone, images, out, resume=True)
    monkeypatch.setattr(Backbone, "vector", look)
    write_features(backbone, images, out, patches=True, overwrite=True)
    assert all(each.ndim == 2 for each in FeatureFolder(out).values())


def test_an_image_that_does_not_go_through_is_named(
    backbone: Backbone, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = Backbone.vector

    def infinite(self: Backbone, image: Image.Image) -> np.ndarray:
        return look(self, image) + (np.inf if image.size == (60, 40) else 0)

    monkeypatch.setattr(Backbone, "vector", infinite)
    Image.new("RGB", (40, 40)).save(images / f"{'n' * 250}.png")
    done = write_features(backbone, images, tmp_path / "fc")
    lost = {one.item: one.what for one in done.problems if one.action == "unscored"}
    assert sorted(lost) == ["alpha.png", f"{'n' * 250}.png", "val/broken.jpg", "val/grey.PNG"]
    assert lost["alpha.png"].endswith("gives features that are not finite: take another backbone")
    assert "a file has 263 bytes, wanted at most 255" in lost[f"{'n' * 250}.png"]
    assert (done.written, done.left_out, len(FeatureFolder(tmp_path / "fc"))) == (6, 4, 6)


def typed(*words: object, code: int = 0) -> str:
    done = CliRunner().invoke(app, [*map(str, words)])
    assert done.exit_code == code, (done.output, done.exception)
    return done.output


RECIPE = """
name = "tiny"
seed = 0
threads = 1
threshold = 0
longest = 6
data = {{ kind = "karpathy", captions = "{captions}", features = "{features}" }}
captioner = {{ kind = "{kind}", hidden = 8 }}
stages = [{{ kind = "cross-entropy", steps = 2, images = 2, captions = 1, validate_every = 2 }}]
"""


@pytest.mark.parametrize(("how", "kind"), [("--mean", "fc"), ("--patches", "attention-lstm")])
def test_from_images_to_captions(resnet: Path, images: Path, tmp_path: Path, how: str, kind: str) -> None:
    (images / "val" / "broken.jpg").unlink()
    out = tmp_path / "features"
    told = json.loads(typed("regions", "features", images, out, "--backbone", resnet, how, "--json"))
    assert told["directory"] == str(out)
    assert (told["images"], told["written"], told["width"], told["others"]) == (8, 8, 16, 1)
    splits = ["train", "train", "val", "val", "test", "test", "train", "train"]
    rows = [
        {"filename": Path(name).name, "filepath": str(Path(name).parent), "split": split,
         "sentences": [{"tokens": ["a", word], "raw": ""} for word in ("cat", "dog")]}
        for name, split in zip(NAMES, splits, strict=True)
    ]  # fmt: skip
    captions = tmp_path / "dataset_coco.json"
    captions.write_text(json.dumps({"images": rows, "dataset": "coco"}))
    (tmp_path / "tiny.toml").write_text(RECIPE.format(captions=captions, features=out, kind=kind))
    typed("train", tmp_path / "tiny.toml", "--out", tmp_path / "run")
    written = [*read_jsonl(tmp_path / "run" / "captions.jsonl")]
    assert [row["image"] for row in written] == ["val/0.png", "val/1.png"]


def test_what_is_left_out_is_said(resnet: Path, images: Path, tmp_path: Path) -> None:
    told = typed("regions", "features", images, tmp_path / "fc", "--backbone", resnet, code=1)
    assert (
        f"made by tiny-random-resnet@{open_backbone(resnet).fingerprint[:12]}, image size: its own\n" in told
    )
    assert f"8 of 9 images, means of width 16: {tmp_path / 'fc'}\n" in told
    assert "note: 1 other files are no images by their names\n" in told
    assert f"3 problems, listed in {tmp_path / 'fc' / 'problems.jsonl'}\n1 image left out\n" in told


def test_other_models_are_refused_before_there_is_anything(images: Path, tmp_path: Path) -> None:
    words = transformers.BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, vocab_size=9)
    transformers.BertModel(words).save_pretrained(tmp_path / "words")
    done = CliRunner().invoke(
        app, ["regions", "features", str(images), str(tmp_path / "fc"), "--backbone", str(tmp_path / "words")]
    )
    assert isinstance(done.exception, CheckpointError)
    assert "BertModel, wanted a model of images alone: ResNetForImageClassification" in str(done.exception)
    assert not (tmp_path / "fc").exists()
