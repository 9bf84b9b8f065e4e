"""VALSE: the official counts, the questions that others scored, and faults by record."""

import json
from collections import Counter
from pathlib import Path

import pytest
from benchmark_lines import parted

from alignscope.data.benchmarks.valse import PIECES, SIZES, VALSE
from alignscope.errors import BadData
from alignscope.records import Problem, Question, Shown

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
needs_data = pytest.mark.skipif(not (SHARED / "valse").is_dir(), reason="../shared/data is not here")

RECORDS = {  # all records of a file, valid or not: reference/benchmarks.md section 4, counted by other code
    "existence": 534,
    "plurals": 1000,
    "counting-hard": 1000,
    "counting-small-quant": 1000,
    "counting-adversarial": 756,
    "relations": 614,
    "action-replacement": 779,
    "actant-swap": 1042,
    "coreference-standard": 916,
    "coreference-hard": 141,
    "foil-it": 1000,
}


def read(annotations: Path) -> tuple[list[Question], list[Problem]]:
    return parted(VALSE.read(annotations))


def record(caption: str = "A cat.", foil: str = "A dog.", *, votes: int = 3) -> dict:
    return {
        "image_file": "1.jpg",
        "caption": caption,
        "foil": foil,
        "linguistic_phenomena": "actions",
        "mturk": {"foil": 0, "caption": votes, "other": 3 - votes},
    }


def written(folder: Path, instrument: str, records: object) -> Path:
    path = folder / f"{instrument}.json"
    path.write_text(json.dumps(records))
    return path


@needs_data
def test_the_official_files_have_their_official_counts():
    questions, problems = read(SHARED / "valse")
    assert len(questions) == len({one.id for one in questions}) == 7_702
    assert sum(SIZES.values()) == 7_702
    assert Counter(one.subset for one in questions) == SIZES
    left_out = {one.item: int(one.what.split()[0]) for one in problems}
    assert {name: SIZES[name] + left_out[name] for name in SIZES} == RECORDS
    assert {one.action for one in problems} == {"handled"}


@needs_data
def test_the_questions_are_those_that_others_scored():
    """e-bug/fine-grained-evals number all records of the files by name; they scored the valid ones."""
    lines = (SHARED / "valse" / "reference_scores" / "albef_4m.jsonl").read_text().splitlines()
    scored = {(row["instrument"], row["id"], row["piece"]) for row in map(json.loads, lines)}
    keys = [
        (path.stem, key)
        for path in sorted((SHARED / "valse").glob("*.json"))
        for key in json.loads(path.read_text())
    ]
    places = {f"{instrument}/{key}": place for place, (instrument, key) in enumerate(keys)}
    questions, _ = read(SHARED / "valse")
    assert {(one.subset, places[one.id], one.tags[0]) for one in questions} == scored


def test_a_valid_record_is_a_question_and_the_others_are_counted(tmp_path):
    path = written(
        tmp_path, "actant-swap", {"a_0": record(), "a_7": record(votes=1), "a_8": record("x", "y", votes=2)}
    )
    questions, problems = read(path)
    assert questions[0] == Question(
        "actant-swap/a_0", "actant-swap", "actant-swap", (Shown("1.jpg"),), ("A cat.", "A dog."), ("actions",)
    )
    assert [one.id for one in questions] == ["actant-swap/a_0", "actant-swap/a_8"]
    assert [(one.item, one.action) for one in problems] == [("actant-swap", "handled")]
    assert problems[0].what.startswith("1 records without two annotators' votes")


def test_equal_ids_of_two_files_are_two_questions_and_missing_files_are_named(tmp_path):
    for instrument in ("actant-swap", "action-replacement"):
        written(tmp_path, instrument, {"actions_test_0": record()})
    questions, problems = read(tmp_path)
    assert [one.id for one in questions] == [
        "action-replacement/actions_test_0",
        "actant-swap/actions_test_0",
    ]
    assert {one.item for one in problems} == set(SIZES) - {"actant-swap", "action-replacement"}
    assert {one.action for one in problems} == {"unscored"}


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"mturk": {"foil": 1}}, "`mturk`"),
        ({"mturk": None}, "`mturk` is null"),
        ({"mturk": {"caption": True}}, "`mturk`"),
        ({"foil": ""}, "`foil` is empty"),
        ({"image_file": 7}, "`image_file` is a number"),
    ],
)
def test_a_record_that_cannot_be_used_is_told_by_its_key(tmp_path, broken, said):
    questions, problems = read(
        written(tmp_path, "relations", {"ok": record(), "bad": {**record(), **broken}})
    )
    assert [one.id for one in questions] == ["relations/ok"]
    assert [(one.item, one.action) for one in problems] == [("relations/bad", "unscored")]
    assert said in problems[0].what


def test_a_wrong_folder_and_half_a_file_are_refused(tmp_path):
    with pytest.raises(BadData, match=r"existence\.json.*check the path"):
        read(tmp_path)
    (tmp_path / "plurals.json").write_text(json.dumps({"a": record()})[:-9])
    with pytest.raises(BadData, match="no valid JSON"):
        read(tmp_path)


def test_every_instrument_has_its_piece():
    assert list(PIECES) == list(SIZES)
