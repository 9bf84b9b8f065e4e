"""A captioner of objects and the same after scene captions, over seeds: trained, looked into, ablated, probed (paper C).

A seed trains its own captioner on object captions and goes on with it on scene captions, so that differences are
paired. Captioners that are there already are taken as they are; one of objects is gone on with, where scenes have a recipe.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, final

import alignscope
from alignscope.errors import BadRecipe
from alignscope.files import read_parquet, write_json, write_jsonl
from alignscope.models.captioners.seen import open_seen
from alignscope.probing.scene_probes import ProbeSettings
from alignscope.records import DRAWS, Measurement, Trial
from alignscope.reporting.run import PICTURES
from alignscope.reporting.scenes import scenes_page
from alignscope.reporting.scenes_examples import shown_images
from alignscope.studies.clock import Progress
from alignscope.studies.output import RUN, claimed, is_finished
from alignscope.studies.over_seeds import (
    Compared,
    check_names,
    summed_up,
    toml_entries,
    with_recipe,
)
from alignscope.studies.scenes.ablated_images import Cuts
from alignscope.studies.scenes.ablation import AblationSettings, ablation
from alignscope.studies.scenes.attention import AttentionSettings, attention
from alignscope.studies.scenes.diagnosticity import DiagnosticitySettings, diagnosticity
from alignscope.studies.scenes.epochs import write_epochs
from alignscope.studies.scenes.images import (
    HighLevelImages,
    SceneImages,
    WorldImages,
    named_objects,
    scene_images,
)
from alignscope.studies.scenes.pictures import scene_pictures
from alignscope.studies.scenes.probing import SceneSettings, scene_probes
from alignscope.studies.workers import in_stages
from alignscope.training import captioning
from alignscope.training.reading import find, read, section
from alignscope.training.recipe import Captioning, SavedCaptioner

OBJECT, SCENE = "object", "scene"
VERBS = ("attention", "diagnosticity", "ablation", "scenes")
Images = WorldImages | HighLevelImages


@final
@dataclass(frozen=True)
class Told:
    """What the analyses are told; everything else of them is the paper's."""

    layers: str = "all"
    images_read: int = 100  # by the look at attention
    counts: tuple[int, ...] = (1, 2, 3)  # objects taken away
    readings: tuple[str, ...] = ("image", "least")
    classifiers: tuple[str, ...] = ("forest", "mlp")
    splits: tuple[int, ...] = (90, 70, 50)
    probe_seeds: int = 10
    transfers: bool = False  # probes of intact states are tested on ablated ones, too
    ceiling: int = 0  # images of a scene that are probed at most; 0 takes all
    beams: int = 1
    draws: int = DRAWS


@final
@dataclass(frozen=True)
class SceneStudy:
    """Two captioners, by recipe or by directory, the images they are shown, and those that tell what is informative.

    The first of `images` is looked into; all of them are ablated and probed: versions of the same images.
    """

    name: str
    seeds: tuple[int, ...]
    captioners: Mapping[str, Captioning | str]
    images: Mapping[str, Images]
    reference: Images
    told: Told = field(default_factory=Told)


def read_scenes(path: Path) -> SceneStudy:
    """A study from TOML.

    `[captioners]` names a recipe (`object = "recipes/….toml"`) or a directory of each; a table `[captioners.scene]` has
    `recipe` and entries in place of the recipe's. `[images.NAME]` and `[reference]` are of `kind` "world" or "hl";
    `[told]` is `Told`.
    """
    return scenes_of(toml_entries(path), path)


def scenes_of(entries: Mapping[str, Any], path: Path) -> SceneStudy:
    """The study that a file's entries tell of; `path` opens what is said of wrong ones."""
    wanted = {"name", "seeds", "captioners", "images", "reference"}
    check_names(path, entries, wanted=wanted, optional={"told"})
    named = entries["captioners"]
    if set(named) != {OBJECT, SCENE}:
        raise BadRecipe(f"{path} [captioners]: got {', '.join(named) or 'none'}, wanted {OBJECT} and {SCENE}")
    captioners = {name: _captioner(one, f"{path} [captioners.{name}]") for name, one in named.items()}
    is_trained = {name: isinstance(one, Captioning) for name, one in captioners.items()}
    if is_trained[OBJECT] and not is_trained[SCENE]:
        raise BadRecipe(
            f"{path} [captioners]: got a recipe of {OBJECT} and a {SCENE} that is there, wanted two recipes, or "
            f"{OBJECT} that is there"
        )
    if isinstance(scene := captioners[SCENE], Captioning) and isinstance(begun := captioners[OBJECT], str):
        captioners[SCENE] = replace(scene, captioner=SavedCaptioner("saved", begun))
    if not is_trained[SCENE] and len(entries["seeds"]) > 1:
        raise BadRecipe(f"{path}: captioners that are there have no seeds: give seeds = [0]")
    return SceneStudy(
        entries["name"],
        tuple(entries["seeds"]),
        {name: captioners[name] for name in (OBJECT, SCENE)},
        {name: _images(own, f"{path} [images.{name}]") for name, own in entries["images"].items()},
        _images(entries["reference"], f"{path} [reference]"),
        section(Told, entries.get("told", {}), f"{path} [told]"),
    )


def _captioner(named: Any, where: str) -> Captioning | str:
    if isinstance(named, Mapping):
        return section(Captioning, with_recipe(named, where), where)
    if not str(named).endswith(".toml"):
        return str(named)
    recipe = read(find(str(named)))
    if not isinstance(recipe, Captioning):
        raise BadRecipe(f"{where}: {named} trains no captioner")
    return recipe


def _images(entries: Mapping[str, Any], where: str) -> Images:
    own = {key: value for key, value in entries.items() if key != "kind"}
    if entries.get("kind") == "world":
        return section(WorldImages, own, where)
    if entries.get("kind") != "hl":
        raise BadRecipe(f"{where}: got kind {entries.get('kind')!r}, wanted 'world' or 'hl'")
    files = ("captions", "regions", "labels", "images")
    odd = sorted(set(own) - set(HighLevelImages.__dataclass_fields__))
    if odd or "captions" not in own:
        raise BadRecipe(f"{where}: unknown {', '.join(odd) or 'nothing'}; wanted `captions`, HL's file")
    plan: dict[str, Any] = {key: Path(value) if key in files else value for key, value in own.items()}
    return HighLevelImages(**plan)


def captioners_of_scenes(
    study: SceneStudy,
    out: Path,
    *,
    processes: int = 1,
    device: str = "cpu",
    resume: bool = False,
    overwrite: bool = False,
    command: str = "",
    progress: Progress = lambda stage, done, total: None,
) -> Compared:
    """Train both captioners with every seed, and do all of paper C to them; trials and effects under `out`.

    What is finished is not done again; `processes` of one thread each work side by side.
    """
    identity = json.loads(
        json.dumps(
            {"kind": "scene captioners", "version": alignscope.__version__, "study": asdict(study)},
            default=str,
        )
    )
    stages: dict[str, list[tuple[str, int]]] = {
        name: [(name, seed) for seed in study.seeds]
        for name, one in study.captioners.items()
        if isinstance(one, Captioning)
    }
    stages["analyses"] = [
        (verb, seed) for seed in study.seeds for verb in reversed(VERBS)
    ]  # the longest first
    with claimed(out, identity, resume=resume, overwrite=overwrite):
        work = partial(done, study, out=out, device=device)
        in_stages(stages, work, processes=processes, progress=progress)
        trials = [trial for seed in study.seeds for trial in _trials(out, seed)]
        signature = f"data:{study.name}|v:{alignscope.__version__}"
        found = summed_up(out, trials, baseline=OBJECT, signature=signature)
        first, plan = next(iter(study.images.items()))
        write_jsonl(out / PICTURES, scene_pictures(scene_images(plan), shown_images(out, first)))
        write_json(out / RUN, {**identity, "identity": identity, "finished": True, "command": command})
        return Compared(out, scenes_page(out), tuple(found))


def done(study: SceneStudy, job: tuple[str, int], out: Path, device: str) -> None:
    """One training or one analysis of a seed, unless it is finished."""
    import torch

    kind, seed = job
    torch.set_num_threads(1)
    place = out / f"seed-{seed}"
    if kind not in VERBS:
        _train(study, kind, seed, place / "captioners", device)
    elif not is_finished(place / kind):
        models = {
            name: open_seen(
                one if isinstance(one, str) else str(place / "captioners" / name / "model"), device=device
            )
            for name, one in study.captioners.items()
        }
        sets = {name: scene_images(plan) for name, plan in study.images.items()}
        _ANALYSES[kind](study, models, sets, place / kind, seed)


def _train(study: SceneStudy, name: str, seed: int, place: Path, device: str) -> None:
    recipe = study.captioners[name]
    assert isinstance(recipe, Captioning)  # a stage of recipes
    if (place / name / "model" / "training.json").exists():  # the last that a training writes
        return
    recipe = replace(recipe, seed=seed)
    if name == SCENE and isinstance(study.captioners[OBJECT], Captioning):
        recipe = replace(recipe, captioner=SavedCaptioner("saved", os.fspath(place / OBJECT / "model")))
    captioning.train(recipe, place / name, device=device, resume=True)
    if name == SCENE:
        write_epochs(place / name)


def _attention(study: SceneStudy, models: Any, sets: Mapping[str, SceneImages], out: Path, seed: int) -> None:
    told = study.told
    settings = AttentionSettings(
        seed=seed, draws=told.draws, images_read=told.images_read, layers=told.layers, heads=("max", "mean")
    )
    attention(models, next(iter(sets.values())), out, settings=settings, resume=True)


def _diagnosticity(
    study: SceneStudy, models: Any, sets: Mapping[str, SceneImages], out: Path, seed: int
) -> None:
    settings = DiagnosticitySettings(seed=seed, draws=study.told.draws)
    images = next(iter(sets.values()))
    diagnosticity(models, images, named_objects(study.reference), out, settings=settings, resume=True)


def _ablation(study: SceneStudy, models: Any, sets: Mapping[str, SceneImages], out: Path, seed: int) -> None:
    told = study.told
    cuts = Cuts(counts=told.counts, readings=told.readings, seed=seed)  # type: ignore[arg-type]
    settings = AblationSettings(cuts, beams=told.beams, seed=seed, draws=told.draws)
    ablation(models, sets, named_objects(study.reference), out, settings=settings, resume=True)


def _scenes(study: SceneStudy, models: Any, sets: Mapping[str, SceneImages], out: Path, seed: int) -> None:
    told = study.told
    probes = ProbeSettings(
        classifiers=told.classifiers,
        splits=told.splits,
        seeds=told.probe_seeds,
        ceiling=told.ceiling or None,
    )
    cuts = Cuts(counts=(1,), readings=told.readings, seed=seed)  # type: ignore[arg-type]
    settings = SceneSettings(probes, cuts, is_transferred=told.transfers, seed=seed)
    scene_probes(models, sets, named_objects(study.reference), out, settings=settings, resume=True)


_ANALYSES: dict[str, Callable[..., None]] = {
    "attention": _attention,
    "diagnosticity": _diagnosticity,
    "ablation": _ablation,
    "scenes": _scenes,
}


def _trials(out: Path, seed: int) -> Iterator[Trial]:
    """All numbers of a seed that are of one captioner; those of images and of pairs stay in their run's records.

    So do those of probes, whose groups begin with the images: the page reads `scores.parquet`, which has each part of
    a group in a column of its own.
    """
    for verb in VERBS:
        for one in read_parquet(out / f"seed-{seed}" / verb / "measurements.parquet", Measurement):
            name, _, group = one.group.partition(" | ")
            if name in (OBJECT, SCENE):
                yield Trial(name, seed, one.measure, group, one.value, one.unit)
