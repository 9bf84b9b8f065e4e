"""Features of images that were computed before: a folder with one `.npy` file per image.

As `cocotalk_fc/391895.npy` of self-critical.pytorch: one vector per image, or one per region or patch; or
`val2014/dog.jpg.npy`, in folders as the images lie. Names may be spelt as data sets spell them (see `Names`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import final

import numpy as np

from alignscope.data.names import Names
from alignscope.data.regular import regular
from alignscope.errors import BadData, UnknownName


@final
class FeatureFolder(Mapping[str, np.ndarray]):
    """Features by image as float32, each read when asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            files = sorted(folder.rglob("*.npy"))
        except OSError:
            files = []
        if not files:
            raise BadData(
                f"{folder}: got no .npy file there, wanted one per image; check the path, or make them "
                "with `regions features`"
            )
        self._files = {file.relative_to(folder).as_posix().removesuffix(".npy"): file for file in files}
        self._names = Names(self._files)

    def __len__(self) -> int:
        return len(self._files)

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __contains__(self, image: object) -> bool:
        return image in self._names

    def __getitem__(self, image: str) -> np.ndarray:
        name = self._names.find(image)
        if name is None:
            raise UnknownName(f"{self.folder}: no features of {image!r}: {self._names.nearest(image)}")
        path = self._files[name]
        try:
            features = np.load(regular(path), allow_pickle=False)
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
