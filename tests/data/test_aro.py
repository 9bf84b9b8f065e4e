"""ARO's VG-Relation and VG-Attribution on hand-made lists: the official files are on Google Drive alone."""

import json
from pathlib import Path

import pytest

from alignscope.data.benchmarks.aro import ATTRIBUTE, RELATION
from alignscope.data.benchmarks.aro_symmetric import SYMMETRIC
from alignscope.errors import BadData
from alignscope.records import Box, Problem, Question, Shown

SHARED = Path(__file__).parents[2].parent / "shared" / "data"


def record(**fields: object) -> dict:
    return {
        "image_path": "2370799.jpg",
        "bbox_x": 10,
        "bbox_y": 20,
        "bbox_w": 30,
        "bbox_h": 40.5,
        "true_caption": "the man is holding the horse",
        "false_caption": "the horse is holding the man",
        "relation_name": "holding",
        "attributes": ["brown", "tall"],
        **fields,
    }


def written(folder: Path, *records: object) -> Path:
    path = folder / "visual_genome_relation.json"
    path.write_text(json.dumps(list(records)))
    return path


def test_a_record_is_a_box_and_two_captions_the_true_one_first(tmp_path):
    path = written(tmp_path, record(), record(relation_name="to the left of"))
    one, other = RELATION.read(path)
    assert one == Question(
        "vg-relation/0",
        "vg-relation",
        "holding",
        (Shown("2370799.jpg", Box(10, 20, 40, 60.5)),),
        ("the man is holding the horse", "the horse is holding the man"),
    )
    assert isinstance(other, Question)
    assert (other.id, other.group) == ("vg-relation/1", "to the left of")
    assert list(RELATION.read(tmp_path)) == [one, other]  # the folder that holds the file


def test_the_order_of_two_attributes_makes_a_group(tmp_path):
    path = written(tmp_path, record(), record(attributes=["tall", "brown"]))
    groups = [one.group for one in ATTRIBUTE.read(path) if isinstance(one, Question)]
    assert groups == ["brown_tall", "tall_brown"]


def test_unknown_fields_are_passed_over_and_told_once(tmp_path):
    path = written(tmp_path, record(object1="man"), record(object1="dog"))
    found = list(RELATION.read(path))
    assert sum(isinstance(one, Question) for one in found) == 2
    told = [one for one in found if isinstance(one, Problem)]
    assert [one.action for one in told] == ["handled"]
    assert "'object1'" in told[0].what


@pytest.mark.parametrize(
    ("benchmark", "broken", "said"),
    [
        (RELATION, {"bbox_w": 0}, "0 by 40.5 pixels"),
        (RELATION, {"bbox_h": -3}, "30 by -3 pixels"),
        (RELATION, {"bbox_x": "10"}, "`bbox_x` is a text"),
        (RELATION, {"bbox_x": True}, "`bbox_x` is a truth value"),
        (RELATION, {"bbox_w": 10**400}, "`bbox_w` is a number (1000"),
        (RELATION, {"bbox_y": float("nan")}, "`bbox_y` is a number (nan)"),
        (RELATION, {"relation_name": None}, "`relation_name` is null"),
        (RELATION, {"true_caption": " "}, "`true_caption` is empty"),
        (ATTRIBUTE, {"attributes": ["brown"]}, "`attributes` is a list (['brown'])"),
        (ATTRIBUTE, {"attributes": "brown"}, "`attributes` is a text"),
        (ATTRIBUTE, {"attributes": ["brown", ""]}, "`attributes`"),
    ],
)
def test_a_record_that_cannot_be_used_is_told_by_its_place(tmp_path, benchmark, broken, said):
    found = list(benchmark.read(written(tmp_path, record(), record(**broken))))
    assert isinstance(found[0], Question)
    assert isinstance(found[1], Problem)
    assert found[1].item == f"{found[0].subset}/1"
    assert found[1].action == "unscored"
    assert said in found[1].what
    assert len(found) == 2


def test_a_missing_box_is_told(tmp_path):
    bare = record()
    del bare["bbox_w"]
    found = list(RELATION.read(written(tmp_path, record(), bare)))
    assert isinstance(found[1], Problem)
    assert found[1].what == "`bbox_w` is missing, not a number of pixels"


def test_wrong_files_are_refused(tmp_path):
    with pytest.raises(BadData, match="No such file"):
        list(RELATION.read(tmp_path))
    path = tmp_path / "visual_genome_relation.json"
    path.write_text("{}")
    with pytest.raises(BadData, match="got an object"):
        list(RELATION.read(path))
    path.write_text("[]")
    with pytest.raises(BadData, match="no usable record"):
        list(RELATION.read(path))


def test_the_official_rules():
    assert (RELATION.official.average, RELATION.official.ties, RELATION.official.least) == (
        "groups",
        "wrong",
        1,
    )
    assert (ATTRIBUTE.official.average, ATTRIBUTE.official.ties, ATTRIBUTE.official.least) == (
        "groups",
        "wrong",
        25,
    )
    assert RELATION.official.left_out == SYMMETRIC
    assert ATTRIBUTE.official.left_out == frozenset()


@pytest.mark.skipif(not (SHARED / "aro").is_dir(), reason="../shared/data is not here")
def test_the_relations_left_out_are_the_authors_list():
    names = json.loads((SHARED / "aro" / "excluded_relations.json").read_text())
    assert len(names) == 157
    assert set(names) == SYMMETRIC
