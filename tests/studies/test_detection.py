"""A folder of images to regions: written once, resumed to the same bytes, nothing dropped, and told onwards."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import alignscope
from alignscope.cli import app
from alignscope.data.images import ImageFolder
from alignscope.data.regionfiles import open_regions
from alignscope.data.world.export import export
from alignscope.data.world.world import World
from alignscope.errors import BadData, BadInput, OutputExists, UnwritableOutput
from alignscope.files import read_jsonl, read_parquet, write_jsonl
from alignscope.models.detectors import load
from alignscope.records import Measurement
from alignscope.studies import detection
from alignscope.studies.detection import Settings, detect
from alignscope.studies.embeddings import Seen, embed_images
from alignscope.studies.pictures import made_known, regions_of, strangers

QUIET = {"batch_size": 2, "progress": lambda *told: None}
TESTS = Path(__file__).parents[1]
CAPTIONS = ["a red dog near a small cat", "the kitchen with two cats", "a small red cat", "a dog near a cat"]


def module(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


@pytest.fixture(scope="module")
def twin(tmp_path_factory) -> Path:
    save = module(TESTS / "models" / "detector_twins.py").save_detector
    return save(tmp_path_factory.mktemp("detector") / "tiny-random-detr", "detr")


@pytest.fixture
def folder(tmp_path) -> Path:
    """Nine pictures of two shapes, one of them grey, one broken, one in a folder below, and a text."""
    images = tmp_path / "images"
    (images / "below").mkdir(parents=True)
    noise = np.random.default_rng(0)
    for number in range(7):
        height, width = [(50, 70), (70, 50)][number % 2]
        values = noise.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(values).save(images / f"{number}.png")
    Image.fromarray(values[:, :, 0]).save(images / "below" / "grey.PNG")
    (images / "broken.jpg").write_bytes(b"\xff\xd8 no picture")
    (images / "readme.txt").write_text("not one")
    return images


class Killed(Exception):
    pass


def test_every_image_is_written_or_said(twin, folder, tmp_path):
    detector = load(twin)
    done = detect(detector, folder, tmp_path / "r.arrow", settings=Settings(regions=5, score=0.0))
    assert (done.written.images, done.written.regions, done.written.width) == (8, 40, 16)
    assert (done.images, done.left_out, done.others) == (9, 1, 1)
    names = [*(f"{n}.png" for n in range(7)), "below/grey.PNG"]
    found = open_regions(tmp_path / "r.arrow")
    assert list(found) == names
    kept = {row["item"]: (row["action"], row["what"]) for row in read_jsonl(done.problems_file)}
    assert set(kept) == {"broken.jpg", "below/grey.PNG"}
    assert kept["broken.jpg"][0] == "unscored"
    assert "does not decode" in kept["broken.jpg"][1]
    assert kept["below/grey.PNG"] == ("handled", "image: greyscale made RGB")
    prepared = [detector.prepared(name, ImageFolder(folder).image(name)) for name in names]
    for one in (detector.detect([each], regions=5, score=0.0)[0] for each in prepared):
        np.testing.assert_allclose(found[one.image].features, one.features, rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(found[one.image].boxes, one.boxes, rtol=1e-4, atol=1e-3)
        assert found[one.image].made_by == one.made_by == detector.made_by
    assert not (tmp_path / "r.arrow.work").exists()


def test_a_stopped_run_goes_on_to_the_same_bytes(twin, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(detection, "PART", 3)
    detector, how = load(twin), {"settings": Settings(regions=5, batch_size=2)}
    told: list[tuple[str, int, int]] = []
    detect(detector, folder, tmp_path / "whole.arrow", **how, progress=lambda *each: told.append(each))
    assert told == [("images", done, 9) for done in (3, 6, 9)]

    def kill(stage, done, total):
        if done == 6:
            raise Killed

    out = tmp_path / "stopped.arrow"
    with pytest.raises(Killed):
        detect(detector, folder, out, **how, progress=kill)
    assert not out.exists()
    with pytest.raises(OutputExists, match="give --resume, --overwrite"):
        detect(detector, folder, out, **how)
    with pytest.raises(OutputExists, match="different settings"):
        detect(detector, folder, out, settings=Settings(regions=6, batch_size=2), resume=True)
    os.utime(folder / "3.png", (1, 1))
    with pytest.raises(OutputExists, match="different data"):
        detect(detector, folder, out, **how, resume=True)
    detect(detector, folder, out, **how, overwrite=True)
    assert out.read_bytes() == (tmp_path / "whole.arrow").read_bytes()
    with pytest.raises(Killed):  # replacing what is whole, stopped, and resumed
        detect(detector, folder, out, settings=Settings(regions=4), overwrite=True, progress=kill)
    look, seen = type(detector).detect, []

    def counting(self, batch, **more):
        seen.extend(image.name for image in batch)
        return look(self, batch, **more)

    monkeypatch.setattr(type(detector), "detect", counting)
    detect(detector, folder, out, settings=Settings(regions=4), resume=True)
    assert seen == ["6.png", "below/grey.PNG"]  # of the last three, one is broken
    assert [len(each) for each in open_regions(out).values()] == [4] * 8
    detect(detector, folder, tmp_path / "four.arrow", settings=Settings(regions=4))
    assert out.read_bytes() == (tmp_path / "four.arrow").read_bytes()
    one, other = (
        Path(f"{tmp_path / name}.arrow.problems.jsonl").read_bytes() for name in ("four", "stopped")
    )
    assert one == other


def test_what_cannot_be_done_is_refused_first(twin, folder, tmp_path):
    detector = load(twin)
    (tmp_path / "there.arrow").touch()
    for resume in (False, True):
        with pytest.raises(OutputExists, match=r"there\.arrow exists"):
            detect(detector, folder, tmp_path / "there.arrow", resume=resume)
    with pytest.raises(UnwritableOutput, match="there is no directory"):
        detect(detector, folder, tmp_path / "no" / "r.arrow")
    with pytest.raises(BadInput, match="a score from 0 to 1"):
        detect(detector, folder, tmp_path / "r.arrow", settings=Settings(score=1.5))
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadData, match="no image files"):
        detect(detector, tmp_path / "empty", tmp_path / "r.arrow")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["empty", "images", "there.arrow"]


def test_a_folder_without_one_image_that_opens(twin, tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(b"nothing")
    (tmp_path / "images" / "b.png").symlink_to(tmp_path / "gone.png")
    (tmp_path / "images" / "c.png").mkdir()
    done = detect(load(twin), tmp_path / "images", tmp_path / "r.arrow")
    assert (done.written.images, done.left_out, done.others) == (0, 3, 0)
    assert [one.subject for one in done.problems] == ["a.png", "b.png", "c.png"]
    assert len(open_regions(tmp_path / "r.arrow")) == 0


def typed(*words: object):
    return CliRunner().invoke(app, [*map(str, words)])


def test_from_images_to_an_audit_that_says_whose_regions(twin, folder, tmp_path):
    """Detect, check, and score with a model of regions: the warning is a problem and part of each signature."""
    cross = module(TESTS / "cross" / "conftest.py")
    uniter = cross.save_twin(tmp_path / "tiny-uniter", "uniter", visual_feat_dim=16)
    out = tmp_path / "r.arrow"
    words = ["regions", "detect", folder, out, "--detector", twin, "--score", 0, "--regions", 6]
    done = typed(*words)
    assert done.exit_code == 1, done.output  # one image is broken
    assert "8 of 9 images, 48 regions of width 16 (hash " in done.stdout
    assert "note: 1 other files are no images by their names" in done.stderr
    assert "2 problems, listed in " in done.stderr
    assert "1 image left out" in done.stderr
    (folder / "broken.jpg").unlink()
    assert typed(*words, "--overwrite").exit_code == 0
    checked = typed("regions", "check", out, "--images", folder)
    assert checked.exit_code == 0, checked.output
    maker = load(twin).made_by
    assert f"made by: {maker}\n" in checked.stdout
    assert checked.stdout.endswith("missing: 0 images of the folder\ncomplete\n")

    rows = [
        {"image": f"{n}.png", "caption": text, "foils": [CAPTIONS[n - 1]]} for n, text in enumerate(CAPTIONS)
    ]
    write_jsonl(tmp_path / "pairs.jsonl", rows)
    given = ["--pairs", tmp_path / "pairs.jsonl", "--regions", out, "--no-calibration", "--images", folder]
    for verb in ("audit", "attribute"):
        done = typed(verb, uniter, *given, "--checked", 1, "--out", tmp_path / verb)
        assert done.exit_code == 0, done.output
        told = [row for row in read_jsonl(tmp_path / verb / "problems.jsonl") if row["subject"] == maker]
        assert [row["what"] for row in told] == [
            f"regions made by {maker}: published models were trained on features of another detector"
        ]
        signatures = {
            m.signature for m in read_parquet(tmp_path / verb / "measurements.parquet", Measurement)
        }
        assert signatures
        assert all(f"|data:pairs[regions of {maker}]|" in each for each in signatures), signatures
        assert maker in (tmp_path / verb / "report.html").read_text()

    def calibrated(**given: object) -> str:
        return alignscope.calibrate(str(uniter), **given).signature

    assert f"|data:pairs[regions of {maker}]|" in calibrated(
        pairs=tmp_path / "pairs.jsonl", images=folder, regions=out
    )


def test_the_worlds_own_regions_are_no_strangers(tmp_path):
    """Twins are trained on them: no problem, and the plain name in the signature."""
    save = module(TESTS / "cross" / "conftest.py").save_twin
    model = alignscope.model(str(save(tmp_path / "tiny-uniter", "uniter", visual_feat_dim=16)))
    world = World("test", size=2)
    images = embed_images(model, world, tmp_path, regions=regions_of(model, world, None), **QUIET)
    assert isinstance(images, Seen)
    assert images.sha
    assert strangers(images.makers) == []
    assert made_known(world.name, images.makers) == world.name
    export(world, tmp_path / "world", region_width=16)
    written = open_regions(tmp_path / "world" / "regions" / "regions.tsv")
    assert strangers(one.made_by for one in written.values()) == []
    foreign = {key: replace(one, made_by="detr") for key, one in written.items()}
    [item, *_] = world.items
    images = embed_images(
        model, world, tmp_path, regions=lambda key: foreign.get(key, written[item.image]), **QUIET
    )
    assert [each.action for each in strangers(images.makers)] == ["handled"]
    assert made_known(world.name, images.makers) == f"{world.name}[regions of detr]"
