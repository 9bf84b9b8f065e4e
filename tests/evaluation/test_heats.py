import math
from dataclasses import replace

import numpy as np
import pytest

from alignscope.errors import BadData
from alignscope.evaluation.heats import (
    HeatColumns,
    caption_means,
    heat_columns,
    measure_heats,
    read_heat_columns,
)
from alignscope.files import write_parquet
from alignscope.records import WORD_CLASSES, Signature, WordHeat

SIGNATURE = Signature("", "pairs", "9f31c2", 0, 0, "tiny-clip", "ab12", version="0.1.0")


def word(word_class, heat, item="1", image="a", method="gradcam"):
    return WordHeat(item, image, 0, "w", 0, 1, word_class, heat, method)


def table(heats):
    numbers = measure_heats(heat_columns(heats), signature=SIGNATURE)
    found = {(number.measure, number.group): number for number in numbers}
    assert len(found) == len(numbers) == 5 + 5 + 3 + 3
    return found


HEATS = [
    word("object", 0.4),
    word("object", 0.2),
    word("attribute", 0.1),
    word("other", 0.0),
    word("object", 0.6, item="2", image="b"),
    word("relation", 0.7, item="2", image="b"),
    word("object", 0.5, item="3", image="b"),  # neither attribute nor relation
    word("attribute", math.nan, item="4", image="b"),
    word("object", 0.3, item="4", image="b"),
    word("object", 0.25, item="5", image="c"),
    word("attribute", 0.25, item="5", image="c"),
]


def test_means_by_class_worked_out_by_hand():
    found = table(HEATS)
    objects = found["heat", "object"]
    assert objects.value == pytest.approx((0.4 + 0.2 + 0.6 + 0.5 + 0.3 + 0.25) / 6)
    assert (objects.items, objects.images, objects.unit, objects.missing) == (6, 3, "heat", 0)
    attributes = found["heat", "attribute"]
    assert attributes.value == pytest.approx(0.175)
    assert (attributes.items, attributes.images, attributes.missing) == (2, 2, 1)
    one = found["heat", "relation"]
    assert (one.value, one.low, one.reason) == (0.7, None, "one image: no interval")
    none = found["heat", "scene"]
    assert (none.value, none.reason) == (None, "nothing scored")


def test_gaps_worked_out_by_hand():
    found = table(HEATS)
    mean = (0.4 + 0.2 + 0.6 + 0.5 + 0.3 + 0.25) / 6
    assert found["heat gap", "object-attribute"].value == pytest.approx(mean - 0.175)
    assert found["heat gap", "object-relation"].value == pytest.approx(mean - 0.7)
    rest = found["heat gap", "object-rest"]
    assert rest.value == pytest.approx(mean - (0.1 + 0.7 + 0.25) / 3)
    assert (rest.items, rest.images, rest.missing, rest.unit) == (9, 3, 1, "heat")


def test_object_above_rest_counts_captions():
    share = table(HEATS)["object above rest", "all"]
    # caption 1 above, 2 below, 5 tied; 3 has no rest and 4 has a heat that is no number
    assert share.value == pytest.approx(1 / 3)
    assert (share.items, share.images, share.ties, share.missing, share.unit) == (3, 3, 1, 2, "share")


def test_object_above_one_class_needs_that_class_only():
    found = table(HEATS)
    relation, attribute = (found[f"object above {name}", "all"] for name in ("relation", "attribute"))
    # relation: caption 2 below, the rest has none; attribute: 1 above, 5 tied, 4 has no number
    assert (relation.value, relation.items, relation.ties, relation.missing) == (0.0, 1, 0, 4)
    assert (attribute.value, attribute.items, attribute.ties, attribute.missing) == (0.5, 2, 1, 3)


def test_a_gap_misses_what_either_side_misses():
    gap = table([*HEATS, word("object", math.nan)])["heat gap", "object-attribute"]
    assert (gap.items, gap.missing) == (8, 2)


def test_a_heat_that_is_no_number_matters_to_its_own_side_only():
    found = table([*HEATS, word("relation", math.inf, item="5", image="c")])
    assert found["object above attribute", "all"].items == 2
    assert found["object above rest", "all"].items == 2


def test_medians_worked_out_by_hand():
    found = table(HEATS)
    objects = found["heat median", "object"]  # .2 .25 .3 | .4 .5 .6
    assert objects.value == pytest.approx(0.35)
    assert (objects.items, objects.images, objects.unit) == (6, 3, "heat")
    assert objects.low <= objects.value <= objects.high
    assert found["heat median", "attribute"].value == pytest.approx(0.175)
    assert found["heat median", "scene"].reason == "nothing scored"


def test_each_method_has_its_own_numbers_and_says_so():
    both = [
        *HEATS,
        word("object", 9.0, method="attention"),
        word("object", 7.0, image="b", method="attention"),
    ]
    numbers = measure_heats(heat_columns(both), signature=SIGNATURE)
    assert [number.method for number in numbers] == ["gradcam"] * 16 + ["attention"] * 16
    alone = measure_heats(heat_columns(HEATS), signature=SIGNATURE)
    assert numbers[:16] == alone
    other = next(n for n in numbers[16:] if (n.measure, n.group) == ("heat", "object"))
    assert (other.value, other.items) == (8.0, 2)
    assert other.signature.startswith("heat|method:attention|data:pairs|")
    [last, *_] = measure_heats(heat_columns(both), signature=replace(SIGNATURE, method="layers=last"))
    assert (last.method, last.signature[:37]) == ("gradcam", "heat|method:gradcam layers=last|data:")
    above = next(n for n in numbers[16:] if n.measure == "object above rest")
    assert above.missing == 2, "captions of the other method do not count"


def test_the_order_of_the_words_changes_nothing():
    shuffled = [HEATS[place] for place in np.random.default_rng(0).permutation(len(HEATS))]
    assert measure_heats(heat_columns(shuffled), signature=SIGNATURE) == measure_heats(
        heat_columns(HEATS), signature=SIGNATURE
    )


def test_columns_from_parquet_are_those_from_records(tmp_path):
    generator = np.random.default_rng(2)
    words = [
        word(WORD_CLASSES[code], float(heat), item=f"{n % 7}", image=f"i{n % 5}", method=method)
        for n, (code, heat) in enumerate(
            zip(generator.integers(5, size=80), generator.normal(size=80), strict=True)
        )
        for method in ("gradcam", "attention")
    ]
    words[3] = word("object", math.nan, item="3", image="i3")
    paths = [tmp_path / "1.parquet", tmp_path / "2.parquet", tmp_path / "none.parquet"]
    for path, part in zip(paths, (words[:50], words[50:], []), strict=True):
        write_parquet(path, part, WordHeat)
    ours, theirs = read_heat_columns(paths), heat_columns(words)
    assert list(ours) == list(theirs) == ["gradcam", "attention"]
    for method, columns in theirs.items():
        assert len(columns.heats) == 80 + (method == "gradcam") - (method == "attention")
        assert ours[method].captions == columns.captions
        for name in ("heats", "classes", "images", "items"):
            np.testing.assert_array_equal(getattr(ours[method], name), getattr(columns, name))
    assert measure_heats(ours, signature=SIGNATURE) == measure_heats(heat_columns(words), signature=SIGNATURE)
    assert read_heat_columns(paths[2:]) == {}
    [alone] = read_heat_columns(paths, methods=["attention"]).values()
    np.testing.assert_array_equal(alone.heats, theirs["attention"].heats)
    numbers = measure_heats({"attention": alone}, signature=SIGNATURE)
    assert numbers == measure_heats(
        heat_columns([w for w in words if w.method == "attention"]), signature=SIGNATURE
    )


def test_a_file_of_something_else_is_an_error(tmp_path):
    (tmp_path / "heats.parquet").write_text("hello")
    with pytest.raises(BadData, match="not Parquet files of word heats"):
        read_heat_columns([tmp_path / "heats.parquet"])


def test_caption_means_worked_out_by_hand():
    columns = heat_columns(HEATS)["gradcam"]
    assert columns.captions == (("a", "1"), ("b", "2"), ("b", "3"), ("b", "4"), ("c", "5"))
    means = caption_means(columns, "attribute", "relation")
    np.testing.assert_allclose(means, [0.1, 0.7, np.nan, np.nan, 0.25])


def test_a_million_words_are_summed_up_in_little_memory():
    import tracemalloc

    count = 1_000_000
    items = np.arange(count) // 10
    generator = np.random.default_rng(0)
    columns = HeatColumns(
        generator.gamma(1.0, size=count),
        generator.integers(5, size=count).astype(np.int8),
        items // 50,
        items,
        [("", "")] * 100_000,
    )
    tracemalloc.start()
    numbers = measure_heats({"gradcam": columns}, signature=SIGNATURE, draws=50)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(numbers) == 16
    assert peak < 200e6  # the columns themselves have 25 MB


def test_a_class_that_is_absent_leaves_no_gap():
    found = table([word("object", 0.4), word("object", 0.2, image="b", item="2")])
    gap = found["heat gap", "object-relation"]
    assert (gap.value, gap.low, gap.reason) == (None, None, "nothing scored")
    share = found["object above rest", "all"]
    assert (share.value, share.missing) == (None, 2)


def test_the_same_item_name_in_two_images_is_two_captions():
    heats = [word("object", 1.0, image=image) for image in "ab"]
    heats += [word("relation", relation, image=image) for image, relation in (("a", 0.0), ("b", 1.5))]
    share = table(heats)["object above rest", "all"]
    assert (share.value, share.items) == (0.5, 2)


def test_the_gap_covers_the_truth():
    generator = np.random.default_rng(1)
    covered = 0
    for _ in range(60):
        heats = []
        for n in range(40):
            shift = generator.normal()
            image = f"i{n}"
            heats += [word("object", shift + 0.2 + 0.1 * generator.normal(), image=image) for _ in range(2)]
            heats += [word("relation", shift + 0.1 * generator.normal(), image=image)]
        gap = table_gap(heats)
        covered += gap.low <= 0.2 <= gap.high
        assert gap.high - gap.low < 0.2  # the images' own shifts cancel
    assert covered >= 51


def table_gap(heats):
    numbers = measure_heats(heat_columns(heats), signature=SIGNATURE, draws=200)
    return next(number for number in numbers if number.group == "object-relation")
