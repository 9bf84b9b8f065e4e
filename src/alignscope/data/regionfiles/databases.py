"""Region files in LMDB: UNITER's (msgpack or npz per image) and ViLBERT's (pickled dictionaries).

Pickles are read by `unpickling.plain`, which runs nothing. LMDB itself trusts its file: one that is shorter
than it says is refused, as reading past its end would end the program.
"""

from __future__ import annotations

import io
import json
import weakref
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, final

import numpy as np

from alignscope.data.regionfiles.cells import regions_of
from alignscope.data.regionfiles.companions import Companions
from alignscope.data.regionfiles.npz import CUT, confident, first, read_npz
from alignscope.data.regionfiles.unpickling import plain
from alignscope.data.regular import regular
from alignscope.errors import BadData, MissingExtra
from alignscope.records import Regions

_NOT_IMAGES = {b"keys", b"__keys__", b"__len__", b"num_samples"}


@final
class Database:
    """An LMDB file opened for reading, once per process however many hold it."""

    def __init__(self, path: Path) -> None:
        try:
            import lmdb
        except ImportError as error:
            raise MissingExtra("region features in LMDB", "pip install 'alignscope[lmdb]'") from error
        self._error: type[Exception] = lmdb.Error
        file = path / "data.mdb" if path.is_dir() else path
        try:
            self._environment = lmdb.open(
                str(regular(path)),
                subdir=path.is_dir(),
                readonly=True,
                lock=False,
                readahead=False,
                create=False,
            )
            pages = self._environment.info()["last_pgno"] + 1
            wanted = pages * self._environment.stat()["psize"]
        except (lmdb.Error, OSError) as error:
            raise BadData(f"{path}: got no LMDB that opens ({error}); copy it anew") from None
        if file.stat().st_size < wanted:
            self._environment.close()
            raise BadData(f"{file}: got {file.stat().st_size} bytes, wanted {wanted}; copy it anew")
        weakref.finalize(self, self._environment.close)

    def names(self) -> list[bytes]:
        """Keys of all images."""
        try:
            with self._environment.begin() as reading:
                names = reading.cursor().iternext(keys=True, values=False)
                return [bytes(name) for name in names if bytes(name) not in _NOT_IMAGES]
        except self._error as error:
            raise BadData(f"got a database that does not read ({error}); copy it anew") from None

    def value(self, key: bytes) -> bytes:
        """The bytes under a key."""
        try:
            with self._environment.begin() as reading:
                return bytes(reading.get(key, b""))
        except self._error as error:
            raise BadData(f"got a value that does not read ({error}); copy the file anew") from None


_opened: weakref.WeakValueDictionary[Path, Database] = weakref.WeakValueDictionary()


def database(path: Path) -> Database:
    """The database of a file; the same one while anybody holds it, as LMDB asks."""
    there = path.resolve()
    found = _opened.get(there)
    if found is None:
        found = _opened[there] = Database(path)
    return found


def kind(path: Path) -> str:
    """The name of the format of a database, from its first value."""
    opened = database(path)
    keys = opened.names()
    if not keys:
        raise BadData(f"{path}: got a database without images")
    start = opened.value(keys[0])[:2]
    is_pickle = start[:1] in (b"(", b"}") or (start[:1] == b"\x80" and start[1:] <= b"\x05")
    return "vilbert-lmdb" if is_pickle else "uniter-lmdb"


@final
class DatabaseFile:
    """Regions by image in LMDB."""

    def __init__(self, path: Path, companions: Companions, *, is_uniter: bool) -> None:
        self._path, self._companions, self._is_uniter = path, companions, is_uniter
        self._database = database(path)
        keys = self._database.names()
        self._keys = {_name(key): key for key in keys}
        if len(self._keys) < len(keys):
            raise BadData(
                f"{path}: got keys that name one image twice (with .npz and without, or not in UTF-8)"
            )
        self._counts, self.notes = _counts(path) if is_uniter else ({}, ())
        self._holds_all = is_uniter and path.name.startswith("all") and not self._counts
        self.notes += (CUT,) if self._holds_all else ()

    @property
    def images(self) -> Collection[str]:
        """Names of the images; UNITER's without .npz."""
        return self._keys.keys()

    def place(self, image: str) -> str:
        """Where an image's record lies, for errors."""
        return f"{self._path}: record {self._keys[image].decode('utf-8', 'replace')!r}"

    def read(self, image: str) -> Regions:
        """The record of an image."""
        content = self._database.value(self._keys[image])
        if not self._is_uniter:
            values = plain(content)
            if not isinstance(values, dict):
                raise BadData(f"got a pickled {type(values).__name__}, wanted a dictionary")
            return regions_of(image, values, self._companions)
        arrays = read_npz(io.BytesIO(content)) if content[:2] == b"PK" else _unpacked(content)
        return regions_of(image, self._cut(image, arrays), self._companions)

    def _cut(self, image: str, arrays: Mapping[str, Any]) -> Mapping[str, Any]:
        """The first boxes of an image, as many as UNITER takes; all where it was cut when it was written."""
        count = self._counts.get(self._keys[image].decode("utf-8", "replace"))
        if count is None and self._holds_all:
            if "conf" not in arrays:
                raise BadData(f"got no `conf` among {sorted(arrays)}, wanted it in a database of all boxes")
            count = confident(arrays["conf"])
        return arrays if count is None else first(arrays, count)


def uniter(path: Path, companions: Companions) -> DatabaseFile:
    """UNITER's features: shares in place of boxes, no image sizes, float16."""
    return DatabaseFile(path, companions, is_uniter=True)


def vilbert(path: Path, companions: Companions) -> DatabaseFile:
    """ViLBERT's features: dictionaries with base64 or arrays."""
    return DatabaseFile(path, companions, is_uniter=False)


def _name(key: bytes) -> str:
    return key.decode("utf-8", "replace").removesuffix(".npz")


def _counts(path: Path) -> tuple[dict[str, int], tuple[str, ...]]:
    """Boxes per image from the nbb_... file of a feat_... database, where it lies beside."""
    file = path.with_name(f"nbb{path.name.removeprefix('feat').removesuffix('_compressed')}.json")
    if not path.name.startswith("feat") or not file.is_file():
        return {}, ()
    try:
        counts = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BadData(f"{file}: got no JSON ({error}); copy it anew or remove it") from None
    if not isinstance(counts, dict) or not all(type(each) is int and each > 0 for each in counts.values()):
        raise BadData(f"{file}: got something that is not a count of boxes per image; copy it anew")
    return counts, (f"boxes per image are those of {file.name}",)


def _unpacked(content: bytes) -> dict[str, Any]:
    """A dictionary of arrays from msgpack, as msgpack-numpy writes them."""
    try:
        import msgpack
    except ImportError as error:
        raise MissingExtra("region features in LMDB", "pip install 'alignscope[lmdb]'") from error
    try:
        values = msgpack.unpackb(content, raw=False, strict_map_key=False, object_hook=_array_of)
    except BadData:
        raise
    except Exception as error:  # msgpack has a tree of its own beside ValueError
        raise BadData(f"got msgpack that does not read ({type(error).__name__}: {error})") from None
    if not isinstance(values, dict):
        raise BadData(f"got msgpack of a {type(values).__name__}, wanted a dictionary of arrays")
    return {str(name): value for name, value in values.items()}


def _array_of(entry: dict[Any, Any]) -> Any:
    """An array where a dictionary says {nd: True, type, kind, shape, data}; keys may be text or bytes."""
    named = {name.decode("latin1") if isinstance(name, bytes) else name: each for name, each in entry.items()}
    if "nd" not in named:
        return entry
    code, content = named.get("type"), named.get("data")
    text = code.decode("latin1") if isinstance(code, bytes) else code
    if not isinstance(text, str) or text.lstrip("<>|=")[:1] not in ("f", "i", "u", "b"):
        raise BadData(f"got an array of kind {str(text)[:20]!r}, wanted numbers")
    numbers = np.frombuffer(content or b"", np.dtype(text))
    return numbers.reshape(named["shape"]) if named["nd"] else numbers[0]
