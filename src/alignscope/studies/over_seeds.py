"""What studies over seeds have in common: how their TOML is read, how trials are summed up, what a finished one is."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from alignscope.errors import BadRecipe
from alignscope.evaluation.trials import effects
from alignscope.files import write_parquet
from alignscope.records import Effect, Trial
from alignscope.training.reading import find


@final
@dataclass(frozen=True)
class Compared:
    """A finished study: where it lies and what each variant does."""

    directory: Path
    report: Path
    effects: tuple[Effect, ...]


def toml_entries(path: Path) -> dict[str, Any]:
    """What a study's file says; a name of one in recipes/studies, such as `composition-towers`, does as well."""
    return parsed(find(str(path), kind="study", within="studies"))


def parsed(path: Path) -> dict[str, Any]:
    """A file of TOML as it stands."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadRecipe(f"{path} cannot be read as TOML: {error}") from None


def check_names(path: Path, found: Collection[str], *, wanted: set[str], optional: set[str]) -> None:
    """Refuse entries that nobody knows, and a file without those that are wanted."""
    odd, absent = sorted(set(found) - wanted - optional), sorted(wanted - set(found))
    if odd or absent:
        raise BadRecipe(
            f"{path}: unknown {', '.join(odd) or 'nothing'}, missing {', '.join(absent) or 'nothing'}"
        )


def with_recipe(own: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Entries over those of the recipe that they name by `recipe`, where they do."""
    if "recipe" not in own:
        return dict(own)
    if not isinstance(own["recipe"], str):
        raise BadRecipe(f"{where}: got recipe = {own['recipe']!r}, wanted the name of one as text")
    return {**parsed(find(own["recipe"])), **{name: one for name, one in own.items() if name != "recipe"}}


def summed_up(out: Path, trials: Sequence[Trial], *, baseline: str, signature: str) -> list[Effect]:
    """What trials say against the baseline with the same seeds; both are written."""
    found = effects(trials, baseline=baseline, signature=signature)
    write_parquet(out / "trials.parquet", trials, Trial)
    write_parquet(out / "effects.parquet", found, Effect)
    return found
