"""What a study of guided captioners is made of, read from TOML, and what of it is not on disk."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from alignscope.data.features import FeatureFolder
from alignscope.data.images import ImageFolder
from alignscope.data.karpathy import KarpathySplits
from alignscope.data.regionfiles import open_regions
from alignscope.errors import AlignscopeError, BadImage, BadInput, BadRecipe
from alignscope.evaluation.caption_metrics import METRICS
from alignscope.language.pipeline import parser_name
from alignscope.models.zoo import MODELS, kind_of, looks_like_hub_id, open_model
from alignscope.probing.templates import NOUN_COUNTS
from alignscope.records import DRAWS
from alignscope.studies.captions.captioned import check_names
from alignscope.studies.over_seeds import toml_entries
from alignscope.training.reading import section
from alignscope.training.recipe import (
    Captioning,
    KarpathyCaptions,
    SavedCaptioner,
    ScorerPlan,
    SelfCritical,
)

START, PEOPLE = "ce", "people"
"""What guided captioners begin with, and the first reference of each image: sources that every study has."""
TABLES, MORE = ("recipe", "guidance", "scorers"), "guided"
"""Tables of a study's TOML: those it must have, and one that it may have."""


@final
@dataclass(frozen=True)
class Scorer:
    """A model that scores, by the name that tables give it; `regions` and `images` where it needs its own."""

    name: str
    says: str
    model: str
    regions: str = ""
    images: str = ""


@final
@dataclass(frozen=True)
class Guided:
    """A captioner paid by `stage.reward`; `scorer` names who pays, "" where nobody of the scorers does."""

    name: str
    says: str
    scorer: str
    stage: SelfCritical


@final
@dataclass(frozen=True)
class GuidedStudy:
    """Who guides, who scores, and what all seeds share; a recipe without stages begins with a saved captioner."""

    name: str
    seeds: tuple[int, ...]
    recipe: Captioning
    scorers: tuple[Scorer, ...]
    guided: tuple[Guided, ...]
    draws: int = DRAWS  # of the bootstrap over images, within a seed
    replaced: int = 5  # captions of each kind per caption
    counts: tuple[int, ...] = NOUN_COUNTS
    metrics: tuple[str, ...] = METRICS

    def seen_by(self, scorer: Scorer) -> dict[str, str]:
        """The regions and images of a scorer: its own, else those of the data; "" where there are none."""
        data = self.recipe.data
        named = (data.regions, data.images) if isinstance(data, KarpathyCaptions) else ("", "")
        return {"regions": scorer.regions or named[0], "images": scorer.images or named[1]}


@final
@dataclass(frozen=True)
class _Numbers:
    """The entries of a study that stand in no table."""

    name: str
    seeds: tuple[int, ...]
    draws: int = DRAWS
    replaced: int = 5
    counts: tuple[int, ...] = NOUN_COUNTS
    metrics: tuple[str, ...] = METRICS


def read_guided(path: Path) -> GuidedStudy:
    """A study from TOML.

    `[recipe]` is that of the first captioner, `[guidance]` the self-critical stage, `[scorers.NAME]` has `model`,
    `says`, `regions`, `images`; `[guided.NAME]` changes of the stage: `scorer` or `reward`, `says`, `space`,
    and any entry of a stage. Every scorer guides a captioner of its own name in the paper's way.
    """
    return guided_of(toml_entries(path), path)


def guided_of(entries: Mapping[str, Any], path: Path) -> GuidedStudy:
    """The study that a file's entries tell of; `path` opens what is said of wrong ones."""
    entries = dict(entries)
    tables = {name: entries.pop(name) for name in (*TABLES, MORE) if name in entries}
    numbers = section(_Numbers, entries, str(path))
    _check(numbers, tables, path)
    scorers = [
        section(Scorer, {"name": name, "says": name, **own}, f"{path} [scorers.{name}]")
        for name, own in tables["scorers"].items()
    ]
    models = {one.name: one for one in scorers}
    plans = {**{name: {"scorer": name} for name in models}, **tables.get(MORE, {})}
    guided = [_guided(name, own, tables["guidance"], models, path) for name, own in plans.items()]
    recipe = section(Captioning, {"name": numbers.name, "seed": 0, **tables["recipe"]}, f"{path} [recipe]")
    own = [one.name for one in scorers if one.regions or one.images]
    if own and not isinstance(recipe.data, KarpathyCaptions):
        raise BadRecipe(
            f"{path}: got regions or images of {' and '.join(own)}, and data that bring their own: leave them out"
        )
    return GuidedStudy(
        numbers.name,
        numbers.seeds,
        recipe,
        tuple(scorers),
        tuple(guided),
        draws=numbers.draws,
        replaced=numbers.replaced,
        counts=numbers.counts,
        metrics=numbers.metrics,
    )


def _check(numbers: _Numbers, tables: Mapping[str, Any], path: Path) -> None:
    """Tables that are missing or none, numbers that cannot be, names that are taken."""
    if absent := [name for name in TABLES if name not in tables]:
        raise BadRecipe(f"{path}: missing [{'], ['.join(absent)}]")
    named = {f"{name}.{each}": own for name in ("scorers", MORE) for each, own in _items(tables.get(name))}
    whole = {name: own for name, own in tables.items() if not isinstance(own, dict)}
    if odd := [*whole, *(name for name, own in named.items() if not isinstance(own, dict))]:
        raise BadRecipe(f"{path}: wanted a table each: [{'], ['.join(odd)}]")
    seeds = numbers.seeds
    if not seeds or min(seeds) < 0 or len({*seeds}) < len(seeds):
        raise BadRecipe(f"{path}: got seeds = {list(seeds)}, wanted at least one, from 0, none twice")
    for name, values in (
        ("draws", [numbers.draws]),
        ("replaced", [numbers.replaced]),
        ("counts", numbers.counts),
    ):
        if not values or min(values) < 1:
            raise BadRecipe(f"{path}: got {name} = {values}, wanted 1 or more")
    if unknown := sorted({*numbers.metrics} - {*METRICS}):
        raise BadRecipe(f"{path}: got metrics {', '.join(unknown)}, wanted some of {', '.join(METRICS)}")
    if not tables["scorers"]:
        raise BadRecipe(f"{path}: got no [scorers.NAME], wanted at least one: it pays and scores")
    models, own_plans = tables["scorers"].keys(), tables.get(MORE, {}).keys()
    clash = sorted(({START, PEOPLE} | models) & own_plans | {START, PEOPLE} & models)
    if clash:
        raise BadRecipe(f"{path}: got {' and '.join(clash)} as a name that is taken; take another")
    try:
        check_names([*models, *own_plans])
    except BadInput as error:
        raise BadRecipe(f"{path}: {error}") from None


def _items(table: Any) -> Iterable[tuple[str, Any]]:
    return table.items() if isinstance(table, dict) else ()


def _guided(
    name: str, own: Mapping[str, Any], guidance: Mapping[str, Any], models: Mapping[str, Scorer], path: Path
) -> Guided:
    """The stage of one captioner: who pays, and what is different from the others."""
    changes = {key: value for key, value in own.items() if key not in ("says", "scorer", "space", "scale")}
    scorer = own.get("scorer", "")
    if bool(scorer) == ("reward" in own):
        raise BadRecipe(f"{path} [guided.{name}]: wanted either `scorer`, one of [scorers], or `reward`")
    pays = {key: own[key] for key in ("space", "scale") if key in own}
    if scorer:
        if scorer not in models:
            raise BadRecipe(
                f"{path} [guided.{name}]: no scorer '{scorer}', there are {', '.join(models) or 'none'}"
            )
        changes["reward"] = [{"kind": "scorer", "model": models[scorer].model, **pays}]
    elif pays:
        raise BadRecipe(f"{path} [guided.{name}]: {' and '.join(pays)} belong into the parts of `reward`")
    says = own.get("says", models[scorer].says if scorer else name)
    entries = {"kind": "self-critical", **guidance, **changes}
    return Guided(name, says, scorer, section(SelfCritical, entries, f"{path} [guided.{name}]"))


def missing_of(study: GuidedStudy) -> list[str]:
    """Files, folders, models and extras that a study names and that are not there; one line each.

    Where all are there, models are opened one after another to see what they read, and images of which there
    are no features, picture or regions are counted.
    """
    recipe, found = study.recipe, list[str]()
    models = dict[str, str]()
    for one in study.scorers:
        models.setdefault(one.model, f"[scorers.{one.name}] model")
    for plan in study.guided:
        for part in plan.stage.reward:
            if isinstance(part, ScorerPlan):
                models.setdefault(part.model, f"[guided.{plan.name}] reward")
    found += [f"{place}: {fault}" for model, place in models.items() if (fault := fault_of_model(model))]
    if isinstance(recipe.captioner, SavedCaptioner):
        path, words = recipe.captioner.path, recipe.captioner.vocabulary
        if not Path(path).exists() and not looks_like_hub_id(path):
            found.append(f"[recipe.captioner] path: nothing at {path}")
        if words and not Path(words).is_file():
            found.append(f"[recipe.captioner] vocabulary: no file {words}")
    if not isinstance(recipe.data, KarpathyCaptions):
        return found
    found += _fault_of_tagger()
    named = {"[recipe.data] captions": recipe.data.captions, "[recipe.data] features": recipe.data.features}
    named |= {"[recipe.data] images": recipe.data.images, "[recipe.data] regions": recipe.data.regions}
    for one in study.scorers:
        named |= {f"[scorers.{one.name}] regions": one.regions, f"[scorers.{one.name}] images": one.images}
    found += [
        f"{place}: nothing at {path}" for place, path in named.items() if path and not Path(path).exists()
    ]
    return found or [*_lacking(study, recipe.data, models)]


def fault_of_model(name: str) -> str:
    """Why there is no such model; names of hubs are asked for there."""
    if name not in MODELS and not Path(name).exists() and not looks_like_hub_id(name):
        return f"nothing at {name}, and no model is called so"
    try:
        kind_of(name)
    except AlignscopeError as error:
        return str(error)
    return ""


def _fault_of_tagger() -> list[str]:
    try:
        parser_name()
    except AlignscopeError as error:
        return [str(error)]
    return []


def _lacking(study: GuidedStudy, data: KarpathyCaptions, models: Mapping[str, str]) -> Iterator[str]:
    """What models and the captioner read and is not named, and of how many images it is not there."""
    try:
        splits = KarpathySplits(Path(data.captions))
        keys = [image.image for split in ("train", "val", "test") for image in splits.split(split).images]
    except AlignscopeError as error:
        yield f"[recipe.data] captions: {error}"
        return
    read: dict[tuple[str, str], str] = {}  # what is read and where it is, to who asks for it
    if data.features:
        read["features", data.features] = "[recipe.data] features"
    else:
        read["images", data.images] = "[recipe.data] images"
    own = {one.model: study.seen_by(one) for one in study.scorers}
    for model, place in models.items():
        try:
            unit = open_model(model).traits.unit
        except AlignscopeError as error:
            yield f"{place}: {error}"
            continue
        kind = "regions" if unit == "region" else "images"
        where = own.get(model, {"regions": data.regions, "images": data.images})[kind]
        if where:
            read.setdefault((kind, where), place)
        else:
            table = place.rpartition(" ")[0]
            yield f"{place}: {model} reads {kind}: name them as {kind} of {table} or of [recipe.data]"
    for (kind, where), place in read.items():
        try:
            held = _held(kind, Path(where))
        except AlignscopeError as error:
            yield f"{place}: {error}"
            continue
        absent = [key for key in keys if key not in held]
        if absent:
            yield (
                f"{place}: {where} has no {kind} of {len(absent):,} of {len(keys):,} images, such as {absent[0]!r}"
            )


@final
class _Files(Container[str]):
    """Which images are in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = ImageFolder(folder)

    def __contains__(self, key: object) -> bool:
        try:
            return self._folder.path(str(key)).is_file()
        except BadImage:
            return False


def _held(kind: str, path: Path) -> Container[str]:
    """What has features, pictures or regions, by image."""
    if kind == "features":
        return FeatureFolder(path)
    return _Files(path) if kind == "images" else open_regions(path)
