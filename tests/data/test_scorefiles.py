"""Scores made elsewhere, against the numbers their makers published."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from alignscope.data.benchmarks.facts import Benchmark, Official
from alignscope.data.benchmarks.table import BENCHMARKS
from alignscope.data.benchmarks.winoground import diwan_tags
from alignscope.data.scorefiles import bare_questions, read_scores, valse_places
from alignscope.errors import BadData, Unsupported
from alignscope.records import OptionScore, Problem, Question, Shown

DATA = Path(__file__).parents[2].parent / "shared" / "data"
has_data = pytest.mark.skipif(not (DATA / "winoground_tags").exists(), reason="no shared data")


def caption_benchmark() -> Benchmark:
    def read(annotations: Path):
        yield from ()

    return Benchmark("swaps", "Swaps", "caption", read, Official(), "", "", "", "", "")


def question(name: str, texts: int = 2) -> Question:
    return Question(f"s/{name}", "s", "s", (Shown(f"{name}.jpg"),), ("",) * texts)


def scored(tmp_path, rows, asked) -> tuple[dict, list[Problem]]:
    path = tmp_path / "scores.jsonl"
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    found = list(read_scores(path, caption_benchmark(), asked))
    options = {(one.item, one.second): one for one in found if isinstance(one, OptionScore)}
    return options, [one for one in found if isinstance(one, Problem)]


def row(item: str, text: int, score: object) -> dict:
    return {"item": item, "image": 0, "text": text, "score": score}


@has_data
@pytest.mark.parametrize(
    ("model", "published"), [("albef_4m", (29.25, 15.5, 11.0)), ("blip_129m", (35.5, 15.0, 11.75))]
)
def test_winoground_as_published_without_its_captions(model, published):
    folder = DATA / "winoground_tags"
    path = folder / "reference_scores" / f"{model}.jsonl"
    asked = bare_questions(
        path, BENCHMARKS["winoground"], tags=diwan_tags(folder / "new_tag_assignments.json")
    )
    found = list(read_scores(path, BENCHMARKS["winoground"], asked))
    assert Counter(type(one) for one in found) == {OptionScore: 1600}
    scores: dict[str, dict] = defaultdict(dict)
    for one in found:
        scores[one.item][one.first, one.second] = one.score
    text = [s[0, 0] > s[0, 1] and s[1, 1] > s[1, 0] for s in scores.values()]
    image = [s[0, 0] > s[1, 0] and s[1, 1] > s[0, 1] for s in scores.values()]
    both = [one and other for one, other in zip(text, image, strict=True)]
    assert tuple(100 * sum(each) / 400 for each in (text, image, both)) == published
    assert sum("clean" in one.tags for one in asked) == 171
    assert len({shown.key for one in asked for shown in one.images}) == 800


def accuracies(found) -> dict[str, str]:
    """Percent of captions strictly above their foil, by instrument and in all."""
    right: dict[str, list[bool]] = defaultdict(list)
    for one in found:
        if isinstance(one, OptionScore) and one.second == 0:
            right[one.subset].append(one.chosen and not one.is_tie)
            right["all"].append(one.chosen and not one.is_tie)
    return {name: f"{100 * sum(each) / len(each):.1f}" for name, each in right.items()}


@has_data
def test_valse_as_published():
    valse, folder = BENCHMARKS["valse"], DATA / "valse"
    asked = [one for one in valse.read(folder) if isinstance(one, Question)]
    path = folder / "reference_scores" / "albef_4m.jsonl"
    found = list(read_scores(path, valse, asked, annotations=folder))
    assert Counter(type(one) for one in found) == {OptionScore: 2 * 7702}
    published = ["71.3", "78.8", "62.2", "65.1", "59.8", "73.1", "73.6", "58.4", "52.4", "55.8", "95.5"]
    assert accuracies(found) == dict(zip(valse.sizes, published, strict=True)) | {"all": "69.1"}


@has_data
def test_valse_as_published_without_its_captions(tmp_path):
    valse = BENCHMARKS["valse"]
    published = {"existence": "66.3", "relations": "83.2", "coreference-hard": "45.2"}
    with (DATA / "valse" / "reference_scores" / "clipcap_cc.jsonl").open() as lines:
        kept = [line for line in lines if line.strip() and json.loads(line)["instrument"] in published]
    path = tmp_path / "s.jsonl"
    path.write_text("".join(kept))
    got = accuracies(read_scores(path, valse, bare_questions(path, valse)))
    assert {name: got[name] for name in published} == published


@has_data
def test_a_damaged_valse_file_loses_only_what_is_damaged(tmp_path):
    valse, folder = BENCHMARKS["valse"], DATA / "valse"
    lines = (folder / "reference_scores" / "albef_4m.jsonl").read_text().splitlines()[:1898]
    extra = {"label": "3_c", "score": 0.5, "instrument": "actant-swap"}  # left out by the authors
    (tmp_path / "s.jsonl").write_text("\n".join([*lines[:4], *lines[6:-1], json.dumps(extra)]))
    asked = [one for one in valse.read(folder / "actant-swap.json") if isinstance(one, Question)]
    found = list(read_scores(tmp_path / "s.jsonl", valse, asked, annotations=folder))
    assert [(one.item, one.what, one.action) for one in found if isinstance(one, Problem)] == [
        (
            "actant-swap/actions_test_3",
            "a score of image 0 with text 0, but valse as read has no such item: passed over",
            "handled",
        ),
        ("", "949 items, the authors count 7702", "handled"),
        ("actant-swap/actions_test_2", "missing scores: all", "unscored"),
        ("actant-swap/actions_test_1041", "missing scores: image 0 with text 1", "unscored"),
    ]
    assert sum(isinstance(one, OptionScore) for one in found) == 1898
    assert sum(one.score is None for one in found if isinstance(one, OptionScore)) == 3


@has_data
def test_without_annotations_an_item_that_no_label_names_is_still_missed(tmp_path):
    valse, folder = BENCHMARKS["valse"], DATA / "valse"
    lines = (folder / "reference_scores" / "albef_4m.jsonl").read_text().splitlines()
    (tmp_path / "s.jsonl").write_text("\n".join(lines[2:1898]))
    found = list(read_scores(tmp_path / "s.jsonl", valse, bare_questions(tmp_path / "s.jsonl", valse)))
    assert [(one.item, one.what) for one in found if isinstance(one, Problem)] == [
        ("", "948 items, the authors count 7702"),
        ("actant-swap", "948 items, the authors count 949"),
    ]


@has_data
def test_valse_labels_need_all_files(tmp_path):
    (tmp_path / "existence.json").write_text("{}")
    with pytest.raises(BadData, match=r"actant-swap\.json"):
        valse_places(tmp_path, BENCHMARKS["valse"])


@has_data
def test_a_winoground_item_without_a_line_is_missed(tmp_path):
    lines = (DATA / "winoground_tags/reference_scores/albef_4m.jsonl").read_text().splitlines()
    path = tmp_path / "s.jsonl"
    path.write_text("\n".join([*lines[:-4], '{"label": "400_c0_i0", "score": 1}']))
    asked = bare_questions(path, BENCHMARKS["winoground"])
    assert len(asked) == 400
    problems = [one for one in read_scores(path, BENCHMARKS["winoground"], asked) if isinstance(one, Problem)]
    assert [(one.item, one.action) for one in problems] == [
        ("400", "handled"),
        ("winoground/399", "unscored"),
    ]


def test_our_own_lines_by_id_or_by_key(tmp_path):
    rows = [row("s/1", 0, 2.0), row("s/1", 1, 1), row("2", 0, 0.1), row("2", 1, 0.1)]
    options, problems = scored(tmp_path, rows, [question("1"), question("2")])
    assert not problems
    assert [options["s/1", text].score for text in (0, 1)] == [2.0, 1.0]
    assert (options["s/1", 0].chosen, options["s/1", 1].chosen) == (True, False)
    assert options["s/2", 0].is_tie


def test_two_texts_have_a_score_in_either_order(tmp_path):
    path = tmp_path / "s.jsonl"
    path.write_text('{"item": "test/7", "texts": [1, 0], "score": 0.4}\n')
    asked = [Question("test/7", "test", "test", (), ("a", "b"), (), 3.0)]
    *told, only = read_scores(path, BENCHMARKS["sts-b"], asked)
    assert {one.what for one in told} == {"1 items, the authors count 1379"}
    assert (only.score, only.gold) == (0.4, 3.0)


def test_a_key_of_two_subsets_stands_for_neither(tmp_path):
    asked = [question("1"), Question("t/1", "t", "t", (Shown("1.jpg"),), ("", ""))]
    options, problems = scored(tmp_path, [row("1", 0, 1), row("1", 1, 2)], asked)
    assert all(one.score is None for one in options.values())
    assert Counter(one.item for one in problems) == {"1": 2, "s/1": 1, "t/1": 1}


def test_every_fault_is_told_by_item_and_nothing_counts_twice(tmp_path):
    rows = [
        *(row("s/1", 0, 2), row("s/1", 1, 1), row("s/1", 0, 2)),  # the same line twice
        *(row("s/2", 0, 2), row("s/2", 1, 1), row("s/2", 0, 3)),  # two values
        *(row("s/3", 0, float("nan")), row("s/3", 1, 1)),
        row("s/4", 1, 1),
        *(row("s/5", 0, "2"), row("s/5", 1, True)),
        *(row("s/6", 0, 1), row("s/6", 1, 2), row("s/6", 2, 9)),  # no third text
        row("s/9", 0, 1),  # no such item
        "{broken",
        {"item": "s/7", "score": 1},
        {"label": "7_x", "score": 1},
        "[1]",
    ]
    options, problems = scored(tmp_path, rows, [question(str(number)) for number in range(1, 8)])
    assert [(one.item, one.subject.rpartition(":")[2], one.action) for one in problems] == [
        ("s/6", "14", "handled"),
        ("s/9", "15", "handled"),
        ("line-16", "16", "unscored"),
        ("s/7", "17", "unscored"),
        ("", "18", "unscored"),
        ("", "19", "unscored"),
        ("s/1", "3", "handled"),
        ("s/2", "6", "unscored"),
        ("s/3", "7", "unscored"),
        ("s/4", "scores.jsonl", "unscored"),
        ("s/5", "10", "unscored"),
        ("s/5", "11", "unscored"),
        ("s/7", "scores.jsonl", "unscored"),
    ]
    assert {name: one.score for name, one in options.items() if one.score is not None} == {
        ("s/1", 0): 2,
        ("s/1", 1): 1,
        ("s/2", 1): 1,
        ("s/3", 1): 1,
        ("s/4", 1): 1,
        ("s/6", 0): 1,
        ("s/6", 1): 2,
    }
    assert len(options) == 14


def test_what_is_no_score_file_is_refused(tmp_path):
    (tmp_path / "s.jsonl").write_text("{}\n")
    with pytest.raises(BadData, match="no usable line"):
        list(read_scores(tmp_path / "s.jsonl", caption_benchmark(), [question("1")]))
    with pytest.raises(BadData, match="No such file"):
        list(read_scores(tmp_path / "absent.jsonl", caption_benchmark(), [question("1")]))
    with pytest.raises(Unsupported, match="ranks"):
        list(read_scores(tmp_path / "s.jsonl", BENCHMARKS["coco-retrieval"], []))


@pytest.mark.parametrize("value", [10**400, -(10**400), 1e39, float("inf")])
def test_a_score_that_float32_cannot_hold_is_told_and_takes_its_item_out(tmp_path, value):
    options, problems = scored(tmp_path, [row("s/1", 0, value), row("s/1", 1, 1)], [question("1")])
    assert options["s/1", 0].score is None
    assert not options["s/1", 0].chosen
    [told] = problems
    assert (told.item, told.action) == ("s/1", "unscored")
    assert "not a finite number in float32" in told.what


def test_a_place_beyond_all_sense_is_no_score(tmp_path):
    path = tmp_path / "scores.jsonl"
    rows = [row("s/1", 0, 2), row("s/1", 1, 1), row("s/1", 10**11, 1), row("s/1", -1, 1)]
    path.write_text("".join(json.dumps(each) + "\n" for each in rows))
    [asked] = bare_questions(path, caption_benchmark())
    assert len(asked.texts) == 2


def test_subsets_with_bars_in_their_names_are_kept_without_annotations(tmp_path):
    path = tmp_path / "scores.jsonl"
    names = ["Relation/spatial/vg/7", "Object/Size/large/hake/0"]  # the second is in no table of the authors
    path.write_text("".join(json.dumps(row(name, text, 1)) + "\n" for name in names for text in (0, 1)))
    found = bare_questions(path, BENCHMARKS["vl-checklist"])
    assert [one.subset for one in found] == ["Relation/spatial/vg", "Object/Size/large/hake"]


def test_items_of_another_benchmark_are_refused_without_annotations(tmp_path):
    path = tmp_path / "scores.jsonl"
    path.write_text(
        "".join(json.dumps(row(f"other/{n}", text, 1)) + "\n" for n in range(3) for text in (0, 1))
    )
    with pytest.raises(
        BadData, match="got items such as 'other/0', none of sugarcrepe, whose items are SUBSET/KEY"
    ):
        bare_questions(path, BENCHMARKS["sugarcrepe"])
