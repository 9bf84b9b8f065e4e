"""Which items of a benchmark a training list has seen: their images, their right and wrong captions.

Images are compared by name, where a COCO photograph is its number whatever its split and folder; captions
by their words. Of a list only hashes of eight bytes stay in memory, read line by line but for JSON documents.
"""

from __future__ import annotations

import csv
import hashlib
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any, TextIO, final

from alignscope.data.benchmarks.facts import Asks
from alignscope.data.items import cannot_read, kind_of, parse_json, read_json
from alignscope.data.regular import regular
from alignscope.errors import BadData
from alignscope.records import Question

IMAGE_FIELDS = ("image", "image_file", "file_name", "filename", "filepath", "image_path", "image_id")
CAPTION_FIELDS = ("caption", "captions", "title", "sentence", "sentences", "text", "raw")
COCO_NUMBER = "cocoid"
_WANTED = (
    f"a training list: rows or objects with an image ({', '.join(IMAGE_FIELDS)}, {COCO_NUMBER}) "
    f"or a caption ({', '.join(CAPTION_FIELDS)}), or lines of image names or captions"
)
_COCO = re.compile(r"(?:coco_(?:train|val|test)\d{4}_)?(\d{12})|coco_(\d{1,12})", re.ASCII)
_IMAGE_LINE = re.compile(r"(\S+?\.(?:jpe?g|png|webp|gif|bmp|tiff?))(?:#\d+)?(?:[\s,;]+(.*))?", re.IGNORECASE)


@final
@dataclass(frozen=True)
class Training:
    """What training lists hold: hashes of images and of captions; rows that gave some, and rows that did not."""

    images: Set[int]
    captions: Set[int]
    rows: int
    empty: int = 0


@final
@dataclass(frozen=True)
class Overlap:
    """Whether training saw an item's image (its first is `image`), a right caption of it, a wrong one."""

    item: str
    subset: str
    image: str
    saw_image: bool
    saw_right_caption: bool
    saw_wrong_caption: bool

    @property
    def is_clean(self) -> bool:
        return not (self.saw_image or self.saw_right_caption or self.saw_wrong_caption)


def image_id(name: str) -> str:
    """The name by which copies of one photograph are known: without folder, split and file type.

    >>> [image_id(n) for n in ("val2014/COCO_val2014_000000391895.jpg", "000000391895.jpg", "coco_391895")]
    ['000000391895', '000000391895', '000000391895']
    >>> image_id("VG_100K_2/2408124.jpg") == image_id("v7w_2408124.jpg") == "2408124"
    True
    """
    path = PurePosixPath(name.strip().replace("\\", "/").casefold())
    stem = path.stem if _IMAGE_LINE.fullmatch(path.name) else path.name
    coco = _COCO.fullmatch(stem)
    return f"{(coco[1] or coco[2]).zfill(12)}" if coco else stem.removeprefix("v7w_")


def normalised(caption: str) -> str:
    """A caption's letters and digits, lower case, one space between words.

    >>> normalised("  A man's\\tT-shirt, red. ")
    'a man s t shirt red'
    """
    folded = unicodedata.normalize("NFKC", caption).casefold()
    return re.sub(r"[\W_]+", " ", folded).strip()


def read_training(paths: Iterable[Path]) -> Training:
    """Training lists as hashes: JSONL, JSON (COCO captions, Karpathy, lists), TSV, CSV, text of either."""
    images: set[int] = set()
    captions: set[int] = set()
    rows = empty = 0
    for path in paths:
        before = rows
        for row in _rows(path):
            names = [name for name in map(image_id, row.images) if name]
            texts = [text for text in map(normalised, row.captions) if text]
            images.update(map(_hash, names))
            captions.update(map(_hash, texts))
            rows += bool(names or texts)
            empty += not (names or texts)
        if rows == before:
            raise BadData(f"{path}: got no image and no caption, wanted {_WANTED}; check the file")
    return Training(images, captions, rows, empty)


def captions_unlike(paths: Iterable[Path], questions: Iterable[Question]) -> Iterator[str]:
    """Captions of training lists, without rows that hold an image or a text of these items."""
    asked = list(questions)
    images = {_hash(image_id(shown.key)) for question in asked for shown in question.images}
    texts = {_hash(normalised(text)) for question in asked for text in question.texts}
    for path in paths:
        for row in _rows(path):
            is_asked = any(_hash(image_id(name)) in images for name in row.images)
            if not is_asked and not any(_hash(normalised(text)) in texts for text in row.captions):
                yield from row.captions


def overlaps(questions: Iterable[Question], asks: Asks, training: Training) -> Iterator[Overlap]:
    """Each item with what of it training saw; of two images, one is enough."""
    for question in questions:
        right, wrong = sides(question, asks)
        yield Overlap(
            question.id,
            question.subset,
            question.images[0].key if question.images else "",
            any(_hash(image_id(shown.key)) in training.images for shown in question.images),
            any(_hash(normalised(text)) in training.captions for text in right),
            any(_hash(normalised(text)) in training.captions for text in wrong),
        )


def sides(question: Question, asks: Asks) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The right and the wrong texts of an item; texts that are wrong for no image of it are right."""
    count = {"caption": 1, "two captions": 2}.get(asks, len(question.texts))
    return question.texts[:count], question.texts[count:]


@dataclass(frozen=True)
class _Row:
    """Names of images and captions in one row of a list."""

    images: tuple[str, ...]
    captions: tuple[str, ...]


def _hash(text: str) -> int:
    digest = hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big")


def _rows(path: Path) -> Iterator[_Row]:
    ending = path.suffix.casefold()
    if ending == ".json":
        yield from _document(read_json(path, wanted=_WANTED), path)
        return
    read = {".jsonl": _json_lines, ".tsv": _table, ".csv": _table}.get(ending, _lines)
    try:
        with regular(path).open(encoding="utf-8-sig", newline="") as file:
            yield from read(file, path)
    except OSError as error:
        raise cannot_read(path, error, wanted=_WANTED) from None
    except UnicodeDecodeError as error:
        raise BadData(
            f"{path}: got bytes that are not UTF-8 ({error.reason}), wanted {_WANTED}; save it as UTF-8"
        ) from None


def _json_lines(file: TextIO, path: Path) -> Iterator[_Row]:
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        try:
            row = parse_json(line)
        except ValueError as error:
            raise BadData(f"{path}:{number}: got no JSON ({error}), wanted {_WANTED}; correct it") from None
        yield _row(row, f"{path}:{number}")


def _document(document: Any, path: Path) -> Iterator[_Row]:
    """A list of rows, an object of rows by key, or COCO's `images` and `annotations`."""
    if isinstance(document, dict) and "images" in document:
        pictures, notes = document["images"], document.get("annotations", [])
        if not (isinstance(pictures, list) and isinstance(notes, list)):
            raise BadData(f"{path}: got `images` or `annotations` that are no lists, wanted COCO's captions")
        rows: Iterable[Any] = chain(pictures, map(_of_coco, notes))
    else:
        rows = document.values() if isinstance(document, dict) else document
    if not isinstance(document, dict | list):
        raise BadData(f"{path}: got {kind_of(document)}, wanted {_WANTED}; check the file")
    for number, row in enumerate(rows, start=1):
        yield _text_row(row) if isinstance(row, str) else _row(row, f"{path}, row {number}")


def _of_coco(note: Any) -> Any:
    """An annotation whose `image_id` is a number of COCO's."""
    is_numbered = isinstance(note, dict) and isinstance(note.get("image_id"), int)
    return {**note, COCO_NUMBER: note["image_id"], "image_id": None} if is_numbered else note


def _table(file: TextIO, path: Path) -> Iterator[_Row]:
    """Rows under a line of names; columns between tabs where that line has one, whatever the file is called."""
    limit = csv.field_size_limit(2**31 - 1)
    try:
        head = file.readline()
        names = next(csv.reader([head], delimiter="\t" if "\t" in head else ","), [])
        if not {*names} & {*IMAGE_FIELDS, *CAPTION_FIELDS, COCO_NUMBER}:
            raise BadData(f"{path}: got the columns {str(names)[:80]}, wanted {_WANTED}; name the columns so")
        reader = csv.DictReader(file, names, delimiter="\t" if "\t" in head else ",")
        for row in reader:
            yield _row(row, f"{path}:{reader.line_num + 1}")
    except csv.Error as error:
        raise BadData(f"{path}: got a broken table ({error}), wanted {_WANTED}; correct it") from None
    finally:
        csv.field_size_limit(limit)


def _lines(file: TextIO, path: Path) -> Iterator[_Row]:
    return (_text_row(line.strip()) for line in file if line.strip())


def _text_row(line: str) -> _Row:
    """An image's name, alone or before its number or caption; otherwise a caption.

    >>> _text_row("val2014/COCO_val2014_000000000042.jpg 42")
    _Row(images=('val2014/COCO_val2014_000000000042.jpg',), captions=())
    >>> _text_row("1007129816.jpg#0\\tA man in a hat.")
    _Row(images=('1007129816.jpg',), captions=('A man in a hat.',))
    >>> _text_row("A man in a hat.")
    _Row(images=(), captions=('A man in a hat.',))
    """
    found = _IMAGE_LINE.fullmatch(line)
    if not found:
        return _Row((), (line,))
    rest = found[2] or ""
    return _Row((found[1],), (rest,) if rest and not rest.isdigit() else ())


def _row(row: Any, where: str) -> _Row:
    if not isinstance(row, Mapping):
        raise BadData(f"{where}: got {kind_of(row)}, wanted {_WANTED}; correct it")
    images = [str(row[name]) for name in IMAGE_FIELDS if isinstance(row.get(name), str | int)]
    number = row.get(COCO_NUMBER)
    images += [str(number).zfill(12)] if str(number).isdecimal() else []
    captions = [text for name in CAPTION_FIELDS for text in _texts(row.get(name))]
    return _Row(tuple(images), tuple(captions))


def _texts(value: Any) -> Iterator[str]:
    """All texts in a value; of a sentence that is also given in words, its `raw` text."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from _texts(value["raw"]) if "raw" in value else chain(*map(_texts, value.values()))
    elif isinstance(value, list):
        yield from chain(*map(_texts, value))
