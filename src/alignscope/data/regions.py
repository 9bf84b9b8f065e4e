"""Regions of images, as detectors give them, in the TSV layout that LXMERT's loader made common.

One line per image: ids and confidences of objects and attributes, boxes and features as base64 of
float32 (ids: int64). Ids are line numbers from 0 of plain-text vocabularies kept beside the file;
-1, which detectors never write, stands for "no attribute".
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, final

import numpy as np

from alignscope.errors import BadData, UnknownName
from alignscope.records import Regions
from alignscope.records.regions import fault_of_regions
from alignscope.registry import did_you_mean

COLUMNS = (
    "img_id",
    "img_h",
    "img_w",
    "objects_id",
    "objects_conf",
    "attrs_id",
    "attrs_conf",
    "num_boxes",
    "boxes",
    "features",
)
OBJECTS_VOCABULARY = "objects_vocab.txt"
ATTRIBUTES_VOCABULARY = "attributes_vocab.txt"


@final
class Vocabulary:
    """Words by number, one per line of a text file; a line's synonyms follow commas.

    >>> words = Vocabulary(["cat", "sailboat,sail boat"])
    >>> words.number("dog"), words.number("sailboat"), words.word(1), words.word(-1)
    (2, 1, 'sailboat', '')
    """

    def __init__(self, lines: Iterable[str] = ()) -> None:
        self.lines = [line.strip() for line in lines]
        self._words = [line.split(",")[0].strip() for line in self.lines]
        self._numbers = {word: number for number, word in reversed(list(enumerate(self._words)))}

    @classmethod
    def read(cls, path: Path) -> Vocabulary:
        """The words of a file; a missing file is an error."""
        try:
            text = path.read_text(encoding="utf-8-sig").rstrip("\n")
            return cls(text.split("\n") if text else ())
        except (OSError, UnicodeDecodeError) as error:
            raise BadData(
                f"{path}: got no readable vocabulary ({error}), wanted a UTF-8 file of one word per line; "
                "put it beside the TSV file or name another"
            ) from None

    def __len__(self) -> int:
        return len(self.lines)

    def number(self, word: str) -> int:
        """The number of a word, -1 of none; a new word gets the next number."""
        if not word:
            return -1
        if word not in self._numbers:
            if word != word.strip() or "," in word or len(word.splitlines()) != 1:
                raise BadData(
                    f"got the tag {word!r}, wanted one without comma, line end or outer space: "
                    "vocabularies keep one per line, synonyms after commas"
                )
            self._numbers[word] = len(self.lines)
            self.lines.append(word)
            self._words.append(word)
        return self._numbers[word]

    def word(self, number: int) -> str:
        """The word of a number, "" of -1."""
        if number == -1:
            return ""
        if not 0 <= number < len(self._words):
            raise BadData(f"got word {number}, wanted one of the vocabulary's 0..{len(self._words) - 1}")
        return self._words[number]


def write_region_tsv(path: Path, sets: Iterable[Regions]) -> int:
    """Write regions one image per line, and their vocabularies beside; returns how many images.

    Vocabularies already in the directory are kept and extended, so that files written to one directory share them.
    """
    vocabularies = [
        Vocabulary.read(file) if file.exists() else Vocabulary()
        for file in _vocabulary_files(path, None, None)
    ]
    seen: set[str] = set()
    half = path.with_name(path.name + ".part")
    try:
        with half.open("w", encoding="utf-8", newline="\n") as file:
            for regions in sets:
                _check_writable(regions, seen)
                seen.add(regions.image)
                file.write("\t".join(_cells(regions, *vocabularies)) + "\n")
    except BaseException:
        half.unlink(missing_ok=True)
        raise
    for vocabulary, companion in zip(vocabularies, _vocabulary_files(path, None, None), strict=True):
        part = companion.with_name(companion.name + ".part")
        part.write_text("".join(f"{line}\n" for line in vocabulary.lines), encoding="utf-8")
        os.replace(part, companion)
    os.replace(half, path)
    return len(seen)


def _check_writable(regions: Regions, seen: set[str]) -> None:
    fault = fault_of_regions(regions)
    if not regions.image or any(mark in regions.image for mark in "\t\r\n"):
        fault = "got a name that is empty or holds a tab or a line end"
    if regions.image in seen:
        fault = "got this image a second time, wanted each once"
    if fault:
        raise BadData(f"regions of {regions.image!r}: {fault}; correct the record")


def read_region_tsv(
    path: Path, *, objects: Path | None = None, attributes: Path | None = None
) -> Iterator[Regions]:
    """The regions of every image in the order of the file, one at a time."""
    table = RegionTsv(path, objects=objects, attributes=attributes)
    return (table[image] for image in table)


@final
class RegionTsv(Mapping[str, Regions]):
    """Regions by image, read from the file when asked for: only where each line begins is kept."""

    def __init__(self, path: Path, *, objects: Path | None = None, attributes: Path | None = None) -> None:
        files = _vocabulary_files(path, objects, attributes)
        self._objects, self._attributes = (Vocabulary.read(file) for file in files)
        self.path = path
        self._places: dict[str, tuple[int, int]] = {}  # line number from 1, byte offset
        try:
            with path.open("rb") as file:
                self._index(file)
        except OSError as error:
            raise BadData(
                f"{path}: got {error.strerror}, wanted a TSV file of regions; check the path"
            ) from None

    def _index(self, file: BinaryIO) -> None:
        offset = 0
        for number, line in enumerate(file, start=1):
            if line.strip():
                image = line.partition(b"\t")[0].decode("utf-8", "replace")
                if image in self._places:
                    first = self._places[image][0]
                    raise BadData(
                        f"{self.path}:{number}: got the image {image!r} of line {first} again, "
                        "wanted each once; remove one of the lines"
                    )
                self._places[image] = (number, offset)
            offset += len(line)

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __contains__(self, image: object) -> bool:
        return image in self._places

    def __getitem__(self, image: str) -> Regions:
        if image not in self._places:
            raise UnknownName(f"{self.path}: no regions of {image!r}: {_nearest(image, self._places)}")
        number, offset = self._places[image]
        with self.path.open("rb") as file:
            file.seek(offset)
            line = file.readline()
        try:
            regions = _parse(line.decode("utf-8").rstrip("\r\n"), self._objects, self._attributes)
            fault = fault_of_regions(regions)
        except (BadData, ValueError) as error:
            fault = str(error)
        if fault:
            raise BadData(f"{self.path}:{number}: {fault}; replace the file by a whole copy") from None
        return regions


def _nearest(image: str, known: Mapping[str, object]) -> str:
    return did_you_mean(image, list(known)) if len(known) <= 20 else f"the file has {len(known)} others"


def _vocabulary_files(path: Path, objects: Path | None, attributes: Path | None) -> tuple[Path, Path]:
    return (
        objects or path.with_name(OBJECTS_VOCABULARY),
        attributes or path.with_name(ATTRIBUTES_VOCABULARY),
    )


def _cells(regions: Regions, objects: Vocabulary, attributes: Vocabulary) -> tuple[str, ...]:
    tags = np.array([objects.number(tag) for tag in regions.tags], "<i8")
    marks = np.array([attributes.number(attribute) for attribute in regions.attributes], "<i8")
    return (
        regions.image,
        str(regions.height),
        str(regions.width),
        _packed(tags),
        _packed(regions.confidences),
        _packed(marks),
        _packed(regions.attribute_confidences),
        str(len(regions)),
        _packed(regions.boxes),
        _packed(regions.features),
    )


def _packed(numbers: np.ndarray) -> str:
    small = numbers if numbers.dtype == np.dtype("<i8") else numbers.astype("<f4")
    return base64.b64encode(np.ascontiguousarray(small).tobytes()).decode("ascii")


def _parse(line: str, objects: Vocabulary, attributes: Vocabulary) -> Regions:
    cells = line.split("\t")
    if len(cells) != len(COLUMNS):
        raise BadData(f"got {len(cells)} columns, wanted {len(COLUMNS)} ({', '.join(COLUMNS)})")
    row = dict(zip(COLUMNS, cells, strict=True))
    many = _whole(row, "num_boxes")
    boxes = _unpacked(row, "boxes", "<f4", (many, 4))
    confidences = _unpacked(row, "attrs_conf", "<f4", (-1,))
    if len(confidences) not in (0, many):
        raise BadData(f"`attrs_conf`: got {len(confidences)} numbers, wanted {many} (num_boxes) or none")
    return Regions(
        image=row["img_id"],
        width=_whole(row, "img_w"),
        height=_whole(row, "img_h"),
        boxes=boxes,
        features=_unpacked(row, "features", "<f4", (many, -1)),
        tags=tuple(objects.word(int(number)) for number in _unpacked(row, "objects_id", "<i8", (many,))),
        confidences=_unpacked(row, "objects_conf", "<f4", (many,)),
        attributes=tuple(
            attributes.word(int(number)) for number in _unpacked(row, "attrs_id", "<i8", (many,))
        ),
        attribute_confidences=confidences,
    )


def _whole(row: Mapping[str, str], column: str) -> int:
    text = row[column]
    if not text.isascii() or not text.isdigit():
        raise BadData(f"`{column}`: got {text[:40]!r}, wanted a whole number")
    return int(text)


def _unpacked(row: Mapping[str, str], column: str, kind: str, shape: Sequence[int]) -> np.ndarray:
    """Numbers from base64 in the shape asked for, where one -1 stands for "as many as there are"."""
    try:
        raw = base64.b64decode(row[column], validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadData(f"`{column}`: got no base64 ({error}): {row[column][:40]!r}") from None
    size = np.dtype(kind).itemsize
    fixed = size * int(np.prod([side for side in shape if side != -1]))
    fits = len(raw) == fixed if -1 not in shape else not raw if fixed == 0 else len(raw) % fixed == 0
    if not fits:
        more = " times a whole number" if -1 in shape else ""
        raise BadData(
            f"`{column}`: got {len(raw)} bytes, wanted {fixed}{more} "
            f"({size} bytes each, num_boxes {row['num_boxes']})"
        )
    numbers = np.frombuffer(raw, kind).astype(kind[1:])  # a copy one may write to, as torch asks
    return numbers.reshape([0 if side == -1 and fixed == 0 else side for side in shape])
