"""Files of captions: both forms, and everything that can be wrong with an entry counted."""

import json
from pathlib import Path

import pytest

from alignscope.errors import BadData, LengthMismatch
from alignscope.probing.captions import by_image, by_lexicon, read_caption_file, tagged_captions, worded
from alignscope.records import ImageCaption

ROWS = [
    {"image": "1.jpg", "caption": "a dog"},
    {"image": "2.jpg", "caption": "  "},
    {"image": "3.jpg", "caption": 7},
    {"image": "1.jpg", "caption": "a cat"},
    {"caption": "nobody's"},
    {"image": "4.jpg", "text": "misnamed"},
    ["5.jpg", "a list"],
    {"image": True, "caption": "a truth value"},
]


def lines(folder: Path, *rows: object) -> Path:
    path = folder / "captions.jsonl"
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return path


def test_everything_that_is_wrong_is_told_with_its_line(tmp_path):
    read = read_caption_file(lines(tmp_path, *ROWS, "{broken"))
    assert read.captions == (ImageCaption("1.jpg", "a dog"),)
    told = [(problem.item, problem.subject.split(":")[-1], problem.what) for problem in read.problems]
    assert told == [
        ("2.jpg", "2", "caption is empty"),
        ("3.jpg", "3", "caption is a number (7), not a text"),
        ("1.jpg", "4", "the image has a caption already (captions.jsonl:1)"),
        ("", "5", "no image id (fields caption)"),
        ("4.jpg", "6", "no `caption` among the fields image, text"),
        ("", "7", "is a list (['5.jpg', 'a list']), not an object with `image` and `caption`"),
        ("", "8", "no image id (`image` is a truth value (True))"),
        ("", "9", told[-1][2]),
    ]
    assert told[-1][2].startswith("no valid JSON")
    assert {problem.action for problem in read.problems} == {"unscored"}


def test_several_captions_of_an_image_where_they_are_wanted(tmp_path):
    read = read_caption_file(lines(tmp_path, ROWS[0], ROWS[3]), several=True)
    assert [caption.text for caption in read.captions] == ["a dog", "a cat"]
    assert read.problems == ()


def test_results_of_coco(tmp_path):
    path = tmp_path / "results.json"
    path.write_text(
        json.dumps([{"image_id": 391895, "caption": "a man"}, {"image_id": 7, "caption": "a dog"}])
    )
    read = read_caption_file(path)
    assert read.captions == (ImageCaption("391895", "a man"), ImageCaption("7", "a dog"))
    assert (read.name, read.problems) == ("results", ())


def test_the_hash_is_that_of_the_usable_captions(tmp_path):
    whole = read_caption_file(lines(tmp_path, *ROWS)).sha
    assert read_caption_file(lines(tmp_path, ROWS[0])).sha == whole
    assert read_caption_file(lines(tmp_path, ROWS[3])).sha != whole


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "the file is empty"),
        (b'{"image": "1", "caption": ""}', "caption is empty"),
        (b"[1", "no valid JSON"),
        (b"\xff\xfe", "no UTF-8"),
        (b'{"image": "1", "image": "2", "caption": "x"}', "twice"),
    ],
)
def test_a_file_without_a_usable_caption_is_refused(tmp_path, content, match):
    path = tmp_path / "captions.jsonl"
    path.write_bytes(content)
    with pytest.raises(BadData, match=match):
        read_caption_file(path)
    with pytest.raises(BadData, match="No such file"):
        read_caption_file(tmp_path / "absent.jsonl")


def test_words_are_tagged_once_per_text():
    asked = []

    def tag(texts):
        asked.extend(texts)
        return by_lexicon({"a": "DET", "dog": "NOUN"})(texts)

    captions = [ImageCaption("1", "a dog"), ImageCaption("2", "a dog"), ImageCaption("3", "!")]
    tagged = tagged_captions(captions, tag=tag)
    assert asked == ["a dog", "!"]
    assert [(one.image, [word.tag for word in one.words]) for one in tagged] == [
        ("1", ["DET", "NOUN"]),
        ("2", ["DET", "NOUN"]),
        ("3", []),
    ]
    with pytest.raises(LengthMismatch, match="0 texts for 2"):
        tagged_captions(captions, tag=lambda texts: [])


def test_captions_without_a_word_are_unscored():
    kept, problems = worded(tagged_captions([ImageCaption("1", "a dog"), ImageCaption("2", "?!")]))
    assert [one.image for one in kept] == ["1"]
    assert [(one.item, one.what) for one in problems] == [("2", "no word in the caption")]


def test_references_by_image(caption):
    one, two, three = caption("a/DET", "1"), caption("b/X", "2"), caption("c/X", "1")
    assert by_image([one, two, three]) == {"1": [one, three], "2": [two]}
