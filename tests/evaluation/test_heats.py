import math

import numpy as np
import pytest

from alignscope.evaluation.heats import heat_by_class
from alignscope.records import Signature, WordHeat

SIGNATURE = Signature("", "pairs", "9f31c2", 0, 0, "tiny-clip", "ab12", version="0.1.0")


def word(word_class, heat, item="1", image="a"):
    return WordHeat(item, image, 0, "w", 0, 1, word_class, heat)


def table(heats):
    numbers = heat_by_class(heats, signature=SIGNATURE)
    found = {(number.measure, number.group): number for number in numbers}
    assert len(found) == len(numbers) == 5 + 3 + 1
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
    numbers = heat_by_class(heats, signature=SIGNATURE, draws=200)
    return next(number for number in numbers if number.group == "object-relation")
