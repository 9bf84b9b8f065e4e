"""A study of guided captioners from its TOML to its numbers: done once, resumed to the same bytes, on COCO's files too."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from guided_cases import STUDY, here
from typer.testing import CliRunner

from alignscope.cli import app
from alignscope.data.regionfiles.tsv import write_region_tsv
from alignscope.data.world.grammar import WEB
from alignscope.data.world.world import World
from alignscope.errors import BadInput, BadRecipe, OutputExists
from alignscope.files import read_jsonl, read_parquet, write_jsonl
from alignscope.models.zoo import open_model
from alignscope.records import Effect, Measurement, TextScore, Trial
from alignscope.studies.captions import guided
from alignscope.studies.captions.guided import guide
from alignscope.studies.captions.guided_plan import GuidedStudy, missing_of, read_guided
from alignscope.studies.over_seeds import Compared
from alignscope.training import captioning
from alignscope.training.captioning_material import mean_of
from alignscope.training.metrics import Seen
from alignscope.training.recipe import KarpathyCaptions, SavedCaptioner

STUDIES = Path(__file__).parents[2] / "recipes" / "studies"


@pytest.fixture(autouse=True)
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alignscope.studies.workers.workers", here)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plan") / "study.toml"
    path.write_text(STUDY)
    return path


@pytest.fixture(scope="module")
def whole(file: Path, tmp_path_factory: pytest.TempPathFactory) -> Compared:
    """The study of two seeds, done without a stop."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("alignscope.studies.workers.workers", here)
        return guide(read_guided(file), tmp_path_factory.mktemp("whole") / "out")


def trials_of(out: Path) -> dict[tuple[str, int, str, str], float | None]:
    rows = read_parquet(out / "trials.parquet", Trial)
    found = {(one.variant, one.seed, one.measure, one.group): one.value for one in rows}
    assert len(found) == len(rows)
    return found


def made(out: Path) -> dict[str, bytes]:
    """Everything that must not depend on when a study was stopped."""
    ends = {".safetensors", ".parquet", ".jsonl"}
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.suffix in ends and path.name != "metrics.jsonl" and path.parent != out
    }


def test_every_captioner_is_trained_read_and_scored_by_every_scorer(whole: Compared) -> None:
    out, trials = whole.directory, trials_of(whole.directory)
    trained = {"ce", "clip", "lxmert", "lxmert-odds", "cider"}
    for seed in (0, 1):
        place = out / f"seed-{seed}"
        assert {path.name for path in (place / "captioners").iterdir()} == trained
        for verb in ("matrix", "choice", "replacements", "templates"):
            assert {path.name for path in (place / verb).iterdir()} == {"clip", "lxmert"}
        for source in (*trained, "people"):
            for measure, group in (("caption length", "all"), ("score", "clip"), ("score", "lxmert")):
                assert trials[source, seed, measure, group] is not None
        assert {v for v, s, measure, group in trials if (s, measure, group) == (seed, "chosen", "lxmert")} == {
            "ce", "clip", "lxmert"
        }, "the paper's captioners alone stand to be chosen"  # fmt: skip
        assert trials["ce", seed, "CIDEr", "all"] is not None
        assert ("people", seed, "CIDEr", "all") not in trials, "no reference is measured against itself"
    assert {path.name for path in (out / "nouns").iterdir()} == {"clip", "lxmert"}
    assert not any(group.startswith("mined ") for _, _, _, group in trials)
    assert read_parquet(out / "effects.parquet", Effect) == list(whole.effects)


def test_guided_captioners_begin_with_that_of_their_seed(whole: Compared) -> None:
    for seed in (0, 1):
        place = whole.directory / f"seed-{seed}" / "captioners"
        recipes = {
            path.name: json.loads((path / "model" / "training.json").read_text())["recipe"]
            for path in place.iterdir()
        }
        assert {recipe["seed"] for recipe in recipes.values()} == {seed}
        for name in ("clip", "lxmert", "lxmert-odds", "cider"):
            assert recipes[name]["captioner"]["path"] == str(place / "ce" / "model")
        spaces = {
            name: recipes[name]["stages"][0]["reward"][0].get("space") for name in recipes if name != "ce"
        }
        assert spaces == {"clip": "paper", "lxmert": "paper", "lxmert-odds": "score", "cider": None}
        samples = {name: recipes[name]["stages"][0]["samples"] for name in spaces}
        assert samples == {"clip": 2, "lxmert": 2, "lxmert-odds": 2, "cider": 3}
    weights = [
        (whole.directory / f"seed-{seed}" / "captioners" / "ce" / "model" / "model.safetensors").read_bytes()
        for seed in (0, 1)
    ]
    assert weights[0] != weights[1]


def test_a_number_of_the_matrix_by_hand(whole: Compared) -> None:
    """The cosine of a caption and its scene, their mean, and the paired difference over seeds."""
    out, trials, model = whole.directory, trials_of(whole.directory), open_model("tiny-clip")
    world, means = World("test", size=8), dict[tuple[str, int], float]()
    for seed in (0, 1):
        for name in ("ce", "lxmert"):
            said = [*read_jsonl(out / f"seed-{seed}" / "captioners" / name / "captions.jsonl")]
            assert [row["image"] for row in said] == [scene.id for scene in world.scenes]
            images = model.encode_images([world.image(row["image"]) for row in said])  # type: ignore[attr-defined]
            texts = model.encode_texts([row["caption"] for row in said])  # type: ignore[attr-defined]
            cosines = (100 * (images * texts).sum(-1)).tolist()
            scores = read_parquet(out / f"seed-{seed}" / "matrix" / "clip" / "scores.parquet", TextScore)
            own = {one.image: one.score for one in scores if one.source == name}
            assert [own[row["image"]] for row in said] == pytest.approx(cosines, abs=1e-3)
            means[name, seed] = sum(cosines) / len(cosines)
            assert trials[name, seed, "score", "clip"] == pytest.approx(means[name, seed], abs=1e-3)
    [effect] = [e for e in whole.effects if (e.variant, e.measure, e.group) == ("lxmert", "score", "clip")]
    gaps = [means["lxmert", seed] - means["ce", seed] for seed in (0, 1)]
    assert effect.difference == pytest.approx(sum(gaps) / 2, abs=1e-3)
    assert effect.seeds == 2


def test_a_killed_study_goes_on_and_ends_in_the_same_bytes(
    file: Path, whole: Compared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped within a training and within the scoring; what was finished is not touched again."""
    study, out = replace(read_guided(file), seeds=(0,)), tmp_path / "out"
    train, analyse = captioning.train, guided._analyse

    def dies_in_the_second_step(recipe: Any, place: Path, **how: Any) -> Path:
        def watch(seen: Seen) -> None:
            if recipe.name.endswith("lxmert") and (seen.stage, seen.done) == ("1. self-critical", 1):
                raise KeyboardInterrupt

        return train(recipe, place, **how, watch=watch)

    def dies(study: GuidedStudy, job: guided.Job, *given: Any) -> None:
        if (job.kind, job.name) == ("matrix", "lxmert"):
            raise KeyboardInterrupt
        analyse(study, job, *given)

    monkeypatch.setattr(captioning, "train", dies_in_the_second_step)
    with pytest.raises(KeyboardInterrupt):
        guide(study, out)
    monkeypatch.setattr(captioning, "train", train)
    finished = stamps(out, "training.json")
    assert {path.parts[-3] for path in finished} == {"ce", "clip"}
    monkeypatch.setattr(guided, "_analyse", dies)
    with pytest.raises(KeyboardInterrupt):
        guide(study, out, resume=True)
    monkeypatch.setattr(guided, "_analyse", analyse)
    assert finished.items() <= stamps(out, "training.json").items()
    finished |= stamps(out, "training.json") | stamps(out, "measurements.parquet")
    assert not (out / "trials.parquet").exists()
    guide(study, out, resume=True)
    assert finished.items() <= (stamps(out, "training.json") | stamps(out, "measurements.parquet")).items()
    wanted = {name: content for name, content in made(whole.directory).items() if "seed-1" not in name}
    assert made(out) == wanted
    assert len(wanted) > 50
    assert trials_of(out) == {key: v for key, v in trials_of(whole.directory).items() if key[1] == 0}

    before = (out / "trials.parquet").read_bytes(), (out / "effects.parquet").read_bytes()
    guide(study, out, resume=True)
    assert ((out / "trials.parquet").read_bytes(), (out / "effects.parquet").read_bytes()) == before
    assert [*read_jsonl(out / "problems.jsonl")] == []
    with pytest.raises(OutputExists, match="not empty"):
        guide(study, out)
    with pytest.raises(OutputExists, match="another run"):
        guide(replace(study, draws=21), out, resume=True)


def test_a_captioner_that_falls_silent_is_told_and_the_others_are_measured(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CLIP's has lost all words, so that nobody is left to choose from; LXMERT's all but one caption."""
    study, train = replace(read_guided(file), seeds=(0,)), captioning.train
    study = replace(study, scorers=study.scorers[:1], guided=study.guided[:2])

    def silences(recipe: Any, place: Path, **how: Any) -> Path:
        model = train(recipe, place, **how)
        said = [*read_jsonl(place / "captions.jsonl")]
        kept = {"small-clip": 0, "small-lxmert": 1}.get(recipe.name, len(said))
        rows = [{**row, "caption": row["caption"] * (at < kept)} for at, row in enumerate(said)]
        write_jsonl(place / "captions.jsonl", rows)
        return model

    monkeypatch.setattr(captioning, "train", silences)
    out = guide(study, tmp_path / "out").directory
    [told] = read_jsonl(out / "problems.jsonl")
    assert (told["subject"], told["action"]) == ("clip, seed 0", "unscored")
    trials = trials_of(out)
    assert {variant for variant, *_ in trials} == {"ce", "lxmert", "people"}
    assert trials["lxmert", 0, "score", "clip"] is not None
    assert not any(measure == "chosen" for _, _, measure, _ in trials)
    [one] = [
        each for each in read_parquet(out / "seed-0" / "texts" / "measurements.parquet", Measurement)
        if (each.measure, each.group) == ("caption length", "lxmert | all")
    ]  # fmt: skip
    assert (one.items, one.missing) == (1, 7)


def stamps(out: Path, name: str) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in out.rglob(name)}


def test_it_is_one_command(file: Path, whole: Compared) -> None:
    """Everything is there: the command goes through it and tells where the report is."""
    done = CliRunner().invoke(
        app, ["reproduce", "captions", "--study", str(file), "--out", str(whole.directory), "--resume"]
    )
    assert done.exit_code == 0, (done.output, done.exception)
    assert "report: " in done.stdout
    run = json.loads((whole.directory / "run.json").read_text())
    assert run["finished"]
    assert run["command"] == f"alignscope reproduce captions --study {file}"


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('scorer = "lxmert"', 'scorer = "lxmrt"', r"\[guided.lxmert-odds\]: no scorer 'lxmrt', there are clip, lxmert"),
        ('scorer = "lxmert"', 'scorer = "lxmert"\nreward = [{ kind = "cider" }]', "either `scorer`.* or `reward`"),
        ('scorer = "lxmert"', 'scorer = ""', "either `scorer`.* or `reward`"),
        ('reward = [{ kind = "cider" }]', 'reward = [{ kind = "cider" }]\nspace = "score"', "space belong into"),
        ("[scorers.clip]", "[scorers.ce]", "got ce as a name that is taken"),
        ("[guided.cider]", "[guided.people]", "got people as a name that is taken"),
        ("[guided.cider]", "[guided.clip]", "got clip as a name that is taken"),
        ("[guided.cider]", '[guided."a/b"]', "a/b"),
        ("[guidance]", "[guidence]", "guidence: unknown entry"),
        ("[guidance]\nsteps = 2", "[guided.x]\nsteps = 2", r"missing \[guidance\]"),
        ("seeds = [0, 1]", "", "seeds: missing"),
        ("seeds = [0, 1]", "seeds = [0, 0]", "none twice"),
        ("seeds = [0, 1]", "seeds = 3", "seeds: got 3, wanted a list"),
        ("draws = 20", "draws = 0", "draws"),
        ('metrics = ["BLEU-1", "CIDEr"]', 'metrics = ["BLUE-1"]', "BLUE-1, wanted some of BLEU-1"),
        ('model = "tiny-clip"', "", r"\[scorers.clip\] cannot be used:\n  model: missing"),
        ('model = "tiny-clip"', 'model = "tiny-clip"\nregions = "r.tsv"', "regions or images of clip"),
        ('[scorers.clip]\nsays = "CLIP"\nmodel = "tiny-clip"', "[scorers]\nclip = 3", r"a table each: \[scorers.clip\]"),
        ("samples = 2", "sample = 2", "sample: unknown entry, did you mean 'samples'"),
        ("hidden = 24", "hidden = 0", r"\[captioner\] hidden = 0"),
        ("name = ", "name == ", "cannot be read as TOML"),
    ],
)  # fmt: skip
def test_a_study_that_cannot_be_read_says_why(tmp_path: Path, before: str, after: str, said: str) -> None:
    assert before in STUDY
    path = tmp_path / "study.toml"
    path.write_text(STUDY.replace(before, after, 1))
    with pytest.raises(BadRecipe, match=said):
        read_guided(path)


def test_every_study_of_captions_is_read() -> None:
    for path in sorted(STUDIES.glob("captions*.toml")):
        study = read_guided(path)
        assert {one.name for one in study.scorers} == {"uniter", "rosita", "vilbert", "clip", "lxmert"}, path
        assert len(study.seeds) >= 1
    assert len(read_guided(STUDIES / "captions.toml").seeds) >= 3


Coco = Callable[..., GuidedStudy]


@pytest.fixture
def coco(file: Path, tmp_path: Path) -> Coco:
    """The study on files as COCO's, which are scenes of the world under COCO's names; LXMERT has regions of its own."""

    def make(*, most: int = 0) -> GuidedStudy:
        rows, told = [], []
        folder = tmp_path / "coco"
        (folder / "features").mkdir(parents=True)
        (folder / "images" / "val2014").mkdir(parents=True)
        world = World("train", size=22, seed=5)
        for number, (scene, said) in enumerate(zip(world.scenes, world.captions(WEB), strict=True)):
            split = (
                "test" if number >= 14 else "val" if number >= 11 else "train" if number % 2 else "restval"
            )
            name, regions = f"COCO_val2014_{number + 1:012d}.jpg", world.regions(scene.id, width=256)
            world.image(scene.id).save(folder / "images" / "val2014" / name)
            np.save(folder / "features" / f"{number + 1}.npy", mean_of(regions))
            told.append(replace(regions, image=str(number + 1)))
            sentences = [{"tokens": one.text.split(), "raw": one.text} for one in said]
            rows.append({"filename": name, "filepath": "val2014", "split": split, "sentences": sentences})
        write_region_tsv(folder / "regions.tsv", told)
        (folder / "dataset_coco.json").write_text(json.dumps({"images": rows, "dataset": "coco"}))
        study = read_guided(file)
        data = KarpathyCaptions(
            "karpathy", str(folder / "dataset_coco.json"), str(folder / "features"), str(folder / "images"), most=most
        )  # fmt: skip
        clip, lxmert = study.scorers
        return replace(
            study,
            seeds=(0,),
            recipe=replace(study.recipe, data=data),
            scorers=(clip, replace(lxmert, regions=str(folder / "regions.tsv"))),
            guided=study.guided[:2],
        )

    return make


def test_cocos_files_go_through_the_same_study(coco: Coco, tmp_path: Path) -> None:
    """Then once more, beginning with the captioner that the first one trained."""
    study = coco()
    out = guide(study, tmp_path / "out").directory
    trials = trials_of(out)
    for source in ("ce", "clip", "lxmert", "people"):
        for scorer in ("clip", "lxmert"):
            assert trials[source, 0, "score", scorer] is not None
    said = [*read_jsonl(out / "seed-0" / "captioners" / "lxmert" / "captions.jsonl")]
    assert [row["image"] for row in said] == [f"val2014/COCO_val2014_{n:012d}.jpg" for n in range(15, 23)]
    world, model = World("train", size=22, seed=5), open_model("tiny-lxmert")
    odds = model.score(
        [world.regions(s.id, width=256) for s in world.scenes[14:]], [r["caption"] for r in said]
    )
    scores = read_parquet(out / "seed-0" / "matrix" / "lxmert" / "scores.parquet", TextScore)
    own = {one.image: one.score for one in scores if one.source == "lxmert"}
    assert [own[row["image"]] for row in said] == pytest.approx((100 * odds.sigmoid()).tolist(), abs=1e-2)

    model_of_first = out / "seed-0" / "captioners" / "ce" / "model"
    saved = replace(study.recipe, captioner=SavedCaptioner("saved", str(model_of_first)), stages=())
    fewer = replace(study, recipe=saved, scorers=study.scorers[:1], guided=study.guided[:1])
    again = guide(fewer, tmp_path / "again").directory
    place = Path("seed-0") / "captioners"
    for name in ("ce", "clip"):
        for part in ("captions.jsonl", "model/model.safetensors"):
            assert (again / place / name / part).read_bytes() == (out / place / name / part).read_bytes()
    assert trials_of(again)["clip", 0, "score", "clip"] == trials["clip", 0, "score", "clip"]


def test_all_that_is_missing_is_told_at_once_and_nothing_is_begun(coco: Coco, tmp_path: Path) -> None:
    study = coco()
    assert missing_of(study) == []
    clip, lxmert = study.scorers
    odd = replace(
        study,
        recipe=replace(
            study.recipe,
            captioner=SavedCaptioner("saved", "./runs/none/model", "words.json"),
            data=replace(study.recipe.data, captions="none.json", features="nowhere"),
        ),
        scorers=(replace(clip, model="./none/clip", images="no/images"), replace(lxmert, regions="none.tsv")),
    )
    found = missing_of(odd)
    for said in (
        "[scorers.clip] model: ", "[recipe.captioner] path: nothing at ./runs/none/model",
        "[recipe.captioner] vocabulary: no file words.json", "[recipe.data] captions: nothing at none.json",
        "[recipe.data] features: nothing at nowhere", "[scorers.clip] images: nothing at no/images",
        "[scorers.lxmert] regions: nothing at none.tsv",
    ):  # fmt: skip
        assert len([line for line in found if line.startswith(said)]) == 1, (said, found)
    with pytest.raises(BadInput) as told:
        guide(odd, tmp_path / "out")
    assert all(line in str(told.value) for line in found)
    assert not (tmp_path / "out").exists()


def test_what_a_scorer_reads_is_wanted_of_every_image(coco: Coco, tmp_path: Path) -> None:
    study = coco()
    clip, lxmert = study.scorers
    blind = replace(study, scorers=(clip, replace(lxmert, regions="")))
    assert missing_of(blind) == [
        "[scorers.lxmert] model: tiny-lxmert reads regions: name them as regions of [scorers.lxmert] or of [recipe.data]"
    ]
    folder = tmp_path / "coco"
    (folder / "features" / "7.npy").unlink()
    (folder / "images" / "val2014" / "COCO_val2014_000000000003.jpg").unlink()
    lines = (folder / "regions.tsv").read_text().splitlines(keepends=True)
    (folder / "regions.tsv").write_text("".join(lines[2:]))
    assert [line.partition(" has no ")[2] for line in missing_of(study)] == [
        "features of 1 of 22 images, such as 'val2014/COCO_val2014_000000000007.jpg'",
        "images of 1 of 22 images, such as 'val2014/COCO_val2014_000000000003.jpg'",
        "regions of 2 of 22 images, such as 'val2014/COCO_val2014_000000000001.jpg'",
    ]
