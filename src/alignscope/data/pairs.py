"""Users' own pairs: a JSONL file of captions with their foils, and a directory of images.

One line per item: `{"image": ..., "caption": ..., "foils": [{"caption": ..., "kind": ...}], "id": ...}`;
`foils` and `id` may be left out. What cannot be used is a `Problem` with its line, never dropped in silence.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from PIL.Image import Image

from alignscope.data.images import ImageFolder
from alignscope.data.items import (
    FolderItems,
    WordClasses,
    fault_of_text,
    is_same_text,
    kind_of,
    parse_json,
    read_bytes,
)
from alignscope.errors import BadData
from alignscope.files import write_jsonl
from alignscope.records import Caption, Foil, Item, Problem
from alignscope.registry import did_you_mean

_FIELDS = ("image", "caption", "foils", "id")
_FOIL_FIELDS = ("caption", "kind")
_WANTED = 'lines like {"image": "1.jpg", "caption": "...", "foils": [{"caption": "...", "kind": "..."}]}'


@final
@dataclass(frozen=True)
class PairLines:
    """What a file of pairs holds: items in its order, and what was wrong with the rest."""

    items: tuple[Item, ...]
    problems: tuple[Problem, ...]


@final
class PairFile:
    """An `ItemSource` of a JSONL file of pairs and the directory of their images.

    `sha` covers the usable lines and the bytes of their images; `problems` grows while images are opened.
    """

    def __init__(self, pairs: Path, images: Path, *, word_classes: WordClasses | None = None) -> None:
        lines = read_pairs(pairs)
        self._held = FolderItems(
            lines.items, ImageFolder(images), problems=lines.problems, word_classes=word_classes
        )
        self.name = pairs.stem
        self.sha = self._held.sha

    @property
    def items(self) -> Sequence[Item]:
        return self._held.items

    @property
    def problems(self) -> Sequence[Problem]:
        return self._held.problems

    def image(self, key: str) -> Image:
        return self._held.image(key)


def write_pairs(path: Path, items: Iterable[Item]) -> int:
    """Write items as a file that `read_pairs` gives back, word classes left out; returns how many."""
    return write_jsonl(
        path,
        (
            {
                "id": item.id,
                "image": item.image,
                "caption": item.caption.text,
                "foils": [{"caption": foil.text, "kind": foil.kind} for foil in item.foils],
            }
            for item in items
        ),
    )


def read_pairs(path: Path) -> PairLines:
    """Items of a JSONL file; a file without one usable line is an error."""
    raw = read_bytes(path, wanted=f"a UTF-8 text file of {_WANTED}")
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise BadData(f"{path}: got UTF-16, wanted UTF-8; save the file again with the encoding UTF-8")
    problems = list(_problems_of_file(path, raw))
    items: dict[str, Item] = {}
    for number, line in _lines(raw):
        reader = _LineReader(path, number)
        item = reader.item(line)
        if item is not None and item.id in items:
            item = reader.renamed(item, taken=items)
        if item is not None:
            items[item.id] = item
        problems += reader.problems
    if not items:
        unscored = [one for one in problems if one.action == "unscored"]
        first = f"{unscored[0].subject}: {unscored[0].what}" if unscored else "the file is empty"
        raise BadData(f"{path}: got no usable line ({first}), wanted {_WANTED}; correct the lines")
    return PairLines(tuple(items.values()), tuple(problems))


def _problems_of_file(path: Path, raw: bytes) -> Iterator[Problem]:
    if raw.startswith(b"\xef\xbb\xbf"):
        yield Problem("", f"{path.name}:1", "byte order mark at the start left out", "handled")
    carriages = raw.count(b"\r\n")
    if carriages:
        yield Problem("", path.name, f"{carriages} line ends of Windows (CRLF) read as line ends", "handled")


def _lines(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """Lines by their number from 1; what follows the last line end is a line only if it holds anything."""
    pieces = raw.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    yield from enumerate(pieces[:-1] if not pieces[-1] else pieces, start=1)


class _Unusable(Exception):
    """Why a line or a foil cannot be used; becomes a `Problem`."""


@final
class _LineReader:
    """Reads one line and keeps what was wrong with it."""

    def __init__(self, path: Path, number: int) -> None:
        self.problems: list[Problem] = []
        self._subject = f"{path.name}:{number}"
        self._id = f"line-{number}"

    def _unscored(self, what: str) -> None:
        self.problems.append(Problem(self._id, self._subject, what, "unscored"))

    def _handled(self, what: str) -> None:
        self.problems.append(Problem(self._id, self._subject, what, "handled"))

    def item(self, line: bytes) -> Item | None:
        if not line.strip():
            self._handled("blank line passed over")
            return None
        try:
            return self._item(line)
        except _Unusable as fault:
            self._unscored(str(fault))
            return None

    def _item(self, line: bytes) -> Item:
        try:
            row = parse_json(line.decode("utf-8"))
        except UnicodeDecodeError as error:
            raise _Unusable(f"not UTF-8 at byte {error.start + 1} of the line") from None
        except ValueError as error:
            raise _Unusable(f"not JSON ({error}): {line[:60].decode('utf-8', 'replace')!r}") from None
        if not isinstance(row, dict):
            raise _Unusable(f"the line is {kind_of(row)}, not an object")
        self._id = self._named(row)
        self._look_for_unknown(row, _FIELDS, "")
        _check_texts(row, ("image", "caption"), "")
        return Item(self._id, row["image"], Caption(row["caption"]), self._foils(row))

    def renamed(self, item: Item, *, taken: dict[str, Item]) -> Item:
        """A repeated id made unique by its line."""
        number = self._subject.rpartition(":")[2]
        new = f"{item.id}@line-{number}"
        while new in taken:
            new += "'"
        self._id = new
        self._handled(f"the id {item.id!r} came before; this item is called {new!r}")
        return Item(new, item.image, item.caption, item.foils)

    def _named(self, row: dict[str, Any]) -> str:
        name = row.get("id")
        if name is None:
            return self._id
        if isinstance(name, int) and not isinstance(name, bool):
            return str(name)
        fault = fault_of_text(name)
        if fault:
            self._handled(f"`id` {fault}; the item is called {self._id!r}")
            return self._id
        return str(name)

    def _look_for_unknown(self, row: dict[str, Any], known: Sequence[str], where: str) -> None:
        for name in row:
            if name not in known:
                hint = did_you_mean(name, list(known))
                self._handled(f"{where}unknown field {name!r} passed over: {hint}")

    def _foils(self, row: dict[str, Any]) -> tuple[Foil, ...]:
        given = row.get("foils")
        if given is None:
            return ()
        if not isinstance(given, list):
            self._unscored(f"`foils` is {kind_of(given)}, not a list; the caption is kept without foils")
            return ()
        foils = []
        for number, foil in enumerate(given, start=1):
            try:
                foils.append(self._foil(foil, f"foil {number}: ", row["caption"]))
            except _Unusable as fault:
                self._unscored(str(fault))
        return tuple(foils)

    def _foil(self, foil: Any, where: str, caption: str) -> Foil:
        if not isinstance(foil, dict):
            raise _Unusable(f"{where}is {kind_of(foil)}, not an object with `caption` and `kind`")
        self._look_for_unknown(foil, _FOIL_FIELDS, where)
        _check_texts(foil, _FOIL_FIELDS, where)
        if is_same_text(foil["caption"], caption):
            raise _Unusable(f"{where}is the caption itself: {caption[:60]!r}")
        return Foil(foil["caption"], foil["kind"].strip())


def _check_texts(row: dict[str, Any], names: Sequence[str], where: str) -> None:
    for name in names:
        fault = fault_of_text(row[name]) if name in row else "is missing"
        if fault:
            raise _Unusable(f"{where}`{name}` {fault}")
