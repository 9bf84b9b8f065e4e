"""Ways of training the same model, compared over seeds: trained, measured and summed up.

Every seed has its own beginning (where the study has one) and its own batches; all variants of a seed
share both, so that differences are paired.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import alignscope
from alignscope.data.benchmarks.table import BENCHMARKS
from alignscope.data.world.export import export
from alignscope.data.world.world import World
from alignscope.errors import BadRecipe
from alignscope.files import write_json
from alignscope.models.zoo import open_model
from alignscope.reporting.variants import variants_page
from alignscope.studies.clock import Progress
from alignscope.studies.composition.variant_numbers import (
    PARAPHRASED,
    WORLD,
    BenchmarkPlan,
    OnBenchmarks,
    OnWorld,
    PairsPlan,
    data_of,
    is_measured,
    measure,
    trials_of,
)
from alignscope.studies.output import RUN, claimed
from alignscope.studies.over_seeds import (
    Compared,
    check_names,
    summed_up,
    toml_entries,
    with_recipe,
)
from alignscope.studies.workers import in_stages
from alignscope.training.finetune import finetune
from alignscope.training.reading import section
from alignscope.training.settings import FineTuning

START = "start"
"""The name of what every variant begins with, measured like them."""


@dataclass(frozen=True)
class Variant:
    """One way of training; `says` is what a table calls it."""

    name: str
    says: str
    recipe: FineTuning


@dataclass(frozen=True)
class Study:
    """Variants of one recipe; `start`, where there is one, makes the model that a seed's variants begin with.

    They are measured on `scenes` of the world, or, where there are `benchmarks`, on these and on the user's own `pairs`.
    """

    name: str
    baseline: str
    seeds: tuple[int, ...]
    scenes: int  # of the world's test split, on which everything is measured
    checked: int  # captions, about, whose word attributions are checked
    start: FineTuning | None
    variants: tuple[Variant, ...]
    benchmarks: tuple[BenchmarkPlan, ...] = ()
    pairs: PairsPlan | None = None

    @property
    def measured(self) -> OnWorld | OnBenchmarks:
        """What is measured of every model."""
        if self.benchmarks:
            return OnBenchmarks(self.benchmarks, self.pairs)
        return OnWorld(self.scenes, self.checked)

    @property
    def trained(self) -> dict[str, Any]:
        """What decides the weights, and the scenes of the world; benchmarks and pairs may come later."""
        return {name: one for name, one in asdict(self).items() if name not in ("benchmarks", "pairs")}


def read_study(path: Path) -> Study:
    """A study from TOML: `[recipe]` is what all variants share, `[variants.NAME]` what is different.

    A variant's `recipe` names one whose entries are under both. `[benchmarks.NAME]` has `annotations`, `images` and
    `allow_missing`, in place of `scenes` and `checked` of the world; `[pairs]` has `captions`, `images`, `checked`.
    """
    return study_of(toml_entries(path), path)


def study_of(entries: Mapping[str, Any], path: Path) -> Study:
    """The study that a file's entries tell of; `path` opens what is said of wrong ones."""
    on_world = {"scenes", "checked"}
    wanted = {"name", "baseline", "seeds", "recipe", "variants"}
    if "benchmarks" in entries:
        check_names(path, entries, wanted=wanted | {"benchmarks"}, optional={"start", "pairs"})
    else:
        check_names(path, entries, wanted=wanted | on_world, optional={"start"})
    start = section(FineTuning, entries["start"], f"{path} [start]") if "start" in entries else None
    variants = []
    for name, own in entries["variants"].items():
        differences = {key: value for key, value in own.items() if key not in ("says", "recipe")}
        shared = with_recipe({**entries["recipe"], **{k: v for k, v in own.items() if k == "recipe"}}, name)
        merged = {**shared, "name": name, **differences}
        variants.append(Variant(name, own.get("says", name), section(FineTuning, merged, f"{path} [{name}]")))
    if entries["baseline"] not in entries["variants"]:
        raise BadRecipe(f"{path}: no variant is called as the baseline, '{entries['baseline']}'")
    return Study(
        entries["name"],
        entries["baseline"],
        tuple(entries["seeds"]),
        entries.get("scenes", 0),
        entries.get("checked", 0),
        start,
        tuple(variants),
        tuple(_benchmark(name, own, path) for name, own in entries.get("benchmarks", {}).items()),
        section(PairsPlan, entries["pairs"], f"{path} [pairs]") if "pairs" in entries else None,
    )


def _benchmark(name: str, own: Any, path: Path) -> BenchmarkPlan:
    where = f"{path} [benchmarks.{name}]"
    if not isinstance(own, dict):
        raise BadRecipe(f"{where}: got {own!r}, wanted a table with annotations and images")
    plan = section(BenchmarkPlan, {"name": name, **own}, where)
    if BENCHMARKS[name].asks != "similarity" and not plan.images:
        raise BadRecipe(f"{where}: got no images, wanted a folder ({BENCHMARKS[name].images})")
    return plan


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
    """Train and measure every variant with every seed, and write trials, effects and a report under `out`.

    Work that is finished is not done again; `processes` of one thread each work side by side. Benchmarks that a
    resumed study has more are measured of the models that are there.
    """
    identity = {"kind": "variants", "version": alignscope.__version__, "study": study.trained}
    with claimed(out, identity, resume=resume, overwrite=overwrite):
        if not study.benchmarks:
            export(World("test", size=min(study.scenes, PARAPHRASED)), out / WORLD, overwrite=True)
        names = [START, *(variant.name for variant in study.variants)]
        jobs = [(name, seed) for seed in study.seeds for name in names]
        stages = {  # every variant begins with what the first stage made
            "beginnings": [job for job in jobs if job[0] == START],
            "variants": [job for job in jobs if job[0] != START],
        }
        work = partial(trained_and_measured, study, out=out, device=device)
        in_stages(stages, work, processes=processes, progress=progress)
        trials = [
            trial
            for name in names
            for seed in study.seeds
            for trial in trials_of(study.measured, name, seed, _place(out, name, seed))
        ]
        data = data_of(study.measured, _place(out, START, study.seeds[0]))
        signature = f"data:{data}|v:{alignscope.__version__}"
        found = summed_up(out, trials, baseline=study.baseline, signature=signature)
        run = {**identity, "study": asdict(study), "identity": identity, "finished": True, "command": command}
        write_json(out / RUN, run)
        return Compared(out, variants_page(out), tuple(found))


def trained_and_measured(study: Study, job: tuple[str, int], out: Path, device: str = "cpu") -> None:
    """One model, trained unless it is there, and what is measured of it."""
    import torch

    name, seed = job
    torch.set_num_threads(1)
    place = _place(out, name, seed)
    if not is_measured(study.measured, place):
        model = open_model(_model(study, name, seed, out, place, device), device=device)
        measure(study.measured, model, place, out / WORLD)


def _place(out: Path, name: str, seed: int) -> Path:
    return out / name / f"seed-{seed}"


def _model(study: Study, name: str, seed: int, out: Path, place: Path, device: str) -> str | Path:
    """The trained model of a variant, or what its seed begins with."""
    recipe: FineTuning | None = study.start
    if name != START:
        recipe = next(variant.recipe for variant in study.variants if variant.name == name)
        if study.start is not None:
            recipe = replace(recipe, model=str(_place(out, START, seed) / "training" / "model"))
    if recipe is None:
        return study.variants[0].recipe.model
    model = place / "training" / "model"
    if (model / "training.json").exists():  # whole: a finished training moves all of it there at once
        return model
    return finetune(replace(recipe, seed=seed), place / "training", device=device, resume=True)
