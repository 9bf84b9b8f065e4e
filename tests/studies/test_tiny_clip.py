"""The committed tiny-clip behaves as web CLIP does; floors lie outside the intervals of the full audit."""

import pytest

import alignscope
from alignscope.models.pretrained import HERE


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    out = tmp_path_factory.mktemp("tiny") / "run"
    run = alignscope.audit("tiny-clip", out=out, size=300, checked=0)
    return {(m.measure, m.group): m for m in run.measurements}


def test_it_hears_objects_and_less_of_attributes(found):
    assert found["accuracy", "replace_object"].value >= 0.95
    assert 0.6 <= found["accuracy", "replace_attribute"].value <= 0.82


@pytest.mark.parametrize("kind", ["replace_relation", "swap_object", "swap_attribute", "swap_relation"])
def test_it_is_near_chance_for_relations_and_swaps(found, kind):
    assert found["accuracy", kind].items > 200
    assert found["accuracy", kind].low < 0.56


def test_its_score_leans_on_nouns(found):
    assert found["heat gap", "object-relation"].low > 0
    assert found["heat gap", "object-attribute"].low > 0
    assert found["drop gap", "nouns against others"].low > 0


def test_committed_weights_stay_small():
    size = sum(path.stat().st_size for path in HERE.rglob("*") if path.is_file())
    assert 0 < size < 8_000_000
