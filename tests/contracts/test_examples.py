"""The package of docs/examples, as if it were installed: its model, benchmark and measure work through their names."""

from __future__ import annotations

import csv
import json
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import alignscope
from alignscope.data.benchmarks.table import BENCHMARKS, SUITES
from alignscope.data.world.world import World
from alignscope.errors import BadData, BadRecipe, LengthMismatch, UnknownName
from alignscope.evaluation.caption_metrics import caption_metrics
from alignscope.evaluation.measures import MEASURES, values_of
from alignscope.files import read_parquet
from alignscope.models.zoo import MODELS
from alignscope.records import ImageCaption, Signature, WordHeat
from alignscope.studies.training import train_recipe

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
RECIPE = """
name = "mine"
seed = 0
threads = 1
threshold = 0
longest = 8
captioner = { kind = "fc", hidden = 16 }

[data]
kind = "world"
images = 12
validation = 4
test = 4
register = { attribute_rate = 0.0, relation_rate = 0.5, scene_rate = 0.0, size_rate = 0.0, object_rate = 0.9 }

[[stages]]
kind = "cross-entropy"
steps = 2
images = 4

[[stages]]
kind = "self-critical"
steps = 2
images = 4
samples = 3
validate_every = 1
reward = [{ kind = "measure", name = "word-overlap", weight = 2.0 }]
"""


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What `pip install docs/examples` leaves behind: the package on the path, and its entry points."""
    project = tomllib.loads((EXAMPLES / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    metadata = tmp_path / "site" / f"alignscope_example-{project['version']}.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    groups = [
        "\n".join([f"[{group}]", *(f"{name} = {value}" for name, value in lines.items())])
        for group, lines in project["entry-points"].items()
    ]
    (metadata / "entry_points.txt").write_text("\n".join(groups))
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.syspath_prepend(metadata.parent)
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "alignscope_example"]:
        del sys.modules[name]


def test_every_name_is_known_and_says_whose_it_is():
    found = {"model": MODELS, "benchmark": BENCHMARKS, "measure": MEASURES}
    names = {"model": "colour-match", "benchmark": "near-misses", "measure": "word-overlap"}
    for kind, registry in found.items():
        assert names[kind] in registry
        assert registry.source(names[kind]) == "alignscope-example 1.0"
    assert MODELS.source("tiny-clip") == "alignscope"
    assert "near-misses" not in SUITES["composition"], "a suite is the evaluation of a paper"


def test_the_model_is_audited_by_its_name(tmp_path: Path):
    run = alignscope.audit("colour-match", out=tmp_path / "audit", size=12, checked=2)
    accuracy = {one.group: one for one in run.measurements if one.measure == "accuracy"}
    swaps = [one for kind, one in accuracy.items() if kind.startswith("swap")]
    assert len(swaps) == 3
    for one in swaps:  # the same words in another order: a mean over words cannot tell
        assert (one.value, one.ties) == (0.0, one.items)
    assert accuracy["replace_object"].ties == 0
    heats = read_parquet(tmp_path / "audit" / "heats.parquet", WordHeat)
    assert {heat.method for heat in heats} == {"perturbation"}
    assert "|model:colour-match|" in accuracy["replace_object"].signature


def test_the_model_scores_by_words_and_colour_alone():
    model = alignscope.model("colour-match")
    world = World("test", size=2)
    first, second = (world.image(item.image) for item in world.items)
    texts = ["a red box", "box red a", "a red box near a small cat"]
    scores = model.score([first] * 3, texts)
    assert scores[0] == scores[1] != scores[2]
    assert torch.equal(model.score([second, first, first], ["a dog", *texts[1::-1]])[1:], scores[[1, 0]])
    assert (
        model.scrambled(seed=1).fingerprint != model.fingerprint == alignscope.model(model.name).fingerprint
    )
    tokens = model.tokens(["a dog", "word " * 40])
    assert tokens.truncated(model.traits.context_length) == (False, True)
    assert tokens.offsets[0][:3] == ((0, 1), (2, 5), (0, 0))


def test_the_benchmark_is_evaluated_by_its_name(tmp_path: Path):
    world = World("test", size=8)
    (tmp_path / "images").mkdir()
    rows = []
    for item in world.items:
        world.image(item.image).save(tmp_path / "images" / f"{item.image}.png")
        rows += [(f"{item.image}.png", item.caption.text, foil.text, foil.kind) for foil in item.foils[:2]]
    rows.append((rows[0][0], "", "a dog", rows[0][3]))
    with (tmp_path / "near.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("image", "caption", "foil", "kind"), *rows])
    found = alignscope.evaluate(
        "tiny-clip",
        "near-misses",
        annotations=tmp_path / "near.csv",
        images=tmp_path / "images",
        out=tmp_path / "evaluation",
        allow_missing=True,
    )
    (whole,) = [
        one
        for one in found.runs["near-misses"].measurements
        if (one.measure, one.group) == ("accuracy", "all")
    ]
    model = alignscope.model("tiny-clip")
    by_hand = []
    for image, caption, foil, _ in rows[:-1]:
        right, wrong = model.score([world.image(Path(image).stem)] * 2, [caption, foil])
        by_hand.append(bool(right > wrong))
    assert whole.value == pytest.approx(sum(by_hand) / len(by_hand))
    assert (whole.items, whole.missing) == (len(by_hand), 1)


CAPTIONS = [ImageCaption("1", "a red dog"), ImageCaption("2", "a cat"), ImageCaption("3", "the box")]
REFERENCES = [
    ImageCaption("1", "a dog"),
    ImageCaption("1", "one red dog here"),
    ImageCaption("2", "no such thing"),
]


def test_the_measure_stands_beside_ours_and_is_signed_with_its_package():
    signature = Signature("", "mine", "0", 3, 3, "", "")
    metrics = ["word-overlap", "ROUGE-L"]
    found = caption_metrics(
        CAPTIONS, REFERENCES, signature=signature, metrics=metrics, tokens="python", draws=50
    )
    mine = [one for one in found.scores if one.metric == "word-overlap"]
    # {a, red, dog} and {a, dog}: 2 of 3 and 2; {one, red, dog, here}: 2 of 3 and 4; the third has no references
    assert [one.value for one in mine] == [pytest.approx(4 / 5), 0.0, None]
    assert mine[2].reason == "no references of this image"
    number, ours = found.numbers
    assert number.value == pytest.approx(2 / 5)
    assert (number.items, number.missing) == (2, 1)
    assert "by=alignscope-example 1.0" in number.signature
    assert "pycocoevalcap=" in ours.signature
    with pytest.raises(UnknownName, match="SPICE, word-overlap"):
        caption_metrics(CAPTIONS, REFERENCES, signature=signature, metrics=["overlap"], tokens="python")


def test_a_measure_that_gives_too_few_values_is_refused(monkeypatch: pytest.MonkeyPatch):
    import alignscope_example.measure as mine

    monkeypatch.setattr(mine, "word_overlap", lambda captions, references: [1.0])
    with pytest.raises(
        LengthMismatch, match=r"'word-overlap' of alignscope-example 1\.0 gave 1 values for 2"
    ):
        values_of("word-overlap", ["a", "b"], [["a"], ["b"]])


def test_the_measure_pays_a_captioner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "mine.toml").write_text(RECIPE)
    train_recipe(str(tmp_path / "mine.toml"), tmp_path / "run")
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    paid = [
        one["validation"]["reward"] for one in map(json.loads, lines) if "reward" in one.get("validation", {})
    ]
    assert paid
    assert all(0 <= one <= 2 for one in paid)
    import alignscope_example.measure as mine

    monkeypatch.setattr(mine, "word_overlap", lambda captions, references: [None] * len(captions))
    with pytest.raises(BadData, match="a reward needs one for every caption"):
        train_recipe(str(tmp_path / "mine.toml"), tmp_path / "none")


def test_a_recipe_with_a_measure_that_is_not_installed_is_refused(tmp_path: Path):
    (tmp_path / "mine.toml").write_text(RECIPE.replace("word-overlap", "word-overlip"))
    with pytest.raises(BadRecipe, match="measure of an installed package"):
        train_recipe(str(tmp_path / "mine.toml"), tmp_path / "run")
