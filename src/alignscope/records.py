"""Frozen records that rooms hand to each other, and how they are written.

Tables of numbers go to Parquet, what people read goes to JSONL; both are written as they come and
open in pandas, polars and duckdb. No torch here: a report is rebuilt from these on any laptop.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

from PIL.Image import Image

from alignscope.errors import BadData, UnwritableOutput

WordClass = Literal["object", "attribute", "relation", "scene", "other"]
WORD_CLASSES: tuple[WordClass, ...] = ("object", "attribute", "relation", "scene", "other")

FoilKind = Literal[
    "replace_object",
    "replace_attribute",
    "replace_relation",
    "swap_object",
    "swap_attribute",
    "swap_relation",
    "add_object",
    "add_attribute",
]
"""Known kinds of foil in the order tables show them; users' files may name others."""
FOIL_KINDS: tuple[str, ...] = FoilKind.__args__  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Word:
    """One word of a caption: `text == caption[start:end]`, with its class."""

    text: str
    start: int
    end: int
    word_class: WordClass


@dataclass(frozen=True)
class Caption:
    """A text whose words carry classes; `words` is empty where nobody tagged it."""

    text: str
    words: tuple[Word, ...] = ()


@dataclass(frozen=True)
class Foil:
    """A wrong caption of an image and the way in which it is wrong."""

    text: str
    kind: str
    words: tuple[Word, ...] = ()


@dataclass(frozen=True)
class Item:
    """One image, one right caption, any number of foils: the unit of an audit.

    `image` is a key that the data set's `image(key)` opens (a file name, or a scene id).
    `present_nouns` are nouns true of the image beyond those its caption names, where that is known.
    """

    id: str
    image: str
    caption: Caption
    foils: tuple[Foil, ...] = ()
    present_nouns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Box:
    """Pixel corners, x to the right and y down, half-open: width is x2 - x1."""

    x1: float
    y1: float
    x2: float
    y2: float


@dataclass(frozen=True)
class SceneObject:
    """A thing in a scene graph: its noun, its attributes, and where it is."""

    noun: str
    attributes: tuple[str, ...] = ()
    box: Box | None = None
    span: tuple[int, int] | None = None


@dataclass(frozen=True)
class Relation:
    """`subject` and `target` are positions in the scene graph's `objects`."""

    subject: int
    name: str
    target: int
    span: tuple[int, int] | None = None


@dataclass(frozen=True)
class SceneGraph:
    """Objects with attributes, and relations between them."""

    objects: tuple[SceneObject, ...]
    relations: tuple[Relation, ...] = ()


@dataclass(frozen=True)
class Problem:
    """Something wrong with one item: what it was and what was done about it."""

    item: str
    subject: str  # the file, line or text concerned
    what: str  # "missing image", "caption truncated at 77 tokens", ...
    action: Literal["unscored", "handled"]


@dataclass(frozen=True)
class Choice:
    """A caption and one foil scored against the same image, in float32."""

    item: str
    image: str
    kind: str
    caption: str
    foil: str
    caption_score: float
    foil_score: float

    @property
    def is_tie(self) -> bool:
        return self.caption_score == self.foil_score

    @property
    def is_right(self) -> bool:
        return self.caption_score > self.foil_score


@dataclass(frozen=True)
class WordHeat:
    """The attribution of one word; `heat` is the sum over its sub-word pieces."""

    item: str
    image: str
    position: int
    word: str
    start: int
    end: int
    word_class: WordClass
    heat: float


@dataclass(frozen=True)
class Attribution:
    """A caption's words with their heats under one method."""

    item: str
    image: str
    text: str
    method: str
    words: tuple[WordHeat, ...]


@dataclass(frozen=True)
class EditedScore:
    """A caption with some words replaced, scored against its own image beside the original."""

    item: str
    image: str
    edit: str  # "wrong nouns" or "random other words"
    draw: int
    caption: str
    edited: str
    words_replaced: int
    caption_score: float
    edited_score: float


@dataclass(frozen=True)
class Rank:
    """Where a query's best right answer came among all candidates; 1 is first.

    `rank` counts ties against the model, `ties` says how many wrong candidates tied with it.
    """

    query: str
    image: str
    direction: str  # "image to text" or "text to image"
    rank: int
    ties: int
    candidates: int


@dataclass(frozen=True)
class Example:
    """A choice with its picture, for a report: `png` is base64 of a small PNG."""

    item: str
    image: str
    kind: str
    caption: str
    foil: str
    caption_score: float
    foil_score: float
    png: str


@dataclass(frozen=True)
class Signature:
    """Where a number comes from; `str()` is its one-line form.

    >>> print(Signature("accuracy", "pairs", "9f31c2", 5, 4, "tiny-clip", "ab12", version="0.1.0"))
    accuracy|data:pairs|sha:9f31c2|items:5|images:4|model:tiny-clip|weights:ab12|dtype:float32|ties:wrong|seed:0|v:0.1.0
    """

    measure: str
    data: str
    sha: str
    items: int
    images: int
    model: str
    weights: str
    dtype: str = "float32"
    ties: str = "wrong"
    seed: int = 0
    version: str = ""

    def __str__(self) -> str:
        parts = {
            "data": self.data,
            "sha": self.sha,
            "items": self.items,
            "images": self.images,
            "model": self.model,
            "weights": self.weights,
            "dtype": self.dtype,
            "ties": self.ties,
            "seed": self.seed,
            "v": self.version,
        }
        return "|".join([self.measure, *(f"{name}:{value}" for name, value in parts.items())])


@dataclass(frozen=True)
class Measurement:
    """A number as it is reported: value, interval, how many, ties, missing, signature.

    `value` is None where nothing could be measured; `reason` then says why.
    """

    measure: str  # "accuracy", "heat gap", "recall@5", ...
    group: str  # foil kind, word class, direction, ... ; "all" for the whole
    value: float | None
    low: float | None
    high: float | None
    items: int
    images: int
    ties: int = 0
    missing: int = 0
    unit: str = "share"
    level: float = 0.95
    reason: str = ""
    signature: str = ""


@runtime_checkable
class ItemSource(Protocol):
    """What an audit reads: items, a way to open their images, and what was wrong on the way in."""

    @property
    def name(self) -> str: ...
    @property
    def sha(self) -> str: ...  # hash of everything that decides a score
    @property
    def items(self) -> Sequence[Item]: ...
    @property
    def problems(self) -> Sequence[Problem]: ...
    def image(self, key: str) -> Image: ...


Record = TypeVar("Record")


def as_row(record: Any) -> dict[str, Any]:
    """A dataclass as a plain dictionary, nested records included."""
    return dataclasses.asdict(record)


def sha_of(value: Any) -> str:
    """Twelve hexadecimal digits that identify a JSON-able value.

    >>> sha_of({"b": 1, "a": 2}) == sha_of({"a": 2, "b": 1})
    True
    """
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=as_row)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:12]


def write_jsonl(path: Path, rows: Iterable[Any]) -> int:
    """Write records one per line, whole or not at all; returns how many.

    A number that is not finite is a ValueError, for no JSON reader takes it: unmeasured is None.
    """
    count = 0
    # backslashreplace: half of a surrogate pair becomes the JSON escape it was read from
    with _whole(path) as half, half.open("w", encoding="utf-8", errors="backslashreplace") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False, default=as_row, allow_nan=False) + "\n")
            count += 1
    return count


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """Rows of a JSONL file; a broken line is an error that names it."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
                row = json.loads(text or "{}")
            except ValueError as error:  # of the bytes or of the JSON
                raise BadData(f"{path}:{number}: not JSON in UTF-8 ({error}): {line[:60]!r}") from None
            if not isinstance(row, dict):
                raise BadData(f"{path}:{number}: not an object with named fields: {text[:60]!r}")
            if text:
                yield row


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write one readable JSON document, whole or not at all."""
    text = json.dumps(value, indent=2, ensure_ascii=False, default=as_row, allow_nan=False)
    with _whole(path) as half:
        half.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")


def write_parquet(path: Path, rows: Sequence[Any], record: type) -> None:
    """Write flat records as one Parquet file, whole or not at all; columns come from `record`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pylist([as_row(row) for row in rows], schema=_schema(record))
    with _whole(path) as half, half.open("wb") as file:
        pq.write_table(table, file)


def read_parquet(path: Path, record: type[Record]) -> list[Record]:
    """Records of a Parquet file written by `write_parquet`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return [record(**row) for row in pq.read_table(path).to_pylist()]
    except (pa.ArrowInvalid, TypeError) as error:
        raise BadData(f"{path}: not a Parquet file of {record.__name__} records: {error}") from None


@contextlib.contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """A temporary neighbour of `path` that takes its place at the end and is gone after an error."""
    half = path.with_name(path.name + ".part")
    try:
        yield half
        os.replace(half, path)
    except OSError as error:
        if error.filename not in (None, str(half)):  # another file's trouble
            raise
        raise UnwritableOutput(f"{path} cannot be written ({error.strerror}): name another place") from error
    finally:
        with contextlib.suppress(OSError):
            half.unlink()


def _schema(record: type) -> Any:
    import pyarrow as pa

    kinds = {float: pa.float64(), int: pa.int64(), bool: pa.bool_(), str: pa.string()}
    columns = []
    for name, hint in typing.get_type_hints(record).items():
        plain = str if typing.get_origin(hint) is Literal else hint
        kind = next((kinds[each] for each in kinds if plain in (each, each | None)), None)
        if kind is None:
            raise TypeError(
                f"{record.__name__}.{name} is {hint}: Parquet takes flat records, JSONL the others"
            )
        columns.append(pa.field(name, kind))
    return pa.schema(columns)
