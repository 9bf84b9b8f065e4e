"""Paper B's study on a user's files: official formats, a CLIP of random weights, one configuration, to the paper's tables."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import real_data
from guided_cases import here
from PIL import Image
from scipy.stats import spearmanr

from alignscope.errors import BadRecipe, OutputExists, UnknownName
from alignscope.files import read_parquet
from alignscope.models.zoo import open_model
from alignscope.records import Effect, OptionScore, Trial
from alignscope.reporting.variants import findings_of
from alignscope.studies.composition.variant_numbers import means_of
from alignscope.studies.composition.variants import compare_variants, read_study, study_of
from alignscope.studies.over_seeds import Compared, toml_entries
from alignscope.studies.reproducing.everything import Plan, plans_of
from alignscope.studies.reproducing.named import read_named

STUDY = """
name = "toy"
baseline = "ft"
seeds = [0]

[recipe]
model = "{clip}"
epochs = 0
steps = 2
batch = 3
warmup = 0
learning_rate = 1e-2
data = { kind = "coco", captions = "{coco_annotations}/captions_train2014.json", images = "{coco}/train2014" }
validation = { pairs = 3, every = 2, data = { kind = "coco", captions = "{coco_annotations}/captions_val2014.json", images = "{coco}/val2014" } }

[variants.ft]
says = "CLIP-FT"
recipe = "paper-b/ft"

[variants.cae-attention]
says = "CLIP-CAE, attention"
recipe = "paper-b/cae-attention"
attribution = { methods = ["attention"], weight = 1.0 }
"""
BENCHMARKS = {
    "aro-relation": 'annotations = "{aro}"\nimages = "{aro_images}"\n',
    "svo-probes": 'annotations = "{svo_probes}"\nimages = "{svo_probes_images}"\nallow_missing = true\n',
    "coco-retrieval": 'annotations = "{coco_retrieval}"\nimages = "{coco}"\n',
    "sts-b": 'annotations = "{sts_b}"\n',
    "valse": 'annotations = "{valse}"\nimages = "{valse_images}"\n',
}
PAIRS = '\n[pairs]\ncaptions = "{pairs}"\nimages = "{pairs_images}"\nchecked = 1\n'
Made = Callable[..., Plan]


@pytest.fixture(scope="module")
def user(tiny_clip_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything but VALSE, of which one image is gone, and the file that names it."""
    folder = tmp_path_factory.mktemp("user")
    made = {name: path for name, path in real_data.write(folder).items() if name != "valse"}
    lines = [f"{name} = {json.dumps(path)}" for name, path in made.items()]
    (folder / "own.toml").write_text(
        "\n".join(["[folders]", *lines, "[models]", f'clip = "{tiny_clip_dir}"'])
    )
    lost = folder / "svo_probes.csv"
    lost.write_text(lost.read_text() + '"A dog is gone.",0,99,False,True,False\n')
    return folder


def plan_of(user: Path, benchmarks: dict[str, str]) -> Plan:
    text = STUDY + "".join(f"\n[benchmarks.{name}]\n{own}" for name, own in benchmarks.items()) + PAIRS
    (user / "study.toml").write_text(text)
    (plan,) = plans_of({"composition": user / "study.toml"}, read_named(user / "own.toml"))
    return plan


@pytest.fixture(scope="module")
def whole(user: Path, tmp_path_factory: pytest.TempPathFactory) -> Compared:
    """The study on one benchmark, then once more on all: what was trained is not trained again."""
    out = tmp_path_factory.mktemp("whole") / "out"
    first = {"sts-b": BENCHMARKS["sts-b"]}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("alignscope.studies.workers.workers", here)
        compare_variants(replace(plan_of(user, first).study, pairs=None), out)
        before = {path: path.stat().st_mtime_ns for path in out.glob("*/*/training/model/*.safetensors")}
        assert len(before) == 2
        found = compare_variants(plan_of(user, BENCHMARKS).study, out, resume=True)
        assert {path: path.stat().st_mtime_ns for path in before} == before
        with pytest.raises(OutputExists, match="holds another run"):
            compare_variants(replace(plan_of(user, BENCHMARKS).study, seeds=(1,)), out, resume=True)
    return found


def trained(whole: Compared, name: str, seed: int, user: Path) -> Any:
    saved = whole.directory / name / f"seed-{seed}" / "training" / "model"
    return open_model(str(saved) if saved.exists() else read_named(user / "own.toml").values["clip"])


def test_what_is_not_there_is_left_out_and_told(user: Path, whole: Compared) -> None:
    plan = plan_of(user, BENCHMARKS)
    assert plan.missing == ()
    (line,) = plan.left_out
    assert line.startswith("[benchmarks.valse] annotations: ")
    assert "has no `valse`: name it in [folders]" in line
    assert [one.name for one in plan.study.benchmarks] == [
        "aro-relation",
        "svo-probes",
        "coco-retrieval",
        "sts-b",
    ]
    strict = {**BENCHMARKS, "svo-probes": BENCHMARKS["svo-probes"].replace("allow_missing = true", "")}
    plan = plan_of(user, strict)
    assert "svo-probes" not in [one.name for one in plan.study.benchmarks]
    assert plan.left_out[1].startswith(
        "[benchmarks.svo-probes]: 1 of 7 items cannot be scored, such as missing image '99.jpg' in "
    )
    alone = plan_of(user, {"svo-probes": strict["svo-probes"]})
    assert alone.missing == (plan.left_out[1],)  # of the only benchmark


def test_every_number_is_that_of_the_model_on_the_users_files(user: Path, whole: Compared) -> None:
    trials = {(t.variant, t.seed, t.measure, t.group): t.value for t in read_parquet(whole.directory / "trials.parquet", Trial)}  # fmt: skip
    for name, seed in (("start", 0), ("ft", 0), ("cae-attention", 0)):
        model = trained(whole, name, seed, user)
        rows = json.loads((user / "aro" / "visual_genome_relation.json").read_text())[: real_data.IMAGES]
        shown = [Image.open(user / "images" / "ours" / row["image_path"]).convert("RGB").crop((0, 0, 40, 40)) for row in rows]  # fmt: skip
        right, wrong = (
            model.score(shown, [row[f"{kind}_caption"] for row in rows]) for kind in ("true", "false")
        )
        accuracy = (right > wrong).float().mean().item()
        assert trials[name, seed, "official accuracy", "aro-relation"] == pytest.approx(accuracy)
        lines = [line.split("\t") for line in (user / "sts-test.csv").read_text().splitlines()]
        first, second = (model.encode_texts([line[place] for line in lines]) for place in (5, 6))
        cosine = (first * second).sum(-1) / (first.norm(dim=-1) * second.norm(dim=-1))
        run = whole.directory / name / f"seed-{seed}" / "benchmarks" / "sts-b"
        scores = [one.score for one in read_parquet(run / "scores.parquet", OptionScore)]
        assert scores == pytest.approx(cosine.tolist(), abs=1e-5)  # of which the nearest may change places
        wanted = spearmanr(scores, [float(line[4]) for line in lines]).statistic
        assert trials[name, seed, "spearman", "sts-b"] == pytest.approx(wanted)
        assert trials[name, seed, "mean of benchmarks", "Table 1"] == pytest.approx(
            (accuracy + trials[name, seed, "paper B accuracy", "svo-probes | Relation"]) / 2
        )
        assert 0 <= trials[name, seed, "recall@1", "coco-retrieval | text to image"] <= 1
        assert trials[name, seed, "heat", "object"] is not None


def test_the_papers_numbers_stand_beside_them(user: Path, whole: Compared) -> None:
    effects = {(e.variant, e.measure, e.group): e for e in whole.effects}
    page = whole.report.read_text()
    with (whole.directory / "tables" / "table-1.csv").open(newline="") as file:
        cells = {(row["model"], row["column"]): row for row in csv.DictReader(file)}
    own = effects["cae-attention", "official accuracy", "aro-relation"]
    cell = cells["CLIP-CAE, attention", "ARO relation"]
    assert own.value is not None
    assert (float(cell["value"]), cell["paper"]) == (pytest.approx(100 * own.value), "69.7")
    assert cells["CLIP-CAE, attention", "VALSE"]["reason"] == "not in this study"
    assert cells["CLIP-CAE, attention", "VALSE"]["paper"] == "69.1"
    with (whole.directory / "tables" / "table-3.csv").open(newline="") as file:
        recall = {(row["model"], row["column"]): row for row in csv.DictReader(file)}
    assert recall["CLIP", "COCO T2I R@1"]["paper"] == "30.2"
    assert recall["CLIP", "COCO T2I R@1"]["value"] != ""
    assert (recall["CLIP", "Flickr30k T2I R@1"]["paper"], recall["CLIP", "Flickr30k T2I R@1"]["value"]) == (
        "59.0",
        "",
    )
    assert "paper 69.7" in page
    assert "in the world" not in page.lower().replace("not in the world", "")
    assert "sizes can be compared as far as the model is the same" in page
    assert "svo-probes@" in page
    assert "[1 of 7 missing]" in page
    assert 'href="ft/seed-0/benchmarks/aro-relation/report.html">seed 0, aro-relation' in page
    assert 'href="start/seed-0/pairs/report.html">seed 0, pairs' in page
    said = findings_of(whole.directory)
    assert said[0].endswith("over the columns of Table 1 in this study.")
    assert [line.partition(":")[0] for line in said[1:]] == ["Before training", "CLIP-CAE, attention"]
    effect = read_parquet(whole.directory / "effects.parquet", Effect)[0]
    assert "data:aro-relation@" in effect.signature


def test_a_variant_is_its_recipe_then_what_all_share_then_its_own(user: Path) -> None:
    ft, cae = plan_of(user, BENCHMARKS).study.variants
    assert (ft.recipe.weight_decay, ft.recipe.augmentation.scale) == (0.2, (0.9, 1.0))  # of paper-b/ft
    assert (ft.recipe.steps, ft.recipe.batch, ft.recipe.learning_rate) == (2, 3, 1e-2)
    assert (ft.recipe.attribution, cae.recipe.attribution.weight) == (None, 1.0)


@pytest.mark.parametrize(
    ("was", "now", "error", "told"),
    [
        ('[benchmarks.sts-b]', "[benchmarks.sts]", UnknownName, "no benchmark named 'sts'"),
        ('images = "{aro_images}"', "", BadRecipe, r"benchmarks.aro-relation\]: got no images, wanted a folder"),
        ("allow_missing = true", "allow_mising = true", BadRecipe, "did you mean 'allow_missing'"),
        ('seeds = [0]', "seeds = [0]\nscenes = 3", BadRecipe, "unknown scenes"),
        ('recipe = "paper-b/ft"', 'recipe = "paper-b/tf"', UnknownName, "did you mean 'paper-b/ft'"),
        ('recipe = "paper-b/ft"', "recipe = 3", BadRecipe, "got recipe = 3"),
    ],
)  # fmt: skip
def test_a_study_that_cannot_be_read_says_why(
    was: str, now: str, error: type[Exception], told: str, user: Path, tmp_path: Path
) -> None:
    plan_of(user, BENCHMARKS)
    text = (user / "study.toml").read_text()
    assert was in text
    (tmp_path / "wrong.toml").write_text(text.replace(was, now, 1))
    with pytest.raises(error, match=told):
        study_of(toml_entries(tmp_path / "wrong.toml"), tmp_path / "wrong.toml")


def test_a_study_of_the_world_has_no_benchmarks() -> None:
    study = read_study(Path("composition"))
    assert (study.benchmarks, study.pairs) == ((), None)
    assert "benchmarks" not in study.trained


def test_means_of_paper_b_by_hand() -> None:
    figures: dict[tuple[str, str, str], float | None] = {
        ("official accuracy", "", "aro-relation"): 0.649, ("official accuracy", "", "aro-attribute"): 0.663,
        ("paper B accuracy", "", "sugarcrepe | Relation"): 0.708, ("paper B accuracy", "", "sugarcrepe | Attribute"): 0.775,
        ("paper B accuracy", "", "vl-checklist | Relation"): 0.608, ("paper B accuracy", "", "vl-checklist | Attribute"): 0.675,
        ("paper B accuracy", "", "valse | Relation"): 0.672, ("paper B accuracy", "", "comvg | Relation"): 0.708,
        ("accuracy", "", "aro-relation"): 0.1, ("paper B accuracy", "", "winoground | text"): None,
    }  # fmt: skip
    means = means_of(figures)  # CLIP-FT's row of Table 1, and its row of Table 5 as printed
    printed = {"ARO": 65.6, "SugarCrepe": 74.2, "VL-CheckList": 64.2, "Table 5": 68.4}
    assert {name: 100 * value for name, value in means.items()} == pytest.approx(
        {**printed, "Table 1": (64.9 + 66.3 + 70.8 + 77.5 + 60.8 + 67.5 + 67.2 + 70.8) / 8}, abs=0.06
    )
    del figures["paper B accuracy", "", "comvg | Relation"]
    assert "Table 5" not in means_of(figures)
    assert means_of({}) == {}
