"""Features of images that were computed before: a folder with one `.npy` file per image.

As `cocotalk_fc/391895.npy` of self-critical.pytorch: one vector per image, or one per region or patch. An
image is found under its own name without ending, or under the number at the end of a COCO file name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import final

import numpy as np

from alignscope.errors import BadData, UnknownName
from alignscope.registry import did_you_mean

_COCO = re.compile(r"(?:.*_)?0*(\d+)")
_NEAR = 20
"""Files among which the nearest name is looked for."""


@final
class FeatureFolder(Mapping[str, np.ndarray]):
    """Features by image as float32, each read when asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            files = sorted(folder.glob("*.npy"))
        except OSError:
            files = []
        if not files:
            raise BadData(f"{folder}: got no .npy file there, wanted one per image; check the path")
        self._files = {file.stem: file for file in files}

    def __len__(self) -> int:
        return len(self._files)

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __contains__(self, image: object) -> bool:
        return isinstance(image, str) and any(name in self._files for name in names_of(image))

    def __getitem__(self, image: str) -> np.ndarray:
        name = next((name for name in names_of(image) if name in self._files), None)
        if name is None:
            many = len(self._files)
            near = did_you_mean(image, self._files) if many <= _NEAR else f"it has {many} others"
            raise UnknownName(f"{self.folder}: no features of {image!r}: {near}")
        path = self._files[name]
        try:
            features = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError, MemoryError) as error:  # or a header of more than memory holds
            raise BadData(f"{path}: got no readable array ({error}); replace it by a whole copy") from None
        if not isinstance(features, np.ndarray):
            raise BadData(f"{path}: got an archive, wanted one array; replace it by a .npy file")
        if features.ndim not in (1, 2) or not np.issubdtype(features.dtype, np.floating):
            raise BadData(
                f"{path}: got an array of {features.dtype} {features.shape}, wanted floating numbers (width) or "
                "(region, width); compute it again"
            )
        if not np.isfinite(features).all():
            raise BadData(f"{path}: got numbers that are not finite; compute it again")
        return features.astype(np.float32)


def names_of(image: str) -> list[str]:
    """What the file of an image may be called, without ending, the likeliest first.

    >>> names_of("COCO_val2014_000000391895.jpg"), names_of("12"), names_of("dog.png")
    (['COCO_val2014_000000391895', '391895'], ['12'], ['dog'])
    """
    stem = Path(image).stem
    number = _COCO.fullmatch(stem)
    return list(dict.fromkeys([stem, number[1]] if number else [stem]))
