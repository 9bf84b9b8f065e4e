"""The safe format: one Arrow IPC file, memory-mapped, from which an image is read without its neighbours.

Columns image, width, height, boxes, features, tags, confidences, attributes, attribute_confidences, made_by
and digest (sha256 of the record as stored, so that `check` sees damage). Any Arrow library opens it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, final

import numpy as np

from alignscope.data.regionfiles.companions import Companions
from alignscope.data.regionfiles.digests import digest, sha_of_digests
from alignscope.data.regular import regular
from alignscope.errors import BadData, OutputExists, UnwritableOutput
from alignscope.records import Regions
from alignscope.records.regions import fault_of_regions

VERSION = "1"
_BYTES_PER_BATCH = 2**23
_IMAGES_PER_BATCH = 64
HALF = "float16, rounded from float32"
_META = "alignscope.regions.{}"


class Written(NamedTuple):
    """What was written, and the largest change of a feature by rounding to float16 (0 for float32)."""

    images: int
    regions: int
    width: int
    sha: str
    largest_change: float


def write_regions(
    path: Path, sets: Iterable[Regions], *, half: bool = False, overwrite: bool = False, source: str = ""
) -> Written:
    """Write regions one after the other, whole or not at all; `half` keeps features as float16.

    Widths of features must agree, images come once, and records must not contradict themselves.
    """
    import pyarrow as pa

    if path.exists() and not overwrite:
        raise OutputExists(f"{path} exists: give another name, or --overwrite to replace it")
    part = path.parent / f"{path.name}.part"
    writer = _Writer(half=half, source=source)
    try:
        with part.open("wb") as file:
            writer.write(file, sets)
        os.replace(part, path)
    except (OSError, pa.ArrowException) as error:
        if isinstance(error, OSError) and error.filename not in (None, str(part), str(path)):
            raise  # another file's trouble
        raise UnwritableOutput(f"{path} cannot be written ({error}): name another place") from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink()
    return writer.written()


class _Writer:
    """Gathers records to batches; the first one with regions says how wide features are."""

    def __init__(self, *, half: bool, source: str) -> None:
        self._half, self._source = half, source
        self._width: int | None = None
        self._change = 0.0
        self._regions = 0
        self._digests: dict[str, bytes] = {}

    def write(self, file: Any, sets: Iterable[Regions]) -> None:
        import pyarrow as pa

        waiting: list[Regions] = []
        waiting_bytes, sink = 0, None
        try:
            for regions in sets:
                waiting.append(self._stored(regions))
                waiting_bytes += regions.features.nbytes
                is_full = waiting_bytes >= _BYTES_PER_BATCH or len(waiting) >= _IMAGES_PER_BATCH
                if is_full and self._width is not None:
                    sink = sink or pa.ipc.new_file(file, self._schema)
                    sink.write_batch(self._batch(waiting))
                    waiting, waiting_bytes = [], 0
            sink = sink or pa.ipc.new_file(file, self._schema)
            if waiting:
                sink.write_batch(self._batch(waiting))
        finally:
            if sink is not None:
                sink.close()

    @property
    def _schema(self) -> Any:
        return _schema(self._width or 0, half=self._half, source=self._source)

    def written(self) -> Written:
        sha = sha_of_digests(self._digests.values())
        return Written(len(self._digests), self._regions, self._width or 0, sha, self._change)

    def _stored(self, regions: Regions) -> Regions:
        """The record as it will be read back, checked."""
        fault = fault_of_regions(regions)
        if regions.image in self._digests:
            fault = "got this image a second time, wanted each once"
        width = regions.features.shape[1]
        if len(regions) and self._width not in (None, width):
            fault = f"got features of width {width}, wanted {self._width} as of the images before"
        if fault:
            raise BadData(f"regions of {regions.image!r}: {fault}")
        if not len(regions):  # as it will be read back
            regions = replace(regions, features=np.zeros((0, 0), np.float32))
        if self._half:
            regions = self._halved(regions)
        self._width = width if len(regions) else self._width
        self._regions += len(regions)
        self._digests[regions.image] = digest(regions)
        return regions

    def _halved(self, regions: Regions) -> Regions:
        with np.errstate(over="ignore"):
            rounded = regions.features.astype(np.float16).astype(np.float32)
        if not np.isfinite(rounded).all():
            most = float(np.abs(regions.features).max())
            raise BadData(
                f"regions of {regions.image!r}: got a feature of {most:g}, float16 ends at 65504: leave --half out"
            )
        if rounded.size:
            self._change = max(self._change, float(np.abs(rounded - regions.features).max()))
        return replace(regions, features=rounded)

    def _batch(self, sets: Sequence[Regions]) -> Any:
        import pyarrow as pa

        schema = self._schema
        columns = []
        for field in schema:
            if field.name == "digest":
                values: list[Any] = [self._digests[one.image] for one in sets]
            else:
                values = [getattr(one, field.name) for one in sets]
            if field.name in ("boxes", "features"):
                wide = 4 if field.name == "boxes" else self._width or 0
                columns.append(_lists(values, field.type, wide))
            else:
                columns.append(pa.array(list(map(_listed, values)), field.type))
        return pa.RecordBatch.from_arrays(columns, schema=schema)


def _schema(width: int, *, half: bool, source: str) -> Any:
    import pyarrow as pa

    floats, words = pa.list_(pa.float32()), pa.list_(pa.string())
    fields = {
        **{"image": pa.string(), "width": pa.int32(), "height": pa.int32()},
        "boxes": pa.list_(pa.list_(pa.float32(), 4)),
        "features": pa.list_(pa.list_(pa.float16() if half else pa.float32(), width)),
        **{"tags": words, "confidences": floats, "attributes": words, "attribute_confidences": floats},
        **{"made_by": pa.string(), "digest": pa.binary(32)},
    }
    told = {
        "version": VERSION,
        "width": str(width),
        "features": HALF if half else "float32",
        "source": source,
    }
    metadata = {_META.format(name): value for name, value in told.items()}
    return pa.schema([pa.field(n, t, nullable=False) for n, t in fields.items()], metadata=metadata)


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _lists(values: Sequence[np.ndarray], kind: Any, wide: int) -> Any:
    """A column of one list of rows per image, from arrays and without Python numbers."""
    import pyarrow as pa

    offsets = np.concatenate([[0], np.cumsum([len(each) for each in values])]).astype(np.int32)
    numbers = [each.reshape(-1) for each in values]
    flat = np.concatenate(numbers).astype(kind.value_type.value_type.to_pandas_dtype(), copy=False)
    if wide == 0:  # no image has regions
        rows = pa.array([], kind.value_type)
    else:
        rows = pa.FixedSizeListArray.from_arrays(pa.array(flat), type=kind.value_type)
    return pa.ListArray.from_arrays(pa.array(offsets), rows, type=kind)


@final
class ArrowFile:
    """Regions of a memory-mapped file; at opening only names are read."""

    def __init__(self, path: Path, companions: Companions) -> None:
        import pyarrow as pa

        self._path = path
        try:
            self._reader = pa.ipc.open_file(pa.memory_map(str(regular(path))))
        except (pa.ArrowException, OSError) as error:
            raise BadData(f"{path}: got no whole Arrow file ({error}); convert it anew") from None
        self.notes = self._told(self._reader.schema)
        self._places: dict[str, tuple[int, int]] = {}
        for number, batch in self._batches():
            for row, image in enumerate(batch.column("image").to_pylist()):
                if image in self._places:
                    raise BadData(f"{path}: got the image {image!r} twice, wanted each once; convert it anew")
                self._places[image] = (number, row)

    @property
    def images(self) -> Collection[str]:
        """Names of the images, in the order they were written."""
        return self._places.keys()

    def place(self, image: str) -> str:
        """Where an image's record lies, for errors."""
        return f"{self._path}: record {image!r}"

    def read(self, image: str) -> Regions:
        """The record of an image; pages of other images' features are not touched."""
        number, row = self._places[image]
        batch = self._reader.get_batch(number)
        cell = {name: batch.column(name)[row] for name in batch.schema.names}
        many = len(cell["boxes"])
        plain = {name: cell[name].as_py() for name in ("width", "height", "tags", "attributes", "made_by")}
        if len(cell["features"]) != many:
            raise BadData(f"got {len(cell['features'])} features for {many} boxes; convert it anew")
        regions = Regions(
            image=image,
            width=plain["width"],
            height=plain["height"],
            boxes=_numbers(cell["boxes"].values.flatten()).reshape(many, 4),
            features=_numbers(cell["features"].values.flatten()).reshape(many, -1 if many else 0),
            tags=tuple(plain["tags"]),
            confidences=_numbers(cell["confidences"].values),
            attributes=tuple(plain["attributes"]),
            attribute_confidences=_numbers(cell["attribute_confidences"].values),
            made_by=plain["made_by"],
        )
        return regions

    def digest(self, image: str) -> bytes:
        """sha256 of the record when it was written."""
        number, row = self._places[image]
        return self._reader.get_batch(number).column("digest")[row].as_py()

    def _told(self, schema: Any) -> tuple[str, ...]:
        metadata = {k.decode("utf-8", "replace"): v for k, v in (schema.metadata or {}).items()}
        told = {
            n: metadata.get(_META.format(n), b"").decode("utf-8", "replace") for n in ("version", "features")
        }
        if told["version"] != VERSION:
            raise BadData(
                f"{self._path}: got an Arrow file of version {told['version'] or 'none'}, wanted regions of "
                f"version {VERSION} as `alignscope regions convert` writes them"
            )
        width = metadata.get(_META.format("width"), b"")
        wide = int(width) if width.isdigit() and len(width) < 8 else 0
        if not schema.equals(_schema(wide, half=told["features"] == HALF, source="")):
            raise BadData(f"{self._path}: got other columns than version {VERSION} has; convert it anew")
        return () if told["features"] == "float32" else (f"features are {told['features']}",)

    def _batches(self) -> Iterator[tuple[int, Any]]:
        import pyarrow as pa

        for number in range(self._reader.num_record_batches):
            try:
                batch = self._reader.get_batch(number)
                batch.validate(full=True)  # offsets and text: a broken one would be read past its end
            except (pa.ArrowException, OSError) as error:
                raise BadData(
                    f"{self._path}: batch {number + 1} is broken ({error}); convert it anew"
                ) from None
            yield number, batch


def _numbers(values: Any) -> np.ndarray:
    return np.array(values.to_numpy(zero_copy_only=True), np.float32)
