"""How like two ranked lists are: IoU@k, average overlap, rank-biased overlap (Webber et al. 2010).

Paper C's "RBO at p = 1" is average overlap: the printed sum is 0 there. A list may be shorter than the depth asked
for; what is then compared is what is there, and callers report the lengths.
"""

from __future__ import annotations

from collections.abc import Sequence

from alignscope.errors import BadData

Ranking = Sequence[str]


def intersection_over_union(first: Ranking, second: Ranking, *, depth: int) -> float:
    """|A and B| / |A or B| of the first `depth` of either list.

    >>> intersection_over_union(["train", "man", "sign"], ["train", "sign", "tree"], depth=3)
    0.5
    """
    first, second = first[:depth], second[:depth]
    shared = overlaps(first, second)[-1]
    return shared / (len(first) + len(second) - shared)


def average_overlap(first: Ranking, second: Ranking, *, depth: int) -> float:
    """The mean over d = 1..depth of the share of the first d that both lists have (Fagin et al. 2003).

    It goes as deep as the shorter list.

    >>> round(average_overlap(["a", "b", "c"], ["a", "c", "b"], depth=3), 3)
    0.833
    """
    agreement = _agreement(first[:depth], second[:depth])
    return sum(agreement) / len(agreement)


def rank_biased_overlap(
    first: Ranking, second: Ranking, *, depth: int, persistence: float = 0.9, is_extended: bool = False
) -> float:
    """(1 - p) times the sum over d of p^(d-1) times the agreement at d, cut at `depth` (Webber, eq. 4 and 7).

    Identical lists have 1 - p^depth; `is_extended` adds p^depth times the agreement there (eq. 23), which makes it 1.
    It goes as deep as the shorter list.
    """
    _check(persistence)
    agreement = _agreement(first[:depth], second[:depth])
    total = (1 - persistence) * sum(share * persistence**place for place, share in enumerate(agreement))
    return total + is_extended * agreement[-1] * persistence ** len(agreement)


def extrapolated_overlap(first: Ranking, second: Ranking, *, persistence: float = 0.9) -> float:
    """Rank-biased overlap of whole lists, of whatever lengths, with what lies beyond foretold (Webber, eq. 32).

    Beyond the shorter list the overlap is taken to go on growing as at its end.
    """
    _check(persistence)
    shared = overlaps(first, second)
    short, long = sorted((len(first), len(second)))
    at_short, at_long = shared[short - 1], shared[long - 1]
    seen = sum(shared[d - 1] / d * persistence**d for d in range(1, long + 1))
    foretold = sum(at_short * (d - short) / (short * d) * persistence**d for d in range(short + 1, long + 1))
    beyond = ((at_long - at_short) / long + at_short / short) * persistence**long
    return (1 - persistence) / persistence * (seen + foretold) + beyond


def overlaps(first: Ranking, second: Ranking) -> list[int]:
    """How many of the first d both lists have, for d = 1 to the longer length.

    >>> overlaps(["a", "b", "c"], ["b", "a"])
    [0, 2, 2]
    """
    for name, ranking in (("first", first), ("second", second)):
        if not ranking or len(set(ranking)) < len(ranking):
            raise BadData(
                f"the {name} ranked list has {len(ranking)} entries, {len(set(ranking))} of them different: "
                "wanted at least one, each once; count what has no list as unscored"
            )
    depths = range(1, max(len(first), len(second)) + 1)
    return [len(set(first[:depth]) & set(second[:depth])) for depth in depths]


def _agreement(first: Ranking, second: Ranking) -> list[float]:
    """The shared part of the first d, down to the shorter list."""
    shared = overlaps(first, second)[: min(len(first), len(second))]
    return [count / depth for depth, count in enumerate(shared, 1)]


def _check(persistence: float) -> None:
    if not 0 < persistence < 1:
        raise BadData(
            f"rank-biased overlap with p = {persistence}: wanted one between 0 and 1; at p = 1 call `average_overlap`"
        )
