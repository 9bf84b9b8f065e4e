"""Named values of one image to its record of regions, whichever file they come from.

A value is an array, a number, or base64 of float32 (of int64 or int32 for numbers of words). Boxes are
corners in pixels, or (`norm_bb`, UNITER) corners as shares of the image's sides.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float32

from alignscope.data.regionfiles.companions import Companions
from alignscope.data.regionfiles.vocabulary import Vocabulary
from alignscope.errors import BadData
from alignscope.records import Regions

_SPELLINGS = {
    "features": ("features", "x", "feat"),
    "boxes": ("boxes", "bbox"),
    "shares": ("norm_bb",),
    "count": ("num_boxes", "num_bbox"),
    "width": ("image_w", "img_w"),
    "height": ("image_h", "img_h"),
    "objects": ("objects_id",),
    "confidences": ("objects_conf", "conf"),
    "attributes": ("attrs_id",),
    "attribute confidences": ("attrs_conf",),
}
READ = frozenset(spelling for spellings in _SPELLINGS.values() for spelling in spellings)
"""Names of the values that are read."""


def regions_of(image: str, values: Mapping[str, Any], companions: Companions) -> Regions:
    """The record of an image; values that contradict each other are a `BadData`.

    Features are regions by width or width by regions, whichever fits the boxes.
    """
    cells = _respelled(values)
    are_shares = "boxes" not in cells
    corners = _boxes(cells, "shares" if are_shares else "boxes")
    width, height = _size(image, cells, companions, are_shares=are_shares)
    if are_shares:
        corners = corners * np.array([width, height, width, height], np.float32)
    many = len(corners)
    return Regions(
        image=image,
        width=width,
        height=height,
        boxes=corners,
        features=_features(cells["features"], many),
        tags=_words(cells, "objects", many, companions),
        confidences=_confidences(cells, "confidences", many),
        attributes=_words(cells, "attributes", many, companions),
        attribute_confidences=_confidences(cells, "attribute confidences", many),
    )


def _respelled(values: Mapping[str, Any]) -> dict[str, Any]:
    cells: dict[str, Any] = {}
    for name, spellings in _SPELLINGS.items():
        there = [spelling for spelling in spellings if spelling in values]
        if len(there) > 1:
            raise BadData(f"got both `{there[0]}` and `{there[1]}`, wanted one of them")
        if there:
            cells[name] = values[there[0]]
    for name, either in (("features", ("features",)), ("boxes", ("boxes", "shares"))):
        if not any(each in cells for each in either):
            wanted = [spelling for each in either for spelling in _SPELLINGS[each]]
            raise BadData(
                f"got no {name} among {sorted(map(str, values))[:12]}, wanted `{'` or `'.join(wanted)}`"
            )
    return cells


def _boxes(cells: Mapping[str, Any], name: str) -> Float32[np.ndarray, "region 4"]:
    columns = 6 if name == "shares" else 4
    numbers = floats(cells[name], name)
    if numbers.ndim == 1 and numbers.size % columns == 0:
        numbers = numbers.reshape(-1, columns)
    if numbers.ndim != 2 or numbers.shape[1] not in {4, columns}:
        raise BadData(
            f"`{name}`: got numbers in the shape {list(numbers.shape)}, wanted [regions, {columns}]"
        )
    if "count" in cells and whole(cells["count"], "count") != len(numbers):
        raise BadData(
            f"`{name}`: got {len(numbers)} boxes, wanted {whole(cells['count'], 'count')} (num_boxes)"
        )
    return np.ascontiguousarray(numbers[:, :4])


def _size(
    image: str, cells: Mapping[str, Any], companions: Companions, *, are_shares: bool
) -> tuple[int, int]:
    if "width" in cells and "height" in cells:
        return whole(cells["width"], "width"), whole(cells["height"], "height")
    return companions.size(image, are_shares=are_shares)


def _features(value: Any, many: int) -> Float32[np.ndarray, "region width"]:
    numbers = floats(value, "features")
    if many > 0 and not numbers.size:
        raise BadData(f"`features`: got no numbers for {many} boxes")
    if numbers.ndim == 1 and many > 0 and numbers.size % many == 0:
        return numbers.reshape(many, -1)
    if numbers.ndim == 1 and many == 0 and numbers.size == 0:
        return numbers.reshape(0, 0)
    if numbers.ndim == 2 and many in numbers.shape:
        if numbers.shape == (many, many) and many > 1:
            raise BadData(f"`features`: got {many} by {many} numbers: which side the regions are is open")
        return np.ascontiguousarray(numbers if numbers.shape[0] == many else numbers.T)
    raise BadData(
        f"`features`: got numbers in the shape {list(numbers.shape)}, wanted some for each of {many} boxes"
    )


def _words(cells: Mapping[str, Any], name: str, many: int, companions: Companions) -> tuple[str, ...]:
    if name not in cells or not companions.tags:
        return ()
    numbers = _integers(cells[name], name, many)
    if len(numbers) not in (0, many):
        raise BadData(f"`{name}`: got {len(numbers)} numbers, wanted {many} (one per box) or none")
    if not len(numbers):
        return ()
    words: Vocabulary = companions.object_words if name == "objects" else companions.attribute_words
    return tuple(words.word(number) for number in numbers.tolist())


def _confidences(cells: Mapping[str, Any], name: str, many: int) -> Float32[np.ndarray, " region"]:
    numbers = floats(cells[name], name) if name in cells else np.zeros(0, np.float32)
    if numbers.ndim == 2 and 1 in numbers.shape:
        numbers = numbers.ravel()
    if numbers.ndim != 1 or len(numbers) not in (0, many):
        raise BadData(
            f"`{name}`: got numbers in the shape {list(numbers.shape)}, wanted {many} (one per box) or none"
        )
    return numbers


def floats(value: Any, name: str) -> Float32[np.ndarray, "..."]:
    """A fresh float32 array of a value; base64 is of float32 and gives one dimension."""
    if isinstance(value, (str, bytes)):
        raw = unpacked(value, name)
        if len(raw) % 4:
            raise BadData(f"`{name}`: got {len(raw)} bytes, wanted 4 for each number (float32)")
        return np.frombuffer(raw, "<f4").astype(np.float32)
    try:
        array = np.asarray(value)
    except ValueError:
        raise BadData(f"`{name}`: got lists of several lengths, wanted numbers") from None
    if array.dtype.kind not in "fiu":
        raise BadData(f"`{name}`: got values of kind {array.dtype}, wanted numbers")
    with np.errstate(over="ignore"):  # what float32 does not hold becomes infinite and is refused as such
        return array.astype(np.float32)


def _integers(value: Any, name: str, many: int) -> np.ndarray:
    if isinstance(value, (str, bytes)):
        raw = unpacked(value, name)
        if len(raw) not in (0, 4 * many, 8 * many):
            raise BadData(f"`{name}`: got {len(raw)} bytes, wanted {8 * many} or {4 * many} (int64 or int32)")
        return np.frombuffer(raw, "<i8" if len(raw) == 8 * many else "<i4")
    array = np.asarray(value)
    if array.dtype.kind not in "iu" or array.ndim != 1:
        raise BadData(f"`{name}`: got {array.dtype} in {list(array.shape)}, wanted one whole number per box")
    return array


def unpacked(value: str | bytes, name: str) -> bytes:
    """The bytes of base64; anything else is a `BadData`."""
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadData(f"`{name}`: got no base64 ({error}): {value[:40]!r}") from None


def whole(value: Any, name: str) -> int:
    """A whole number from an integer, an array of one or digits."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.item()
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
    if isinstance(value, bool) or not (text.isascii() and text.isdigit() and len(text) < 10):
        raise BadData(f"`{name}`: got {text[:40]!r}, wanted a whole number")
    return int(text)
