"""Measures of captions that other packages add, by entry points of the group `alignscope.measure`.

A measure takes captions and, for each, its image's references, and gives a value each or None. `alignscope probe
texts --metric NAME` prints it beside CIDEr; a recipe pays by it: `reward = [{ kind = "measure", name = "NAME" }]`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

from alignscope.errors import LengthMismatch
from alignscope.registry import Registry

Measure = Callable[[Sequence[str], Sequence[Sequence[str]]], Sequence[float | None]]
MEASURES = Registry("measure", {})


def values_of(
    name: str, captions: Sequence[str], references: Sequence[Sequence[str]]
) -> Float[np.ndarray, " caption"]:
    """What a measure says of each caption; NaN where it gives None."""
    measure: Measure = MEASURES[name]
    values = list(measure(captions, references))
    if len(values) != len(captions):
        raise LengthMismatch(
            f"the measure '{name}' of {MEASURES.source(name)} gave {len(values)} values for {len(captions)} "
            "captions, wanted one each (None where there is none)"
        )
    return np.array(values, dtype=np.float64)
