"""Means of means: the axes of VL-CheckList, paper B's columns and its Table 5."""

from __future__ import annotations

import option_scores as made
import pytest

from alignscope.evaluation.aggregates import AXES, leaves, table_5_average, weights
from alignscope.evaluation.official import measure
from alignscope.evaluation.published import published


def caption_rows(name: str, right: dict[str, list[int]]):
    return [
        option
        for subset, row in right.items()
        for place, is_right in enumerate(row)
        for option in made.options(
            f"{subset}/{place}", {(0, 0): float(is_right), (0, 1): 0.5}, name=name, subset=subset
        )
    ]


def found(name: str, right: dict[str, list[int]]):
    benchmark = made.benchmark("caption", name=name)
    rows = caption_rows(name, right)
    return measure(benchmark, rows, signature=made.SIGNATURE, missing={}, draws=50)


def test_vl_checklist_has_13_axes_of_56_files():
    assert len(AXES) == 13
    files = [name for tree in AXES.values() for name in leaves(tree)]
    assert len(set(files)) == len(files) == 56
    assert {axis[0] for axis in AXES} == {"O", "A", "R"}
    shares = weights(AXES["O-large"], set(files))
    assert shares["Object/Size/large/hake"] == pytest.approx(1 / 3)
    assert shares["Object/Size/large/swig_tool"] == pytest.approx(1 / 12)
    assert shares["Object/Size/large/vg_obj"] == pytest.approx(1 / 6)


def test_axes_average_files_then_sources_and_name_what_is_absent():
    right = {
        "Relation/action/swig": [1, 1],
        "Relation/action/vg": [1, 0, 0, 0],
        "Relation/spatial/vg": [0, 1],
    }
    right |= {
        "Object/Size/large/swig_tool": [1],
        "Object/Size/large/swig_item": [0],
        "Object/Size/large/vg_obj": [1],
    }
    numbers = found("vl-checklist", right)
    values = made.values(numbers)
    assert values["official accuracy", "R-action"] == (1 + 0.25) / 2
    assert values["official accuracy", "O-large"] == (0.5 + 1) / 2
    assert values["paper B accuracy", "Relation"] == (0.625 + 0.5) / 2
    assert values["paper B accuracy", "Attribute"] is None
    axis = made.only(numbers, "official accuracy", "R-action")
    assert axis.reason.startswith("mean over 3 subsets; 1 absent: Relation/action/hake")


def test_sugarcrepe_relation_and_attribute():
    right = {
        "replace_rel": [1, 0],
        "add_att": [1],
        "replace_att": [1, 1, 0, 0],
        "swap_att": [0],
        "add_obj": [1],
    }
    values = made.values(found("sugarcrepe", right))
    assert values["paper B accuracy", "Relation"] == 0.5
    assert values["paper B accuracy", "Attribute"] == (1 + 0.5 + 0) / 3


def test_comvg_relation_is_the_verb_rows():
    rows = [
        option
        for subset, scores in {"verb": (2.0, 1.0), "subject": (0.0, 1.0)}.items()
        for option in made.options(
            f"{subset}/1", {(0, 0): scores[0], (1, 0): scores[1]}, name="comvg", subset=subset
        )
    ]
    numbers = measure(made.benchmark("image", name="comvg"), rows, signature=made.SIGNATURE, missing={})
    values = made.values(numbers)
    assert (values["paper B accuracy", "Relation"], values["official accuracy", "all"]) == (1.0, 0.5)


@pytest.mark.parametrize("model", ["CLIP ViT-B/32", "CLIP-FT ViT-B/32", "CLIP-CAE-AB ViT-B/32"])
def test_table_5_follows_from_table_1(model: str):
    mine = [row for row in published() if row.model == model]
    figures = {(row.benchmark, row.measure, row.group): row.value for row in mine if "Table 1" in row.source}
    (wanted,) = [row.value for row in mine if "Table 5" in row.source]
    average = table_5_average(figures)
    assert average is not None
    assert round(average, 1) == wanted
    del figures["comvg", "paper B accuracy", "Relation"]
    assert table_5_average(figures) is None


def test_table_5_in_numbers():
    averages = {row.model: row.value for row in published() if "Table 5" in row.source}
    assert list(averages.values()) == [65.8, 68.4, 70.3]
