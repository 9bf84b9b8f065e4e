"""The audit as a whole, on a random tiny CLIP: every number comes from records that lie beside it."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

import alignscope
from alignscope.data.world.world import World
from alignscope.errors import BadData, BadInput, OutputExists
from alignscope.files import read_jsonl, read_parquet
from alignscope.models.zoo import open_model
from alignscope.records import Choice, EditedScore, Measurement, Rank, WordHeat
from alignscope.reporting.run import thumbnail_name
from alignscope.studies.auditing.audit import audit

SIZE = 12


@pytest.fixture(scope="module")
def model(tiny_clip_dir):
    return open_model(str(tiny_clip_dir))


@pytest.fixture(scope="module")
def world():
    return World("test", size=SIZE)


@pytest.fixture(scope="module")
def run(model, world, tmp_path_factory):
    return audit(model, world, tmp_path_factory.mktemp("audit") / "run", batch_size=5)


def by_name(result):
    return {(m.measure, m.group): m for m in result.measurements}


def test_the_page_has_a_thumbnail_of_each_image_beside_it(world, run):
    wanted = {thumbnail_name(item.image) for item in world.items}
    assert {path.name for path in (run.directory / "thumbnails").iterdir()} == wanted
    page = run.report.read_text(encoding="utf-8")
    assert "from the folder <code>thumbnails</code>, which must stay beside it." in page
    assert "by name only" not in page


def test_accuracy_is_that_of_scores_computed_one_by_one(model, world, run):
    right: dict[str, list[bool]] = {}
    for item in world.items:
        image = world.image(item.image)
        for foil in item.foils:
            caption, wrong = model.score([image, image], [item.caption.text, foil.text]).tolist()
            right.setdefault(foil.kind, []).append(caption > wrong)
    assert len(right) == 8
    found = by_name(run)
    for kind, outcomes in right.items():
        assert found["accuracy", kind].value == pytest.approx(np.mean(outcomes))
        assert found["accuracy", kind].items == len(outcomes)


def test_recall_is_that_of_the_score_grid(model, world, run):
    grid = model.score_grid(
        [world.image(i.image) for i in world.items], [i.caption.text for i in world.items]
    )
    hits = (grid.argmax(dim=1) == torch.arange(SIZE)).float().mean().item()
    assert by_name(run)["recall@1", "image to text"].value == pytest.approx(hits)


def test_every_record_is_there_and_reads(world, run):
    foils = sum(len(item.foils) for item in world.items)
    assert len(read_parquet(run.directory / "choices.parquet", Choice)) == foils
    words = sum(len(item.caption.words) for item in world.items)
    unheard = [problem for problem in run.problems if "not heard" in problem.what]
    heats = read_parquet(run.directory / "heats.parquet", WordHeat)
    for method in ("attention", "gradcam", "gradient"):
        assert sum(word.method == method for word in heats) + len(unheard) == words
    assert len(read_parquet(run.directory / "edits.parquet", EditedScore)) > SIZE
    assert len(read_parquet(run.directory / "ranks.parquet", Rank)) == 2 * SIZE
    saved = read_parquet(run.directory / "measurements.parquet", Measurement)
    assert saved == list(run.measurements)
    assert all(m.signature and world.sha in m.signature for m in saved)
    facts = json.loads((run.directory / "run.json").read_text())
    assert facts["finished"]
    assert facts["data"]["foils"] == foils
    assert not (run.directory / "work").exists()
    assert "<html" in run.report.read_text()


def test_wrong_nouns_are_not_in_the_picture(world, run):
    edits = read_parquet(run.directory / "edits.parquet", EditedScore)
    checked = 0
    for edit in edits:
        if edit.edit == "wrong nouns":
            there = {thing.noun for thing in world.scene(edit.image).objects}
            assert not there & set(edit.edited.split())
            checked += 1
    assert checked >= SIZE


class Killed(Exception):
    pass


@pytest.mark.parametrize("stage", ["images", "texts", "attribution", "edited texts"])
def test_a_stopped_audit_resumes_to_the_same_numbers(model, world, run, tmp_path, stage):
    def kill(name, done, total):
        if name == stage:
            raise Killed

    with pytest.raises(Killed):
        audit(model, world, tmp_path / "run", batch_size=5, progress=kill)
    with pytest.raises(OutputExists, match="--resume"):
        audit(model, world, tmp_path / "run", batch_size=5)
    again = audit(model, world, tmp_path / "run", batch_size=5, resume=True)
    assert again.measurements == run.measurements


def test_another_family_is_audited_by_the_same_code(tiny_siglip_dir, tmp_path):
    result = audit(open_model(str(tiny_siglip_dir)), World("test", size=3), tmp_path / "run")
    found = by_name(result)
    assert found["accuracy", "all"].value is not None
    assert found["heat", "object"].items > 0


def test_pairs_with_broken_parts_lose_nothing(tiny_clip_dir, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    Image.new("CMYK", (9, 7), (10, 20, 30, 40)).save(images / "cmyk.jpg")
    Image.new("RGBA", (1, 1), (255, 0, 0, 0)).save(images / "one.png")
    (images / "broken.jpg").write_bytes(b"no picture")
    long = "a very large dog " * 60
    lines = [
        {"image": "cmyk.jpg", "caption": "a red dog on a mat", "foils": [{"caption": "a blue dog on a mat", "kind": "replace_attribute"}]},
        {"image": "one.png", "caption": long, "foils": [{"caption": "a ☃ cat", "kind": "my own kind"}]},
        {"image": "broken.jpg", "caption": "a cat", "foils": [{"caption": "a dog", "kind": "replace_object"}]},
        {"image": "missing.jpg", "caption": "a cat", "foils": []},
        {"image": "one.png", "caption": "   ", "foils": []},
    ]  # fmt: skip
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"image": "cmyk.jpg", \n')
    result = alignscope.audit(str(tiny_clip_dir), pairs=pairs, images=images, out=tmp_path / "run")
    found = by_name(result)
    assert found["accuracy", "replace_attribute"].items == 1
    assert found["accuracy", "my own kind"].items == 1
    assert found["accuracy", "replace_object"].value is None
    assert found["accuracy", "replace_object"].missing == 1
    said = " ".join(f"{p.what} {p.subject}" for p in result.problems)
    for part in ("truncated", "broken.jpg", "missing.jpg", "pairs.jsonl:6"):
        assert part in said, said
    assert len(list(read_jsonl(result.directory / "problems.jsonl"))) == len(result.problems)


def test_nothing_to_score_is_an_error_and_so_are_half_given_inputs(tiny_clip_dir, tmp_path):
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text('{"image": "a.jpg", "caption": "a dog", "foils": []}\n')
    with pytest.raises(BadData):
        alignscope.audit(str(tiny_clip_dir), pairs=pairs, images=tmp_path, out=tmp_path / "run")
    with pytest.raises(BadInput, match="without --images"):
        alignscope.audit(str(tiny_clip_dir), pairs=pairs, out=tmp_path / "run2")
    with pytest.raises(BadInput, match="without --pairs"):
        alignscope.audit(str(tiny_clip_dir), images=tmp_path, out=tmp_path / "run2")
