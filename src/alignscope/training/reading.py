"""Recipes from TOML: read strictly into frozen records, everything that is wrong told at once.

The records themselves (`Recipe`, `FineTuning`) say which entries there are, of which type and default; what
else must hold of them stands in `alignscope.training.contradictions`.
"""

from __future__ import annotations

import dataclasses
import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, final, get_args, get_origin, get_type_hints

import alignscope
from alignscope.attribution.options import Layers, layers_of
from alignscope.errors import BadInput, BadRecipe, UnknownName
from alignscope.registry import did_you_mean
from alignscope.training.contradictions import RULES
from alignscope.training.recipe import Captioning, Matching, Recipe
from alignscope.training.settings import FineTuning

Section = TypeVar("Section")
WRONG: Any = object()  # in place of a value that could not be read
FOLDER = Path("recipes")
KINDS: dict[str, Any] = {
    "model": FineTuning,
    "architecture": Recipe,
    "scorer": Matching,
    "captioner": Captioning,
}
"""What a recipe trains, by the entry that only it has."""
STUDIES = "studies"  # folder of recipes that are none: `reproduce` reads them
_NAMES = {int: "a whole number", float: "a finite number", str: "a text", bool: "true or false"}


def find(name: str, *, kind: str = "recipe", within: str = "") -> Path:
    """The file of a recipe: a path, or the name of one in `./recipes` or of those that come with alignscope.

    Names are such as `paper-b/ft`; those of `within`, a folder of recipes, leave it out.
    """
    path = Path(name)
    if path.is_file():
        return path
    known = {p.stem: p for p in sorted(path.parent.glob("*.toml"))} if path.parent != Path() else {}
    for folder in (shipped(), FOLDER):
        files = [p for p in sorted((folder / within).rglob("*.toml")) if within or STUDIES not in p.parts]
        known |= {str(p.relative_to(folder / within).with_suffix("")): p for p in files}
    stem = str((path.relative_to(FOLDER) if path.is_relative_to(FOLDER) else path).with_suffix(""))
    for each in (name, stem, stem.removeprefix(f"{within}/")):
        if each in known:
            return known[each]
    raise UnknownName(f"no {kind} '{name}', neither a file nor a name: {did_you_mean(stem, known)}")


def shipped() -> Path:
    """Where the recipes lie that come with alignscope: in the package, or at the root of the repository.

    >>> (shipped() / "tiny-clip.toml").is_file()
    True
    """
    package = Path(alignscope.__file__).parent
    own = package / FOLDER
    return own if own.is_dir() else package.parents[1] / FOLDER


def read(path: Path, changes: Sequence[str] = ()) -> Recipe | Matching | Captioning | FineTuning:
    """The recipe in a file, after `changes` such as `attribution.weight=2.0` (TOML, each an entry or more).

    A file with `model` fine-tunes it, one with `architecture` trains a dual encoder from scratch, one with
    `scorer` a scorer of regions, one with `captioner` a captioner. BadRecipe lists every unknown,
    missing, ill-typed, impossible and contradictory entry, one per line.
    """
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadRecipe(f"{path} is not TOML: {error}") from None
    except OSError as error:
        raise BadRecipe(f"{path} cannot be read: {error.strerror}") from None
    for change in changes:
        entries = _changed(entries, _parsed(change))
    return section(_kind_of(entries, path), entries, str(path))


def section(kind: type[Section], entries: Any, where: str) -> Section:
    """A record of `kind` from entries as TOML has them; `where` opens the message of all that is wrong."""
    reader = _Reader()
    found = reader.section(kind, entries, "")
    reader.check()
    if reader.wrong:
        raise BadRecipe("\n  ".join([f"{where} cannot be used:", *reader.wrong]))
    return found


def _kind_of(entries: Mapping[str, Any], path: Path) -> type[Any]:
    given = [name for name in KINDS if name in entries]
    if len(given) == 1:
        return KINDS[given[0]]
    near = "" if given else f" (has {', '.join(entries) or 'no entries'})"
    raise BadRecipe(
        f"{path}: got {' and '.join(given) or 'neither model nor architecture'}{near}, wanted exactly one: "
        "`model` names the model that is fine-tuned, `architecture` the towers of one trained from scratch, "
        "`scorer` a scorer of regions trained from scratch, `captioner` a captioner"
    )


BARE_TEXT = re.compile(r"([A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*) *= *([\w./:@~+ -]+)")


def _parsed(change: str) -> dict[str, Any]:
    """A change as TOML; a word or path that is no TOML is a text that lost its quotes to the shell."""
    try:
        return tomllib.loads(change)
    except tomllib.TOMLDecodeError as error:
        if bare := BARE_TEXT.fullmatch(change.strip()):
            return tomllib.loads(f'{bare[1]} = "{bare[2]}"')
        raise BadRecipe(
            f"change {change!r} is not KEY=VALUE of TOML ({error}): give it as in seed=3 or model=path/to/clip, "
            "a section with a dot, as in attribution.weight=2.0"
        ) from None


def _changed(entries: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """Entries with others in their place; a table keeps the entries not named, unless its `kind` changes."""
    found = dict(entries)
    for name, value in change.items():
        old = found.get(name)
        if isinstance(old, dict) and isinstance(value, dict):
            keeps = value.get("kind", old.get("kind")) == old.get("kind")
            found[name] = _changed(old, value) if keeps else value
        else:
            found[name] = value
    return found


def _place(path: str) -> str:
    """A dotted path as it stands in the file.

    >>> _place("seed"), _place("attribution.methods[1]")
    ('seed', '[attribution] methods[1]')
    """
    section, _, entry = path.rpartition(".")
    return f"[{section}] {entry}" if section else entry


def _joined(path: str, name: str) -> str:
    if name.startswith("/"):  # from the top of the file
        return name[1:]
    return f"{path}.{name}" if path else name


@final
class _Reader:
    """Reads values by the types of records; keeps what it read by dotted path, and all that is wrong."""

    def __init__(self) -> None:
        self.wrong: list[str] = []
        self._values: dict[str, Any] = {}
        self._sections: list[tuple[type, str]] = []

    def section(self, kind: type, entries: Any, path: str) -> Any:
        """A record of `kind`, or WRONG."""
        fields = {field.name: field for field in dataclasses.fields(kind)}
        if not isinstance(entries, dict):
            return self._refuse(path, entries, f"a table with {', '.join(fields)}")
        hints, found = get_type_hints(kind), {}
        for name in entries:
            if name not in fields:
                self.wrong.append(
                    f"{_place(_joined(path, name))}: unknown entry, {did_you_mean(name, fields)}"
                )
        for name, field in fields.items():
            where = _joined(path, name)
            if name in entries:
                found[name] = self._value(hints[name], entries[name], where)
            elif field.default is not dataclasses.MISSING:
                found[name] = field.default
            else:
                self.wrong.append(f"{_place(where)}: missing, wanted {_wanted(hints[name])}")
                found[name] = WRONG
            if found[name] is not WRONG:
                self._values[where] = found[name]
        self._sections.append((kind, path))
        return WRONG if any(value is WRONG for value in found.values()) else kind(**found)

    def check(self) -> None:
        """Hold every section read against the rules of its kind; a rule about what is not there is silent."""
        for kind, path in self._sections:
            for rule in RULES.get(kind, ()):
                paths = [_joined(path, entry) for entry in rule.entries]
                if not all(each in self._values for each in paths):
                    continue
                values = [self._values[each] for each in paths]
                if not rule.holds(*values):
                    said = " with ".join(
                        f"{_place(each)} = {_told(value)}" for each, value in zip(paths, values, strict=True)
                    )
                    self.wrong.append(f"{said}: wanted {rule.wanted}")

    def _value(self, hint: Any, value: Any, path: str) -> Any:
        if hint == Layers:
            return self._layers(value, path)
        kinds = _alternatives(hint)
        if all(map(dataclasses.is_dataclass, kinds)):
            return (
                self.section(kinds[0], value, path) if len(kinds) == 1 else self._tagged(kinds, value, path)
            )
        if get_origin(kinds[0]) is tuple:
            return self._items(kinds[0], value, path)
        for kind in kinds:
            taken = _plain(kind, value)
            if taken is not WRONG:
                return taken
        return self._refuse(path, value, _wanted(hint))

    def _tagged(self, kinds: Sequence[Any], value: Any, path: str) -> Any:
        """The record among `kinds` that the table's `kind` names."""
        known = {get_args(get_type_hints(kind)["kind"])[0]: kind for kind in kinds}
        if not isinstance(value, dict):
            return self._refuse(path, value, f"a table with a kind: {', '.join(known)}")
        if value.get("kind") not in list(known):
            got = value.get("kind", "missing")
            return self._refuse(f"{path}.kind", got, f"one of {', '.join(map(repr, known))}")
        return self.section(known[value["kind"]], value, path)

    def _items(self, hint: Any, value: Any, path: str) -> Any:
        kinds = get_args(hint)
        is_open = kinds[-1] is Ellipsis
        if not isinstance(value, list) or (not is_open and len(value) != len(kinds)):
            return self._refuse(path, value, _wanted(hint))
        each = [kinds[0]] * len(value) if is_open else kinds
        read = [
            self._value(kind, item, f"{path}[{i}]")
            for i, (kind, item) in enumerate(zip(each, value, strict=True))
        ]
        return WRONG if any(item is WRONG for item in read) else tuple(read)

    def _layers(self, value: Any, path: str) -> Any:
        try:
            return (
                layers_of(value)
                if isinstance(value, str)
                else self._refuse(path, value, "a text such as 'all'")
            )
        except BadInput:
            return self._refuse(path, value, "'all', 'last' or 'FIRST:STOP' such as '0:6'")

    def _refuse(self, path: str, value: Any, wanted: str) -> Any:
        self.wrong.append(f"{_place(path)}: got {value!r}, wanted {wanted}")
        return WRONG


def _alternatives(hint: Any) -> tuple[Any, ...]:
    """The members of a union but None, which stands for an entry that is left out."""
    is_union = get_origin(hint) in (Union, UnionType)
    return tuple(kind for kind in get_args(hint) if kind is not NoneType) if is_union else (hint,)


def _plain(kind: Any, value: Any) -> Any:
    """A name, number or truth value of a kind; a whole number where any is wanted will do."""
    if get_origin(kind) is Literal:
        return value if value in get_args(kind) else WRONG
    if kind is float and type(value) in (int, float):
        is_number = abs(value) < 2**1023 if isinstance(value, int) else math.isfinite(value)
        return float(value) if is_number else WRONG
    return value if type(value) is kind else WRONG


def _wanted(hint: Any) -> str:
    """What a type takes, in words.

    >>> _wanted(float | Literal["matched"]), _wanted(tuple[str, ...]), _wanted(tuple[float, float])
    ("a finite number or 'matched'", 'a list of a text', 'a list of 2: a finite number each')
    """
    kinds = _alternatives(hint)
    if all(map(dataclasses.is_dataclass, kinds)):
        return "a table"
    if len(kinds) > 1:
        return " or ".join(map(_wanted, kinds))
    inner = get_args(hint)
    if get_origin(hint) is tuple:
        item = _wanted(inner[0])
        return f"a list of {item}" if inner[-1] is Ellipsis else f"a list of {len(inner)}: {item} each"
    return (
        f"one of {', '.join(map(repr, inner))}"
        if len(inner) > 1
        else repr(inner[0])
        if inner
        else _NAMES[hint]
    )


def _told(value: Any) -> str:
    """A value as the file would have it; of a section only that it is there."""
    if value is None:
        return "left out"
    if dataclasses.is_dataclass(value):
        return "given"
    return repr(list(value) if isinstance(value, tuple) else value)
