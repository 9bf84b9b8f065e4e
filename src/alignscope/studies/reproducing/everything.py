"""The studies of papers A, B and C one after another, and one page of what they found."""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, final

import alignscope
from alignscope.errors import AlignscopeError, BadInput
from alignscope.files import write_json
from alignscope.models.captioners.seen import named_captioners
from alignscope.models.zoo import looks_like_hub_id
from alignscope.reporting import guided as guided_page
from alignscope.reporting import scenes as scenes_page
from alignscope.reporting import variants as variants_page
from alignscope.reporting.everything import Told, everything_page, told_in
from alignscope.studies.captions.guided import guide
from alignscope.studies.captions.guided_plan import fault_of_model, guided_of, missing_of
from alignscope.studies.clock import Progress
from alignscope.studies.composition.variant_numbers import OnBenchmarks, missing_of_benchmarks
from alignscope.studies.composition.variants import Study, compare_variants, study_of
from alignscope.studies.output import RUN, claimed, is_finished
from alignscope.studies.over_seeds import Compared, toml_entries
from alignscope.studies.reproducing.named import Named, filled, without
from alignscope.studies.scenes.captioners import SceneStudy, captioners_of_scenes, scenes_of
from alignscope.training.reading import find

Kind = Literal["world", "quick", "real"]
FILES = (
    "captions",
    "images",
    "regions",
    "labels",
    "features",
    "table",
    "train",
    "test",
    "validation",
    "path",
)
"""Entries of data and captioners that name a file or a folder, where they are texts."""


@final
@dataclass(frozen=True)
class Verb:
    """How one paper's study is read, what of it is not there, how it runs, and what it found."""

    read: Callable[[Mapping[str, Any], Path], Any]
    missing: Callable[[Any], list[str]]
    run: Callable[..., Compared]
    findings: Callable[[Path], tuple[str, ...]]


@final
@dataclass(frozen=True)
class Plan:
    """One study that is to run; one of which something is `missing` does not, `left_out` are parts of it."""

    name: str  # of its verb
    study: Any
    missing: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


def missing_of_variants(study: Study) -> list[str]:
    """Models and files that a study of variants names and that are not there."""
    recipes = {"start": study.start} | {one.name: one.recipe for one in study.variants}
    models = {recipe.model: f"[{name}] model" for name, recipe in recipes.items() if recipe is not None}
    found = [f"{place}: {fault}" for model, place in models.items() if (fault := fault_of_model(model))]
    found += _absent_files(study.trained)
    if isinstance(study.measured, OnBenchmarks):
        found += missing_of_benchmarks(study.measured)
    return found


def missing_of_scenes(study: SceneStudy) -> list[str]:
    """Captioners and files that a study of scene captioners names and that are not there."""
    named = {name: one for name, one in study.captioners.items() if isinstance(one, str)}
    found = [f"[captioners] {name}: nothing at {one}" for name, one in named.items() if not _is_there(one)]
    return [*found, *_absent_files(asdict(study))]


def _is_there(captioner: str) -> bool:
    return captioner in named_captioners() or Path(captioner).exists() or looks_like_hub_id(captioner)


def _absent_files(entries: Mapping[str, Any], where: str = "") -> Iterator[str]:
    for name, value in entries.items():
        place = f"{where}.{name}" if where else name
        if isinstance(value, Mapping):
            yield from _absent_files(value, place)
        for part in value if isinstance(value, list | tuple) else ():
            if isinstance(part, Mapping):
                yield from _absent_files(part, f"{place}.{part.get('name', '')}".removesuffix("."))
        if isinstance(value, str | Path) and name in FILES and str(value):
            is_there = _is_there(str(value)) if name == "path" else Path(value).exists()
            if not is_there:
                yield f"{place}: nothing at {value}"


VERBS: Mapping[str, Verb] = {
    "captions": Verb(guided_of, missing_of, guide, guided_page.findings_of),
    "composition": Verb(study_of, missing_of_variants, compare_variants, variants_page.findings_of),
    "scenes": Verb(scenes_of, missing_of_scenes, captioners_of_scenes, scenes_page.findings_of),
}
"""The papers' studies in the order of the papers."""


def toml_of(name: str, kind: Kind = "world") -> Path:
    """The TOML of a paper's study: in the built-in world with all its seeds, of minutes, or of the user's data."""
    return find(name if kind == "world" else f"{kind}/{name}", kind="study", within="studies")


def plans_of(
    tomls: Mapping[str, Path], named: Named | None = None, *, verbs: Mapping[str, Verb] = VERBS
) -> tuple[Plan, ...]:
    """Every study read, and what of it is not there; with a user's file, what can be left out is."""
    return tuple(_plan(name, toml_entries(path), path, named, verbs[name]) for name, path in tomls.items())


def _plan(name: str, entries: Mapping[str, Any], path: Path, named: Named | None, verb: Verb) -> Plan:
    if named is None:
        study = verb.read(entries, path)
        return Plan(name, study, tuple(verb.missing(study)))
    found = filled(entries, named)
    entries, missing = found.entries, found.missing
    left_out = list[str]()
    while True:
        entries, gone = without(entries, missing)
        left_out += gone
        study = verb.read(entries, path)
        if rest := tuple(line for line in missing if line not in gone):
            return Plan(name, study, rest, tuple(left_out))
        if not (missing := tuple(verb.missing(study))):
            return Plan(name, study, (), tuple(left_out))


def reproduce(
    plans: Sequence[Plan],
    out: Path,
    *,
    processes: int = 1,
    device: str = "cpu",
    resume: bool = False,
    overwrite: bool = False,
    command: str = "",
    progress: Progress = lambda stage, done, total: None,
    verbs: Mapping[str, Verb] = VERBS,
) -> tuple[Told, ...]:
    """Run the studies that can run one after another under `out`, and write index.html there.

    One that fails does not stop the others: why is in its record, and how in NAME-error.txt. With `resume`
    those that are finished are not done again, and the others go on; a part that is there by then is added.
    """
    if all(plan.missing for plan in plans):
        lacking = [f"{plan.name}: {line}" for plan in plans for line in plan.missing]
        raise BadInput("\n  ".join(["no study can run, they want:", *lacking]))
    read = {"kind": "papers", "version": alignscope.__version__}
    identity = {**read, "studies": {plan.name: plan.study.name for plan in plans}}
    with claimed(out, identity, resume=resume, overwrite=overwrite):
        before = {one.name: one for one in told_in(out)}
        told = list[Told]()
        for plan in plans:
            earlier = before.get(plan.name, Told(plan.name))
            how = {"processes": processes, "device": device, "command": command}
            told.append(_told(plan, out, verbs[plan.name], earlier, how, progress))
            rest = [one for name, one in before.items() if name not in {each.name for each in told}]
            state = {"identity": identity, "finished": len(told) == len(plans), "command": command}
            write_json(out / RUN, {**state, "studies": [asdict(one) for one in (*told, *rest)]})
        everything_page(out)
        return tuple(told)


def _told(
    plan: Plan, out: Path, verb: Verb, earlier: Told, how: Mapping[str, Any], progress: Progress
) -> Told:
    """Run one study, unless something is missing or it is finished, and say how that went."""
    place, error_file = out / plan.name, out / f"{plan.name}-error.txt"
    if plan.missing or _is_done(plan, place):
        missing = () if is_finished(place) else plan.missing
        return replace(earlier, missing=missing, left_out=plan.left_out, problem="")
    begun, problem = time.perf_counter(), ""

    def show(stage: str, done: int, total: int) -> None:
        progress(f"{plan.name}: {stage}", done, total)

    try:
        verb.run(plan.study, place, resume=True, progress=show, **how)
    except Exception as error:  # of any kind: the others run all the same, and this is told
        problem = str(error) if isinstance(error, AlignscopeError) else f"{type(error).__name__}: {error}"
        error_file.write_text(traceback.format_exc(), encoding="utf-8")
    else:
        error_file.unlink(missing_ok=True)
    return Told(plan.name, problem, (), earlier.seconds + time.perf_counter() - begun, plan.left_out)


def _is_done(plan: Plan, place: Path) -> bool:
    """Whether this very study is finished there."""
    if not is_finished(place):
        return False
    found = json.loads((place / RUN).read_text(encoding="utf-8")).get("study")
    return bool(found == json.loads(json.dumps(asdict(plan.study), default=str)))
