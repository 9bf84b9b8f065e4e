"""Hashes that identify regions, so that a number can say exactly which features it was computed from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

from alignscope.files import sha_of
from alignscope.records import Regions


def digest(regions: Regions) -> bytes:
    """sha256 of everything in a record: image, size, boxes, features, words, confidences, maker."""
    arrays = (regions.boxes, regions.features, regions.confidences, regions.attribute_confidences)
    head = [
        *(regions.image, regions.width, regions.height, regions.made_by),
        *(list(regions.tags), list(regions.attributes), [list(array.shape) for array in arrays]),
    ]
    state = hashlib.sha256(json.dumps(head).encode())
    for array in arrays:
        state.update(array.astype("<f4", copy=False).tobytes())
    return state.digest()


def sha_of_regions(records: Iterable[Regions]) -> str:
    """Twelve digits that identify a set of regions, whatever their order and however often each comes."""
    return sha_of_digests(digest(regions) for regions in records)


def sha_of_digests(digests: Iterable[bytes]) -> str:
    """As `sha_of_regions`, from digests kept while the regions went by.

    >>> sha_of_digests([b"b", b"a", b"b"]) == sha_of_digests([b"a", b"b"])
    True
    """
    return sha_of(sorted({each.hex() for each in digests}))
