"""Copies of benchmarks on the Hugging Face hub, through the optional library `datasets`.

Nothing is downloaded before a `HubCopy` is made. The columns are those that mteb's tasks and the authors'
loaders name; neither they nor the library were tried against the real hub, which could not be reached here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

from PIL.Image import Image

from alignscope.data.benchmarks.facts import Benchmark
from alignscope.data.benchmarks.reading import Record, usable
from alignscope.data.images import decode_image
from alignscope.errors import BadData, BadImage, MissingExtra, Unsupported
from alignscope.records import Problem, Question, Shown


@final
@dataclass(frozen=True)
class Layout:
    """Which columns of a copy hold what; `group` and `key` only where the copy has them."""

    images: tuple[str, ...]
    texts: tuple[str, ...]
    split: str = "test"
    subset: str = ""
    group: str = ""
    key: str = ""
    tag: str = ""
    gold: str = ""


_ORDERS = ("correct_caption", *(f"hard_text_{number}" for number in range(1, 5)))
_FOIL = ("true_caption", "false_caption")
LAYOUTS: dict[str, Layout] = {
    "aro-relation": Layout(("image",), _FOIL, group="relation_name"),
    "aro-attribute": Layout(("image",), _FOIL),
    "aro-coco-order": Layout(("images",), _ORDERS),
    "aro-flickr-order": Layout(("images",), _ORDERS),
    "sugarcrepe": Layout(("images",), ("caption", "negative_caption"), split="train"),
    "winoground": Layout(
        ("image_0", "image_1"),
        ("caption_0", "caption_1"),
        subset="collapsed_tag",
        key="id",
        tag="secondary_tag",
    ),
    "sts-b": Layout((), ("sentence1", "sentence2"), gold="score"),
    "sick-r": Layout((), ("sentence1", "sentence2"), gold="score"),
}
_UNGROUPED = "the copy does not name the groups that the authors average over"


@final
class HubCopy:
    """A benchmark's copy on the hub: `lines` are its items, and their images are opened by key.

    It stands in for an `ImageFolder`; a key is the row and the column, such as "17/image_0". Making one
    downloads what the library has not cached.
    """

    def __init__(self, benchmark: Benchmark, *, id: str | None = None) -> None:
        name = id or benchmark.hub
        if benchmark.name not in LAYOUTS or not name:
            raise Unsupported(
                f"{benchmark.name}: no copy on the hub is known; known are those of {', '.join(LAYOUTS)}; "
                "give the authors' files as --annotations"
            )
        try:
            import datasets
        except ImportError as error:
            raise MissingExtra("copies on the hub", "pip install 'alignscope[hub]'") from error
        self.layout = LAYOUTS[benchmark.name]
        rows = datasets.load_dataset(name, split=self.layout.split)
        has = rows.column_names
        absent = [each for each in (*self.layout.images, *self.layout.texts) if each not in has]
        if absent:
            raise BadData(
                f"{name}: got no column {', '.join(absent)} among {', '.join(has)}, wanted the columns of "
                f"{benchmark.hub}; name another copy"
            )
        for column in self.layout.images:
            rows = rows.cast_column(column, datasets.Image(decode=False))
        self.name = name
        self._rows = rows
        self._words = rows.remove_columns(list(self.layout.images))
        self._notes: dict[str, tuple[str, ...]] = {}
        self._has = frozenset(has)
        self._default = next(iter(benchmark.sizes)) if len(benchmark.sizes) == 1 else "hub"
        self.is_grouped = benchmark.official.average != "groups" or self.layout.group in self._has
        self.benchmark = replace(
            benchmark,
            read=self.lines,
            official=benchmark.official
            if self.is_grouped
            else replace(benchmark.official, average="items", source=f"items, not groups: {_UNGROUPED}"),
        )

    def lines(self, annotations: Path | None = None) -> Iterator[Question | Problem]:
        """The items called SUBSET/KEY, or by their row; has the form of `Benchmark.read`."""
        if not self.is_grouped:
            yield Problem("", self.name, _UNGROUPED, "handled")
        records = (Record(*self._called(row, value), value) for row, value in enumerate(self._words))
        known = [each for each in self._words.column_names if each not in self.layout.texts]
        for record in usable(records, texts=self.layout.texts, others=known):
            if isinstance(record, Problem):
                yield record
            else:
                yield self._question(record)

    @property
    def notes(self) -> dict[str, tuple[str, ...]]:
        """What was done to the images opened so far, by key."""
        return dict(self._notes)

    def digest(self, key: str) -> str:
        """sha256 of an image's bytes."""
        return hashlib.sha256(self._bytes(key)).hexdigest()

    def image(self, key: str) -> Image:
        """An image as RGB, as an `ImageFolder` would open it."""
        opened = decode_image(self._bytes(key), key)
        self._notes[key] = opened.notes
        return opened.image

    def _called(self, row: int, value: dict[str, Any]) -> tuple[str, str]:
        """The id and the place of a row."""
        key = value[self.layout.key] if self.layout.key in self._has else row
        return f"{self._cell(value, self.layout.subset) or self._default}/{key}", f"{self.name}: row {row}"

    def _cell(self, value: dict[str, Any], column: str) -> str:
        return str(value[column] or "") if column in self._has else ""

    def _question(self, record: Record) -> Question | Problem:
        row, value = int(record.subject.rpartition(" ")[2]), record.value
        subset = record.id.partition("/")[0]
        gold = value.get(self.layout.gold)
        if self.layout.gold and (isinstance(gold, bool) or not isinstance(gold, int | float)):
            return record.problem(f"`{self.layout.gold}` is {gold!r}, not a number")
        tag = self._cell(value, self.layout.tag)
        return Question(
            record.id,
            subset,
            self._cell(value, self.layout.group) or subset,
            tuple(Shown(f"{row}/{column}") for column in self.layout.images),
            tuple(value[column] for column in self.layout.texts),
            (tag,) if tag else (),
            gold,
        )

    def _bytes(self, key: str) -> bytes:
        row, _, column = key.partition("/")
        if column not in self.layout.images or not row.isdecimal() or int(row) >= len(self._rows):
            raise BadImage(f"got the image name {key!r}, wanted ROW/COLUMN of {self.name}")
        cell = self._rows[int(row)][column]
        cell = cell[0] if isinstance(cell, list) and len(cell) == 1 else cell
        if isinstance(cell, dict) and cell.get("bytes"):
            return cell["bytes"]
        if isinstance(cell, dict) and cell.get("path") and Path(cell["path"]).is_file():
            return Path(cell["path"]).read_bytes()
        raise BadImage(f"{self.name}: got no bytes at row {row}, column {column}, wanted an image")
