"""Attribution as a stream: chunks, resuming, samples and the Python call give one and the same result."""

import json
from dataclasses import replace

import pytest
import torch
from PIL import Image

import alignscope
from alignscope.data.held import HeldPairs
from alignscope.data.pairs import PairStream
from alignscope.data.world.world import World
from alignscope.errors import BadData, BadInput, OutputExists, UnknownName, Unsupported
from alignscope.files import read_jsonl, read_parquet
from alignscope.models.zoo import open_model
from alignscope.records import Caption, Faithfulness, Measurement, Point, Word, WordHeat
from alignscope.studies.auditing import attributions
from alignscope.studies.auditing.attributions import write_attributions
from alignscope.studies.auditing.map_checks import Plan, sampled
from alignscope.studies.streams import Whole

SIZE = 11
METHODS = ("attention", "gradcam", "gradient", "perturbation")
PLAN = Plan(METHODS, checked=6, shown=2, scrambles=2, draws=200)


@pytest.fixture(scope="module")
def model(tiny_clip_dir):
    return open_model(str(tiny_clip_dir))


@pytest.fixture(scope="module")
def stream():
    return Whole(World("test", size=SIZE))


@pytest.fixture(scope="module")
def run(model, stream, tmp_path_factory):
    return write_attributions(model, stream, tmp_path_factory.mktemp("attribute") / "run", plan=PLAN)


def heats(directory):
    return read_parquet(directory / "heats.parquet", WordHeat)


def test_every_record_is_there_and_the_numbers_are_theirs(run):
    found = heats(run.directory)
    assert {word.method for word in found} == set(METHODS)
    assert len({word.item for word in found}) == SIZE
    numbers = {(m.measure, m.group, m.method): m for m in run.measurements}
    for method in METHODS:
        objects = [w.heat for w in found if w.method == method and w.word_class == "object"]
        assert numbers["heat", "object", method].value == pytest.approx(sum(objects) / len(objects))
        assert numbers["heat", "object", method].items == len(objects)
    assert read_parquet(run.directory / "measurements.parquet", Measurement) == list(run.measurements)
    assert all("sha:" in m.signature for m in run.measurements)
    assert len(read_parquet(run.directory / "points.parquet", Point)) > 100
    assert not (run.directory / "work").exists()
    assert json.loads((run.directory / "run.json").read_text())["finished"]
    assert "<html" in run.report.read_text()


def test_the_sample_is_checked_and_shown(run, stream):
    wanted = sampled(World("test", size=SIZE).items, wanted=6, of=SIZE, seed=0)
    assert 2 <= len(wanted) < SIZE
    faithful = {one.item for one in read_parquet(run.directory / "faithfulness.parquet", Faithfulness)}
    said = {row["item"] for row in read_jsonl(run.directory / "problems.jsonl") if "faithful" in row["what"]}
    assert faithful | said == {item.id for item in wanted}
    maps = list(read_jsonl(run.directory / "maps.jsonl"))
    assert {one["item"] for one in maps} == {item.id for item in wanted[:2]}
    assert {one["method"] for one in maps} == {"attention", "gradcam"}


@pytest.mark.parametrize("size", [1, 4, 100])
def test_chunks_change_nothing(model, stream, run, tmp_path, monkeypatch, size):
    monkeypatch.setattr(attributions, "CHUNK", size)
    again = write_attributions(model, stream, tmp_path / "run", plan=PLAN, batch_size=3)
    assert len(heats(again.directory)) == len(heats(run.directory))
    for one, other in zip(heats(again.directory), heats(run.directory), strict=True):
        assert replace(one, heat=0.0) == replace(other, heat=0.0)
        assert one.heat == pytest.approx(other.heat, rel=1e-4, abs=1e-5)


class Killed(Exception):
    pass


@pytest.mark.parametrize("stage", ["words", "captions", "checks"])
def test_a_stopped_run_resumes_to_the_same_records(model, stream, run, tmp_path, monkeypatch, stage):
    monkeypatch.setattr(attributions, "CHUNK", 4)

    def kill(name, done, total):
        if name == stage and (done > 4 or stage == "checks"):
            raise Killed

    with pytest.raises(Killed):
        write_attributions(model, stream, tmp_path / "run", plan=PLAN, progress=kill)
    with pytest.raises(OutputExists, match="--resume"):
        write_attributions(model, stream, tmp_path / "run", plan=PLAN)
    with pytest.raises(OutputExists, match="different settings"):
        write_attributions(model, stream, tmp_path / "run", plan=replace(PLAN, checked=7), resume=True)
    again = write_attributions(model, stream, tmp_path / "run", plan=PLAN, resume=True)
    whole = write_attributions(model, stream, tmp_path / "whole", plan=PLAN)
    assert heats(again.directory) == heats(whole.directory)
    for name in ("faithfulness", "agreements", "pointings", "phrases"):
        ours, theirs = ((r.directory / f"{name}.parquet").read_bytes() for r in (again, whole))
        assert ours == theirs, name
    assert [m.value for m in again.measurements] == [m.value for m in whole.measurements]


def test_a_stopped_run_does_not_go_on_with_other_regions(tmp_path, monkeypatch):
    monkeypatch.setattr(attributions, "CHUNK", 4)
    model, world = alignscope.model("tiny-uniter"), World("test", size=8)
    plan = Plan(("attention",), checked=0)

    def kill(name, done, total):
        if name == "captions":
            raise Killed

    def regions(scale):
        def found(key):
            whole = world.regions(key, width=256)
            return replace(whole, features=scale * whole.features)

        return found

    def run(scale, **how):
        write_attributions(model, Whole(world), tmp_path / "run", regions=regions(scale), plan=plan, **how)

    with pytest.raises(Killed):
        run(1, progress=kill)
    with pytest.raises(OutputExists, match="begun with other regions"):
        run(2, resume=True)
    run(1, resume=True)


def test_what_is_done_is_not_done_again(model, stream, tmp_path, monkeypatch):
    monkeypatch.setattr(attributions, "CHUNK", 4)
    calls = []
    original = attributions.word_heats
    monkeypatch.setattr(attributions, "word_heats", lambda *a: calls.append(1) or original(*a))

    def kill(name, done, total):
        if name == "captions" and done >= 8:
            raise Killed

    with pytest.raises(Killed):
        write_attributions(model, stream, tmp_path / "run", plan=PLAN, progress=kill)
    assert len(calls) == 2
    write_attributions(model, stream, tmp_path / "run", plan=PLAN, resume=True)
    assert len(calls) == 3  # 11 captions are three chunks


def test_the_python_call_gives_the_same_heats_one_by_one(model, run):
    found = alignscope.attribute(model, World("test", size=SIZE), method=METHODS)
    first = next(found)
    assert (first.item, first.method) == ("test-0-000000", "attention")
    words = [word for one in (first, *found) for word in one.words]
    assert [(w.item, w.method, w.position) for w in words] == [
        (w.item, w.method, w.position) for w in heats(run.directory)
    ]
    assert [w.heat for w in words] == pytest.approx([w.heat for w in heats(run.directory)], abs=1e-6)


def test_images_and_captions_in_hand(model):
    words = (Word("dog", 2, 5, "object"), Word("red", 9, 12, "attribute"))
    red = Image.new("RGB", (20, 30), "red")
    [one] = alignscope.attribute(model, [(red, Caption("a dog is red", words))])
    assert [word.word for word in one.words] == ["dog", "red"]
    assert sum(word.heat for word in one.words) == pytest.approx(1)
    stream = alignscope.attribute(model, [(red, Caption("a dog")), (red, Caption("a dog is red", words))])
    assert len(list(stream)) == 1
    assert [problem.what for problem in stream.problems] == ["gradcam: no tagged words to attribute to"]
    with pytest.raises(BadData, match="caption 1 is empty"):
        HeldPairs([(red, "a"), (red, " ")])


def test_free_text_is_tagged(model):
    pytest.importorskip("spacy", reason="needs the extra alignscope[language]")
    [one] = alignscope.attribute(
        model, [(Image.new("RGB", (9, 9)), "a red dog near a cat")], method="gradient"
    )
    assert {word.word: word.word_class for word in one.words}["near"] == "relation"


def test_broken_pairs_lose_nothing(model, tmp_path):
    Image.new("L", (9, 7)).save(tmp_path / "grey.png")
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    lines = [
        {"image": "grey.png", "caption": "a red dog on a mat", "foils": [{"caption": "x", "kind": "k"}]},
        {"image": "broken.jpg", "caption": "a cat"},
        {"image": "absent.jpg", "caption": "a cat"},
        {"image": "grey.png", "caption": "a very large dog " * 60},
    ]
    path = tmp_path / "mine.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + "{oops\n")
    stream = PairStream(path, tmp_path, word_classes=lambda texts: [tagged(text) for text in texts])
    result = write_attributions(model, stream, tmp_path / "run", plan=PLAN)
    assert {word.item for word in heats(result.directory)} == {"line-1", "line-4"}
    said = [f"{row['item']} {row['what']}" for row in read_jsonl(result.directory / "problems.jsonl")]
    for part in ("line-2 image", "line-3", "line-4 text of", "line-4 word", "line-5 not JSON"):
        assert any(part in one for one in said), (part, said)
    assert len(said) == result.problems


def tagged(text: str) -> Caption:
    at, words = 0, []
    for word in text.split():
        start = text.index(word, at)
        at = start + len(word)
        kind = {"dog": "object", "mat": "object", "red": "attribute", "on": "relation"}.get(word, "other")
        words.append(Word(word, start, at, kind))
    return Caption(text, tuple(words))


def test_what_cannot_be_done_is_said(model, stream, tmp_path):
    with pytest.raises(UnknownName, match="did you mean 'gradcam'"):
        alignscope.attribute(model, World("test", size=2), method="grad-cam")
    with pytest.raises(BadInput, match="without --images"):
        alignscope.attribute(model, "pairs.jsonl")
    with pytest.raises(BadInput, match="leave `images` out"):
        alignscope.attribute(model, World("test", size=2), images=tmp_path)
    empty = tmp_path / "empty.jsonl"
    empty.write_text('{"image": "absent.png", "caption": "a dog"}\n')
    with pytest.raises(BadData, match="no caption of empty can be attributed"):
        write_attributions(model, PairStream(empty, tmp_path), tmp_path / "run", plan=PLAN)


class NoMaps:
    """A model that only scores texts: what its traits do not name is unsupported, never zero."""

    def __init__(self, model):
        self._model = model

    @property
    def traits(self):
        return replace(self._model.traits, attributions=("perturbation",), image_readout=None)

    def scrambled(self, *, seed):
        return NoMaps(self._model.scrambled(seed=seed))

    def __getattr__(self, name):
        return getattr(self._model, name)


def test_methods_that_a_model_lacks_are_unsupported_and_never_zero(model, stream, tmp_path):
    poor = NoMaps(model)
    with pytest.raises(Unsupported, match="gives no gradcam, only perturbation"):
        alignscope.attribute(poor, World("test", size=2))
    result = write_attributions(poor, stream, tmp_path / "run", plan=replace(PLAN, methods=("perturbation",)))
    assert {word.method for word in heats(result.directory)} == {"perturbation"}
    said = [row["what"] for row in read_jsonl(result.directory / "problems.jsonl")]
    assert said[:3] == [f"{method} is unsupported by this model" for method in METHODS[:3]]
    assert not any(m.method in METHODS[:3] for m in result.measurements)
    audited = alignscope.audit(poor, size=4, out=tmp_path / "audit", checked=2)
    assert {m.method for m in audited.measurements if m.measure == "heat"} == {"perturbation"}
    assert torch.is_tensor(poor.encode_texts(["a"]))


def test_a_negative_seed_is_refused_before_any_work():
    with pytest.raises(BadInput, match="seed is -1, wanted 0 or more"):
        Plan(METHODS, seed=-1)
