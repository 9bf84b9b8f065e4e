"""Places of COCO captions, NegCLIP's table and the world: hand-made files, the real ones, and bad input."""

import ast
import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from alignscope.data.world.grammar import GRAMMAR_WORDS
from alignscope.data.world.render import render
from alignscope.data.world.world import World
from alignscope.errors import BadData, BadImage, BadRecipe
from alignscope.records import FOIL_KINDS, Problem
from alignscope.training import sources
from alignscope.training.corpus import texts
from alignscope.training.places import PlacedSamples
from alignscope.training.recipe import Register, WorldData
from alignscope.training.samples import Samples
from alignscope.training.settings import CocoData, DataPlan, ParquetData, SceneData, ShardData, TableData
from alignscope.training.sources import open_samples, scene_samples

DATA = Path(__file__).parents[2].parent / "shared" / "data"
CAPTIONS = {
    "images": [{"id": 1, "file_name": "red.png"}, {"id": 2, "file_name": "in/blue.png"}, {"id": 3, "file_name": "no.png"}],
    "annotations": [
        {"image_id": 1, "caption": "a red picture"},
        {"image_id": 2, "caption": "a blue picture"},
        {"image_id": 1, "caption": "all red"},
        {"image_id": 3, "caption": "nowhere to be seen"},
        {"image_id": 1, "caption": " "},
    ],
}  # fmt: skip
ROWS = [
    ("7", "a red dog", "red.png", "['a dog red', 'a red cat']", "[9, 8]"),
    ("8", "a lost dog", "no.png", "[]", "[7]"),
    ("9", "a blue dog", "in/blue.png", "[]", "[7, 8, 11]"),
    ("10", "again red", "red.png", "['again blue']", "[]"),
]
REGISTER = Register(attribute_rate=0.9, relation_rate=0.95, scene_rate=0.3, size_rate=0.5, object_rate=0.9)
SCENES = SceneData("world", REGISTER, images=60, seed=3, captions_per_image=2)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images red.png and in/blue.png."""
    made = tmp_path / "images"
    (made / "in").mkdir(parents=True)
    Image.new("RGB", (5, 4), "red").save(made / "red.png")
    Image.new("RGB", (5, 4), "blue").save(made / "in" / "blue.png")
    return made


def coco(folder: Path, content: Any = CAPTIONS) -> CocoData:
    path = folder.parent / "captions.json"
    path.write_text(json.dumps(content))
    return CocoData("coco", str(path), str(folder))


def table(folder: Path, rows: list[tuple[str, ...]] = ROWS, header: str = "title filepath neg_caption neg_image") -> TableData:  # fmt: skip
    path = folder.parent / "table.tsv"
    path.write_text("\n".join("\t".join(row) for row in [("", *header.split()), *rows]) + "\n")
    return TableData("table", str(path), str(folder))


def opened(plan: DataPlan, *, seed: int = 0, needs_words: bool = False, **options: Any) -> PlacedSamples:
    return open_samples(plan, seed=seed, needs_words=needs_words, **options)


def test_captions_of_coco(folder: Path):
    told: list[tuple[str, int, int]] = []
    samples = opened(coco(folder), progress=lambda *step: told.append(step))
    assert isinstance(samples, Samples)
    assert told == [("image files", 3, 3)]
    assert (samples.name, len(samples)) == ("captions", 2)
    assert [(place.image, place.texts) for place in samples.places] == [
        ("red.png", ("a red picture", "all red")),
        ("in/blue.png", ("a blue picture",)),
    ]
    assert {samples.draw(0, epoch).caption.text for epoch in range(20)} == {"a red picture", "all red"}
    assert samples.image("in/blue.png").getpixel((0, 0)) == (0, 0, 255)
    assert samples.draw(0, 0).foils == samples.draw(0, 0).neighbours == samples.draw(0, 0).caption.words == ()
    empty, absent = samples.problems
    assert (empty.item, empty.what, empty.action) == ("red.png", "caption is empty", "unscored")
    assert (absent.item, absent.action) == ("no.png", "unscored")
    assert absent.what.startswith("missing image 'no.png' in ")


def test_rows_of_a_table(folder: Path):
    samples = opened(table(folder))
    assert [place.image for place in samples.places] == ["red.png", "in/blue.png", "red.png"]
    first, second, third = (samples.draw(place, 5) for place in range(3))
    assert (first.caption.text, first.foils, first.neighbours) == (
        "a red dog",
        ("a dog red", "a red cat"),
        (1,),
    )
    assert (second.caption.text, second.foils, second.neighbours) == ("a blue dog", (), (0,))
    assert (third.foils, third.neighbours) == (("again blue",), ())
    assert (
        [(problem.item, problem.what[:40]) for problem in samples.problems]
        == [
            ("9", "1 of neg_image are no other usable row"),  # 11
            ("7", "1 of neg_image have no image file"),  # 8
            ("8", "missing image 'no.png' in " + str(folder)[:14]),
            ("9", "1 of neg_image have no image file"),
        ]
    )


def test_a_changed_file_changes_the_hash(folder: Path):
    makes = (coco, table)
    shas = [opened(make(folder)).sha for make in makes]
    assert shas == [opened(make(folder), seed=1).sha for make in makes]
    seen = {*shas}
    worse = json.loads(json.dumps(CAPTIONS).replace("all red", "all rod"))
    seen |= {opened(coco(folder, worse)).sha, opened(table(folder, [*ROWS[:3], (*ROWS[3][:4], "[9]")])).sha}
    assert len(seen) == 4
    Image.new("RGB", (50, 40), "red").save(folder / "red.png")
    seen |= {opened(make(folder)).sha for make in makes}
    assert len(seen) == 6
    (folder / "in" / "blue.png").unlink()
    seen |= {opened(make(folder)).sha for make in makes}
    assert len(seen) == 8


def test_files_that_are_no_images(folder: Path):
    (folder / "no.png").write_bytes(b"")
    *_, absent = opened(coco(folder)).problems
    assert "zero bytes" in absent.what
    (folder / "no.png").write_bytes(b"no image")  # found out when it is opened
    samples = opened(coco(folder))
    assert len(samples) == 3
    with pytest.raises(BadImage, match="does not decode"):
        samples.image("no.png")


@pytest.mark.parametrize("make", [coco, table])
def test_images_that_are_not_there(make: Any, folder: Path):
    plan = make(folder)
    with pytest.raises(BadData, match="got nothing, wanted a directory of images; check the path"):
        opened(replace(plan, images=str(folder / "nowhere")))
    shutil.rmtree(folder / "in")
    (folder / "red.png").rename(folder / "green.png")
    with pytest.raises(
        BadData, match=r"none of the 3 images .*\(first: missing image 'red.png'.*check the path"
    ):
        opened(plan)


def test_annotations_that_cannot_be_used(folder: Path):
    with pytest.raises(BadData, match=r"captions.json: got No such file.*wanted COCO captions"):
        opened(CocoData("coco", str(folder / "captions.json"), str(folder)))
    with pytest.raises(BadData, match=r"got no usable caption \(.*caption is empty\), wanted COCO captions"):
        opened(coco(folder, {**CAPTIONS, "annotations": CAPTIONS["annotations"][4:]}))
    with pytest.raises(BadData, match=r"got columns \['', 'title', 'filepath'\], wanted .*neg_caption"):
        opened(table(folder, [], header="title filepath"))
    with pytest.raises(
        BadData, match=r"no usable row \(first: table.tsv:2: no caption or no image\), wanted"
    ):
        opened(table(folder, [("1", "", "red.png", "[]", "[]")]))


@pytest.mark.parametrize("plan", [ShardData("shards", ("a.tar",)), ParquetData("parquet", ("a.parquet",))])
def test_streams_are_opened_elsewhere(plan: DataPlan):
    with pytest.raises(BadRecipe, match=rf"kind '{plan.kind}', a stream, wanted coco, .*open_stream"):
        opened(plan)


def test_scenes_are_described_as_in_training():
    world = World("train", size=60, seed=3)
    said, wrong = texts(world, WorldData(60, 3, 2), REGISTER, foils_each=8, kinds=FOIL_KINDS)
    plain, foiled = scene_samples(SCENES, seed=0), opened(SCENES, foil_kinds=FOIL_KINDS)
    assert [list(place.texts) for place in plain.places] == said
    assert [list(map(list, place.foils)) for place in foiled.places] == wrong
    assert list(plain.captions()) == list(foiled.captions())  # foils change no caption
    assert plain.draw(0, 0).foils == ()
    assert sum(len(foils) for some in wrong for foils in some) > 400  # of 8 kinds for 120 captions
    assert (plain.name, plain.problems, len(plain)) == ("world-train", (), 60)
    classes = {word.text: word.word_class for caption in plain.captions() for word in caption.words}
    assert set(classes) <= set(GRAMMAR_WORDS)
    assert {"object", "attribute", "relation", "scene", "other"} == set(classes.values())


def test_scenes_need_no_parser(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("alignscope.training.worded.word_classes", None)
    found = opened(SCENES, needs_words=True)
    assert (found.places, found.sha) == (opened(SCENES).places, opened(SCENES).sha)


def test_pictures_of_scenes():
    samples = scene_samples(SCENES, seed=0)
    for place, scene in enumerate(World("train", size=60, seed=3).scenes):
        key = samples.draw(place, 1).image
        assert (np.asarray(samples.image(key)) == render(scene)).all()


def test_similar_scenes_share_their_nouns():
    samples = scene_samples(SCENES, seed=0)
    scenes = World("train", size=60, seed=3).scenes
    nouns = [
        {scene.objects[place].noun for place in (scene.main[0].subject, scene.main[0].target)}
        if scene.main
        else None
        for scene in scenes
    ]
    wanted = [
        {other for other, these in enumerate(nouns) if these == own and other != place}
        for place, own in enumerate(nouns)
    ]
    related = [place for place, own in enumerate(nouns) if own]
    assert len(related) > 40
    assert all(set(samples.draw(place, 0).neighbours) == wanted[place] for place in related)
    assert sum(len(wanted[place]) for place in related) > 20


def test_what_changes_the_hash_of_scenes():
    plans = [
        SCENES,
        replace(SCENES, seed=4),
        replace(SCENES, split="val"),
        replace(SCENES, images=61),
        replace(SCENES, captions_per_image=3),
        replace(SCENES, register=replace(REGISTER, relation_rate=0.2)),
    ]
    shas = [scene_samples(plan, seed=0).sha for plan in plans]
    assert len({*shas, scene_samples(SCENES, seed=0, kinds=["swap_object"]).sha}) == 7
    assert scene_samples(SCENES, seed=9).sha == shas[0]


def test_scenes_that_cannot_be():
    with pytest.raises(BadRecipe, match="foils of kind 'swap_objet', which scenes do not make: did you mean"):
        opened(SCENES, foil_kinds=["swap_objet"])
    with pytest.raises(BadRecipe, match=r"images = 60 and captions_per_image = 0 .*wanted 1 or more"):
        opened(replace(SCENES, captions_per_image=0))


def test_real_photos_with_real_captions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    photos, files = DATA / "coco_images", sorted((DATA / "sugar_crepe").glob("*_*.json"))
    if not (photos.is_dir() and files):
        pytest.skip(f"needs {photos} and SugarCrepe beside it")
    monkeypatch.setenv("ALIGNSCOPE_CACHE", str(tmp_path))
    with (photos / "manifest.csv").open(newline="") as lines:
        sizes = {row["file"]: (int(row["width"]), int(row["height"])) for row in csv.DictReader(lines)}
    said: dict[str, list[str]] = {}
    for row in (row for file in files for row in json.loads(file.read_text()).values()):
        said.setdefault(row["filename"], []).append(row["caption"])
    shown = {name: size for name, size in sizes.items() if name in said}
    assert (len(sizes), len(shown)) == (25, 20)
    path = tmp_path / "captions.json"
    path.write_text(json.dumps([{"image": name, "caption": some} for name, some in said.items()]))
    samples = opened(CocoData("coco", str(path), str(photos)), needs_words=True)
    drawn = [samples.draw(place, 4) for place in range(len(samples))]
    assert {sample.image: samples.image(sample.image).size for sample in drawn} == shown
    assert len(samples.problems) == len(said) - 20 > 1000
    assert all(sample.caption.text in said[sample.image] and sample.caption.words for sample in drawn)


def test_the_table_of_negclip(monkeypatch: pytest.MonkeyPatch):
    file = DATA / "negclip" / "valid_neg_clip.tsv"
    if not file.is_file():
        pytest.skip(f"needs {file}")
    monkeypatch.setattr(sources.ImageFolder, "size", lambda folder, key: 1)  # its photos are not here
    samples = opened(TableData("table", str(file), str(file.parent)))
    with file.open(newline="") as lines:
        rows = list(csv.DictReader(lines, delimiter="\t"))
    assert len(samples) == len(rows) == 4839
    assert all(isinstance(problem, Problem) for problem in samples.problems)
    similar = 0
    for place, row in enumerate(rows):
        sample = samples.draw(place, 2)
        assert (sample.image, sample.caption.text) == (row["filepath"].strip(), row["title"].strip())
        assert set(sample.foils) <= set(ast.literal_eval(row["neg_caption"]))
        assert set(sample.neighbours) <= set(ast.literal_eval(row["neg_image"]))  # numbered from 0 in order
        similar += len(sample.neighbours)
    assert similar > 14_000
    assert "unscored" not in {problem.action for problem in samples.problems}
