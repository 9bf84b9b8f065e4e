"""Attention and diagnosticity for a terminal."""

from pathlib import Path

from alignscope.records import GroupTest, Measurement, RankedObject
from alignscope.reporting.attention_tables import attention_text, diagnosticity_text, verdict, verdicts_text

AT = Path("run/measurements.parquet")


def number(measure, group, value=0.5, unit="attention", **more):
    low, high = (None, None) if value is None else (value - 0.1, value + 0.1)
    return Measurement(measure, group, value, low, high, 5, 5, unit=unit, **more)


def verdict_on(group, measure="std", p=0.02, **more):
    return GroupTest("Wilcoxon", measure, group, 1.0, 2.0, 9, 9, 2, 3.0, 1.0, p, 0.5, "rank-biserial", **more)


def test_the_first_and_the_last_layer_are_shown_and_the_others_counted():
    rows = [
        number(measure, f"m | pooled | layer {layer} | max")
        for layer in range(3)
        for measure in ("mean std", "mean mass", "median std")
    ]
    rows.append(number("inbound attention", "m | special 0 from vision | layer 1 | max", 0.9))
    tests = [
        verdict_on(f"m and n | pooled | layer {layer} | max", name)
        for layer in range(3)
        for name in ("std", "gini")
    ]
    text = attention_text(rows, tests, AT)
    assert text.count("mean std: pooled | layer") == 2
    assert "layer 1" not in text
    assert "median std" not in text
    assert "6 more, of other numbers and layers, in run/measurements.parquet" in text
    assert text.count("Wilcoxon p 0.02, rank-biserial 0.50, 9 pairs, 2 ties") == 2
    assert text.endswith("p is of each test alone, of 6: correct it where several are read together")


def test_a_test_that_could_not_be_made_says_why():
    none = GroupTest(
        "Pearson", "x", "g", None, None, 2, 2, 0, None, None, None, None, "r", "2 pairs, too few"
    )
    assert verdict(none) == "g: x, Pearson unscored: 2 pairs, too few, 2 pairs"
    assert "p below 0.0001" in verdict(verdict_on("g", p=1e-9))


def test_objects_by_scene_then_overlaps_by_measure():
    ranked = {
        "m": [
            *(RankedObject("sea", "attended", rank, f"o{rank}", 1.0, 4, 0) for rank in (2, 1, 6)),
            RankedObject("sea", "frequent", 1, "boat", 4.0, 4, 1),
            RankedObject("sea", "even attention", 1, "rope", 4.0, 4, 1),
            RankedObject("city", "pmi", 1, "car", 4.0, 4, 1),
        ]
    }
    rows = [
        number("IoU@3", "m | attended, frequent | mean over scenes", 0.25, unit="overlap", ties=3, missing=1),
        number("IoU@3", "m | attended, frequent | sea", 0.75, unit="overlap"),
        number(
            "IoU@3", "m | attended, frequent | above even attention", None, reason="no scene has both lists"
        ),
        number("regions with a label", "m | all", 0.6, unit="share"),
    ]
    text = diagnosticity_text(
        rows, ranked, [verdict_on("m | even attention, pmi"), verdict_on("m | attended, pmi")], AT
    )
    lines = text.splitlines()
    assert lines[:3] == ["m, sea (4 images)", "  attended:        o1, o2", "  frequent:        boat"]
    for said in (
        "m: attended, frequent",
        "0.250",
        "3 ties",
        "1 missing",
        "unscored (1)",
        "(1) no scene has both lists",
    ):
        assert said in text
    for absent in ("0.750", "rope", "city", "m | even attention"):
        assert absent not in text
    assert "m: regions with a label 60.0 % (50.0 to 70.0 %)" in lines
    assert "1 more, scene by scene, in run/measurements.parquet" in lines


def test_tests_without_a_pair_share_a_line():
    none = GroupTest(
        "Wilcoxon", "std", "a and b | label-label", None, None, 0, 0, 0, *[None] * 4, "r", "none"
    )
    lines = verdicts_text([verdict_on("a and b | pooled"), none, none], of=3)
    assert len(lines) == 3
    assert lines[1] == "no images to compare in 2 tests: label-label"
