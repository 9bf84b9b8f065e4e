"""Attention among what a captioner sees: label and vision blocks, spread and mass (paper C, section 5, Figs. 3, 4, 10).

Special tokens, padding, and labels or regions that are taken away have no row or column. The maximum over heads is
the paper's reading; it is no distribution, so a block's mass may exceed its rows.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from alignscope.errors import BadInput
from alignscope.evaluation.intervals import (
    Interval,
    clustered_bootstrap,
    clustered_median,
    measured,
    sample_of,
)
from alignscope.evaluation.paired_tests import wilcoxon
from alignscope.models.captioners.inside import Inside
from alignscope.records import (
    DRAWS,
    BlockCell,
    BlockSpread,
    DensityCell,
    GroupTest,
    Inbound,
    Measurement,
    Problem,
    Signature,
)

Heads = Literal["max", "mean", "rollout"]
SIDES: Mapping[str, frozenset[str]] = {
    "vision": frozenset({"region", "patch"}),
    "label": frozenset({"label"}),
    "caption": frozenset({"caption"}),
    "special": frozenset({"special"}),
}
"""What blocks are between, and the kinds of position each side has."""
POOLED = ("vision-vision", "vision-label", "label-vision")
"""The relations whose entries Fig. 4 shows together."""
BLOCKS = (*POOLED, "label-label", "pooled")
NUMBERS = ("std", "mass", "entropy", "gini")
PLACES = 64
"""Places of a density along either axis."""

Square = Float[np.ndarray, "position position"]
Matrix = Float[np.ndarray, "row column"]


def over_heads(inside: Inside, layer: int, heads: Heads = "max") -> Square:
    """The attention of a layer (0 the first, -1 the last) as one matrix; NaN where nothing attends.

    "rollout" follows attention from there down to the input: products of the layers' means over heads, each half
    identity, rows made to sum to one (Abnar and Zuidema 2020); what cannot be attended to has weight 0.
    """
    if not -len(inside.attention) <= layer < len(inside.attention):
        raise BadInput(f"layer {layer} of {len(inside.attention)}: wanted 0 to {len(inside.attention) - 1}")
    if heads == "max":
        return inside.attention[layer].amax(0).numpy()
    if heads == "mean":
        return inside.attention[layer].mean(0).numpy()
    is_there = np.array([kind != "padding" for kind in inside.kinds])
    place = np.ix_(is_there, is_there)
    means = inside.attention[: layer % len(inside.attention) + 1].mean(1).numpy().astype(np.float64)
    flow = np.eye(int(is_there.sum()))
    for mean in np.nan_to_num(means, nan=0.0):
        step = mean[place] + np.eye(len(flow))
        flow = step / step.sum(axis=1, keepdims=True) @ flow
    whole = np.zeros(means.shape[1:], np.float64)
    whole[place] = flow
    return whole


def positions(inside: Inside, side: str) -> Int[np.ndarray, " position"]:
    """Where in the sequence a side's pieces stand; what is taken away is padding and not among them."""
    if side not in SIDES:
        raise BadInput(f"no side of attention is named '{side}': wanted one of {', '.join(SIDES)}")
    places = [place for place, kind in enumerate(inside.kinds) if kind in SIDES[side]]
    return np.array(places, dtype=np.int64)


def spreads(
    inside: Inside,
    image: str,
    *,
    layers: Sequence[int] = (0,),
    heads: Heads = "max",
    blocks: Sequence[str] = BLOCKS,
) -> list[BlockSpread]:
    """Standard deviation, mass, entropy and Gini of each block in each layer; "label-vision" has labels as rows."""
    rows = []
    for layer in layers:
        square = over_heads(inside, layer, heads)
        for block in blocks:
            parts = [_part(square, inside, part) for part in (POOLED if block == "pooled" else [block])]
            rows.append(_spread((image, layer % len(inside.attention), heads, block), parts))
    return rows


def cells(
    inside: Inside,
    image: str,
    block: str,
    *,
    layer: int = 0,
    heads: Heads = "max",
) -> list[BlockCell]:
    """A block's matrix for a figure (Fig. 3), cell by cell; pieces of one label stay apart and share its unit."""
    down, across = (positions(inside, side) for side in block.split("-"))
    values = over_heads(inside, layer, heads)[np.ix_(down, across)].tolist()
    number = layer % len(inside.attention)
    return [
        BlockCell(image, number, heads, block, row, column, inside.units[one], inside.units[other], value)
        for row, (one, line) in enumerate(zip(down, values, strict=True))
        for column, (other, value) in enumerate(zip(across, line, strict=True))
    ]


def inbound(inside: Inside, image: str, *, heads: Heads = "max") -> list[Inbound]:
    """What each special token gets from vision, labels, special and caption tokens, layer by layer (Fig. 10)."""
    specials = positions(inside, "special")
    found = []
    for layer in range(len(inside.attention)):
        square = over_heads(inside, layer, heads)
        for side in SIDES:
            columns = square[np.ix_(positions(inside, side), specials)].T
            for order, (place, column) in enumerate(zip(specials.tolist(), columns, strict=True)):
                known = column[np.isfinite(column)]
                mean = float(known.mean()) if len(known) else None
                found.append(Inbound(image, layer, heads, order, place, side, len(known), mean))
    return found


def densities(
    groups: Mapping[str, Sequence[BlockSpread]], *, figure: str = "attention density", places: int = PLACES
) -> tuple[list[DensityCell], list[Problem]]:
    """Normal kernel densities of (std, mass) per group on one grid, Scott's rule with the group's own covariance (Fig. 4).

    A group of fewer than three images, or whose points lie on a line, has none and is told as a problem.
    """
    points = {
        name: np.array([(row.std, row.mass) for row in rows if row.std is not None]).reshape(-1, 2)
        for name, rows in groups.items()
    }
    kernels = {name: kernel for name, mine in points.items() if (kernel := _kernel(mine)) is not None}
    problems = [
        Problem(name, figure, f"{len(mine)} images on one line: no density over two numbers", "unscored")
        for name, mine in points.items()
        if name not in kernels
    ]
    if not kernels:
        return [], problems
    reach = np.array([3 * np.sqrt(np.diag(kernel)) for kernel in kernels.values()])
    low = np.min([points[name].min(axis=0) - edge for name, edge in zip(kernels, reach, strict=True)], axis=0)
    high = np.max(
        [points[name].max(axis=0) + edge for name, edge in zip(kernels, reach, strict=True)], axis=0
    )
    x, y = (np.linspace(start, stop, places) for start, stop in zip(low, high, strict=True))
    grid = np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1).reshape(-1, 2)
    return [
        DensityCell(figure, name, float(at[0]), float(at[1]), float(value), len(points[name]))
        for name, kernel in kernels.items()
        for at, value in zip(grid, _density(points[name], kernel, grid), strict=True)
    ], problems


def summarised(
    rows: Iterable[BlockSpread], *, signature: Signature, draws: int = DRAWS, seed: int = 0
) -> list[Measurement]:
    """Mean and median of each number per block and layer, images resampled; unscored images are missing."""
    numbers = []
    for (layer, heads, block), mine in _grouped(rows).items():
        for name in NUMBERS:
            known = [(getattr(row, name), row.image) for row in mine if getattr(row, name) is not None]
            sample = sample_of(known)
            means = clustered_bootstrap(sample.values, sample.clusters, draws=draws, seed=seed)
            median = clustered_median(sample, draws=draws, seed=seed)
            for kind, interval in (("mean", means), ("median", median)):
                reason = next((row.reason for row in mine if row.reason), "") if not known else ""
                numbers.append(
                    measured(
                        interval if known else Interval(None, None, None, reason),
                        [sample],
                        measure=f"{kind} {name}",
                        group=f"{block} | layer {layer} | {heads}",
                        signature=signature,
                        unit="bits" if name == "entropy" else "attention",
                        missing=len(mine) - len(known),
                    )
                )
    return numbers


def compared(first: Iterable[BlockSpread], second: Iterable[BlockSpread]) -> list[GroupTest]:
    """Two models on the same images, Wilcoxon's test per number, block and layer; images that only one has are left out."""
    ours, theirs = _grouped(first), _grouped(second)
    tests = []
    for key in ours:
        other = {row.image: row for row in theirs.get(key, [])}
        for name in NUMBERS:
            pairs = [
                (getattr(row, name), getattr(other[row.image], name))
                for row in ours[key]
                if row.image in other
            ]
            known = np.array([pair for pair in pairs if None not in pair], dtype=np.float64).reshape(-1, 2)
            group = f"{key[2]} | layer {key[0]} | {key[1]}"
            tests.append(wilcoxon(known[:, 0], known[:, 1], measure=name, group=group))
    return tests


def _grouped(rows: Iterable[BlockSpread]) -> dict[tuple[int, str, str], list[BlockSpread]]:
    groups: dict[tuple[int, str, str], list[BlockSpread]] = {}
    for row in rows:
        groups.setdefault((row.layer, row.heads, row.block), []).append(row)
    return groups


def _part(square: Square, inside: Inside, block: str) -> Matrix:
    down, across = (positions(inside, side) for side in block.split("-"))
    return square[np.ix_(down, across)].astype(np.float64)


def _spread(name: tuple[str, int, str, str], parts: Collection[Matrix]) -> BlockSpread:
    entries = np.concatenate([part.ravel() for part in parts])
    if len(parts) > 1:
        counts = sum(len(part) for part in parts), sum(part.shape[1] for part in parts)
    else:
        counts = next(iter(parts)).shape
    reason = ""
    if len(entries) == 0 or any(part.size == 0 for part in parts):
        reason = f"{counts[0]} rows, {counts[1]} columns: a side of the block is empty"
    elif not np.isfinite(entries).all():
        reason = "no attention of the model joins some of these positions"
    if reason:
        return BlockSpread(*name, *counts, None, None, None, None, reason)
    shares = [_shares(part) for part in parts]
    entropy = np.concatenate([_entropy(part) for part in shares])
    gini = np.concatenate([_gini(part) for part in shares])
    is_attending = len(entropy) > 0
    return BlockSpread(
        *name,
        *counts,
        float(entries.std()),
        float(entries.sum()),
        float(entropy.mean()) if is_attending else None,
        float(gini.mean()) if is_attending else None,
        "" if is_attending else "no attention within the block: no entropy",
    )


def _shares(part: Matrix) -> Float[np.ndarray, "attending column"]:
    """Rows that attend at all, made to sum to one."""
    total = part.sum(axis=1, keepdims=True)
    return part[total[:, 0] > 0] / total[total > 0][:, None]


def _entropy(shares: Matrix) -> Float[np.ndarray, " row"]:
    """Bits per row; a share of 0 adds none."""
    logs = np.log2(shares, out=np.zeros_like(shares), where=shares > 0)
    return -(shares * logs).sum(axis=1)


def _gini(shares: Matrix) -> Float[np.ndarray, " row"]:
    """Gini's coefficient per row: 0 where all columns get as much, 1 - 1/columns where one gets all."""
    columns = shares.shape[1]
    weights = 2 * np.arange(1, columns + 1) - columns - 1
    return (np.sort(shares, axis=1) * weights).sum(axis=1) / columns


def _kernel(points: Float[np.ndarray, "image 2"]) -> Float[np.ndarray, "2 2"] | None:
    """The covariance of a kernel by Scott's rule, n^(-1/3) times that of the points; None where they lie on a line."""
    if len(points) < 3:
        return None
    covariance = np.cov(points.T)
    product = covariance[0, 0] * covariance[1, 1]
    if product <= 0 or np.linalg.det(covariance) <= 1e-12 * product:
        return None
    return covariance * len(points) ** (-1 / 3)


def _density(
    points: Float[np.ndarray, "image 2"], kernel: Float[np.ndarray, "2 2"], grid: Float[np.ndarray, "place 2"]
) -> Float[np.ndarray, " place"]:
    gaps = (grid[:, None] - points[None]) @ np.linalg.inv(np.linalg.cholesky(kernel)).T
    heights = np.exp(-(gaps**2).sum(axis=-1) / 2).mean(axis=1)
    return heights / (2 * np.pi * np.sqrt(np.linalg.det(kernel)))
