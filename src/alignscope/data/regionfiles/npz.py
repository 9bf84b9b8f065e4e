"""Folders of one .npz per image: ROSITA's, UNITER's before its database, and plain ones; never pickles.

What an archive declares is compared with what it holds before any memory is taken. UNITER's hold every box
of the detector; those with `norm_bb` and `conf` are cut as its authors cut them for their database.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Collection, Mapping
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any, final

import numpy as np

from alignscope.data.regionfiles.cells import READ, floats, regions_of
from alignscope.data.regionfiles.companions import Companions
from alignscope.data.regular import regular
from alignscope.errors import BadData
from alignscope.records import Regions

LARGEST_ARRAY = 2**27
"""Bytes of one array; 100 regions of width 2048 have 819,200."""
_MOST_MEMBERS = 1000
CONFIDENT, FEWEST, MOST = 0.2, 10, 100
"""UNITER's rule where there are all boxes: those above this confidence, but at least 10 and at most 100."""
CUT = (
    f"each image's regions are cut by UNITER's rule: those of confidence above {CONFIDENT}, but at least "
    f"{FEWEST} and at most {MOST}"
)
"""The note of a file that is read so."""


@final
class NpzFolder:
    """Images by the path of their file inside the folder, without .npz."""

    def __init__(self, path: Path, companions: Companions) -> None:
        self._path, self._companions = path, companions
        if not path.is_dir():
            raise BadData(f"{path}: got a file, wanted the folder of the .npz files")
        files = sorted(path.rglob("*.npz"))
        self._files = {file.relative_to(path).as_posix().removesuffix(".npz"): file for file in files}

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """Whether images are cut, by the first one that reads."""
        for file in self._files.values():
            try:
                with regular(file).open("rb") as opened:
                    return (CUT,) if _is_whole(read_npz(opened)) else ()
            except (OSError, BadData):  # told when the image is asked for
                continue
        return ()

    @property
    def images(self) -> Collection[str]:
        """Names of the images, sorted."""
        return self._files.keys()

    def place(self, image: str) -> str:
        """Where an image's record lies, for errors."""
        return str(self._files[image])

    def read(self, image: str) -> Regions:
        """The record of an image."""
        try:
            with regular(self._files[image]).open("rb") as file:
                arrays = read_npz(file)
            if _is_whole(arrays):
                arrays = first(arrays, confident(arrays["conf"]))
            return regions_of(image, arrays, self._companions)
        except OSError as error:
            raise BadData(f"got {error.strerror or error}, wanted a readable file") from None


def _is_whole(arrays: Mapping[str, Any]) -> bool:
    """Whether these are UNITER's arrays of all boxes."""
    return "norm_bb" in arrays and "conf" in arrays


def confident(confidences: Any) -> int:
    """How many boxes UNITER takes, the detector's most confident being the first.

    >>> confident(np.array([0.9] * 30 + [0.1] * 20)), confident(np.array([0.9] * 3 + [0.1] * 20))
    (30, 10)
    """
    return min(MOST, max(FEWEST, int((floats(confidences, "conf") > CONFIDENT).sum())))


def first(arrays: Mapping[str, Any], count: int) -> Mapping[str, Any]:
    """The values of an image's first boxes."""
    return {name: np.asarray(array)[:count] if np.ndim(array) else array for name, array in arrays.items()}


def read_npz(file: io.BufferedIOBase) -> Mapping[str, np.ndarray]:
    """The arrays of an archive that region readers know; others are not opened."""
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            if len(members) > _MOST_MEMBERS:
                raise BadData(f"got an archive of {len(members)} members, wanted at most {_MOST_MEMBERS}")
            named = {member.filename.removesuffix(".npy"): member for member in members}
            return {name: _array(archive, named[name]) for name in named if name in READ}
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise BadData(f"got no whole .npz archive ({error}); copy it anew") from None
    except (ValueError, OSError, zipfile.zlib.error) as error:  # type: ignore[attr-defined]
        raise BadData(f"got an archive that does not decode ({error}); copy it anew") from None


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    name = member.filename
    if member.file_size > LARGEST_ARRAY:
        raise BadData(f"`{name}`: got {member.file_size} bytes, wanted at most {LARGEST_ARRAY}")
    with archive.open(member) as stream:
        content = stream.read(LARGEST_ARRAY + 1)
    if len(content) != member.file_size:
        raise BadData(f"`{name}`: got {len(content)} bytes, wanted {member.file_size} as the archive says")
    buffer = io.BytesIO(content)
    version = np.lib.format.read_magic(buffer)
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read_header is None:
        raise BadData(f"`{name}`: got .npy version {version}, wanted 1.0 or 2.0")
    shape, by_columns, dtype = read_header(buffer)
    if dtype.hasobject or dtype.kind not in "fiub":
        raise BadData(f"`{name}`: got values of kind {dtype}, wanted numbers: objects are pickles, not read")
    held = len(content) - buffer.tell()
    if any(side < 0 for side in shape) or prod(shape) * dtype.itemsize != held:
        raise BadData(f"`{name}`: got {held} bytes of numbers, declared are {list(shape)} of {dtype}")
    numbers = np.frombuffer(content, dtype, offset=buffer.tell())
    return numbers.reshape(shape, order="F" if by_columns else "C")
