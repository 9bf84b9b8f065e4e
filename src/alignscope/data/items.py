"""What all readers of real data share: strict JSON, checks of texts, and items with their images.

A reader drafts items from a file; `FolderItems` leaves out those whose image is not there, classes the
words, hashes what decides a score, and opens images, each deviation a `Problem`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, final

from PIL.Image import Image

from alignscope.data.images import ImageFolder
from alignscope.data.regular import regular
from alignscope.errors import BadData, BadImage, LengthMismatch
from alignscope.files import sha_of
from alignscope.records import Caption, Item, Problem

WordClasses = Callable[[Sequence[str]], Sequence[Caption]]
"""Captions with classed words for texts, one to one; the language room has such functions."""


def parse_json(text: str) -> Any:
    """JSON in which no object names a key twice; every fault is a ValueError.

    >>> parse_json('{"a": 1, "a": 2}')
    Traceback (most recent call last):
    ...
    ValueError: the key 'a' twice in one object
    """
    try:
        return json.loads(text, object_pairs_hook=_object)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    whole = dict(pairs)
    if len(whole) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} twice in one object")
    return whole


def read_bytes(path: Path, *, wanted: str) -> bytes:
    """A file's bytes; `wanted` says what the file should have been."""
    try:
        return regular(path).read_bytes()
    except OSError as error:
        raise cannot_read(path, error, wanted=wanted) from None


def cannot_read(path: Path, error: OSError, *, wanted: str) -> BadData:
    """The error of a file that cannot be read; `wanted` says what it should have been."""
    return BadData(f"{path}: got {error.strerror}, wanted {wanted}; check the path")


def read_json(path: Path, *, wanted: str) -> Any:
    """One JSON document; `wanted` says what the file should have been."""
    try:
        return parse_json(read_bytes(path, wanted=wanted).decode("utf-8-sig"))
    except ValueError as error:
        raise BadData(
            f"{path}: got no valid JSON ({error}), wanted {wanted}; replace the file by a whole copy"
        ) from None


def fault_of_text(value: Any) -> str | None:
    """Why a value cannot stand as a caption; None when it can.

    >>> fault_of_text("a cat"), fault_of_text("  "), fault_of_text(3)
    (None, 'is empty', 'is a number (3), not a text')
    """
    if not isinstance(value, str):
        return f"is {kind_of(value)}, not a text"
    if not value.strip():
        return "is empty"
    if any("\ud800" <= letter <= "\udfff" for letter in value):
        return "holds half a surrogate pair, which is no character"
    return None


def kind_of(value: Any) -> str:
    """A JSON value as a person names it, shortened.

    >>> kind_of([1]), kind_of(None), kind_of(True)
    ('a list ([1])', 'null', 'a truth value (True)')
    """
    if value is None:
        return "null"
    names = {str: "a text", bool: "a truth value", int: "a number", float: "a number", list: "a list"}
    shown = repr(value)
    return f"{names.get(type(value), 'an object')} ({shown if len(shown) <= 60 else shown[:57] + '...'})"


def is_same_text(one: str, other: str) -> bool:
    """Equal but for white space, which no tokenizer keeps."""
    return one.split() == other.split()


@final
class FolderItems:
    """Items whose images lie in one directory; the common half of every `ItemSource` of files.

    `problems` grows while images are opened: what had to be done to one is a handled problem of each
    of its items, so a study reads it last.
    """

    def __init__(
        self,
        items: Sequence[Item],
        folder: ImageFolder,
        *,
        problems: Sequence[Problem] = (),
        word_classes: WordClasses | None = None,
        may_be_empty: bool = False,
    ) -> None:
        digests, absent = _digests(items, folder)
        present = tuple(item for item in items if item.image in digests)
        if not present and not may_be_empty:
            first = next(iter(absent.values()), "no items")
            below = next((place for key in [*absent][:1] for place in folder.below(key)), None)
            todo = f"give {below}, where the first lies" if below else "check the path of the images"
            raise BadData(
                f"none of the {len({item.image for item in items})} images asked for can be used "
                f"(first: {first}); wanted a directory that holds them; {todo}"
            )
        self.items = _classed(present, word_classes) if word_classes else present
        self.sha = sha_of([[_content(item) for item in self.items], digests])
        self._folder = folder
        self._problems = (
            *problems,
            *(
                Problem(item.id, item.image, absent[item.image], "unscored")
                for item in items
                if item.image in absent
            ),
        )
        self._users: dict[str, list[str]] = {}
        for item in self.items:
            self._users.setdefault(item.image, []).append(item.id)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What was wrong on the way in, and what was done to the images opened so far."""
        return self._problems + tuple(
            Problem(user, key, f"image: {note}", "handled")
            for key, notes in self._folder.notes.items()
            for note in notes
            for user in self._users.get(key, [])
        )

    def image(self, key: str) -> Image:
        """The image of a key as RGB; a `BadImage` when it is broken."""
        return self._folder.image(key)


def _digests(items: Sequence[Item], folder: ImageFolder) -> tuple[dict[str, str], dict[str, str]]:
    digests: dict[str, str] = {}
    absent: dict[str, str] = {}
    for key in dict.fromkeys(item.image for item in items):
        try:
            digests[key] = folder.digest(key)
        except BadImage as error:
            absent[key] = str(error)
    return digests, absent


def _classed(items: Sequence[Item], word_classes: WordClasses) -> tuple[Item, ...]:
    """Items with the words of captions and foils; every distinct text is classed once, in one call."""
    texts = list(
        dict.fromkeys(
            text for item in items for text in (item.caption.text, *(foil.text for foil in item.foils))
        )
    )
    captions = word_classes(texts)
    if [caption.text for caption in captions] != texts:
        raise LengthMismatch(
            f"{len(captions)} captions with word classes for {len(texts)} texts, or in another order: "
            "`word_classes` gives one caption per text, its text unchanged"
        )
    known = {caption.text: caption for caption in captions}
    return tuple(
        replace(
            item,
            caption=known[item.caption.text],
            foils=tuple(replace(foil, words=known[foil.text].words) for foil in item.foils),
        )
        for item in items
    )


def _content(item: Item) -> list[Any]:
    """What of an item decides a number: texts, kinds and word classes, not its id."""
    sides = [("", item.caption.text, item.caption.words)]
    sides += [(foil.kind, foil.text, foil.words) for foil in item.foils]
    return [
        item.image,
        *([kind, text, [[w.start, w.end, w.word_class] for w in words]] for kind, text, words in sides),
    ]
