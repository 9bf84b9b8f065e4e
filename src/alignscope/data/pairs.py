"""Users' own pairs: a JSONL file of captions with their foils, and a directory of images.

One line per item: `{"image": ..., "caption": ..., "foils": [{"caption": ..., "kind": ...}], "id": ...}`;
`foils` and `id` may be left out. What cannot be used is a `Problem` with its line, never dropped in silence.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, final

from PIL.Image import Image

from alignscope.data.images import ImageFolder
from alignscope.data.items import (
    FolderItems,
    WordClasses,
    cannot_read,
    fault_of_text,
    is_same_text,
    kind_of,
    parse_json,
)
from alignscope.data.regular import regular
from alignscope.errors import BadData
from alignscope.files import write_jsonl
from alignscope.records import Caption, Foil, Item, Problem
from alignscope.registry import did_you_mean

_FIELDS = ("image", "caption", "foils", "id")
_FOIL_FIELDS = ("caption", "kind")
_BOM = b"\xef\xbb\xbf"
_BOM_LEFT_OUT = "byte order mark at the start left out"
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
    lines = list(stream_pairs(path))
    items = tuple(item for line in lines for item in line.items)
    problems = tuple(problem for line in lines for problem in line.problems)
    if not items:
        unscored = [one for one in problems if one.action == "unscored"]
        first = f"{unscored[0].subject}: {unscored[0].what}" if unscored else "the file is empty"
        raise BadData(f"{path}: got no usable line ({first}), wanted {_WANTED}; correct the lines")
    return PairLines(items, problems)


def stream_pairs(path: Path) -> Iterator[PairLines]:
    """The lines of a JSONL file one by one, each with its item or none; only their ids are remembered."""
    taken: set[str] = set()
    carriages = 0
    for number, line in _lines(path):
        if number == 1 and line.startswith(_BOM):
            yield PairLines((), (Problem("", f"{path.name}:1", _BOM_LEFT_OUT, "handled"),))
        carriages += line.endswith(b"\r\n")
        reader = _LineReader(path, number)
        item = reader.item(line.removeprefix(_BOM) if number == 1 else line)
        if item is not None and item.id in taken:
            item = reader.renamed(item, taken=taken)
        if item is not None:
            taken.add(item.id)
        yield PairLines((item,) if item is not None else (), tuple(reader.problems))
    if carriages:
        what = f"{carriages} line ends of Windows (CRLF) read as line ends"
        yield PairLines((), (Problem("", path.name, what, "handled"),))


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Lines by their number from 1; what follows the last line end is a line only if it holds anything."""
    try:
        with regular(path).open("rb") as file:
            for number, line in enumerate(file, start=1):
                if number == 1 and line[:2] in (b"\xff\xfe", b"\xfe\xff"):
                    raise BadData(
                        f"{path}: got UTF-16, wanted UTF-8; save the file again with the encoding UTF-8"
                    )
                yield number, line
    except OSError as error:
        raise cannot_read(path, error, wanted=f"a UTF-8 text file of {_WANTED}") from None


@final
class PairStream:
    """The captions of a file of pairs in chunks, without their foils, so that memory does not grow with it.

    `sha` covers the file's bytes; each chunk's own `sha` covers its usable lines and their images.
    """

    def __init__(self, pairs: Path, images: Path, *, word_classes: WordClasses | None = None) -> None:
        self.name = pairs.stem
        self._pairs = pairs
        self._folder = ImageFolder(images)
        self._word_classes = word_classes
        digest = hashlib.sha256()
        self.lines = 0
        for number, line in _lines(pairs):
            digest.update(line)
            self.lines = number
        self.sha = digest.hexdigest()[:12]

    def chunks(self, size: int) -> Iterator[FolderItems]:
        """Items of `size` lines at a time, in the order of the file; a chunk may hold none."""
        lines = stream_pairs(self._pairs)
        while chunk := list(islice(lines, size)):
            yield FolderItems(
                [replace(item, foils=()) for line in chunk for item in line.items],
                ImageFolder(self._folder.directory),
                problems=[problem for line in chunk for problem in line.problems],
                word_classes=self._word_classes,
                may_be_empty=True,
            )

    def image(self, key: str) -> Image:
        """The image of a key as RGB; a `BadImage` when it is broken."""
        return self._folder.image(key)


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

    def renamed(self, item: Item, *, taken: Collection[str]) -> Item:
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
