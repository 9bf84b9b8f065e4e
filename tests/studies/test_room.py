"""Texts too long for a model that cuts none: they have no score, with the reason, and all else has the one it has without them."""

import importlib.util
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from alignscope.attribution.options import Options
from alignscope.data.images import ImageFolder
from alignscope.data.world.world import World
from alignscope.errors import NoRoom
from alignscope.files import read_jsonl, read_parquet
from alignscope.records import Choice, EditedScore, OptionScore, Rank, WordHeat
from alignscope.studies.auditing.attributions import write_attributions
from alignscope.studies.auditing.audit import Settings, audit
from alignscope.studies.auditing.map_checks import Plan
from alignscope.studies.benchmarking.evaluation import evaluate
from alignscope.studies.streams import Whole


def beside(*parts):
    """A file of the tests that is no test."""
    path = Path(__file__).parent.joinpath(*parts)
    spec = importlib.util.spec_from_file_location(path.stem + "_of_room", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


twins = beside("..", "models", "captioner_twins.py")
toy = beside("toy_benchmark.py")
MORE = " cat" * 60  # the twins have room for 48 and 160 tokens
PLAN = Plan(("perturbation",), Options(variant="leave-one-out"), checked=50, shown=0, scrambles=0, draws=50)
SETTINGS = Settings(draws=50, edit_draws=1, plan=PLAN)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return twins.load(twins.save_twin(tmp_path_factory.mktemp("blip"), "blip"))


class Lengthened:
    """The world, the caption of one item and a foil of another made too long."""

    name, problems = "lengthened", ()

    def __init__(self, *, caption=True):
        world = World("test", size=5)
        items = list(world.items)
        if caption:
            items[1] = replace(items[1], caption=replace(items[1].caption, text=items[1].caption.text + MORE))
        first, *others = items[2].foils
        items[2] = replace(items[2], foils=(replace(first, text=first.text + MORE), *others))
        self.items, self.image, self.sha = tuple(items), world.image, f"long{caption}"


def lost(directory):
    """Items by how many of their texts have no room."""
    told = list(read_jsonl(directory / "problems.jsonl"))
    assert not any("truncated" in row["what"] for row in told)
    return Counter(
        row["item"] for row in told if "has room for 4" in row["what"] and row["action"] == "unscored"
    )


@pytest.mark.parametrize(
    ("kind", "scoring"),
    [("blip", "information"), ("git", "information"), ("llava", "yes"), ("llava-next", "likelihood")],
)
def test_the_error_has_the_scores_of_the_others(kind, scoring, tmp_path):
    model = twins.load(twins.save_twin(tmp_path, kind), scoring=scoring)
    world = World("test", size=2)
    first, second = (world.image(item.image) for item in world.items)
    long = "cat " * 200
    texts = ["a red dog", long, "the kitchen", long, "cat"]
    images = [first, first, second, second, first]
    with pytest.raises(NoRoom, match=r"has room for .*: shorten it") as caught:
        model.score(images, texts)
    assert set(caught.value.reasons) == {1, 3}
    kept = [0, 2, 4]
    alone = model.score([images[k] for k in kept], [texts[k] for k in kept])
    np.testing.assert_allclose([caught.value.scores[k] for k in kept], alone, atol=1e-6)
    assert np.isnan([caught.value.scores[k] for k in (1, 3)]).all()
    assert not model.traits.cuts


def test_a_text_that_fits_but_not_beside_the_image_has_no_room(tmp_path):
    model = twins.load(twins.save_twin(tmp_path, "llava"), scoring="likelihood")
    world = World("test", size=1)
    image, room = world.image(world.items[0].image), model.traits.context_length
    text = "cat"
    while model.tokens([f"{text} cat"]).lengths[0] <= room:
        text += " cat"
    with pytest.raises(NoRoom, match="after the image and the prompt"):
        model.score([image], [text])


def test_an_audit_leaves_out_what_has_no_room_and_scores_the_rest(model, tmp_path):
    source, world = Lengthened(), World("test", size=5)
    done = audit(model, source, tmp_path / "run", settings=SETTINGS, calibrate=False)
    bare = audit(model, Lengthened(caption=False), tmp_path / "bare", settings=SETTINGS, calibrate=False)
    choices = read_parquet(done.directory / "choices.parquet", Choice)
    for choice in choices:
        for text, score in ((choice.caption, choice.caption_score), (choice.foil, choice.foil_score)):
            assert np.isnan(score) == text.endswith(MORE)
            if not np.isnan(score):
                assert score == pytest.approx(
                    model.score([world.image(choice.image)], [text]).item(), abs=1e-4
                )
    long, other = source.items[1], source.items[2]
    unscored = len(long.foils) + 1
    [number] = [m for m in done.measurements if (m.measure, m.group) == ("accuracy", "all")]
    assert (number.missing, number.items) == (unscored, len(choices) - unscored)
    edits = read_parquet(done.directory / "edits.parquet", EditedScore)
    assert {edit.item for edit in edits if np.isnan(edit.caption_score)} == {long.id}
    assert {m.missing for m in done.measurements if m.measure == "score drop"} == {1}
    assert {word.item for word in read_parquet(done.directory / "heats.parquet", WordHeat)} == {
        item.id for item in source.items
    } - {long.id}
    assert lost(done.directory)[other.id] == 1
    assert lost(done.directory)[long.id] >= 1
    assert lost(bare.directory) == {other.id: 1}


def test_a_stopped_audit_goes_on_to_the_same_records(model, tmp_path):
    def stop(stage, done, total):
        if stage == "attribution":
            raise KeyboardInterrupt

    how = {"settings": SETTINGS, "calibrate": False}
    whole = audit(model, Lengthened(), tmp_path / "whole", **how)
    with pytest.raises(KeyboardInterrupt):
        audit(model, Lengthened(), tmp_path / "stopped", progress=stop, **how)
    again = audit(model, Lengthened(), tmp_path / "stopped", resume=True, **how)
    assert repr(again.measurements) == repr(whole.measurements)
    for name in ("choices.parquet", "edits.parquet", "problems.jsonl", "heats.parquet"):
        assert (again.directory / name).read_bytes() == (whole.directory / name).read_bytes()


def test_attributions_of_other_captions_stay(model, tmp_path):
    run = write_attributions(model, Whole(Lengthened()), tmp_path / "run", plan=PLAN, calibrate=False)
    bare = write_attributions(
        model, Whole(Lengthened(caption=False)), tmp_path / "bare", plan=PLAN, calibrate=False
    )
    long = Lengthened().items[1].id
    heats, others = (read_parquet(one.directory / "heats.parquet", WordHeat) for one in (run, bare))
    others = [word for word in others if word.item != long]
    assert [(w.item, w.position) for w in heats] == [(w.item, w.position) for w in others]
    np.testing.assert_allclose([w.heat for w in heats], [w.heat for w in others], atol=1e-4)
    told = [row for row in read_jsonl(run.directory / "problems.jsonl") if row["item"] == long]
    assert len(told) >= len(Lengthened().items[1].caption.words)
    assert all("too long" in row["what"] for row in told if row["what"].startswith("word"))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Pictures of the world and questions about them; one text of the third is too long, all of the last."""
    place = tmp_path_factory.mktemp("room")
    (place / "images").mkdir()
    world = World("test", size=5)
    rows = []
    for number, item in enumerate(world.items):
        world.image(item.image).save(place / "images" / f"{number}.png")
        texts = [item.caption.text, item.foils[0].text]
        if number == 4:
            texts[0] += MORE
        if number in (2, 4):
            texts[1] += MORE
        rows.append(toy.row(number, [[f"{number}.png"]], texts, subset=""))
    toy.write(place / "rows.jsonl", rows)
    return place


def evaluated(model, place, out, asks, **more):
    images = ImageFolder(place / "images")
    return evaluate(
        model, toy.benchmark(asks), place / "rows.jsonl", images, out, calibrate=False, **toy.SMALL, **more
    )


def test_options_without_room_are_missing_and_the_rest_is_scored(model, place, tmp_path):
    done = evaluated(model, place, tmp_path / "run", "caption")
    records = read_parquet(done.directory / "scores.parquet", OptionScore)
    images = ImageFolder(place / "images")
    for record in records:
        assert (record.score is None) == record.text.endswith(MORE)
        if record.score is not None:
            wanted = model.score([images.image(record.image)], [record.text]).item()
            assert record.score == pytest.approx(wanted, abs=1e-4)
    assert lost(done.directory) == {"/2": 1, "/4": 2}
    [accuracy] = [m for m in done.measurements if (m.measure, m.group) == ("accuracy", "all")]
    assert (accuracy.items, accuracy.missing) == (3, 2)


def test_retrieval_is_among_the_texts_that_have_room(model, place, tmp_path):
    done = evaluated(model, place, tmp_path / "run", "retrieval")
    found = read_parquet(done.directory / "ranks.parquet", Rank)
    images = ImageFolder(place / "images")
    texts = {
        (number, at): text
        for number, line in enumerate(read_jsonl(place / "rows.jsonl"))
        for at, text in enumerate(line["texts"])
        if not text.endswith(MORE)
    }
    score = {
        (image, place): model.score([images.image(f"{image}.png")], [text]).item()
        for image in range(4)
        for place, text in texts.items()
    }
    wanted = {}
    for image in range(4):
        best = max(score[image, at] for at in texts if at[0] == image)
        wanted["image to text", f"{image}.png"] = 1 + sum(
            score[image, at] >= best for at in texts if at[0] != image
        )
    for at in texts:
        wanted["text to image", f"{at[0]}.png#{at[1]}"] = 1 + sum(
            score[image, at] >= score[at[0], at] for image in range(4) if image != at[0]
        )
    assert {(rank.direction, rank.query): rank.rank for rank in found} == wanted
    assert {rank.direction: rank.candidates for rank in found} == {"image to text": 7, "text to image": 4}
    missing = {m.group: m.missing for m in done.measurements if m.measure == "recall@1"}
    assert missing == {"image to text": 1, "text to image": 3}
    assert lost(done.directory) == {"2.png": 1, "4.png": 3}


@pytest.mark.parametrize("asks", ["caption", "retrieval"])
def test_a_stopped_evaluation_goes_on_to_the_same_records(model, place, tmp_path, asks):
    def stop(stage, done, total):
        if stage.startswith("scores") and done:
            raise KeyboardInterrupt

    whole = evaluated(model, place, tmp_path / "whole", asks)
    with pytest.raises(KeyboardInterrupt):
        evaluated(model, place, tmp_path / "stopped", asks, progress=stop)
    again = evaluated(model, place, tmp_path / "stopped", asks, resume=True)
    for path in whole.directory.iterdir():
        if path.name != "run.json":
            assert (again.directory / path.name).read_bytes() == path.read_bytes()
    assert json.loads((again.directory / "run.json").read_text())["finished"]
