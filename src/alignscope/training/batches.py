"""Which images a step sees: a function of (seed, stage, step) alone, so a resumed run sees the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np
from jaxtyping import Int64


@final
class Batches:
    """Draws batches of distinct images; a share of each comes in groups whose images have the same key.

    Images of one group differ in what the key does not say, so a model must hear more than the key to
    tell them apart (hard negatives by image; compare Yuksekgonul et al. 2023, section 4).
    """

    def __init__(self, keys: Sequence[str], *, batch: int, grouped: float, group: int, seed: int) -> None:
        members: dict[str, list[int]] = {}
        for index, key in enumerate(keys):
            members.setdefault(key, []).append(index)
        self._groups = [np.array(m) for m in members.values() if len(m) >= group]
        self._shares = np.array([len(m) for m in self._groups], dtype=float)
        self._images, self._batch, self._group, self._seed = len(keys), batch, group, seed
        self._wanted = int(batch * grouped) // group if self._groups else 0

    def __call__(self, stage: int, step: int) -> Int64[np.ndarray, " batch"]:
        """The images of one step, as positions in `keys`."""
        random = np.random.default_rng([self._seed, stage, step])
        taken: list[int] = []
        if self._wanted:
            chosen = random.choice(
                len(self._groups),
                size=min(self._wanted, len(self._groups)),
                replace=False,
                p=self._shares / self._shares.sum(),
            )
            for place in chosen:
                taken += random.choice(self._groups[place], size=self._group, replace=False).tolist()
        seen = set(taken)
        for index in random.permutation(self._images):
            if len(taken) == self._batch:
                break
            if int(index) not in seen:
                taken.append(int(index))
        return np.array(taken, dtype=np.int64)
