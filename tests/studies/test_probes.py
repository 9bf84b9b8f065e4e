"""Probes with models whose scores are known, on images of one pixel, and with models of the world."""

import json
import math
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from PIL import Image

from alignscope.data.world.grammar import WEB
from alignscope.data.world.world import World
from alignscope.errors import BadData, BadInput, CalibrationError, OutputExists
from alignscope.files import read_jsonl, read_parquet
from alignscope.models.protocols import Tokens, Traits
from alignscope.probing.templates import Template
from alignscope.records import MadeCaption, Measurement, Point, TextScore
from alignscope.studies.captions.caption_scores import paper_score, unit_of
from alignscope.studies.captions.probed_texts import Settings
from alignscope.studies.captions.probes import probe

TRAITS = Traits(
    *("cross", "patch", None, 20, "gelu", "first", False, True, (), 1.0), score="match", match_index=1
)
NOUNS = ("dog", "cat", "horse", "bus", "pizza", "boat", "chair", "bed", "bird", "clock")
SHOWN = {f"{number}.png": noun for number, noun in enumerate(NOUNS)}


class Toy:
    """Scores the number of a picture of one pixel and a text by a rule."""

    fingerprint = "ab12"

    def __init__(self, rule, name="toy", **traits):
        self.rule, self.name, self.traits, self.calls = rule, name, replace(TRAITS, **traits), []

    def score(self, images, texts):
        pairs = [(image.getpixel((0, 0))[0], text) for image, text in zip(images, texts, strict=True)]
        self.calls += pairs
        return torch.tensor([float(self.rule(*pair)) for pair in pairs])

    def tokens(self, texts):
        number = {text: place for place, text in enumerate(dict.fromkeys(texts))}
        ids = torch.tensor([[number[text]] for text in texts])
        return Tokens(ids, ids * 0 + 1, ids[:, 0] * 0, (((0, 0),),) * len(texts), (1,) * len(texts))

    def evaluating(self):
        return nullcontext()

    def scrambled(self, *, seed):
        return self


def hears_the_noun(number, text):
    return 2.0 if NOUNS[number] in text.split() else -2.0


def sigmoid(value):
    return 100 / (1 + math.exp(-value))


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(len(NOUNS)):
        Image.new("RGB", (1, 1), (number, 0, 0)).save(folder / f"{number}.png")
    return folder


def written(path, rows):
    path.write_text("".join(json.dumps({"image": i, "caption": c}) + "\n" for i, c in rows))
    return path


@pytest.fixture
def right(tmp_path):
    return written(tmp_path / "right.jsonl", [(i, f"a {noun} on the grass") for i, noun in SHOWN.items()])


@pytest.fixture
def wrong(tmp_path):
    others = [*NOUNS[1:], NOUNS[0]]
    rows = zip(SHOWN, others, strict=True)
    return written(tmp_path / "wrong.jsonl", [(i, f"a {noun} on the grass") for i, noun in rows])


def stop_at(stage):
    def progress(at, done, total):
        if at == stage:
            raise KeyboardInterrupt

    return progress


def numbers(found):
    return {(one.measure, one.group): one for one in found.measurements}


def test_the_matrix_is_in_the_units_of_the_paper(right, wrong, images, tmp_path):
    models = {"match": Toy(hears_the_noun), "flat": Toy(lambda number, text: 0.0)}
    found = probe(
        *("matrix", {"ce": wrong, "guided": right}, models, tmp_path / "out"),
        images=images,
        references=right,
    )
    got = numbers(found)
    assert got["score", "match | ce | captions"].value == pytest.approx(sigmoid(-2))
    assert got["score", "match | guided | captions"].value == pytest.approx(sigmoid(2))
    above = got["score above ce", "match | guided | captions"]
    assert above.value == pytest.approx(sigmoid(2) - sigmoid(-2))
    assert (above.items, above.images, above.ties, above.missing) == (10, 10, 0, 0)
    assert above.unit == "100 x probability"
    assert "model:toy" in above.signature
    assert "items:10" in above.signature
    assert got["score above ce", "flat | guided | captions"].ties == 10
    assert got["calibration AUC", "match | all"].value == 1.0
    assert read_parquet(tmp_path / "out" / "measurements.parquet", Measurement) == list(found.measurements)
    scores = read_parquet(tmp_path / "out" / "scores.parquet", TextScore)
    assert len(scores) == 2 * 2 * 10
    assert {(one.raw, round(one.score, 6)) for one in scores if one.model == "match"} == {
        (2.0, round(sigmoid(2), 6)),
        (-2.0, round(sigmoid(-2), 6)),
    }


def test_captions_with_equal_scores_share_the_choice(right, wrong, images, tmp_path):
    same = written(tmp_path / "same.jsonl", list(json_rows(right))[:9])  # lacks the last image
    found = probe(
        *("choice", {"right": right, "wrong": wrong, "same": same}, {"m": Toy(hears_the_noun)}),
        tmp_path / "out",
        images=images,
        references=right,
    )
    got = numbers(found)
    assert got["chosen", "m | right | captions"].value == 0.5
    assert got["chosen", "m | same | captions"].value == 0.5
    assert got["chosen", "m | wrong | captions"].value == 0.0
    one = got["chosen", "m | right | captions"]
    assert (one.items, one.ties, one.missing) == (9, 9, 1)
    assert [p.subject for p in found.problems if p.item == "9.png"] == ["same"]
    assert len(list(read_jsonl(tmp_path / "out" / "choices.jsonl"))) == 9


def json_rows(path):
    return ((row["image"], row["caption"]) for row in read_jsonl(path))


def test_a_model_that_hears_nouns_falls_with_them_alone(right, images, tmp_path):
    found = probe(
        *("replacements", {"ce": right}, {"m": Toy(hears_the_noun)}, tmp_path / "out"),
        images=images,
        references=right,
        settings=Settings(more_than=0, replacements=3),
    )
    got = numbers(found)
    assert got["score", "m | ce | wrong nouns"].value == pytest.approx(sigmoid(-2))
    assert got["score", "m | ce | random other words"].value == pytest.approx(sigmoid(2))
    change = got["score above captions", "m | ce | wrong nouns"]
    assert change.value == pytest.approx(sigmoid(-2) - sigmoid(2))
    assert change.items == change.images == 10
    wins = got["higher than the caption", "m | ce | random other words"]
    assert (wins.value, wins.ties) == (0.5, 30)  # three draws of ten captions, none higher or lower
    assert got["sd over draws", "m | ce | wrong nouns"].value == pytest.approx(0, abs=1e-9)
    made = read_parquet(tmp_path / "out" / "captions" / "ce" / "made.parquet", MadeCaption)
    assert len(made) == 2 * 3 * 10


def test_templates_hold_the_nouns_and_one_without_is_missing(right, images, tmp_path):
    rows = [*json_rows(right)][:8]
    rows += [("8.png", "sitting down"), ("9.png", " "), ("9.png", "a clock"), ("77.png", "a dog")]
    path = written(tmp_path / "mixed.jsonl", rows)
    likes = Toy(lambda number, text: hears_the_noun(number, text) + text.startswith("so"))
    found = probe(
        *("templates", {"ce": path}, {"m": likes}, tmp_path / "out"),
        images=images,
        references=right,
        settings=Settings(templates=(Template("mine", "so NOUN (and NOUN)*"),)),
    )
    got = numbers(found)
    mine = got["score above captions", "m | ce | mine"]
    assert mine.value == pytest.approx(sigmoid(3) - sigmoid(2))
    assert mine.items == 9
    assert mine.missing == 3  # no noun, no word, no image
    assert got["score", "m | ce | captions"].missing == 2
    told = {(one.item, one.what) for one in found.problems}
    assert ("8.png", "ce: no noun in the caption") in told
    assert ("9.png", "caption is empty") in told
    assert any(item == "77.png" and "unknown image" in what for item, what in told)
    unscored = [one for one in read_parquet(tmp_path / "out" / "scores.parquet", TextScore) if one.reason]
    assert {one.image for one in unscored} == {"77.png"}
    assert all(one.raw is None and one.score is None for one in unscored)


def test_more_nouns_are_points_of_a_curve(images, tmp_path):
    rows = [(i, f"a {noun} with a hat") for i, noun in SHOWN.items()]
    rows += [(i, f"the {noun} near a tree") for i, noun in list(SHOWN.items())[:6]]
    path = written(tmp_path / "references.jsonl", rows)
    counts = Toy(lambda number, text: float(len(text.split())))
    found = probe(
        *("nouns", {"refs": path}, {"m": counts}, tmp_path / "out"),
        images=images,
        calibrate=False,
        settings=Settings(counts=(1, 2, 3), templates=(Template("list", "NOUN (NOUN)*"),)),
    )
    points = read_parquet(tmp_path / "out" / "points.parquet", Point)
    assert [(p.series, p.x, p.items) for p in points] == [("m | refs | list", float(k), 6) for k in (1, 2, 3)]
    assert [p.y for p in points] == pytest.approx([sigmoid(1), sigmoid(2), sigmoid(3)])
    assert numbers(found)["score", "m | refs | list | k=1"].missing == 4
    wide = probe(
        *("nouns", {"refs": path}, {"m": counts}, tmp_path / "wide"),
        images=images,
        calibrate=False,
        settings=Settings(counts=(2, 3), templates=(Template("list", "NOUN (NOUN)*"),), is_comparable=False),
    )
    made = read_parquet(tmp_path / "out" / "captions" / "refs" / "made.parquet", MadeCaption)
    first = {one.image: one.nouns for one in made if one.noun_count == 1}
    assert first == dict(list(SHOWN.items())[:6])  # said twice, hats and trees once
    shuffled = Settings(counts=(1, 3), templates=(Template("list", "NOUN (NOUN)*"),), is_shuffled=True)
    how = {"images": images, "calibrate": False, "settings": shuffled}
    probe("nouns", {"refs": path}, {"m": counts}, tmp_path / "shuffled", **how)
    made = read_parquet(tmp_path / "shuffled" / "captions" / "refs" / "made.parquet", MadeCaption)
    assert first != {one.image: one.nouns for one in made if one.noun_count == 1}
    assert numbers(wide)["score", "m | refs | list | k=2"].items == 10
    assert numbers(wide)["score", "m | refs | list | k=3"].items == 6


def test_units_are_those_of_table_2():
    cosine = replace(TRAITS, score="cosine", scale=20.0, bias=-10.0)
    assert paper_score(20 * 0.3 - 10, cosine) == pytest.approx(30)
    assert paper_score(20 * 0.3 - 10, cosine, clip_score=True) == pytest.approx(75)
    assert paper_score(20 * -0.3 - 10, cosine, clip_score=True) == 0
    assert paper_score(-1000.0, TRAITS) == 0
    assert paper_score(-3.5, replace(TRAITS, score="likelihood")) == -3.5
    assert unit_of(replace(TRAITS, score="likelihood")) == "log-likelihood per token"
    assert unit_of(TRAITS, clip_score=True) == "100 x probability"  # of matching heads it means nothing


def test_a_flipped_head_is_refused_before_any_scoring(right, wrong, images, tmp_path):
    first, flipped = Toy(hears_the_noun), Toy(lambda *pair: -hears_the_noun(*pair), match_index=0)
    models = {"first": first, "flipped": flipped}
    with pytest.raises(CalibrationError, match="match-index 1"):
        probe("matrix", {"ce": wrong}, models, tmp_path / "out", images=images, references=right)
    assert len(first.calls) == 20  # the check of its own
    found = probe(
        *("matrix", {"ce": wrong}, models, tmp_path / "out"),
        images=images,
        references=right,
        calibrate=False,
        resume=True,
    )
    assert numbers(found)["score", "flipped | ce | captions"].value == pytest.approx(sigmoid(2))


def test_a_stopped_run_goes_on_where_it_was(right, wrong, images, tmp_path):
    captions = {"right": right, "wrong": wrong}
    calls = []

    def stop(stage, done, total):
        calls.append(stage)
        if stage.startswith("second"):
            raise KeyboardInterrupt

    first, second = Toy(hears_the_noun), Toy(lambda number, text: float(len(text)))
    models = {"first": first, "second": second}
    how = {"images": images, "calibrate": False}
    with pytest.raises(KeyboardInterrupt):
        probe("matrix", captions, models, tmp_path / "out", progress=stop, **how)
    assert "first: scores" in calls
    before = len(first.calls)
    with pytest.raises(OutputExists, match="not empty"):
        probe("matrix", captions, models, tmp_path / "out", **how)
    with pytest.raises(OutputExists, match="different data"):
        probe("matrix", {"right": right, "wrong": right}, models, tmp_path / "out", resume=True, **how)
    found = probe("matrix", captions, models, tmp_path / "out", resume=True, **how)
    assert len(first.calls) == before  # nothing is scored again
    assert len(second.calls) == 20
    anew = probe("matrix", captions, models, tmp_path / "anew", **how)
    assert found.measurements == anew.measurements
    assert not (tmp_path / "out" / "work").exists()


def test_what_cannot_be_probed_is_said(right, images, tmp_path):
    model, out = {"m": Toy(hears_the_noun)}, tmp_path / "out"
    with pytest.raises(BadInput, match="no references"):
        probe("replacements", {"ce": right}, model, out, images=images)
    with pytest.raises(BadInput, match="at least two files"):
        probe("choice", {"ce": right}, model, out, images=images)
    with pytest.raises(BadInput, match="give --images FOLDER for toy"):
        probe("matrix", {"ce": right}, model, out)
    with pytest.raises(BadInput, match="no model"):
        probe("matrix", {"ce": right}, {}, out, images=images)
    with pytest.raises(BadInput, match="without / "):
        probe("matrix", {"..": right}, model, out, images=images)
    nameless = written(tmp_path / "nameless.jsonl", [("x.png", "a dog")])
    with pytest.raises(BadData, match="none of which m can see"):
        probe("matrix", {"ce": nameless}, model, out, images=images)
    assert not list(out.glob("scores*"))


def test_models_of_pixels_and_of_regions_see_the_scenes_of_the_world(tmp_path):
    import alignscope

    world = World("test", size=24)
    texts = [captions[0].text for captions in world.captions(WEB, 1)]
    ids = [scene.id for scene in world.scenes]
    own = written(tmp_path / "own.jsonl", zip(ids, texts, strict=True))
    shuffled = written(tmp_path / "shuffled.jsonl", zip(ids, [*texts[1:], texts[0]], strict=True))
    models = {name: alignscope.model(name) for name in ("tiny-clip", "tiny-lxmert")}
    found = probe("matrix", {"shuffled": shuffled, "own": own}, models, tmp_path / "out")
    got = numbers(found)
    for name in models:
        assert got["score above shuffled", f"{name} | own | captions"].low > 0
    assert got["score", "tiny-clip | own | captions"].unit == "100 x cosine"
    assert ("calibration AUC", "tiny-clip | all") not in got
    cosine = (
        models["tiny-clip"].encode_images([world.image(ids[0])])
        @ models["tiny-clip"].encode_texts([texts[0]]).T
    ).item()
    scores = read_parquet(tmp_path / "out" / "scores.parquet", TextScore)
    [one] = [s for s in scores if (s.model, s.source, s.image) == ("tiny-clip", "own", ids[0])]
    assert one.score == pytest.approx(100 * cosine, abs=1e-3)


def test_files_of_images_and_regions_are_found_by_the_number_of_an_image(tmp_path):
    import alignscope
    from alignscope.data.world.export import export

    world = World("test", size=12)
    export(world, tmp_path / "world", register=WEB, region_width=256)
    texts = [captions[0].text for captions in world.captions(WEB, 1)]
    named = [(scene.id, text) for scene, text in zip(world.scenes, texts, strict=True)]
    own = written(tmp_path / "own.jsonl", named)
    results = [{"image_id": number, "caption": text} for number, text in enumerate(texts)]
    (tmp_path / "coco.json").write_text(json.dumps(results))
    models = {name: alignscope.model(name) for name in ("tiny-clip", "tiny-lxmert")}
    inside = probe("matrix", {"c": own}, models, tmp_path / "inside", calibrate=False)
    outside = probe(
        *("matrix", {"c": tmp_path / "coco.json"}, models, tmp_path / "outside"),
        images=tmp_path / "world" / "images",
        regions=tmp_path / "world" / "regions" / "regions.tsv",
        calibrate=False,
    )
    assert [one.items for one in outside.measurements] == [12, 12]
    assert [one.value for one in outside.measurements] == pytest.approx(
        [one.value for one in inside.measurements], rel=1e-3
    )
    export(world, tmp_path / "narrow", register=WEB, region_width=64)
    narrow = tmp_path / "narrow" / "regions" / "regions.tsv"
    with pytest.raises(BadData, match=r"none of which lx can see.*width 64, the model takes width 256"):
        probe("matrix", {"c": own}, {"lx": models["tiny-lxmert"]}, tmp_path / "narrow-run", regions=narrow)
    fewer = tmp_path / "fewer" / "regions" / "regions.tsv"
    export(world, tmp_path / "fewer", register=WEB, region_width=256, regions_per_image=4)
    stopped, lxmert = tmp_path / "stopped", {"lx": models["tiny-lxmert"]}
    with pytest.raises(KeyboardInterrupt):
        probe("matrix", {"c": own}, lxmert, stopped, regions=fewer, progress=stop_at("lx: scores"))
    with pytest.raises(OutputExists, match="on other images"):
        probe(
            *("matrix", {"c": own}, lxmert, stopped),
            regions=tmp_path / "world" / "regions" / "regions.tsv",
            resume=True,
        )
    assert probe("matrix", {"c": own}, lxmert, stopped, regions=fewer, resume=True).measurements
    with pytest.raises(BadInput, match="give --images FOLDER for tiny-clip"):
        probe("matrix", {"c": tmp_path / "coco.json"}, models, tmp_path / "none")
    with pytest.raises(BadInput, match="leave --regions out"):
        probe(
            *("matrix", {"c": own}, {"tiny-clip": models["tiny-clip"]}, tmp_path / "clip"),
            regions=tmp_path / "world" / "regions" / "regions.tsv",
        )
