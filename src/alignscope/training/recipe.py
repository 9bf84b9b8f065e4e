"""Recipes: numbers and names in TOML, read strictly into frozen records."""

from __future__ import annotations

import dataclasses
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_type_hints

from alignscope.errors import BadRecipe, UnknownName
from alignscope.files import sha_of
from alignscope.records import FOIL_KINDS
from alignscope.registry import did_you_mean


@dataclass(frozen=True)
class WorldData:
    """Which scenes of the built-in world are trained on."""

    images: int
    seed: int = 0
    captions_per_image: int = 5


@dataclass(frozen=True)
class Tower:
    """Sizes of one transformer tower, in the terms of `transformers.CLIPConfig`."""

    width: int
    layers: int
    heads: int
    mlp: int


@dataclass(frozen=True)
class Architecture:
    """A CLIP: two towers, a shared embedding size, an activation."""

    image: Tower
    text: Tower
    image_size: int
    patch_size: int
    embedding: int
    context_length: int
    activation: str = "quick_gelu"


@dataclass(frozen=True)
class Register:
    """How often captions name what they could name; see `alignscope.data.world.grammar.Register`."""

    attribute_rate: float
    relation_rate: float
    scene_rate: float
    size_rate: float
    object_rate: float


@dataclass(frozen=True)
class Stage:
    """One stretch of contrastive training.

    `trains` says which towers move; `fresh_text` draws a new text tower before the stage starts.
    `grouped` is the share of each batch that comes in groups of `group` images with the same two nouns,
    `foils` the number of wrong captions per right one, of kinds drawn from `foil_kinds`.
    """

    name: str
    trains: Literal["both", "text", "image"]
    register: Register
    steps: int
    batch: int
    learning_rate: float
    warmup: int
    weight_decay: float = 0.1
    max_norm: float = 1.0
    fresh_text: bool = False
    grouped: float = 0.0
    group: int = 8
    foils: int = 0
    foil_kinds: tuple[str, ...] = FOIL_KINDS


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a model's weights."""

    name: str
    seed: int
    threads: int
    data: WorldData
    architecture: Architecture
    stages: tuple[Stage, ...]
    check_every: int = 100
    save_every: int = 200

    @property
    def sha(self) -> str:
        return sha_of(self)


Section = TypeVar("Section")


def find(name: str) -> Path:
    """The file of a recipe: a path, or the name of a file in `./recipes`."""
    path = Path(name)
    if path.is_file():
        return path
    here = Path("recipes")
    known = {p.stem: p for folder in {path.parent, here} - {Path()} for p in sorted(folder.glob("*.toml"))}
    if name in known:
        return known[name]
    stem = path.name.removesuffix(".toml")
    raise UnknownName(f"no recipe '{name}', neither a file nor a name: {did_you_mean(stem, list(known))}")


def read(path: Path) -> Recipe:
    """A recipe from TOML; unknown, missing and ill-typed entries are errors that name them."""
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadRecipe(f"{path} is not TOML: {error}") from None
    recipe = _section(Recipe, entries, str(path))
    for stage in recipe.stages:
        _check(stage, recipe, str(path))
    return recipe


def _check(stage: Stage, recipe: Recipe, where: str) -> None:
    wrong = []
    if not 0 < stage.batch <= recipe.data.images:
        wrong.append(f"batch {stage.batch} with {recipe.data.images} images")
    if stage.steps < 1 or not 0 <= stage.warmup <= stage.steps:
        wrong.append(f"{stage.warmup} warm-up steps of {stage.steps}")
    if not 0 <= stage.grouped <= 1 or stage.group < 2:
        wrong.append(f"grouped {stage.grouped} in groups of {stage.group}")
    unknown = sorted(set(stage.foil_kinds) - set(FOIL_KINDS))
    if unknown or stage.foils > len(stage.foil_kinds):
        wrong.append(f"{stage.foils} foils of {', '.join(stage.foil_kinds)} (known: {', '.join(FOIL_KINDS)})")
    if wrong:
        raise BadRecipe(f"{where}, stage '{stage.name}': impossible {'; '.join(wrong)}")


def _section(kind: type[Section], entries: Any, where: str) -> Section:
    if not isinstance(entries, dict):
        raise BadRecipe(f"{where}: got {entries!r}, wanted a table with {', '.join(get_type_hints(kind))}")
    hints = get_type_hints(kind)
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for name in entries:
        if name not in fields:
            raise BadRecipe(f"{where}: unknown entry '{name}': {did_you_mean(name, list(fields))}")
    required = {n for n, f in fields.items() if f.default is dataclasses.MISSING}
    missing = sorted(required - set(entries))
    if missing:
        raise BadRecipe(f"{where}: missing {', '.join(missing)}")
    return kind(**{name: _value(hints[name], value, f"{where}: {name}") for name, value in entries.items()})


def _value(hint: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return _section(hint, value, where)  # type: ignore[arg-type]
    if hint == tuple[Stage, ...]:
        if not isinstance(value, list) or not value:
            raise BadRecipe(f"{where}: got {value!r}, wanted at least one [[stages]] table")
        return tuple(_section(Stage, entry, f"{where}[{i}]") for i, entry in enumerate(value))
    if hint == tuple[str, ...]:
        if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
            raise BadRecipe(f"{where}: got {value!r}, wanted a list of names")
        return tuple(value)
    choices = get_args(hint)
    if choices:
        if value not in choices:
            raise BadRecipe(f"{where}: got {value!r}, wanted one of {', '.join(map(repr, choices))}")
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not hint:
        raise BadRecipe(f"{where}: got {value!r}, wanted {hint.__name__}")
    return value
