"""One image under several names: data sets, files of features and folders spell the same picture differently.

"val2014/COCO_val2014_000000000042.jpg", "coco_val2014_000000000042.npz" and "42" are one picture of COCO,
whose numbers are unique over all its splits.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cached_property
from pathlib import PurePosixPath, PureWindowsPath
from typing import final

from alignscope.errors import BadData
from alignscope.registry import did_you_mean

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
_SUFFIXES = IMAGE_SUFFIXES | {".npz", ".npy"}
_COCO = re.compile(r"(?:(?:coco_)?(?:train|val|test)\d{4}_)?(\d+)")
_FEW = 20  # names among which the nearest is looked for


def without_suffix(name: str) -> str:
    """A name in small letters without the endings of image and feature files.

    >>> without_suffix("val2014/COCO_val2014_000000000042.jpg.npz"), without_suffix("scene.7")
    ('val2014/coco_val2014_000000000042', 'scene.7')
    """
    bare = unicodedata.normalize("NFC", name).replace("\\", "/").casefold()
    while (suffix := PurePosixPath(bare).suffix) in _SUFFIXES:
        bare = bare.removesuffix(suffix)
    return bare


def stem(name: str) -> str:
    """A name without folder and ending.

    >>> stem("val2014/COCO_val2014_000000000042.jpg")
    'coco_val2014_000000000042'
    """
    return without_suffix(name).rpartition("/")[2]


def coco_number(name: str) -> str:
    """The number in a name of COCO's, "" of any other name.

    >>> coco_number("COCO_val2014_000000000042.jpg"), coco_number("000000000042"), coco_number("cat_42.png")
    ('42', '42', '')
    """
    match = _COCO.fullmatch(stem(name))
    return str(int(match[1])) if match and match[1].isascii() else ""


def fault_of_name(name: str) -> str | None:
    """Why a name in a file is refused: it names nothing, leads out of folders or hides control characters."""
    if not name.strip() or any(ord(mark) < 32 for mark in name):
        return f"got the image name {name[:80]!r}, wanted one without tabs, line ends and control characters"
    for flavour in (PurePosixPath(name), PureWindowsPath(name)):
        if flavour.anchor or ".." in flavour.parts:
            return f"got the image name {name[:80]!r}, wanted a name that leads out of no folder"
    return None


@final
class Names(Collection[str]):
    """Names of images as one file has them, found by other spellings.

    >>> Names(["COCO_val2014_000000000042", "dog"]).find("42")
    'COCO_val2014_000000000042'
    """

    def __init__(self, known: Collection[str]) -> None:
        self._known = known

    def __len__(self) -> int:
        return len(self._known)

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.find(name) is not None

    def find(self, name: str) -> str | None:
        """The file's own name: the same, else without endings, else without folders, else by COCO's number.

        Two that fit equally well are a `BadData`.
        """
        if name in self._known:
            return name
        for spelling, table in ((without_suffix, self._bare), (stem, self._stems), (coco_number, self._coco)):
            found = table.get(spelling(name), []) if spelling(name) else []
            if len(found) > 1:
                raise BadData(
                    f"got the image {name!r}, which may be {' or '.join(map(repr, found[:3]))} "
                    f"({len(found)} fit): use one of these names"
                )
            if found:
                return found[0]
        return None

    def nearest(self, name: str) -> str:
        """What to say of a name that is not found."""
        if len(self._known) <= _FEW:
            return did_you_mean(name, list(self._known))
        return f"the file has {len(self._known)} others, such as {next(iter(self._known))!r}"

    @cached_property
    def _bare(self) -> Mapping[str, list[str]]:
        return _grouped(self._known, without_suffix)

    @cached_property
    def _stems(self) -> Mapping[str, list[str]]:
        return _grouped(self._known, stem)

    @cached_property
    def _coco(self) -> Mapping[str, list[str]]:
        return _grouped(self._known, coco_number)


def _grouped(known: Collection[str], spelling: Callable[[str], str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for name in known:
        groups.setdefault(spelling(name), []).append(name)
    return groups
