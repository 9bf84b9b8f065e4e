"""SugarCrepe++: the official counts, the records whose captions are the same, and faults by record."""

import json
from pathlib import Path

import pytest
from benchmark_lines import parted

from alignscope.data.benchmarks.sugarcrepe_pp import SUGARCREPE_PP, read
from alignscope.errors import BadData
from alignscope.records import Question, Shown

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
needs_data = pytest.mark.skipif(not (SHARED / "sugarcrepe_pp").is_dir(), reason="../shared/data is not here")

# Records, and those with the caption of SugarCrepe's record in the same place: reference/benchmarks.md section 3.
OFFICIAL = {
    "replace_att": (788, 593),
    "replace_obj": (1652, 1536),
    "replace_rel": (1406, 835),
    "swap_att": (666, 430),
    "swap_obj": (245, 160),
}


@needs_data
def test_the_official_files_have_their_official_counts():
    questions, problems = parted(read(SHARED / "sugarcrepe_pp"))
    assert len({one.id for one in questions}) == len(questions) == 4_757
    assert {name: size for name, (size, _) in OFFICIAL.items()} | {"": 4_757} == SUGARCREPE_PP.sizes
    for name, (size, equal) in OFFICIAL.items():
        own = [one for one in questions if one.subset == name]
        assert [one.id for one in own] == [f"{name}/{number}" for number in range(size)]
        assert all(len(one.texts) == 3 and len(one.images) == 1 for one in own)
        elder = list(json.loads((SHARED / "sugar_crepe" / f"{name}.json").read_text()).values())
        rows = list(zip(own, elder, strict=True))
        assert all(one.images[0].key == row["filename"] for one, row in rows)
        assert sum(one.texts[0] == row["caption"] for one, row in rows) == equal
    assert questions[788] == Question(
        "replace_obj/0", "replace_obj", "replace_obj", questions[788].images, questions[788].texts
    )
    # one record repeats its caption letter by letter, one but for a space; two foils are the caption
    same = [one.id for one in questions if one.texts[0] == one.texts[1]]
    assert same == ["replace_att/14"]
    assert [(one.item, one.action, one.what.partition(";")[0]) for one in problems] == [
        ("replace_att/14", "handled", "`caption2` is `caption` itself"),
        ("replace_rel/369", "handled", "`caption2` is `caption` itself"),
        ("swap_obj/2", "handled", "`negative_caption` is `caption` itself"),
        ("swap_obj/8", "handled", "`negative_caption` is `caption` itself"),
    ]


@needs_data
def test_texts_are_right_right_wrong():
    first = next(iter(read(SHARED / "sugarcrepe_pp" / "swap_obj.json")))
    assert first == Question(
        "swap_obj/0",
        "swap_obj",
        "swap_obj",
        (Shown("000000222235.jpg"),),
        (
            "A cat sits on its hind legs, and swats at the plant.",
            "The cat swats at the plant while sitting on its hind legs.",
            "A cat sits on the plant, and swats at its hind legs.",
        ),
    )


def record(number: object, **changes: object) -> dict[str, object]:
    texts = {"caption": "a cat", "caption2": "one cat", "negative_caption": "a dog"}
    return {"id": number, "filename": "a.png", **texts, **changes}


def test_faults_are_told_by_record_and_nothing_counts_twice(tmp_path):
    without = record(5)
    del without["caption2"]
    (tmp_path / "swap_att.json").write_text(
        json.dumps(
            [
                record(0),
                record(0, caption="again"),
                record(3, caption2=" "),
                without,
                record(None),
                7,
                record(9),
            ]
        )
    )
    questions, problems = parted(read(tmp_path / "swap_att.json"))
    assert [one.id for one in questions] == ["swap_att/0", "swap_att/record-4", "swap_att/9"]
    assert questions[0].texts == ("a cat", "one cat", "a dog")
    assert [one.action for one in problems] == ["unscored"] * 3 + ["handled", "unscored"]
    assert [(one.item, one.subject, one.what.partition(",")[0]) for one in problems] == [
        ("swap_att/0", "swap_att.json: record 1", "the id 'swap_att/0' came before"),
        ("swap_att/3", "swap_att.json: record 2", "`caption2` is empty"),
        ("swap_att/5", "swap_att.json: record 3", "`caption2` is missing"),
        (
            "swap_att/record-4",
            "swap_att.json: record 4",
            "`id` is null",
        ),
        ("swap_att/record-5", "swap_att.json: record 5", "the record is a number (7)"),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"0": {}}', "got an object"),
        ('[{"id": 0', "got no valid JSON .*replace the file by a whole copy"),
        ("[]", "got no usable record"),
    ],
)
def test_other_files_are_refused(tmp_path, content, message):
    (tmp_path / "swap_att.json").write_text(content)
    with pytest.raises(BadData, match=message):
        list(read(tmp_path / "swap_att.json"))


def test_the_folder_of_sugarcrepe_is_told_apart_by_its_shape(tmp_path):
    (tmp_path / "swap_att.json").write_text(
        '{"0": {"filename": "a", "caption": "b", "negative_caption": "c"}}'
    )
    with pytest.raises(BadData, match=r"wanted SugarCrepe\+\+ records"):
        list(read(tmp_path))
