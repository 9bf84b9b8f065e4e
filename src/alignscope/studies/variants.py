"""Ways of training the same model, compared over seeds: trained, audited and summed up.

Every seed has its own beginning (where the study has one) and its own batches; all variants of a seed
share both, so that differences are paired.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import alignscope
from alignscope.attribution.options import METHODS
from alignscope.data.world.export import export
from alignscope.data.world.world import World
from alignscope.errors import BadRecipe
from alignscope.files import read_parquet, write_json
from alignscope.models.zoo import open_model
from alignscope.records import Measurement, Trial
from alignscope.reporting.variants import variants_page
from alignscope.studies.audit import Settings, audit
from alignscope.studies.benchmarks import evaluate
from alignscope.studies.checks import Plan
from alignscope.studies.embeddings import Progress
from alignscope.studies.output import RUN, claimed, is_finished
from alignscope.studies.over_seeds import Compared, check_names, summed_up, toml_entries
from alignscope.studies.workers import in_stages
from alignscope.training.finetune import finetune
from alignscope.training.reading import section
from alignscope.training.settings import FineTuning

SIMILARITY, PARAPHRASES, WORLD = "world-similarity", "world-paraphrases", "world"
TEXT_ONLY = "TOT | "
PARAPHRASED = 300
"""Scenes whose captions are paraphrased: each gives some fifteen texts."""
START = "start"
"""The name of what every variant begins with, audited like them."""


@dataclass(frozen=True)
class Variant:
    """One way of training; `says` is what a table calls it."""

    name: str
    says: str
    recipe: FineTuning


@dataclass(frozen=True)
class Study:
    """Variants of one recipe; `start`, where there is one, makes the model that a seed's variants begin with."""

    name: str
    baseline: str
    seeds: tuple[int, ...]
    scenes: int  # of the world's test split, on which everything is measured
    checked: int  # captions, about, whose word attributions are checked
    start: FineTuning | None
    variants: tuple[Variant, ...]


def read_study(path: Path) -> Study:
    """A study from TOML: `[recipe]` is what all variants share, `[variants.NAME]` what is different."""
    entries = toml_entries(path)
    wanted = {"name", "baseline", "seeds", "scenes", "checked", "recipe", "variants"}
    check_names(path, entries, wanted=wanted, optional={"start"})
    start = section(FineTuning, entries["start"], f"{path} [start]") if "start" in entries else None
    variants = []
    for name, own in entries["variants"].items():
        differences = {key: value for key, value in own.items() if key != "says"}
        merged = {**entries["recipe"], "name": name, **differences}
        variants.append(Variant(name, own.get("says", name), section(FineTuning, merged, f"{path} [{name}]")))
    if entries["baseline"] not in entries["variants"]:
        raise BadRecipe(f"{path}: no variant is called as the baseline, '{entries['baseline']}'")
    numbers = {key: entries[key] for key in ("name", "baseline", "scenes", "checked")}
    return Study(**numbers, seeds=tuple(entries["seeds"]), start=start, variants=tuple(variants))


def compare_variants(
    study: Study,
    out: Path,
    *,
    processes: int = 1,
    device: str = "cpu",
    resume: bool = False,
    overwrite: bool = False,
    command: str = "",
    progress: Progress = lambda stage, done, total: None,
) -> Compared:
    """Train and audit every variant with every seed, and write trials, effects and a report under `out`.

    Work that is finished is not done again; `processes` of one thread each work side by side.
    """
    identity = {"kind": "variants", "version": alignscope.__version__, "study": asdict(study)}
    with claimed(out, identity, resume=resume, overwrite=overwrite):
        export(World("test", size=min(study.scenes, PARAPHRASED)), out / WORLD, overwrite=True)
        names = [START, *(variant.name for variant in study.variants)]
        jobs = [(name, seed) for seed in study.seeds for name in names]
        stages = {  # every variant begins with what the first stage made
            "beginnings": [job for job in jobs if job[0] == START],
            "variants": [job for job in jobs if job[0] != START],
        }
        work = partial(trained_and_audited, study, out=out, device=device)
        in_stages(stages, work, processes=processes, progress=progress)
        trials = [trial for name in names for seed in study.seeds for trial in _trials(out, name, seed)]
        signature = f"data:world-test|scenes:{study.scenes}|v:{alignscope.__version__}"
        found = summed_up(out, trials, baseline=study.baseline, signature=signature)
        run = {**identity, "identity": identity, "finished": True, "command": command}
        write_json(out / RUN, run)
        return Compared(out, variants_page(out), tuple(found))


def trained_and_audited(study: Study, job: tuple[str, int], out: Path, device: str = "cpu") -> None:
    """One model, trained unless it is there, and its audit."""
    import torch

    name, seed = job
    torch.set_num_threads(1)
    place = out / name / f"seed-{seed}"
    parts = [place / "audit", place / SIMILARITY, place / PARAPHRASES]
    if all(map(is_finished, parts)):
        return
    model, world = open_model(_model(study, name, seed, out, place, device), device=device), out / WORLD
    settings = Settings(plan=Plan(METHODS, checked=study.checked))
    audit(model, World("test", size=study.scenes), parts[0], settings=settings, resume=True)
    evaluate(model, SIMILARITY, world, out=parts[1], resume=True)
    evaluate(model, PARAPHRASES, world, world / "images", out=parts[2], resume=True)


def _model(study: Study, name: str, seed: int, out: Path, place: Path, device: str) -> str | Path:
    """The trained model of a variant, or what its seed begins with."""
    recipe: FineTuning | None = study.start
    if name != START:
        recipe = next(variant.recipe for variant in study.variants if variant.name == name)
        if study.start is not None:
            recipe = replace(recipe, model=str(out / START / f"seed-{seed}" / "training" / "model"))
    if recipe is None:
        return study.variants[0].recipe.model
    return finetune(replace(recipe, seed=seed), place / "training", device=device, resume=True)


def _trials(out: Path, name: str, seed: int) -> Iterator[Trial]:
    """What was measured of a model, and what its training cost."""
    place = out / name / f"seed-{seed}"
    for m in read_parquet(place / "audit" / "measurements.parquet", Measurement):
        yield Trial(name, seed, m.measure, m.group, m.value, m.unit, m.method)
    for m in read_parquet(place / SIMILARITY / "measurements.parquet", Measurement):
        if m.measure == "spearman":
            yield Trial(name, seed, "paraphrase spearman", m.group, m.value, m.unit)
    for m in read_parquet(place / PARAPHRASES / "measurements.parquet", Measurement):
        if m.measure == "accuracy" and m.group.startswith(TEXT_ONLY):
            yield Trial(name, seed, "paraphrase nearer", m.group.removeprefix(TEXT_ONLY), m.value, m.unit)
    for measure, value in _costs(place / "training" / "model" / "training.json").items():
        yield Trial(name, seed, measure, "all", value, "seconds" if "seconds" in measure else "number")


def _costs(path: Path) -> Mapping[str, float | None]:
    """Seconds of a step and the weight of the attribution loss, where the training wrote them."""
    if not path.exists():
        return {}
    made: Any = json.loads(path.read_text(encoding="utf-8"))
    return {"seconds per step": made["seconds"] / made["steps"], "lambda": made["lambda"]}
