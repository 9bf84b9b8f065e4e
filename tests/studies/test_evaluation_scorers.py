"""`evaluate` with models that read image and text together: records are those of a plain loop, however run."""

import hashlib
import importlib.util
import itertools
import json
import random
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import alignscope
from alignscope.data.images import ImageFolder
from alignscope.data.world.export import export
from alignscope.data.world.world import World
from alignscope.errors import BadData, BadInput, CalibrationError, OutputExists, Unsupported
from alignscope.files import read_jsonl, read_parquet
from alignscope.models.cross.loading import load
from alignscope.models.protocols import Tokens, Traits
from alignscope.records import OptionScore, Rank, Regions
from alignscope.studies.benchmarking import pairwise
from alignscope.studies.benchmarking.evaluation import evaluate


def beside(*parts):
    """A file of the tests that is no test."""
    path = Path(__file__).parent.joinpath(*parts)
    spec = importlib.util.spec_from_file_location(path.stem + "_of_scorers", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


toy = beside("toy_benchmark.py")
cross = beside("..", "cross", "conftest.py")
benchmark, row, write, SMALL = toy.benchmark, toy.row, toy.write, toy.SMALL
CONTEXT = 8
TRAITS = Traits(
    *("cross", "patch", None, CONTEXT, "gelu", "first", False, True, (), 1.0), score="match", match_index=1
)


def known(picture, text):
    """A score that hangs on every pixel (or feature) and every token that is read, small so that some tie."""
    seen = picture.features.tobytes() if isinstance(picture, Regions) else picture.tobytes()
    read = " ".join(text.casefold().split()[: CONTEXT - 2])
    return hashlib.sha256(seen + read.encode()).digest()[0] / 8 - 16


class Known:
    """A scorer whose scores are known; counts what it is asked for."""

    name, fingerprint = "known", "ab12" * 16

    def __init__(self, rule=known, **traits):
        self.rule, self.traits, self.asked = rule, replace(TRAITS, **traits), []

    def score(self, images, texts):
        self.asked += [(image.tobytes(), text) for image, text in zip(images, texts, strict=True)]
        return torch.tensor(
            [self.rule(*pair) for pair in zip(images, texts, strict=True)], dtype=torch.float32
        )

    def tokens(self, texts):
        words = [text.casefold().split() for text in texts]
        lengths = tuple(len(each) + 2 for each in words)
        ids = torch.zeros(len(texts), CONTEXT, dtype=torch.long)
        for place, each in enumerate(words):
            read = each[: CONTEXT - 2]
            said = [1, *(int(hashlib.sha256(word.encode()).hexdigest()[:6], 16) for word in read), 2]
            ids[place, : len(said)] = torch.tensor(said)
        mask = (ids > 0).long()
        return Tokens(ids, mask, torch.zeros(len(texts), dtype=torch.long), ((),) * len(texts), lengths)

    def evaluating(self):
        return nullcontext()

    def scrambled(self, *, seed):
        return self


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Pictures of the world, one of them twice under two names, and questions about them."""
    place = tmp_path_factory.mktemp("toy")
    (place / "images").mkdir()
    world = World("test", size=10)
    for number, item in enumerate([*world.items, world.items[0]]):
        world.image(item.image).save(place / "images" / f"{number}.png")
    captions = [item.caption.text for item in world.items]
    foils = [foil.text for item in world.items for foil in item.foils]
    rows = [row(n, [[f"{n % 11}.png"]], [captions[n % 10], foils[(3 * n) % len(foils)]]) for n in range(150)]
    write(place / "caption.jsonl", rows)
    texts = [[captions[n % 10], foils[n], captions[(n + 1) % 10].upper()] for n in range(11)]
    write(place / "retrieval.jsonl", [row(n, [[f"{n}.png"]], texts[n], subset="") for n in range(11)])
    return place


def run_on(place, out, asks="caption", model=None, **more):
    model = model or Known()
    more = {**SMALL, "calibrate": False, **more}
    images = ImageFolder(place / "images")
    return evaluate(model, benchmark(asks), place / f"{asks}.jsonl", images, out, **more)


def files_of(out):
    """Everything a run wrote but for the times in run.json."""
    facts = json.loads((out / "run.json").read_text())
    timeless = {key: facts[key] for key in facts if key not in ("seconds", "started", "command")}
    return {
        "run.json": json.dumps(timeless).encode(),
        **{path.name: path.read_bytes() for path in out.iterdir() if path.name != "run.json"},
    }


def test_records_are_those_of_a_plain_loop(place, tmp_path):
    done = run_on(place, tmp_path / "run")
    records = read_parquet(tmp_path / "run" / "scores.parquet", OptionScore)
    wanted = []
    for line in read_jsonl(place / "caption.jsonl"):
        picture = Image.open(place / "images" / line["images"][0][0]).convert("RGB")
        right, wrong = (known(picture, text) for text in line["texts"])
        wanted += [(line["id"], right, right >= wrong, right == wrong)]
        wanted += [(line["id"], wrong, wrong >= right, right == wrong)]
    assert [(r.item, r.score, r.chosen, r.is_tie) for r in records] == wanted
    assert any(r.is_tie for r in records)
    (whole,) = [m for m in done.measurements if (m.measure, m.group) == ("accuracy", "all")]
    strict = [one[1] > two[1] for one, two in zip(wanted[::2], wanted[1::2], strict=True)]
    assert (whole.value, whole.items, whole.images) == (pytest.approx(np.mean(strict)), 150, 11)
    told = [line["what"] for line in read_jsonl(tmp_path / "run" / "problems.jsonl")]
    assert any("truncated at 8" in what for what in told)
    assert not (tmp_path / "run" / "work").exists()


def test_a_pair_is_scored_once_a_chunk_and_the_texts_of_an_image_lie_together(place, tmp_path, monkeypatch):
    monkeypatch.setattr(pairwise, "QUESTIONS", 1000)
    monkeypatch.setattr("alignscope.studies.benchmarking.evaluation.QUESTIONS", 1000)
    model = Known()
    run_on(place, tmp_path / "run", model=model)
    heard = [(image, " ".join(text.casefold().split()[:6])) for image, text in model.asked]
    assert len(set(heard)) == len(heard) < 300
    images = [image for image, _ in heard]
    changes = sum(one != two for one, two in itertools.pairwise(images))
    assert changes == len(set(images)) - 1 == 9


class Killed(Exception):
    pass


@pytest.mark.parametrize("asks", ["caption", "retrieval"])
def test_a_run_stopped_anywhere_goes_on_to_the_same_files(place, tmp_path, asks):
    steps = []
    run_on(place, tmp_path / "whole", asks, progress=lambda *step: steps.append(step))
    assert all(done <= total for _, done, total in steps)
    for at in random.Random(asks).sample(range(len(steps)), 6):
        count = iter(range(len(steps)))

        def kill(*step, at=at, count=count):
            if next(count) == at:
                raise Killed

        out = tmp_path / f"run-{at}"
        with pytest.raises(Killed):
            run_on(place, out, asks, progress=kill)
        with pytest.raises(OutputExists, match="--resume"):
            run_on(place, out, asks)
        run_on(place, out, asks, resume=True)
        assert files_of(out) == files_of(tmp_path / "whole"), steps[at]


def test_parts_made_before_the_stop_are_not_scored_again(place, tmp_path):
    model = Known()

    def kill(stage, done, total):
        if stage == "scores" and done == total:
            raise Killed

    with pytest.raises(Killed):
        run_on(place, tmp_path / "run", model=model, progress=kill)
    before = len(model.asked)
    run_on(place, tmp_path / "run", model=model, resume=True)
    assert len(model.asked) == before > 0


def test_retrieval_ranks_every_image_among_all_captions(place, tmp_path):
    steps = []
    run_on(place, tmp_path / "run", "retrieval", progress=lambda *step: steps.append(step))
    lines = list(read_jsonl(place / "retrieval.jsonl"))
    pictures = [Image.open(place / "images" / line["images"][0][0]).convert("RGB") for line in lines]
    texts = [(owner, text) for owner, line in enumerate(lines) for text in line["texts"]]
    wanted = []
    for owner, picture in enumerate(pictures):
        right = max(known(picture, text) for mine, text in texts if mine == owner)
        wrong = [known(picture, text) for mine, text in texts if mine != owner]
        wanted.append((1 + sum(score >= right for score in wrong), wrong.count(right), len(texts)))
    for owner, text in texts:
        right = known(pictures[owner], text)
        wrong = [known(picture, text) for other, picture in enumerate(pictures) if other != owner]
        wanted.append((1 + sum(score >= right for score in wrong), wrong.count(right), 11))
    found = read_parquet(tmp_path / "run" / "ranks.parquet", Rank)
    assert [(rank.rank, rank.ties, rank.candidates) for rank in found] == wanted
    assert any(rank.ties for rank in found)
    distinct = len({" ".join(text.casefold().split()[:6]) for _, text in texts})
    stage = f"scores of {10 * distinct} pairs"  # one picture lies there twice
    assert (stage, 0, 10 * distinct) in steps
    assert (stage, 10 * distinct, 10 * distinct) in steps


def test_scores_that_are_not_finite_are_said_and_counted(place, tmp_path):
    [first, *_] = read_jsonl(place / "retrieval.jsonl")
    broken = " ".join(first["texts"][1].casefold().split()[:6])

    def rule(picture, text):
        is_broken = " ".join(text.casefold().split()[:6]) == broken
        return float("nan") if is_broken else known(picture, text)

    done = run_on(place, tmp_path / "grid", "retrieval", model=Known(rule))
    by = {(m.measure, m.group): m for m in done.measurements}
    assert by["recall@1", "image to text"].missing == 11
    captions = [text for line in read_jsonl(place / "retrieval.jsonl") for text in line["texts"]]
    lost = sum(" ".join(text.casefold().split()[:6]) == broken for text in captions)
    found = by["recall@1", "text to image"]
    assert (found.missing, found.items) == (lost, 33 - lost)
    run_on(place, tmp_path / "run", model=Known(rule))
    told = [line for line in read_jsonl(tmp_path / "run" / "problems.jsonl") if line["action"] == "unscored"]
    records = read_parquet(tmp_path / "run" / "scores.parquet", OptionScore)
    assert {line["item"] for line in told} == {r.item for r in records if r.score is None} != set()


def test_images_that_do_not_open_are_refused_before_anything_is_scored(place, tmp_path):
    rows = [row(n, [[name]], ["a dog", "a cat"]) for n, name in enumerate(["0.png", "bad.png", "none.png"])]
    write(tmp_path / "caption.jsonl", rows)
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "0.png").write_bytes((place / "images" / "0.png").read_bytes())
    (tmp_path / "images" / "bad.png").write_bytes(b"no picture")
    model = Known()
    with pytest.raises(BadData, match="1 of 3 items cannot be scored"):
        run_on(tmp_path, tmp_path / "run", model=model)
    assert model.asked == []
    done = run_on(tmp_path, tmp_path / "run", resume=True, allow_missing=True)
    told = {line["item"]: line["what"] for line in read_jsonl(tmp_path / "run" / "problems.jsonl")}
    assert "does not decode" in told["part-1/1"]
    assert "missing image" in told["part-0/2"]
    assert "toy[2 of 3 missing]" in done.measurements[0].signature
    Image.new("RGB", (9, 9)).save(tmp_path / "images" / "bad.png")
    Image.new("RGB", (8, 8)).save(tmp_path / "images" / "none.png")
    assert run_on(tmp_path, tmp_path / "again").measurements[0].items == 3


def regions_of(number, width=6, **more):
    noise = np.random.default_rng(number)
    boxes = np.array([[0, 0, 10, 10], [5, 5, 30, 20]], np.float32)
    return Regions(f"{number}", 40, 30, boxes, noise.normal(size=(2, width)).astype(np.float32), **more)


class ByRegion(Known):
    """The same of regions."""

    def __init__(self):
        super().__init__(unit="region", feature_width=6)

    def score(self, images, texts):
        assert all(isinstance(image, Regions) for image in images)
        return torch.tensor([known(*pair) for pair in zip(images, texts, strict=True)])


def test_regions_take_the_place_of_images(place, tmp_path):
    table = {f"{number}.png": regions_of(number) for number in range(11)}

    def run(out, table, **more):
        how = {**SMALL, "calibrate": False, "regions": table.__getitem__, **more}
        return evaluate(
            ByRegion(), benchmark("caption"), place / "caption.jsonl", None, tmp_path / out, **how
        )

    run("run", table)
    for record in read_parquet(tmp_path / "run" / "scores.parquet", OptionScore)[:40]:
        assert record.score == known(table[record.image], record.text)
    sha = json.loads((tmp_path / "run" / "run.json").read_text())["data"]["sha"]
    other = {**table, "3.png": regions_of(99)}
    made = {**table, "3.png": regions_of(3, made_by="detr")}
    found = run("made", made).measurements[0].signature
    assert "|data:toy[regions of detr]|" in found
    told = [line["what"] for line in read_jsonl(tmp_path / "made" / "problems.jsonl")]
    warning = "regions made by detr: published models were trained on features of another detector"
    assert told.count(warning) == 1
    shas = {json.loads((tmp_path / "made" / "run.json").read_text())["data"]["sha"], sha}
    assert len(shas) == 2

    def kill(stage, done, total):
        if stage == "scores":
            raise Killed

    with pytest.raises(Killed):
        run("stopped", table, progress=kill)
    with pytest.raises(OutputExists, match="other data"):
        run("stopped", other, resume=True)
    run("stopped", table, resume=True)
    assert files_of(tmp_path / "stopped") == files_of(tmp_path / "run")
    with pytest.raises(BadData, match="items cannot be scored"):
        run("lacking", {key: table[key] for key in table if key != "3.png"})
    told = [line["what"] for line in read_jsonl(tmp_path / "lacking" / "problems.jsonl")]
    assert "no regions of image '3.png' in the file" in told
    with pytest.raises(BadData, match="none of 150 items"):
        run("wide", {key: regions_of(1, width=7) for key in table})
    told = [line["what"] for line in read_jsonl(tmp_path / "wide" / "problems.jsonl")]
    assert "the model takes width 6" in told[0]
    write(tmp_path / "crop.jsonl", [row(0, [["0.png", 0, 0, 9, 9]], ["a dog", "a cat"])])
    with pytest.raises(Unsupported, match=r"part-0/0 shows a crop of '0\.png', and known takes regions"):
        evaluate(
            *(ByRegion(), benchmark("caption"), tmp_path / "crop.jsonl", None, tmp_path / "crop"),
            regions=table.__getitem__,
        )


def test_what_such_a_model_cannot_do_is_said_first(place, tmp_path):
    write(tmp_path / "similarity.jsonl", [row(0, [], ["a dog", "a cat"], gold=1.0)])
    with pytest.raises(Unsupported, match="known has no embedding of a text"):
        evaluate(
            Known(), benchmark("similarity"), tmp_path / "similarity.jsonl", None, tmp_path / "s", **SMALL
        )
    with pytest.raises(Unsupported, match="sts-b compares texts with texts"):
        alignscope.evaluate(Known(), "sts-b", tmp_path / "similarity.jsonl", out=tmp_path / "s")
    assert not (tmp_path / "s").exists()
    with pytest.raises(BadInput, match="leave --cache out"):
        run_on(place, tmp_path / "c", cache=tmp_path / "cache")
    rows = [row(n, [[f"{n}.png"]], [f"dog {n}", f"one dog {n}", f"cat {n}"]) for n in range(10)]
    write(tmp_path / "two captions.jsonl", rows)
    images = ImageFolder(place / "images")
    path = tmp_path / "two captions.jsonl"
    how = {**SMALL, "calibrate": False}
    done = evaluate(Known(), benchmark("two captions"), path, images, tmp_path / "two", **how)
    by = {(m.measure, m.group): m for m in done.measurements}
    assert by["accuracy", "ITT"].items == 10
    assert (by["accuracy", "TOT"].value, by["accuracy", "TOT"].missing) == (None, 10)
    told = list(read_jsonl(tmp_path / "two" / "problems.jsonl"))
    assert [line["what"] for line in told if line["item"] == "TOT"] == [
        "known has no embedding of a text: captions are not compared with each other"
    ]


def fitting(place):
    """A rule that knows which caption belongs to which picture."""
    own = {}
    for line in read_jsonl(place / "caption.jsonl"):
        own[Image.open(place / "images" / line["images"][0][0]).convert("RGB").tobytes()] = line["texts"][0]
    return lambda picture, text: float(own[picture.tobytes()] == text)


def test_a_flipped_head_is_refused_by_name_before_it_makes_numbers(tmp_path):
    world = World("test", size=40)
    (tmp_path / "images").mkdir()
    rows = []
    for number, item in enumerate(world.items):
        world.image(item.image).save(tmp_path / "images" / f"{number}.png")
        rows.append(row(number, [[f"{number}.png"]], [item.caption.text, "a foil"]))
    write(tmp_path / "caption.jsonl", rows)
    fits = fitting(tmp_path)
    with pytest.raises(CalibrationError, match=r"known on toy: AUC 0\.\d+ .*--match-index 0"):
        run_on(tmp_path, tmp_path / "run", model=Known(lambda *pair: -fits(*pair)), calibrate=True)
    assert list((tmp_path / "run").iterdir()) == []
    flipped = Known(lambda *pair: -fits(*pair))
    done = run_on(tmp_path, tmp_path / "run", model=flipped)  # --no-calibration
    assert "calibration AUC" not in {m.measure for m in done.measurements}
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (facts["calibration"], facts["settings"]["calibrate"]) == ([], False)
    done = run_on(tmp_path, tmp_path / "right", model=Known(fits), calibrate=True)
    (found,) = [m for m in done.measurements if m.measure == "calibration AUC"]
    assert found.value > 0.9
    facts = json.loads((tmp_path / "right" / "run.json").read_text())
    assert facts["calibration"][0]["value"] == found.value


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    directory = tmp_path_factory.mktemp("world") / "export"
    export(World("test", size=6), directory, region_width=6)
    return directory


@pytest.mark.parametrize("kind", ["vilt", "lxmert"])
def test_cross_encoders_do_the_world(kind, exported, tmp_path):
    model = load(cross.save_twin(tmp_path / f"tiny-{kind}", kind))
    found = alignscope.evaluate(
        model, "world", exported, exported / "images", out=tmp_path / "run", calibrate=False, batch_size=8
    )
    assert found.report.exists()
    world = World("test", size=6)
    records = read_parquet(tmp_path / "run" / "scores.parquet", OptionScore)
    assert len(records) == 2 * sum(len(item.foils) for item in world.items)
    for record in records[::7]:
        key = Path(record.image).stem
        picture = world.image(key) if kind == "vilt" else world.regions(key, width=6)
        assert record.score == pytest.approx(model.score([picture], [record.text]).item(), abs=2e-4)
