"""VL-CheckList on a hand-made copy of the repository's shape: the annotations have no licence."""

import json
from collections import defaultdict
from pathlib import Path

import pytest
from benchmark_lines import parted

from alignscope.data.benchmarks.vl_checklist import SIZES, SUBSETS, VL_CHECKLIST
from alignscope.errors import BadData
from alignscope.records import Problem, Question, Shown


def record(right: str, wrong: str, *, image: str = "VG_100K_2/1.jpg") -> list:
    return [image, {"POS": [right, "unread"], "NEG": [wrong, "unread"]}]


def written(root: Path, path: str, *records: object) -> Path:
    file = root / "data" / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(list(records)))
    return root


def corpus(root: Path, subset: str, text: str) -> None:
    file = root / "corpus" / "v1" / f"{subset}.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def read(annotations: Path) -> tuple[list[Question], list[Problem]]:
    questions, problems = parted(VL_CHECKLIST.read(annotations))
    return questions, [one for one in problems if "no file" not in one.what]


def test_the_56_files_of_13_axes():
    assert len(SUBSETS) == len(set(SUBSETS)) == 56
    assert len({subset.rpartition("/")[0] for subset in SUBSETS}) == 13
    assert set(SIZES) < set(SUBSETS)
    assert len(SIZES) == 46
    assert sum(SIZES.values()) == 372_274


def test_a_record_is_its_first_texts_and_where_its_yaml_says(tmp_path):
    written(tmp_path, "moved/color.json", record("red bus", "blue bus"))
    corpus(
        tmp_path,
        "Attribute/color/vg",
        'ANNO_PATH: "data/moved/color.json"\nIMG_ROOT: "elsewhere/vg/"\nTYPE: "TUPLE_JSON"',
    )
    questions, problems = read(tmp_path)
    assert problems == []
    assert questions == [
        Question(
            "Attribute/color/vg/0",
            "Attribute/color/vg",
            "A-color/vg",
            (Shown("elsewhere/vg/VG_100K_2/1.jpg"),),
            ("red bus", "blue bus"),
            ("A-color", "attribute"),
        )
    ]


@pytest.mark.parametrize(
    ("path", "subset", "group", "key"),
    [
        ("Attribute/vaw/size.json", "Attribute/size/vaw", "A-size/vaw", "vg/1.jpg"),
        ("Relation/vg/spatial.json", "Relation/spatial/vg", "R-spatial/vg", "vg/1.jpg"),
        ("Relation/hake_action.json", "Relation/action/hake", "R-action/hake", "hake/1.jpg"),
        (
            "Object/Size/swig_size/swig_tool/swig_tool_large.json",
            "Object/Size/large/swig_tool",
            "O-large/swig",
            "swig/1.jpg",
        ),
        (
            "Object/Location/hake_location/hake_obj_mid.json",
            "Object/Location/mid/hake",
            "O-mid/hake",
            "hake/1.jpg",
        ),
        (
            "Object/Location/vg_location/vg_subj_margin.json",
            "Object/Location/margin/vg_subj",
            "O-margin/vg",
            "vg/1.jpg",
        ),
    ],
)
def test_without_yaml_files_lie_where_the_authors_keep_them(tmp_path, path, subset, group, key):
    written(tmp_path, path, record("a", "b", image="1.jpg"))
    for annotations in (tmp_path, tmp_path / "data"):
        [question], problems = read(annotations)
        assert (question.subset, question.group, question.images[0].key) == (subset, group, key)
        assert problems == []


def test_any_folder_of_the_copy_will_do(tmp_path):
    written(tmp_path, "Attribute/vg/state.json", record("wet dog", "dry dog"))
    corpus(tmp_path, "Attribute/state/vg", "ANNO_PATH: data/Attribute/vg/state.json\r\nIMG_ROOT: 'vg'\r\n")
    expected = read(tmp_path)
    assert expected[0][0].images == (Shown("vg/VG_100K_2/1.jpg"),)
    assert read(tmp_path / "corpus") == read(tmp_path / "corpus" / "v1") == expected


def test_missing_files_are_problems_by_subset(tmp_path):
    written(tmp_path, "Attribute/vg/state.json", record("wet dog", "dry dog"))
    absent = [one for one in VL_CHECKLIST.read(tmp_path) if isinstance(one, Problem)]
    assert {one.item for one in absent} == set(SUBSETS) - {"Attribute/state/vg"}
    assert {one.action for one in absent} == {"unscored"}


def test_the_same_text_twice_is_kept_and_told(tmp_path):
    written(tmp_path, "Attribute/vg/state.json", record("wet dog", "wet dog"), record("a", "b"))
    questions, problems = read(tmp_path)
    assert [one.id for one in questions] == ["Attribute/state/vg/0", "Attribute/state/vg/1"]
    assert [(one.item, one.action) for one in problems] == [("Attribute/state/vg/0", "handled")]


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"POS": ["a"], "NEG": ["b"]}, "not [image,"),
        (["1.jpg"], "not [image,"),
        (["1.jpg", ["a", "b"]], "not [image,"),
        ([None, {"POS": ["a"], "NEG": ["b"]}], "the image is null"),
        (["1.jpg", {"POS": ["a"]}], "`NEG` is null"),
        (["1.jpg", {"POS": [], "NEG": ["b"]}], "`POS` is a list ([])"),
        (["1.jpg", {"POS": ["a"], "NEG": [" "]}], "the first text of `NEG` is empty"),
    ],
)
def test_a_record_that_cannot_be_used_is_told_by_its_place(tmp_path, broken, said):
    written(tmp_path, "Attribute/vg/state.json", record("a", "b"), broken)
    questions, problems = read(tmp_path)
    assert [one.id for one in questions] == ["Attribute/state/vg/0"]
    assert [(one.item, one.action) for one in problems] == [("Attribute/state/vg/1", "unscored")]
    assert said in problems[0].what


def test_wrong_folders_and_files_are_refused(tmp_path):
    with pytest.raises(BadData, match="no usable record"):
        read(tmp_path)
    corpus(tmp_path, "Attribute/color/vg", "<html>not found</html>")
    with pytest.raises(BadData, match=r"vg\.yaml.*ANNO_PATH"):
        read(tmp_path)


def test_the_groups_are_what_the_authors_average_in_two_steps(tmp_path):
    """Hand-worked: (mean of two vg files, one hake file) -> O-large, as radar.py does from corpus.json."""
    rights = {  # right answers by file
        "Object/Size/vg_size/vg_obj_large.json": [1, 1, 0, 0],
        "Object/Size/vg_size/vg_subj_large.json": [1],
        "Object/Size/hake_size/hake_obj_large.json": [0, 0, 1, 1, 1],
    }
    for path, answers in rights.items():
        written(tmp_path, path, *[record(f"right {right}", "b") for right in answers])
    files = defaultdict(list)
    for question in read(tmp_path)[0]:
        assert question.tags == ("O-large", "object")
        files[question.group, question.subset].append(int(question.texts[0][-1]))
    groups = defaultdict(list)
    for (group, _), answers in files.items():
        groups[group].append(sum(answers) / len(answers))
    means = [sum(each) / len(each) for each in groups.values()]
    assert sorted(groups) == ["O-large/hake", "O-large/vg"]
    assert sum(means) / len(means) == pytest.approx(((0.5 + 1) / 2 + 0.6) / 2)
