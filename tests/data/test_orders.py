"""Order sets: written, read back, refused when changed; made from hand-written and real captions."""

import json
from pathlib import Path

import pytest

from alignscope.data.benchmarks.orders import COCO_ORDER, FLICKR_ORDER, write_order_set
from alignscope.errors import BadData
from alignscope.records import Problem, Question, Shown
from alignscope.studies.benchmarking.orders import write_orders

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
KINDS = ("nouns_and_adjectives", "all_but_nouns_and_adjectives", "within_trigrams", "trigrams")


def row(image: str, caption: str, *shuffles: str) -> dict[str, str]:
    return {"image": image, "caption": caption, **dict(zip(KINDS, shuffles, strict=True))}


ROWS = [
    row("val2014/1.jpg", "a red dog", "a dog red", "red a dog", "dog a red", "dog red a"),
    row(
        "val2014/1.jpg",
        "the man's hat",
        "the hat 's man",
        "the man 's hat",
        "'s the hat man",
        "hat the man 's",
    ),
    row("val2014/2.jpg", "zwei hüte", "hüte zwei", "hüte zwei", "hüte zwei", "hüte zwei"),
]


@pytest.fixture
def written(tmp_path) -> Path:
    source = tmp_path / "captions.json"
    source.write_text("[]")
    out = tmp_path / "coco_order.jsonl"
    assert write_order_set(out, ROWS, seed=4, parser="parser-1", source=source) == 3
    return out


def test_what_is_written_is_read_with_the_caption_first(written):
    *questions, problem = COCO_ORDER.read(written)
    assert questions[0] == Question(
        "coco-order/0",
        "coco-order",
        "coco-order",
        (Shown("val2014/1.jpg"),),
        ("a red dog", "a dog red", "red a dog", "dog a red", "dog red a"),
    )
    assert [one.id for one in questions] == ["coco-order/0", "coco-order/1", "coco-order/2"]
    assert [one.tags for one in questions] == [(), ("identical",), ()]  # "the man 's hat" is the caption
    assert isinstance(problem, Problem)
    assert problem.action == "handled"
    assert problem.what.startswith("1 captions given back")


def test_a_folder_is_searched_for_the_set_by_name(written):
    assert list(COCO_ORDER.read(written.parent)) == list(COCO_ORDER.read(written))
    with pytest.raises(BadData, match=r"flickr_order\.jsonl"):
        list(FLICKR_ORDER.read(written.parent))
    assert next(FLICKR_ORDER.read(written)).id == "flickr-order/0"


def test_the_first_line_says_from_what_it_was_made(written):
    header = json.loads(written.read_text().splitlines()[0])
    assert {name: header[name] for name in ("seed", "parser", "source", "captions", "images")} == {
        "seed": 4,
        "parser": "parser-1",
        "source": "captions.json",
        "captions": 3,
        "images": 2,
    }
    assert header["sha"].startswith("41612771fbf2")  # of this header and these rows, wherever it is made
    # sha256 of the two bytes "[]", by coreutils
    assert header["source_sha"] == "4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945"


def changed_word(lines: list[str]) -> list[str]:
    return [lines[0], lines[1].replace("dog red a", "dog red an"), *lines[2:]]


def changed_seed(lines: list[str]) -> list[str]:
    return [lines[0].replace('"seed": 4', '"seed": 5'), *lines[1:]]


@pytest.mark.parametrize(
    "change",
    [
        changed_word,
        changed_seed,
        lambda lines: lines[:-1],
        lambda lines: [*lines, lines[-1]],
        lambda lines: [lines[0], lines[2], lines[1], lines[3]],
    ],
    ids=["word", "seed", "cut", "twice", "order"],
)
def test_a_set_that_was_changed_is_refused_before_its_first_question(written, change):
    lines = written.read_text().splitlines()
    written.write_text("\n".join(change(lines)) + "\n")
    with pytest.raises(BadData, match="changed or cut short; make it again"):
        next(COCO_ORDER.read(written))


@pytest.mark.parametrize("content", ["", '{"image": "1.jpg"}\n', "not json\n", "[]\n"])
def test_another_file_is_refused(tmp_path, content):
    path = tmp_path / "coco_order.jsonl"
    path.write_text(content)
    with pytest.raises(BadData, match=r"coco_order\.jsonl"):
        next(COCO_ORDER.read(path))


def test_white_space_between_lines_changes_nothing(written):
    expected = list(COCO_ORDER.read(written))
    written.write_bytes(written.read_bytes().replace(b"\n", b"\r\n") + b"\n")
    assert list(COCO_ORDER.read(written)) == expected


def captions_file(folder: Path, records: object) -> Path:
    path = folder / "captions.json"
    path.write_text(json.dumps(records))
    return path


def test_a_set_is_made_of_captions_and_made_alike_again(tmp_path):
    source = captions_file(
        tmp_path,
        [
            {"image": "val2014/1.jpg", "caption": ["A man rides a brown horse.", "A horse"]},
            {"image": "val2014/2.jpg", "caption": ["Two cats sleep on a small red sofa near the door"]},
        ],
    )
    one, again, other = (tmp_path / name for name in ("one.jsonl", "again.jsonl", "other.jsonl"))
    assert write_orders(source, one, seed=0) == write_orders(source, again, seed=0) == 3
    write_orders(source, other, seed=1)
    assert one.read_bytes() == again.read_bytes() != other.read_bytes()
    questions = [each for each in COCO_ORDER.read(one) if isinstance(each, Question)]
    assert [each.images[0].key for each in questions] == ["val2014/1.jpg", "val2014/1.jpg", "val2014/2.jpg"]
    assert [each.texts[0] for each in questions][:2] == ["a man rides a brown horse", "a horse"]
    assert questions[1].tags == ("identical",)  # one noun alone has nowhere to go


def test_a_record_without_a_caption_is_an_error(tmp_path):
    source = captions_file(tmp_path, [{"image": "1.jpg", "caption": ["a", ""]}])
    with pytest.raises(BadData, match="1 records that cannot be used"):
        write_orders(source, tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.skipif(not (SHARED / "coco_karpathy").is_dir(), reason="../shared/data is not here")
def test_real_captions_become_a_set(tmp_path):
    records = json.loads((SHARED / "coco_karpathy" / "coco_test_1.json").read_text())[:200]
    out = tmp_path / "coco_order.jsonl"
    captions = sum(len(record["caption"]) for record in records)
    assert write_orders(captions_file(tmp_path, records), out) == captions
    questions = [each for each in COCO_ORDER.read(out) if isinstance(each, Question)]
    assert len(questions) == captions
    assert {len(each.texts) for each in questions} == {5}
    assert [each.images[0].key for each in questions] == [
        record["image"] for record in records for _ in record["caption"]
    ]
    identical = sum(each.tags == ("identical",) for each in questions)
    assert 0.1 < identical / captions < 0.35  # 4,871 of all 25,010


def test_the_official_rule_takes_ties_as_right():
    for benchmark, captions in ((COCO_ORDER, 25_010), (FLICKR_ORDER, 5_000)):
        assert (benchmark.official.ties, benchmark.official.average) == ("right", "items")
        assert sum(benchmark.sizes.values()) == captions
