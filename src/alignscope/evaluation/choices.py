"""How often a model prefers the right caption to a foil, by kind of foil."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from alignscope.evaluation.intervals import (
    Sample,
    clustered_average,
    measured,
    sample_of,
)
from alignscope.records import DRAWS, FOIL_KINDS, Choice, Measurement, Signature

CREDIT: dict[str, float] = {"wrong": 0.0, "half": 0.5, "right": 1.0}


def accuracy(
    choices: Sequence[Choice],
    *,
    missing: Mapping[str, int],
    signature: Signature,
    ties: Literal["wrong", "half", "right"] = "wrong",
    draws: int = DRAWS,
    seed: int = 0,
    level: float = 0.95,
) -> list[Measurement]:
    """Accuracy by foil kind, over all choices ("all") and averaged over kinds ("all kinds (macro)").

    Scores are compared in float32, whatever they were stored in; what is equal there is a tie and
    worth what `ties` says. A score that is not finite leaves its choice out and counts as missing,
    beside `missing`, which says per kind how many could not be scored (a kind named with 0 gets a row).
    """
    signature = replace(signature, ties=ties, seed=seed)
    right: dict[str, list[tuple[float, str]]] = defaultdict(list)
    tied: dict[str, int] = defaultdict(int)
    unscored: dict[str, int] = defaultdict(int, missing)
    for choice in choices:
        margin = margin_of(choice)
        if margin is None:
            unscored[choice.kind] += 1
            continue
        tied[choice.kind] += margin == 0
        right[choice.kind].append((CREDIT[ties] if margin == 0 else float(margin > 0), choice.image))

    def number(group: str, samples: Sequence[Sample], kinds: Sequence[str], reason: str = "") -> Measurement:
        return measured(
            clustered_average(samples, draws=draws, seed=seed, level=level),
            samples,
            measure="accuracy",
            group=group,
            signature=signature,
            ties=sum(tied[kind] for kind in kinds),
            missing=sum(unscored[kind] for kind in kinds),
            level=level,
            reason=reason,
        )

    kinds = in_table_order([*right, *unscored])
    by_kind = {kind: sample_of(right[kind]) for kind in kinds}
    scored = [sample for sample in by_kind.values() if len(sample.values)]
    lacking = f"average of {len(scored)} of {len(kinds)} kinds" if 0 < len(scored) < len(kinds) else ""
    whole = sample_of([pair for kind in kinds for pair in right[kind]])
    return [
        *(number(kind, [sample], [kind]) for kind, sample in by_kind.items()),
        number("all", [whole], kinds),
        number("all kinds (macro)", scored, kinds, lacking),
    ]


def in_table_order(kinds: Sequence[str]) -> list[str]:
    """Known kinds in the order of `FOIL_KINDS`, then the others by name.

    >>> in_table_order(["zebra", "swap_object", "apple", "replace_object", "apple"])
    ['replace_object', 'swap_object', 'apple', 'zebra']
    """
    known = [kind for kind in FOIL_KINDS if kind in kinds]
    return [*known, *sorted(set(kinds) - set(known))]


def margin_of(choice: Choice) -> float | None:
    """Sign and size of the preference in float32; None where a score is not finite."""
    with np.errstate(over="ignore"):
        caption, foil = np.float32(choice.caption_score), np.float32(choice.foil_score)
    if not (np.isfinite(caption) and np.isfinite(foil)):
        return None
    return float(caption) - float(foil)
