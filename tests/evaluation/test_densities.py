import numpy as np
import pytest
from scipy import stats

from alignscope.evaluation import densities
from alignscope.evaluation.densities import bandwidth, curves, density, heat_densities
from alignscope.evaluation.heats import heat_columns
from alignscope.records import WordHeat


def word(word_class, heat, method="gradcam", image="a"):
    return WordHeat("1", image, 0, "w", 0, 1, word_class, heat, method)


def test_two_values_worked_out_by_hand():
    # normal densities of width 2 around 0 and 4, seen at 2: one width away from both
    [height] = density(np.array([0.0, 4.0]), np.array([2.0]), 2.0)
    assert height == pytest.approx(np.exp(-0.5) / (2 * np.sqrt(2 * np.pi)))


@pytest.mark.parametrize("count", [2, 37, densities.MANY])
def test_densities_are_those_of_scipy(count):
    values = np.random.default_rng(count).gamma(2.0, size=count)
    theirs = stats.gaussian_kde(values, "scott")
    points = curves("figure", {"a": values})
    assert len(points) == densities.PLACES
    grid = np.array([point.x for point in points])
    np.testing.assert_allclose([point.y for point in points], theirs(grid), rtol=1e-9, atol=1e-15)


def test_many_values_are_binned_and_still_right():
    values = np.concatenate([np.random.default_rng(0).gamma(2.0, size=60_000), [1e5]])  # one far off
    width = bandwidth(values[:-1])
    grid = np.linspace(0, 12, 40)
    plain = stats.gaussian_kde(values[:-1], "scott")(grid) * 60_000 / 60_001
    np.testing.assert_allclose(density(values, grid, width), plain, atol=2e-4 * plain.max())


def test_classes_of_a_method_share_places_and_methods_do_not():
    generator = np.random.default_rng(0)
    words = [
        word(group, scale * float(generator.normal()), method)
        for method, scale in (("gradcam", 1.0), ("attention", 100.0))
        for group in ("object", "relation")
        for _ in range(30)
    ]
    words += [word("object", float("nan")), word("attribute", 1.0), word("scene", 2.0), word("scene", 2.0)]
    points = heat_densities(heat_columns(words))
    series = {}
    for point in points:
        assert (point.figure, point.low, point.high, point.items) == ("heat density", None, None, 30)
        series.setdefault(point.series, []).append(point)
    # no attribute or scene: one value, or all equal, has no density
    assert list(series) == [f"{m}/{c}" for m in ("gradcam", "attention") for c in ("object", "relation")]
    places = {name: [point.x for point in own] for name, own in series.items()}
    assert places["gradcam/object"] == places["gradcam/relation"] != places["attention/object"]
    for name, own in series.items():
        area = np.trapezoid([point.y for point in own], places[name])
        assert area == pytest.approx(1, abs=0.01), name


@pytest.mark.parametrize("values", [[], [3.0], [0.3, 0.3, 0.1 + 0.2], [0.0, 0.0]])
def test_without_spread_there_is_no_density(values):
    assert bandwidth(np.array(values, dtype=np.float64)) is None
    assert curves("figure", {"a": np.array(values, dtype=np.float64)}) == []


def test_one_far_value_does_not_take_the_resolution():
    values = np.append(np.random.default_rng(0).normal(size=5000), 1e3)
    places = [point.x for point in curves("figure", {"a": values})]
    assert max(places) < 30
