"""Overlaps in draws of images: each draw ranked anew by the plain functions, and even attention by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from alignscope.errors import LengthMismatch
from alignscope.evaluation.intervals import symmetric
from alignscope.models.captioners.inside import Inside
from alignscope.probing.diagnosticity import SceneObjects, compared, ranked
from alignscope.probing.even import even
from alignscope.probing.redrawn import over_scenes, redrawn

NAMES = ["ball", "box", "cross", "moon", "star", "tree"]


def images(seed, scene, count):
    rng = np.random.default_rng(seed)
    found = []
    for number in range(count):
        own = rng.permutation(NAMES)[: rng.integers(0, 5)].tolist()
        values = {name: float(rng.integers(1, 4)) for name in own}  # small whole numbers: many ties
        found.append(SceneObjects(f"{scene}{number}", scene, values))
    return found


@pytest.mark.parametrize("order", ["attended", "attended first"])
def test_every_draw_is_what_the_plain_functions_say_of_it(order):
    mine = [*images(1, "road", 4), *images(2, "sea", 3)]
    there = [SceneObjects(one.image, one.scene, dict.fromkeys(one.values, 1.0)) for one in mine]
    found = redrawn(mine, there, (order, "frequent"), depths=(2, 5), draws=40, seed=3)
    assert set(found) == {(scene, depth) for scene in ("road", "sea") for depth in (2, 5)}
    checked = 0
    for number, scene in enumerate(("road", "sea")):
        of_scene = [place for place, one in enumerate(mine) if one.scene == scene]
        count = len(of_scene)
        weights = np.random.default_rng([3, number]).multinomial(count, np.full(count, 1 / count), size=40)
        for draw, times in enumerate(weights):
            chosen = [place for place, often in zip(of_scene, times, strict=True) for _ in range(often)]
            rows = compared(
                ranked([mine[place] for place in chosen], order),
                ranked([there[place] for place in chosen], "frequent"),
                depths=(2, 5),
            )
            for row in rows:
                one = found[scene, row.depth]
                if row.iou is None:
                    assert np.isnan(one.iou[draw])
                    continue
                assert one.iou[draw] == pytest.approx(row.iou)
                assert one.average_overlap[draw] == pytest.approx(row.average_overlap)
                checked += 1
    assert checked > 100


def test_a_ranking_that_stays_and_the_mean_over_scenes():
    mine = [SceneObjects("a", "road", {"car": 2.0, "sign": 1.0}), SceneObjects("b", "sea", {"boat": 1.0})]
    found = redrawn(mine, {"road": ["sign", "car", "man"]}, ("attended", "frequent"), depths=(1, 3), draws=5)
    assert found["road", 1].iou.tolist() == [0.0] * 5
    assert found["road", 3].iou == pytest.approx([2 / 3] * 5)
    assert found["road", 3].average_overlap == pytest.approx([0.5] * 5)  # (0 + 2/2) / 2, the shorter list
    assert np.isnan(found["sea", 3].iou).all()
    assert over_scenes(found, 3, "iou") == pytest.approx([2 / 3] * 5)


def test_two_orders_are_of_the_same_images():
    with pytest.raises(LengthMismatch, match="two orders of 'road' of different images"):
        redrawn(images(1, "road", 3), images(1, "road", 2), ("attended", "frequent"), depths=(1,))


def test_even_attention_goes_where_attention_may():
    nan = float("nan")
    rows = torch.tensor([[[[0.9, 0.1, nan], [0.2, 0.8, nan], [nan, nan, nan]]]])
    found = even(Inside(("label", "region", "padding"), (0, 0, -1), rows, torch.zeros(3, 1)))
    want = torch.tensor([[[[0.5, 0.5, nan], [0.5, 0.5, nan], [nan, nan, nan]]]])
    torch.testing.assert_close(found.attention, want, equal_nan=True)


def test_symmetric_intervals_cover_what_as_many_images_have():
    """The mean over eight scenes of average overlap at 5, in 30 samples of 480 images.

    Of twelve objects the next is a little rarer, so that drawing images again moves ranks: draws lie lower, and
    intervals that put the same distance above the value (basic ones) or correct for it (BCa) cover three in four.
    """
    rng = np.random.default_rng(4)
    names, count = [f"{place:02d}" for place in range(12)], 60
    shows = np.linspace(0.6, 0.3, 12)
    gets = {scene: np.linspace(1.4, 0.8, 12)[rng.permutation(12)] for scene in "abcdefgh"}

    def sample():
        for scene, own in gets.items():
            there = rng.random((count, 12)) < shows
            mass = own * rng.gamma(4, 1 / 4, size=(count, 12))
            for place in range(count):
                values = {name: float(mass[place, at]) for at, name in enumerate(names) if there[place, at]}
                yield SceneObjects(f"{scene}{place}", scene, values)

    def overlap(mine, theirs):
        rows = compared(ranked(mine, "attended"), ranked(theirs, "frequent"), depths=(5,))
        return np.mean([row.average_overlap for row in rows])

    values, edges, basic = [], [], []
    for number in range(30):
        mine = list(sample())
        there = [replace(one, values=dict.fromkeys(one.values, 1.0)) for one in mine]
        values.append(float(overlap(mine, there)))
        found = redrawn(mine, there, ("attended", "frequent"), depths=(5,), draws=100, seed=number)
        draws = over_scenes(found, 5, "average_overlap")
        interval = symmetric(values[-1], draws, least=0.0, most=1.0)
        edges.append((interval.low, interval.high))
        low, high = np.quantile(draws, [0.025, 0.975])
        basic.append((2 * values[-1] - high, 2 * values[-1] - low))
    assert all(low <= value <= high for value, (low, high) in zip(values, edges, strict=True))
    covered = [np.mean([low <= np.mean(values) <= high for low, high in found]) for found in (edges, basic)]
    assert covered[0] >= 0.95
    assert covered[1] < 0.9
