"""Which scene do a captioner's last states tell, with and without the objects that tell most of it? (paper C, section 7).

An image's state is the mean over its labels and regions (or patches) in the last layer. Inputs are named after the
captioner, the set of images where there are several (the world with and without background), and what was taken
away. All inputs are compared on the same images: those that every cut can be made of.
"""

from __future__ import annotations

import datetime
import importlib.util
from collections import ChainMap
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, final

import alignscope
from alignscope.errors import BadInput, MissingExtra
from alignscope.files import read_parquet, sha_of, write_json, write_jsonl, write_parquet
from alignscope.models.captioners.inside import SeenInside
from alignscope.probing.scene_probes import ProbeSettings, check_probes, jobs_of, probe
from alignscope.probing.scene_samples import SceneStates, sampled
from alignscope.probing.scene_scores import scene_differences, scene_scores
from alignscope.records import (
    Association,
    Measurement,
    Problem,
    SceneCount,
    SceneProbe,
    SceneProbeCell,
    SceneProbeDifference,
    SceneProbeScore,
    Signature,
)
from alignscope.studies.clock import Clock, Progress
from alignscope.studies.output import RUN, claimed
from alignscope.studies.scenes.ablated_images import Cuts, check_boxes, in_both, reference_associations
from alignscope.studies.scenes.images import NamedObjects, SceneImages, fitting
from alignscope.studies.scenes.states import RAW, Route, routes_of, states_of
from alignscope.studies.store import batches

JOBS = 20  # probes kept at a time
FILES: dict[type, str] = {
    SceneProbe: "runs",
    SceneProbeCell: "cells",
    SceneCount: "counts",
    SceneProbeScore: "scores",
    SceneProbeDifference: "differences",
    Measurement: "measurements",
}


@final
@dataclass(frozen=True)
class SceneSettings:
    """What is probed; all of it is in the run's identity. `cuts` without counts: images are as they are.

    `is_transferred` also tests on every other version of a captioner's input what was trained on the intact one.
    """

    probes: ProbeSettings = field(default_factory=ProbeSettings)
    cuts: Cuts = field(default_factory=lambda: Cuts(counts=(1,)))
    has_specials: bool = False
    has_raw: bool = True  # the mean feature of regions as an input of its own
    is_transferred: bool = True
    seed: int = 0  # of the images that are drawn where a scene has more than the ceiling


@final
@dataclass(frozen=True)
class SceneProbing:
    """Finished probes."""

    directory: Path
    scores: tuple[SceneProbeScore, ...]
    differences: tuple[SceneProbeDifference, ...]
    counts: tuple[SceneCount, ...]
    problems: tuple[Problem, ...]
    images: int
    held_out: int  # of these, as far as the source tells


def scene_probes(
    models: Mapping[str, SeenInside],
    sets: Mapping[str, SceneImages],
    reference: NamedObjects | None,
    out: Path,
    *,
    settings: SceneSettings = SceneSettings(),
    batch_size: int = 16,
    workers: int = 1,
    resume: bool = False,
    overwrite: bool = False,
    command: str = "",
    progress: Progress = lambda stage, done, total: None,
) -> SceneProbing:
    """States of every set of images by every captioner, and probes of them; run.json and records under `out`.

    Sets are versions of the same images. Where some of these are held out and some not, probes are of all of them
    and again of those held out. `reference` tells which objects are informative, for cuts.
    """
    clock, started = Clock(), datetime.datetime.now(datetime.UTC)
    sets = {name: fitting(images, models.values()) for name, images in sets.items()}
    routes = _checked(models, sets, reference, settings)
    identity = _identity(models, sets, reference, settings)
    with claimed(out, identity, resume=resume, overwrite=overwrite) as work:
        told, problems = reference_associations(reference, settings.cuts) if reference else ([], [])
        found = states_of(
            *(models, sets, told, routes),
            cuts=settings.cuts,
            has_specials=settings.has_specials,
            work=work,
            batch_size=batch_size,
            progress=progress,
        )
        write_parquet(out / "associations.parquet", told, Association)
        found.write(out / "states")
        clock.lap("states")
        transfers = _transfers(routes) if settings.is_transferred else ()
        how = replace(settings.probes, transfers=(*settings.probes.transfers, *transfers))
        held = next(iter(sets.values())).held_out & {*found.states.images}
        runs, cells, counts, unfit = _probed(found.states, how, held, settings, work, workers, progress)
        clock.lap("probes")
        problems += [
            *_uncut(models, routes, settings),
            *found.problems,
            *unfit,
            *((*reference.problems, *in_both(reference, sets.values())) if reference else ()),
        ]
        scores, differences = scene_scores(runs, cells), scene_differences(runs, _parts(routes))
        signature = _signature(sets, models, settings)
        numbers = _numbers(scores, signature, missing=len(found.left_out))
        of: tuple[Sequence[Any], ...] = (runs, cells, counts, scores, differences, numbers)
        for (kind, name), rows in zip(FILES.items(), of, strict=True):
            write_parquet(out / f"{name}.parquet", rows, kind)
        write_jsonl(out / "problems.jsonl", problems)
        run: dict[str, Any] = {**identity, "identity": identity, "finished": True, "command": command}
        run |= {"inputs": found.files, "images": len(found.states.images), "held out": len(held)}
        run |= {"started": started.isoformat(timespec="seconds"), "seconds": clock.laps}
        write_json(out / RUN, run)
        told_all = tuple(scores), tuple(differences), tuple(counts), tuple(problems)
        return SceneProbing(out, *told_all, len(found.states.images), len(held))


def joined(first: SceneImages, second: SceneImages) -> SceneImages:
    """Two sets as one; what is held out in either stays held out."""
    both = sorted({*first.sights} & {*second.sights})
    if both:
        raise BadInput(
            f"got {len(both)} images in {first.name} and in {second.name} (first: {both[0]}), wanted each once: "
            "give other images"
        )
    return replace(
        first,
        name=f"{first.name}+{second.name}",
        sha=sha_of([first.sha, second.sha]),
        sights=ChainMap(second.sights, first.sights),  # type: ignore[arg-type]  # looked up, never written
        pictures=ChainMap(second.pictures, first.pictures),  # type: ignore[arg-type]
        scenes={**first.scenes, **second.scenes},
        held_out=first.held_out | second.held_out,
        problems=(*first.problems, *second.problems),
        notes=lambda: (*first.notes(), *second.notes()),
    )


def _probed(
    states: SceneStates,
    how: ProbeSettings,
    held: frozenset[str],
    settings: SceneSettings,
    work: Path,
    workers: int,
    progress: Progress,
) -> tuple[list[SceneProbe], list[SceneProbeCell], list[SceneCount], list[Problem]]:
    """As `probing.scene_probes.probed`, some probes kept at a time, so that a stopped run goes on."""
    from threadpoolctl import threadpool_limits  # comes with scikit-learn

    runs: list[SceneProbe] = []
    cells: list[SceneProbeCell] = []
    counts: list[SceneCount] = []
    problems: list[Problem] = []
    variants = {"all": None, "held out": held} if 0 < len(held) < len(states.images) else {"all": None}
    for images, only in variants.items():
        sample = sampled(states, images=images, ceiling=how.ceiling, only=only, seed=settings.seed)
        jobs, unfit = jobs_of(sample.states, how, images=images)
        done = 0
        for number, some in enumerate(batches(jobs, JOBS)):
            progress(f"probes of {images} images", done, len(jobs))
            path = work / f"{images}-{number:06d}.parquet"
            beside = path.with_suffix(".cells.parquet")
            if not path.exists():  # written after what is beside it
                with threadpool_limits(limits=1):  # so small products take longer with more
                    made = [
                        probe(sample.states, job, standardise=how.standardise, workers=workers)
                        for job in some
                    ]
                write_parquet(beside, [cell for _, own in made for cell in own], SceneProbeCell)
                write_parquet(path, [run for run, _ in made], SceneProbe)
            runs += read_parquet(path, SceneProbe)
            cells += read_parquet(beside, SceneProbeCell)
            done += len(some)
        progress(f"probes of {images} images", done, len(jobs))
        counts += sample.counts
        problems += [*sample.problems, *unfit]
    return runs, cells, counts, problems


def _parts(routes: Sequence[Route]) -> dict[str, dict[str, str]]:
    """What two inputs can differ in, by name of the input."""
    return {
        route.name: {
            "captioner": route.model,
            "images": route.images,
            "objects": f"without {route.cut}" if route.cut else "all",
        }
        for route in routes
    }


def _transfers(routes: Sequence[Route]) -> tuple[tuple[str, str], ...]:
    """From the first version of what a captioner (or the raw input) sees to each of its others."""
    first: dict[str, Route] = {}
    for route in routes:
        first.setdefault(route.model, route)
    return tuple((first[route.model].name, route.name) for route in routes if route is not first[route.model])


def _uncut(
    models: Mapping[str, SeenInside], routes: Sequence[Route], settings: SceneSettings
) -> list[Problem]:
    """Captioners of which nothing can be taken away where that was asked for, and a raw input that is not there."""
    cut = {route.model for route in routes if route.cut}
    problems = [
        Problem(
            model, "inputs", "sees pixels, of which no objects are taken away: probed as it is", "unscored"
        )
        for model in models
        if settings.cuts.counts and model not in cut
    ]
    if settings.has_raw and all(route.model != RAW for route in routes):
        problems.append(Problem(RAW, "inputs", "images are pixels without features of regions", "unscored"))
    return problems


def _checked(
    models: Mapping[str, SeenInside],
    sets: Mapping[str, SceneImages],
    reference: NamedObjects | None,
    settings: SceneSettings,
) -> list[Route]:
    """The inputs there are; what cannot be probed is refused before any work."""
    if importlib.util.find_spec("sklearn") is None:
        raise MissingExtra("probes of scenes", "pip install 'alignscope[probes]'")
    if not models or not sets or not settings.cuts.readings or min(settings.cuts.counts, default=1) < 1:
        raise BadInput(
            f"got {len(models)} captioners, {len(sets)} sets of images and cuts {settings.cuts}, wanted one or more "
            "of each, and 1 object or more to take away"
        )
    check_probes(settings.probes)
    first, *others = sets.values()
    for other in others:
        if {*other.sights} != {*first.sights}:
            raise BadInput(
                f"got sets of other images ({first.name}, {other.name}), wanted versions of the same: a probe is "
                "trained and tested on the same images of each"
            )
    if settings.cuts.counts and reference is None:
        raise BadInput(
            "got no reference, wanted images that tell which objects are informative: give --reference, or leave "
            "images as they are with --intact"
        )
    routes = routes_of(models, sets, settings.cuts, has_raw=settings.has_raw)
    if any(route.cut for route in routes):
        for images in sets.values():
            check_boxes(images, settings.cuts)
    return routes


def _identity(
    models: Mapping[str, SeenInside],
    sets: Mapping[str, SceneImages],
    reference: NamedObjects | None,
    settings: SceneSettings,
) -> dict[str, Any]:
    return {
        "kind": "probe scenes",
        "version": alignscope.__version__,
        "data": {name: images.sha for name, images in sets.items()},
        "references": reference.sha if reference else None,
        "models": {name: model.fingerprint for name, model in models.items()},
        "settings": asdict(settings),
    }


def _signature(
    sets: Mapping[str, SceneImages], models: Mapping[str, SeenInside], settings: SceneSettings
) -> Signature:
    return Signature(
        *("probe", "+".join(sets), sha_of([images.sha for images in sets.values()]), 0, 0),
        model=",".join(model.name for model in models.values()),
        weights=",".join(model.fingerprint[:12] for model in models.values()),
        ties="none",
        seed=settings.seed,
        version=alignscope.__version__,
        method=f"seeds={settings.probes.seeds};specials={'yes' if settings.has_specials else 'no'}",
    )


def _numbers(scores: Sequence[SceneProbeScore], signature: Signature, *, missing: int) -> list[Measurement]:
    """Scores as signed numbers; items are probes, images those of one test."""
    return [
        Measurement(
            measure=one.measure if one.task == "scenes" else f"{one.measure}, {one.task}",
            group=" | ".join(
                [one.images, one.trained_on, one.tested_on, one.classifier, f"split {one.split}", one.scene]
            ),
            value=one.mean,
            low=one.low,
            high=one.high,
            items=one.runs,
            images=round(one.images_per_run),
            missing=missing,
            reason=one.reason,
            signature=str(
                replace(signature, measure=one.measure, items=one.runs, images=round(one.images_per_run))
            ),
        )
        for one in scores
    ]
