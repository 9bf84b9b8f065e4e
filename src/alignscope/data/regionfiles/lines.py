"""Tab-separated files with one image per line, of which only where each line begins is kept in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, NamedTuple, final

from alignscope.data.regular import regular
from alignscope.errors import BadData

LONGEST_LINE = 2**28
_LONGEST_NAME = 4096


class Line(NamedTuple):
    """Where an image lies; `repeats` is the number of a later line of the same image, 0 without."""

    number: int
    offset: int
    end: int
    repeats: int = 0


@final
class Lines(Mapping[str, Line]):
    """Lines by their first column.

    With FILE.lineidx beside (one byte offset per line, VinVL's convention) only the first columns are read to
    find them; it must fit the file. An image on two lines is there, and refused when it is read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        index = path.with_suffix(".lineidx")
        self._lines: dict[str, Line] = {}
        try:
            with regular(path).open("rb") as file:
                for number, offset, end, first in (
                    _indexed(file, index) if index.is_file() else _scanned(file)
                ):
                    self._add(number, offset, end, first)
        except OSError as error:
            raise BadData(f"{path}: got {error.strerror}, wanted a TSV file; check the path") from None

    def _add(self, number: int, offset: int, end: int, first: bytes) -> None:
        name = first.decode("utf-8", "replace")
        if name in self._lines:
            self._lines[name] = self._lines[name]._replace(repeats=number)
        else:
            self._lines[name] = Line(number, offset, end)

    def __len__(self) -> int:
        return len(self._lines)

    def __iter__(self) -> Iterator[str]:
        return iter(self._lines)

    def __contains__(self, name: object) -> bool:
        return name in self._lines

    def __getitem__(self, name: str) -> Line:
        return self._lines[name]

    def cells(self, name: str) -> list[str]:
        """The columns of a line, read from the file now."""
        line = self._lines[name]
        if line.repeats:
            raise BadData(
                f"got the image {name!r} again in line {line.repeats}, wanted each once; remove one of the lines"
            )
        if line.end - line.offset > LONGEST_LINE:
            raise BadData(f"got a line of {line.end - line.offset} bytes, wanted at most {LONGEST_LINE}")
        with self.path.open("rb") as file:
            file.seek(line.offset)
            raw = file.read(line.end - line.offset)
        if b"\n" in raw.rstrip(b"\r\n"):
            raise BadData(
                "got several lines where the .lineidx says one: remove the .lineidx or make it anew"
            )
        try:
            return raw.decode("utf-8").rstrip("\r\n").split("\t")
        except UnicodeDecodeError as error:
            raise BadData(f"got bytes that are not UTF-8 ({error.reason})") from None


def _scanned(file: BinaryIO) -> Iterator[tuple[int, int, int, bytes]]:
    offset = 0
    for number, line in enumerate(file, start=1):
        end = offset + len(line)
        if line.strip():
            yield number, offset, end, line.partition(b"\t")[0].rstrip(b"\r\n")
        offset = end


def _indexed(file: BinaryIO, index: Path) -> Iterator[tuple[int, int, int, bytes]]:
    words = index.read_bytes().split()
    if not all(word.isdigit() and len(word) < 18 for word in words):
        raise BadData(
            f"{index}: got something that is not one byte offset per line; make it anew or remove it"
        )
    size = file.seek(0, 2)
    offsets = [int(word) for word in words]
    ends = [*offsets[1:], size]
    for number, (offset, end) in enumerate(zip(offsets, ends, strict=True), start=1):
        file.seek(max(offset - 1, 0))
        before, first = (
            (b"\n" if offset == 0 else file.read(1)),
            file.read(min(_LONGEST_NAME, max(end - offset, 0))),
        )
        is_first = number > 1 or offset == 0
        if before != b"\n" or not offset < end or b"\t" not in first or not is_first:
            raise BadData(
                f"{index}:{number}: got the offset {offset}, where no line of {file.name} begins; "
                "make it anew or remove it"
            )
        yield number, offset, end, first.partition(b"\t")[0]
