"""Training pairs read as a stream: webdataset shards (tar files) and Parquet files on this machine.

Shards are read by Python's own `tarfile`, so no extra is needed and nothing is run: no address is opened,
no member is written to disk, names are names only (one with `..` leads nowhere), and of a sample the image
and the caption alone are read; pickles beside them are never looked at. The order of shards (of row groups)
is drawn per epoch, then samples are shuffled within a buffer; both by the seed. Of the images only their
bytes are kept: a buffer of 5,000 photographs is about half a gigabyte.
"""

from __future__ import annotations

import gzip
import re
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from functools import partial
from glob import glob
from itertools import chain
from pathlib import Path
from random import Random
from typing import Any, cast, final

from alignscope.data.items import fault_of_text, parse_json
from alignscope.errors import BadData, BadRecipe
from alignscope.files import sha_of
from alignscope.records import Caption, Problem
from alignscope.training.samples import Sample, SampleStream, StreamedSample
from alignscope.training.settings import DataPlan, ParquetData, ShardData

IMAGE_ENDINGS = frozenset({"jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "ppm"})
LARGEST_IMAGE = 2**26  # bytes
LARGEST_CAPTION = 2**20
_ROWS = 64  # of a Parquet file, held at once
_BLOCK = 512  # bytes of a tar's header, and of each half of its end mark
_OF_BROKEN_SIZES = (ValueError, OverflowError, MemoryError)  # what tarfile makes of a header's nonsense
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")

Found = StreamedSample | Problem
Part = Callable[[], Iterator[Found]]
"""A shard or a row group, read from its beginning."""


@final
@dataclass(frozen=True)
class Stream:
    """The `SampleStream` of files: parts in an order drawn by epoch and seed, samples shuffled on the way."""

    name: str
    sha: str
    parts: tuple[Part, ...]
    buffer: int
    seed: int

    def read(self, epoch: int) -> Iterator[Found]:
        """All samples of an epoch, the same each time; what cannot be used comes as a problem."""
        order = Random(f"{self.seed}/{epoch}/parts").sample(self.parts, len(self.parts))
        found = chain.from_iterable(part() for part in order)
        return shuffled(found, buffer=self.buffer, random=Random(f"{self.seed}/{epoch}/samples"))


def open_stream(plan: DataPlan, *, seed: int) -> SampleStream:
    """The stream of a plan of shards or Parquet files, which have to be there; none is read through."""
    if not isinstance(plan, ShardData | ParquetData):
        raise BadRecipe(f"got data of kind '{plan.kind}', which is no stream: wanted shards or parquet")
    if plan.buffer < 1:
        raise BadRecipe(
            f"got buffer = {plan.buffer}, wanted 1 or more samples among which the order is drawn"
        )
    paths = matching(plan.files)
    parts: list[Part]
    if isinstance(plan, ShardData):
        parts = [partial(_Shards(plan.captions).read, path) for path in paths]
    else:
        tables = _Tables(plan.image, plan.caption)
        parts = [partial(tables.read, group) for path in paths for group in tables.groups(path)]
    sizes = [[path.name, path.stat().st_size] for path in paths]
    sha = sha_of([asdict(replace(plan, files=())), sizes])
    name = paths[0].stem + (f" and {len(paths) - 1} more" if len(paths) > 1 else "")
    return Stream(name, sha, tuple(parts), plan.buffer, seed)


def read_shard(path: Path, captions: str = "txt") -> Iterator[Found]:
    """The samples of one shard in its own order; `captions` as in `ShardData`.

    A problem of the shard as a whole (cut short, no tar) has the shard's file name as its item.
    """
    return _Shards(captions).read(path)


def matching(patterns: Sequence[str]) -> list[Path]:
    """Files of paths and of patterns with `*` or `{000..127}`, each once, in order."""
    if not patterns:
        raise BadData("got no files, wanted paths or patterns such as train-{000..127}.tar")
    paths: dict[Path, None] = {}
    for pattern in patterns:
        if re.match(r"[a-z0-9+.-]+:", pattern, re.IGNORECASE):
            raise BadData(f"got {pattern!r}, wanted files on this machine: fetch them first")
        for plain in _ranges(pattern):
            found = [plain] if Path(plain).is_file() else sorted(glob(plain, recursive=True))
            files = [Path(path) for path in found if Path(path).is_file()]
            if not files:
                raise BadData(f"no file matches {plain!r}: check the path (of {pattern!r})")
            paths |= dict.fromkeys(files)
    return list(paths)


def _ranges(pattern: str) -> Iterator[str]:
    """The pattern once for every number of its ranges.

    >>> list(_ranges("a-{08..10}.tar"))
    ['a-08.tar', 'a-09.tar', 'a-10.tar']
    """
    found = _RANGE.search(pattern)
    if found is None:
        yield pattern
        return
    first, last = found.groups()
    if int(first) > int(last):
        raise BadData(f"got the range {found[0]} in {pattern!r}, wanted the smaller number first")
    for number in range(int(first), int(last) + 1):
        filled = f"{number:0{len(first)}d}"
        yield from _ranges(pattern[: found.start()] + filled + pattern[found.end() :])


def shuffled(found: Iterable[Found], *, buffer: int, random: Random) -> Iterator[Found]:
    """Samples in an order of chance, none moved forward by more than the buffer; problems as they come."""
    held: list[StreamedSample] = []
    for one in found:
        if isinstance(one, Problem):
            yield one
        elif len(held) < buffer:
            held.append(one)
        else:
            place = random.randrange(buffer)
            yield held[place]
            held[place] = one
    random.shuffle(held)
    yield from held


@dataclass(frozen=True)
class Piece:
    """A whole batch of a stream, with the problems met on the way to it."""

    epoch: int
    samples: tuple[StreamedSample, ...]
    problems: tuple[Problem, ...]


def whole_batches(stream: SampleStream, *, batch: int, first: int) -> Iterator[Piece]:
    """Whole batches from a step on, endlessly; once an epoch's length is known, whole epochs are skipped."""
    step = epoch = 0
    while True:
        begun = step
        for piece in _epoch(stream, batch, epoch):
            if step >= first:
                yield piece
            step += 1
        per_epoch = step - begun
        skipped = max(0, first - step) // per_epoch
        epoch, step = epoch + 1 + skipped, step + skipped * per_epoch


def _epoch(stream: SampleStream, batch: int, epoch: int) -> Iterator[Piece]:
    """The whole batches of an epoch; problems of the rest come with the last one."""
    held, problems, ready = list[StreamedSample](), list[Problem](), None
    for found in stream.read(epoch):
        if isinstance(found, Problem):
            problems.append(found)
            continue
        held.append(found)
        if len(held) == batch:
            if ready is not None:
                yield ready
            ready = Piece(epoch, tuple(held), tuple(problems))
            held, problems = [], []
    if ready is None:
        told = f" (first problem: {problems[0].item}: {problems[0].what})" if problems else ""
        raise BadData(
            f"{stream.name}: got {len(held)} usable samples in epoch {epoch}, which make no batch of {batch}"
            f"{told}; wanted more data or a smaller batch"
        )
    yield replace(ready, problems=(*ready.problems, *problems))


@dataclass(frozen=True)
class _Fault:
    """Why there is no content."""

    what: str


@final
class _Bounded:
    """A file that is never read much at once: a tar's header may tell of gigabytes of names, packed into a few."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int) -> bytes:
        if size > LARGEST_IMAGE + _BLOCK:
            raise tarfile.ReadError(f"got a header of {size:,} bytes, wanted at most {LARGEST_IMAGE:,}")
        return self._file.read(size)


@final
@dataclass(frozen=True)
class _Shards:
    """Tar files whose neighbouring members of one name up to its first dot are a sample."""

    captions: str

    def read(self, path: Path) -> Iterator[Found]:
        key, members = "", dict[str, bytes | _Fault]()  # by ending
        try:
            for member, content in self._members(path):
                directory, _, file = member.rpartition("/")
                stem, dot, ending = file.partition(".")
                if not (stem and dot):  # no member of a sample
                    continue
                here, ending = f"{directory}/{stem}" if directory else stem, ending.lower()
                if members and (here != key or ending in members):
                    yield self._sample(path, key, members)
                    members = {}
                key = here
                members[ending] = content
        except (tarfile.TarError, OSError, EOFError, zlib.error, *_OF_BROKEN_SIZES) as error:
            yield Problem(path.name, str(path), f"cannot be read on after {key!r}: {error}", "handled")
            return  # what was begun may be cut short
        if members:
            yield self._sample(path, key, members)

    def _members(self, path: Path) -> Iterator[tuple[str, bytes | _Fault]]:
        """Names of the files in a tar with the content of those that are asked for; empty for others."""
        is_compressed = path.suffix in (".gz", ".tgz")
        with (
            closing(gzip.open(path) if is_compressed else path.open("rb")) as file,
            tarfile.open(fileobj=cast(Any, _Bounded(file)), mode="r:") as tar,
        ):
            while member := tar.next():
                tar.members = []  # type: ignore[attr-defined]  # else it keeps all headers
                if not member.isdir():
                    yield member.name, self._content(tar, member)
            file.seek(tar.offset)
            if file.read(_BLOCK) != bytes(_BLOCK):
                raise tarfile.ReadError(
                    f"no end mark at byte {tar.offset:,}: the file is cut short or broken"
                )

    def _content(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes | _Fault:
        ending = member.name.rpartition("/")[2].partition(".")[2].lower()
        is_caption = ending == self.captions.lower()
        if not is_caption and ending not in IMAGE_ENDINGS:
            return b""
        file = tar.extractfile(member) if member.isreg() else None
        if file is None:
            return _Fault(f"the .{ending} is a link or a device, wanted a file")
        too_large = _too_large(
            f"the .{ending}", member.size, LARGEST_CAPTION if is_caption else LARGEST_IMAGE
        )
        return too_large or file.read()

    def _sample(self, path: Path, key: str, members: Mapping[str, bytes | _Fault]) -> Found:
        name = f"{path.name}/{key}"
        ending = next((ending for ending in members if ending in IMAGE_ENDINGS), None)
        content = members.get(self.captions.lower())
        if ending is None or content is None:
            wanted = "an image" if ending is None else f"a .{self.captions} with its caption"
            what = f"got {', '.join(f'.{one}' for one in members)}, wanted {wanted}"
            return Problem(name, name, what, "handled")
        caption = content if isinstance(content, _Fault) else self._caption(content)
        return _checked(f"{name}.{ending}", members[ending], caption)

    def _caption(self, content: bytes) -> Any:
        try:
            text = content.decode("utf-8-sig")
            row = parse_json(text) if self.captions.lower().endswith("json") else {"caption": text}
        except ValueError as error:  # of the bytes or of the JSON
            return _Fault(f"the .{self.captions} cannot be read ({error})")
        is_known = isinstance(row, dict) and "caption" in row
        return row["caption"] if is_known else _Fault(f"the .{self.captions} is no object with a `caption`")


@dataclass(frozen=True)
class _Group:
    """One of a Parquet file's groups of rows."""

    path: Path
    number: int
    first: int  # row of the file that it begins with


@final
@dataclass(frozen=True)
class _Tables:
    """Parquet files with a column of image bytes, or of structs with `bytes`, and one of captions."""

    image: str
    caption: str

    def groups(self, path: Path) -> list[_Group]:
        """The groups of a file, whose columns have to be of the right kinds."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with pq.ParquetFile(path) as file:
                kinds = {field.name: field.type for field in file.schema_arrow}
                sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
        except (pa.ArrowException, OSError) as error:
            raise BadData(f"{path}: not a Parquet file: {error}") from None
        image, caption = kinds.get(self.image), kinds.get(self.caption)
        if image is not None and pa.types.is_struct(image):
            image = image.field("bytes").type if image.get_field_index("bytes") >= 0 else None
        is_bytes = image is not None and (pa.types.is_binary(image) or pa.types.is_large_binary(image))
        is_text = caption is not None and (pa.types.is_string(caption) or pa.types.is_large_string(caption))
        if not (is_bytes and is_text):
            got = ", ".join(f"{name} ({kind})" for name, kind in kinds.items())
            raise BadData(
                f"{path}: got columns {got}; wanted image bytes, or a struct with `bytes`, in "
                f"'{self.image}' and text in '{self.caption}': set image and caption of the data"
            )
        return [_Group(path, i, sum(sizes[:i])) for i in range(len(sizes))]

    def read(self, group: _Group) -> Iterator[Found]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        number = group.first
        try:
            with pq.ParquetFile(group.path) as file:
                columns = [self.image, self.caption]
                for rows in file.iter_batches(_ROWS, row_groups=[group.number], columns=columns):
                    for image, caption in zip(*self._bytes(rows), strict=True):
                        yield self._sample(f"{group.path.name}/{number}", image, caption)
                        number += 1
        except (pa.ArrowException, OSError) as error:
            what = f"row group {group.number} cannot be read on from row {number}: {error}"
            yield Problem(group.path.name, str(group.path), what, "handled")

    def _bytes(self, rows: Any) -> tuple[list[bytes | None], list[bytes | None]]:
        """Images and captions; of a text too, for no one has looked whether it is UTF-8."""
        import pyarrow as pa
        import pyarrow.compute as pc

        images = rows.column(self.image)
        if pa.types.is_struct(images.type):
            images = pc.struct_field(images, "bytes")
        return images.to_pylist(), rows.column(self.caption).cast(pa.large_binary()).to_pylist()

    def _sample(self, name: str, image: bytes | None, caption: bytes | None) -> Found:
        try:
            text = caption.decode() if caption is not None else None
        except UnicodeDecodeError as error:
            return _checked(name, _Fault(f"the caption is not UTF-8 ({error})"), None)
        if image is None:
            return _checked(name, _Fault(f"no bytes in '{self.image}'"), text)
        return _checked(name, _too_large("the image", len(image), LARGEST_IMAGE) or image, text)


def _too_large(what: str, size: int, most: int) -> _Fault | None:
    return _Fault(f"{what} has {size:,} bytes, wanted at most {most:,}") if size > most else None


def _checked(name: str, content: bytes | _Fault, caption: Any) -> Found:
    """A sample, or what is wrong with its image or caption."""
    for part in (content, caption):
        if isinstance(part, _Fault):
            return Problem(name, name, part.what, "handled")
    assert isinstance(content, bytes)
    fault = fault_of_text(caption)
    if fault:
        return Problem(name, name, f"the caption {fault}", "handled")
    return StreamedSample(Sample(name, Caption(caption.strip())), content)
