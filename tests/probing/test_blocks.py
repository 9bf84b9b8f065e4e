"""Blocks of attention of sequences made by hand: [word] label label [end] region region padding."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from alignscope.errors import BadInput
from alignscope.models.captioners.inside import Inside
from alignscope.probing.blocks import (
    BLOCKS,
    cells,
    compared,
    densities,
    inbound,
    over_heads,
    positions,
    spreads,
    summarised,
)
from alignscope.records import BlockSpread, Signature

KINDS = ("special", "label", "label", "label", "special", "region", "region", "padding")
UNITS = (-1, 0, 1, 1, -1, 0, 1, -1)
LABELS, REGIONS, THERE = [1, 2, 3], [5, 6], [0, 1, 2, 3, 4, 5, 6]


def _inside(seed: int = 0, layers: int = 3, heads: int = 4) -> Inside:
    """Random attention; nothing passes to or from padding."""
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(layers, heads, len(KINDS), len(KINDS), generator=generator)
    logits[..., 7] = -torch.inf
    attention = logits.softmax(-1)
    attention[..., 7, :] = torch.nan
    attention[..., :, 7] = torch.nan
    return Inside(KINDS, UNITS, attention, torch.zeros(len(KINDS), 2))


def _one(rows: list[BlockSpread], block: str) -> BlockSpread:
    [found] = [row for row in rows if row.block == block]
    return found


@pytest.mark.parametrize("heads", ["max", "mean"])
def test_blocks_are_their_plain_loops(heads: str) -> None:
    inside = _inside()
    rows = spreads(inside, "7", layers=[2], heads=heads, blocks=BLOCKS)
    assert [row.block for row in rows] == list(BLOCKS)
    sides = {"vision": REGIONS, "label": LABELS}
    pooled: list[float] = []
    for block in ("vision-vision", "vision-label", "label-vision", "label-label"):
        down, across = (sides[side] for side in block.split("-"))
        values = []
        for row in down:
            for column in across:
                several = [float(inside.attention[2, head, row, column]) for head in range(4)]
                values.append(max(several) if heads == "max" else sum(several) / 4)
        found = _one(rows, block)
        assert (found.rows, found.columns, found.layer, found.reason) == (len(down), len(across), 2, "")
        assert found.mass == pytest.approx(sum(values), rel=1e-6)
        mean = sum(values) / len(values)
        assert found.std == pytest.approx(
            (sum((x - mean) ** 2 for x in values) / len(values)) ** 0.5, rel=1e-5
        )
        entropies, ginis = [], []
        for start in range(0, len(values), len(across)):
            shares = [
                value / sum(values[start : start + len(across)])
                for value in values[start : start + len(across)]
            ]
            entropies.append(float(stats.entropy(shares, base=2)))
            ginis.append(sum(abs(a - b) for a in shares for b in shares) / (2 * len(across)))
        assert found.entropy == pytest.approx(np.mean(entropies), rel=1e-5)
        assert found.gini == pytest.approx(np.mean(ginis), rel=1e-5)
        pooled += values if block != "label-label" else []
    found = _one(rows, "pooled")
    assert found.mass == pytest.approx(sum(pooled), rel=1e-6)
    assert found.std == pytest.approx(np.std(pooled), rel=1e-5)


def test_even_attention_has_no_spread_and_one_column_taking_all_the_largest_gini() -> None:
    attention = torch.zeros(1, 1, 8, 8)
    attention[..., REGIONS] = 0.5
    row = spreads(Inside(KINDS, UNITS, attention, torch.zeros(8, 1)), "a", blocks=["label-vision"])[0]
    assert (row.std, row.mass, row.entropy, row.gini) == (0.0, 3.0, 1.0, 0.0)
    attention[..., REGIONS] = torch.tensor([1.0, 0.0])
    row = spreads(Inside(KINDS, UNITS, attention, torch.zeros(8, 1)), "a", blocks=["label-vision"])[0]
    assert (row.std, row.mass, row.entropy, row.gini) == (0.5, 3.0, 0.0, 0.5)


def test_no_attention_and_empty_sides_are_unscored_with_a_reason() -> None:
    patches = Inside(
        ("special", "patch", "patch"), (-1, 0, 1), torch.full((1, 1, 3, 3), 1 / 3), torch.zeros(3, 1)
    )
    rows = spreads(patches, "a", blocks=["vision-vision", "label-vision"])
    assert rows[0].mass == pytest.approx(4 / 3)
    assert (rows[1].std, rows[1].reason) == (None, "0 rows, 2 columns: a side of the block is empty")
    unjoined = Inside(
        ("caption", "patch"), (0, 0), torch.tensor([[[[1.0, 0.0], [torch.nan, 1.0]]]]), torch.zeros(2, 1)
    )
    rows = spreads(unjoined, "a", blocks=["caption-vision", "vision-caption"])
    assert (rows[0].mass, rows[0].entropy, rows[0].reason[:12]) == (0.0, None, "no attention")
    assert rows[1].reason == "no attention of the model joins some of these positions"


def test_cells_are_the_matrix_with_labels_as_rows() -> None:
    inside = _inside()
    found = cells(inside, "a", "label-vision", layer=-1)
    assert [(cell.row, cell.column) for cell in found] == [
        (row, column) for row in range(3) for column in range(2)
    ]
    assert [(cell.row_unit, cell.column_unit) for cell in found[2:4]] == [(1, 0), (1, 1)]
    assert [cell.value for cell in found] == pytest.approx(
        inside.attention[2].amax(0)[LABELS][:, REGIONS].flatten().tolist()
    )
    assert {cell.layer for cell in found} == {2}


def test_inbound_attention_is_the_mean_of_a_special_tokens_column() -> None:
    inside = _inside()
    inside.attention[:, :, 5, 0] = torch.nan  # region 0 cannot see the first special token
    found = {(row.layer, row.special, row.of): row for row in inbound(inside, "a", heads="mean")}
    assert len(found) == 3 * 2 * 4
    column = inside.attention[1].mean(0)
    assert found[1, 1, "label"].value == pytest.approx(float(column[LABELS, 4].mean()))
    assert (found[1, 1, "label"].rows, found[1, 1, "label"].position) == (3, 4)
    assert found[1, 0, "vision"].value == pytest.approx(float(column[6, 0]))
    assert found[1, 0, "vision"].rows == 1
    assert (found[0, 0, "caption"].value, found[0, 0, "caption"].rows) == (None, 0)


def test_rollout_is_the_product_of_layers_with_identity() -> None:
    inside = _inside()
    wanted = np.eye(7)
    for layer in (0, 1):
        mean = inside.attention[layer].mean(0).numpy()[:7, :7].astype(np.float64)
        wanted = (0.5 * mean + 0.5 * np.eye(7)) @ wanted
    found = over_heads(inside, 1, "rollout")
    assert found[:7, :7] == pytest.approx(wanted, rel=1e-5)
    assert found.sum(axis=1)[:7] == pytest.approx(np.ones(7))
    assert not found[7].any()


def test_layers_and_sides_that_are_not_there_are_errors() -> None:
    with pytest.raises(BadInput, match="layer 3 of 3: wanted 0 to 2"):
        over_heads(_inside(), 3)
    with pytest.raises(BadInput, match="no side of attention is named 'visual'"):
        positions(_inside(), "visual")


def _points(values: np.ndarray) -> list[BlockSpread]:
    return [
        BlockSpread(f"{place}", 0, "max", "pooled", 1, 1, float(std), float(mass), 1.0, 0.0)
        for place, (std, mass) in enumerate(values)
    ]


def test_densities_are_scipys_on_one_grid() -> None:
    random = np.random.default_rng(0)
    before = random.normal([0.3, 50.0], [0.05, 20.0], (40, 2))
    after = random.multivariate_normal([0.1, 80.0], [[0.01, 0.5], [0.5, 100.0]], 30)
    found, problems = densities({"before": _points(before), "after": _points(after)}, places=40)
    assert not problems
    assert len(found) == 2 * 40 * 40
    for name, points in (("before", before), ("after", after)):
        mine = [cell for cell in found if cell.series == name]
        places = np.array([(cell.x, cell.y) for cell in mine])
        density = np.array([cell.density for cell in mine])
        assert density == pytest.approx(stats.gaussian_kde(points.T)(places.T), rel=1e-6, abs=1e-12)
        area = np.ptp(places[:, 0]) * np.ptp(places[:, 1]) / 39**2
        assert density.sum() * area == pytest.approx(1, abs=0.02)
        assert {cell.items for cell in mine} == {len(points)}


def test_points_on_a_line_have_no_density_and_a_problem() -> None:
    line = np.array([(x, 2 * x) for x in range(5)], dtype=np.float64)
    found, problems = densities({"line": _points(line), "two": _points(line[:2]), "none": []})
    assert found == []
    assert [problem.item for problem in problems] == ["line", "two", "none"]
    assert "5 images on one line" in problems[0].what


def test_models_are_compared_on_the_images_that_both_saw(signature: Signature) -> None:
    first = [row for seed in range(12) for row in spreads(_inside(seed), f"{seed}")]
    even = [row for seed in range(2, 14) for row in spreads(_even(), f"{seed}")]
    tests = {(test.group, test.measure): test for test in compared(first, even)}
    found = tests["vision-vision | layer 0 | max", "std"]
    assert (found.first_items, found.effect, found.p) == (10, 1.0, 2 / 2**10)
    assert len(tests) == len(BLOCKS) * 4
    numbers = {
        (number.group, number.measure): number for number in summarised(first, signature=signature, draws=200)
    }
    mean = numbers["vision-vision | layer 0 | max", "mean std"]
    known = [row.std for row in first if row.block == "vision-vision" and row.std is not None]
    assert mean.value == pytest.approx(np.mean(known))
    assert numbers["vision-vision | layer 0 | max", "median std"].value == pytest.approx(np.median(known))
    assert mean.images == 12
    assert mean.low is not None
    assert mean.low < mean.value


def test_unscored_images_are_missing_from_a_mean(signature: Signature) -> None:
    numbers = summarised(spreads(_inside(), "a", blocks=["caption-vision"]), signature=signature)
    assert {(number.value, number.missing) for number in numbers} == {(None, 1)}
    assert "a side of the block is empty" in numbers[0].reason


def _even() -> Inside:
    return Inside(KINDS, UNITS, torch.full((1, 1, 8, 8), 1 / 7), torch.zeros(8, 1))
