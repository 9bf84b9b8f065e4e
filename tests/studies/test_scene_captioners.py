"""A study of two captioners from its TOML to its numbers, and what is wrong with a TOML."""

import json
from pathlib import Path

import pytest
from guided_cases import here
from safetensors.torch import load_file

from alignscope.errors import BadRecipe, OutputExists
from alignscope.files import read_parquet
from alignscope.models.pretrained import HERE
from alignscope.records import Ablated, Effect
from alignscope.studies.over_seeds import Compared
from alignscope.studies.scenes.captioners import captioners_of_scenes, done, read_scenes
from alignscope.training.reading import find, read
from alignscope.training.recipe import Captioning, SavedCaptioner

RECIPES = Path(__file__).parents[2] / "recipes"
STUDY = """
name = "small"
seeds = [0]

[captioners]
object = "tiny-vinvl"
scene = "tiny-vinvl-scenes"

[images.world]
kind = "world"
size = 40

[images."no background"]
kind = "world"
size = 40
has_background = false

[reference]
kind = "world"
split = "train"
size = 300

[told]
layers = "first"
images_read = 10
counts = [1]
readings = ["image"]
classifiers = ["logistic"]
splits = [50]
probe_seeds = 2
draws = 20
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plan") / "study.toml"
    path.write_text(STUDY)
    return path


@pytest.fixture(scope="module")
def found(file: Path, tmp_path_factory: pytest.TempPathFactory) -> Compared:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("alignscope.studies.workers.workers", here)
        return captioners_of_scenes(read_scenes(file), tmp_path_factory.mktemp("whole") / "out")


def test_both_captioners_are_looked_into_ablated_and_probed(found: Compared) -> None:
    place = found.directory / "seed-0"
    for verb in ("attention", "diagnosticity", "ablation", "scenes"):
        assert json.loads((place / verb / "run.json").read_text())["finished"] is True
    assert found.report.is_file()
    effects = read_parquet(found.directory / "effects.parquet", Effect)
    assert {one.variant for one in effects} == {"object", "scene"}
    assert {one.baseline for one in effects} == {"object"}


@pytest.mark.parametrize("images", ["world", "no background"])
def test_the_share_of_changed_captions_is_that_of_the_captions(found: Compared, images: str) -> None:
    for name in ("object", "scene"):
        path = found.directory / "seed-0" / "ablation" / "images" / images / "captions" / f"{name}.parquet"
        rows = read_parquet(path, Ablated)
        changed = sum(one.before != one.after for one in rows) / len(rows)
        (effect,) = [
            one
            for one in found.effects
            if (one.variant, one.measure) == (name, "captions changed")
            and one.group == f"{images} | image | m=1"
        ]
        assert effect.value == pytest.approx(changed)


def test_what_is_finished_is_not_done_again(
    found: Compared, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alignscope.studies.workers.workers", here)
    monkeypatch.setattr("alignscope.studies.scenes.captioners._ANALYSES", {})  # nothing is asked for
    again = captioners_of_scenes(read_scenes(file), found.directory, resume=True)
    assert again.effects == found.effects


def test_another_study_in_the_same_directory_is_refused(found: Compared, tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text(STUDY.replace("size = 40", "size = 41"))
    with pytest.raises(OutputExists, match="another run"):
        captioners_of_scenes(read_scenes(tmp_path / "other.toml"), found.directory, resume=True)


def test_the_study_of_the_project_is_read() -> None:
    study = read_scenes(RECIPES / "studies" / "scenes.toml")
    assert len(study.seeds) == 5
    assert list(study.captioners) == ["object", "scene"]


@pytest.mark.parametrize(
    ("was", "now", "told"),
    [
        ("name = ", "nome = ", "unknown nome, missing name"),
        ('scene = "tiny-vinvl-scenes"', "", "wanted object and scene"),
        (
            'object = "tiny-vinvl"',
            'object = "recipes/tiny-vinvl.toml"',
            "wanted two recipes, or object that is there",
        ),
        (
            'scene = "tiny-vinvl-scenes"',
            "scene = { recipe = 'paper-b/ft' }",
            r"\[captioners.scene\] cannot be used:\n  model: unknown",
        ),
        ("seeds = [0]", "seeds = [0, 1]", "have no seeds"),
        ('[reference]\nkind = "world"', '[reference]\nkind = "moon"', "wanted 'world' or 'hl'"),
        ('[reference]\nkind = "world"', '[reference]\nkind = "hl"', "wanted `captions`, HL's file"),
        ("draws = 20", "draw = 20", "draw"),
    ],
)
def test_what_is_wrong_with_a_study_is_told(
    was: str, now: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(RECIPES.parent)
    assert was in STUDY
    (tmp_path / "wrong.toml").write_text(STUDY.replace(was, now))
    with pytest.raises(BadRecipe, match=told):
        read_scenes(tmp_path / "wrong.toml")


def test_a_captioner_that_is_there_goes_on_with_a_recipe_of_scenes(tmp_path: Path) -> None:
    """Its entries are the recipe's but for those named; the weights that a seed begins with are those of objects."""
    named = """scene = { recipe = "tiny-vinvl-scenes", data = { kind = "world", images = 4, validation = 2, test = 2, \
    captions_per_image = 1, sees = "labelled", says = "scenes" }, \
    stages = [{ kind = "masked-caption", steps = 1, images = 2, learning_rate = 1e-12, validate_every = 1 }] }"""
    text = STUDY.replace('scene = "tiny-vinvl-scenes"', named.replace("\\\n    ", "")).replace(
        "seeds = [0]", "seeds = [0, 1]"
    )
    (tmp_path / "study.toml").write_text(text)
    study = read_scenes(tmp_path / "study.toml")
    scene = study.captioners["scene"]
    assert isinstance(scene, Captioning)
    assert scene.captioner == SavedCaptioner("saved", "tiny-vinvl")
    assert (scene.longest, len(scene.stages)) == (read(find("tiny-vinvl-scenes")).longest, 1)
    done(study, ("scene", 1), tmp_path / "out", "cpu")
    assert not (tmp_path / "out" / "seed-1" / "captioners" / "object").exists()
    made = tmp_path / "out" / "seed-1" / "captioners" / "scene" / "model"
    trained = load_file(made / "model.safetensors")
    before = load_file(HERE / "tiny-vinvl" / "model.safetensors")
    assert trained.keys() == before.keys()
    assert all(trained[name].allclose(weights, rtol=0, atol=1e-9) for name, weights in before.items())
