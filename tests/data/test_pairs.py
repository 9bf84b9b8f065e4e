"""Users' pairs: what is usable is read as it stands, everything else is named with its line."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from alignscope.data.pairs import PairFile, PairStream, read_pairs, write_pairs
from alignscope.errors import BadData, BadImage, LengthMismatch
from alignscope.records import Caption, Foil, Item, Word


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for name, colour in (("a.png", "red"), ("b.png", "blue")):
        Image.new("RGB", (4, 4), colour).save(folder / name)
    return folder


def line(**fields: object) -> str:
    return json.dumps({"image": "a.png", "caption": "a cat", **fields})


def pairs(tmp_path: Path, *lines: str | bytes) -> Path:
    path = tmp_path / "mine.jsonl"
    path.write_bytes(b"".join((one.encode() if isinstance(one, str) else one) + b"\n" for one in lines))
    return path


FOIL = {"caption": "a dog", "kind": "replace_object"}


def test_a_good_file_is_read_as_it_stands(tmp_path, images):
    source = PairFile(
        pairs(tmp_path, line(foils=[FOIL], id="first"), line(image="b.png", caption=" eine Kätzin 🐈 ")),
        images,
    )
    assert source.items == (
        Item("first", "a.png", Caption("a cat"), (Foil("a dog", "replace_object"),)),
        Item("line-2", "b.png", Caption(" eine Kätzin 🐈 "), ()),
    )
    assert source.problems == ()
    assert source.name == "mine"
    assert source.image("b.png").getpixel((0, 0)) == (0, 0, 255)


UNUSABLE = [
    ("{not json", "not JSON"),
    (b'{"image": "a.png", "caption": "caf\xe9"}', "not UTF-8 at byte"),
    ("[1, 2]", r"the line is a list \(\[1, 2\]\), not an object"),
    ("null", "the line is null"),
    ('{"image": "a.png"}', "`caption` is missing"),
    ('{"caption": "a cat"}', "`image` is missing"),
    (line(caption=""), "`caption` is empty"),
    (line(caption=" \t"), "`caption` is empty"),
    (line(caption=7), r"`caption` is a number \(7\), not a text"),
    (line(caption=["a cat"]), "`caption` is a list"),
    (line(image=None), "`image` is null"),
    ('{"image": "a.png", "caption": "a cat", "caption": "a dog"}', "the key 'caption' twice"),
    ('{"image": "a.png", "caption": "half \\ud800"}', "half a surrogate pair"),
    ("[" * 100_000, "nested too deeply"),
]


@pytest.mark.parametrize(("bad", "what"), UNUSABLE, ids=[what for _, what in UNUSABLE])
def test_an_unusable_line_is_one_problem_with_its_number(tmp_path, bad, what):
    read = read_pairs(pairs(tmp_path, line(id="one"), bad, line(id="three")))
    assert [item.id for item in read.items] == ["one", "three"]
    (problem,) = read.problems
    assert (problem.item, problem.subject, problem.action) == ("line-2", "mine.jsonl:2", "unscored")
    with pytest.raises(AssertionError, match=what):
        raise AssertionError(problem.what)


BAD_FOILS = [
    ("a dog", "foil 2: is a text"),
    ({"caption": "a dog"}, "foil 2: `kind` is missing"),
    ({"kind": "add_object"}, "foil 2: `caption` is missing"),
    ({"caption": "", "kind": "x"}, "foil 2: `caption` is empty"),
    ({"caption": None, "kind": "x"}, "foil 2: `caption` is null"),
    ({"caption": "a dog", "kind": 3}, "foil 2: `kind` is a number"),
    ({"caption": "a dog", "kind": " "}, "foil 2: `kind` is empty"),
    ({"caption": "a  cat ", "kind": "x"}, "foil 2: is the caption itself"),
]


@pytest.mark.parametrize(("bad", "what"), BAD_FOILS, ids=[what for _, what in BAD_FOILS])
def test_a_bad_foil_is_a_problem_and_the_others_stay(tmp_path, bad, what):
    third = {"caption": "a cow", "kind": "my own kind"}
    read = read_pairs(pairs(tmp_path, line(foils=[FOIL, bad, third])))
    assert [foil.text for foil in read.items[0].foils] == ["a dog", "a cow"]
    (problem,) = read.problems
    assert problem.what.startswith(what)
    assert (problem.subject, problem.action) == ("mine.jsonl:1", "unscored")


@pytest.mark.parametrize("nothing", [None, []])
def test_items_without_foils_are_kept(tmp_path, nothing):
    read = read_pairs(pairs(tmp_path, line(foils=nothing), line()))
    assert [item.foils for item in read.items] == [(), ()]
    assert read.problems == ()


def test_foils_that_are_no_list_leave_the_caption(tmp_path):
    read = read_pairs(pairs(tmp_path, line(foils=FOIL)))
    assert read.items[0].foils == ()
    assert "`foils` is an object" in read.problems[0].what
    assert read.problems[0].action == "unscored"


def test_a_misspelt_field_is_told(tmp_path):
    read = read_pairs(pairs(tmp_path, line(foil=[FOIL])))
    (problem,) = read.problems
    assert problem.what == "unknown field 'foil' passed over: did you mean 'foils'?"
    assert problem.action == "handled"


def test_repeated_ids_become_distinct_and_are_told(tmp_path):
    read = read_pairs(
        pairs(tmp_path, line(id="x"), line(id="x@line-3"), line(id="x"), line(id=4), line(id=True))
    )
    assert [item.id for item in read.items] == ["x", "x@line-3", "x@line-3'", "4", "line-5"]
    assert [(p.subject, p.action) for p in read.problems] == [
        ("mine.jsonl:3", "handled"),
        ("mine.jsonl:5", "handled"),
    ]


def test_windows_line_ends_byte_order_mark_and_blank_lines_are_handled(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + f"{line(id='a')}\r\n\r\n  \r\n{line(id='b')}".encode())
    read = read_pairs(path)
    assert [item.id for item in read.items] == ["a", "b"]
    assert [(p.subject, p.action) for p in read.problems] == [
        ("mine.jsonl:1", "handled"),
        ("mine.jsonl:2", "handled"),
        ("mine.jsonl:3", "handled"),
        ("mine.jsonl", "handled"),
    ]
    assert "3 line ends" in read.problems[-1].what


@pytest.mark.parametrize("content", [b"", b"\n\n", b"{oops\n", '{"image": "a"}\n'.encode("utf-16")])
def test_a_file_without_a_usable_line_is_refused(tmp_path, content):
    path = tmp_path / "mine.jsonl"
    path.write_bytes(content)
    with pytest.raises(BadData, match=r"mine\.jsonl: got .*wanted"):
        read_pairs(path)


def test_no_file_and_a_directory_are_refused(tmp_path, images):
    with pytest.raises(BadData, match="No such file"):
        read_pairs(tmp_path / "none.jsonl")
    with pytest.raises(BadData, match="directory"):
        read_pairs(tmp_path)
    with pytest.raises(BadData, match="wanted a directory of images"):
        PairFile(pairs(tmp_path, line()), tmp_path / "nowhere")


def test_missing_images_are_problems_and_broken_ones_are_found_when_opened(tmp_path, images):
    (images / "text.jpg").write_text("no picture")
    source = PairFile(
        pairs(
            tmp_path,
            line(id="good"),
            line(id="gone", image="c.png"),
            line(id="near", image="A.PNG"),
            line(id="out", image="../images/a.png"),
            line(id="broken", image="text.jpg"),
        ),
        images,
    )
    assert [item.id for item in source.items] == ["good", "broken"]
    assert [(p.item, p.action) for p in source.problems] == [
        ("gone", "unscored"),
        ("near", "unscored"),
        ("out", "unscored"),
    ]
    assert "there is 'a.png'" in source.problems[1].what
    assert "leads out of" in source.problems[2].what
    with pytest.raises(BadImage, match=r"text\.jpg"):
        source.image("text.jpg")


def test_a_wrong_image_directory_is_refused(tmp_path, images):
    with pytest.raises(BadData, match="none of the 1 images"):
        PairFile(pairs(tmp_path, line(image="c.png"), line(image="c.png")), images)


def test_a_directory_above_the_images_is_refused_with_theirs(tmp_path, images):
    with pytest.raises(BadData, match=f"give {images}, where the first lies"):
        PairFile(pairs(tmp_path, line(image="a.png")), images.parent)


def test_what_was_done_to_an_image_is_a_problem_of_each_of_its_items(tmp_path, images):
    Image.new("L", (2, 2)).save(images / "grey.png")
    source = PairFile(
        pairs(tmp_path, line(id="one", image="grey.png"), line(id="two", image="grey.png")), images
    )
    assert source.problems == ()
    source.image("grey.png")
    source.image("grey.png")
    assert [(p.item, p.what, p.action) for p in source.problems] == [
        ("one", "image: greyscale made RGB", "handled"),
        ("two", "image: greyscale made RGB", "handled"),
    ]


def test_the_hash_follows_content_and_nothing_else(tmp_path, images):
    def sha(*lines: str) -> str:
        return PairFile(pairs(tmp_path, *lines), images).sha

    first = sha(line(foils=[FOIL]))
    assert sha(line(foils=[FOIL], id="named"), "{broken") == first
    assert sha(line(foils=[{**FOIL, "kind": "other"}])) != first
    assert sha(line()) != first
    assert sha(line(foils=[FOIL], image="b.png")) != first
    Image.new("RGB", (4, 4), "green").save(images / "a.png")
    assert sha(line(foils=[FOIL])) != first


def test_word_classes_are_asked_once_per_text(tmp_path, images):
    asked = []

    def classes(texts):
        asked.append(list(texts))
        return [Caption(t, (Word(t[2:], 2, len(t), "object"),)) for t in texts]

    source = PairFile(
        pairs(tmp_path, line(foils=[FOIL]), line(caption="a dog", foils=[{"caption": "a cat", "kind": "k"}])),
        images,
        word_classes=classes,
    )
    assert asked == [["a cat", "a dog"]]
    assert source.items[0].caption.words == (Word("cat", 2, 5, "object"),)
    assert source.items[0].foils[0].words == (Word("dog", 2, 5, "object"),)
    assert source.items[1].caption.words == (Word("dog", 2, 5, "object"),)
    with pytest.raises(LengthMismatch, match="0 captions with word classes for 1 texts"):
        PairFile(pairs(tmp_path, line()), images, word_classes=lambda texts: [])


def test_written_pairs_are_read_back_equal(tmp_path):
    items = (
        Item(
            "x/1", "a.png", Caption(' "quoted"\u2028 \\ ü'), (Foil("a dog", "swap_object"), Foil("b", "own"))
        ),
        Item("x/2", "sub/b.png", Caption("a cat")),
    )
    assert write_pairs(tmp_path / "out.jsonl", items) == 2
    read = read_pairs(tmp_path / "out.jsonl")
    assert read.items == items
    assert read.problems == ()


@pytest.mark.parametrize("size", [1, 2, 7])
def test_a_stream_gives_the_same_items_and_problems_in_chunks(tmp_path, images, size):
    lines = [line(id=i, foils=[FOIL], image="b.png" if i % 2 else "a.png") for i in range(5)]
    path = pairs(tmp_path, *lines, "{broken", line(id=3), line(image="absent.png"))
    whole = PairFile(path, images)
    chunks = list(PairStream(path, images).chunks(size))
    items = [item for chunk in chunks for item in chunk.items]
    assert items == [replace(item, foils=()) for item in whole.items]
    assert len(whole.items) == 6
    assert sorted(map(str, (p for chunk in chunks for p in chunk.problems))) == sorted(
        map(str, whole.problems)
    )
    assert max(len(chunk.items) for chunk in chunks) <= size
    assert len(chunks) == -(-8 // size)


def test_the_hash_of_a_stream_follows_the_files_bytes(tmp_path, images):
    first = PairStream(pairs(tmp_path, line()), images)
    assert PairStream(pairs(tmp_path, line()), images).sha == first.sha
    assert PairStream(pairs(tmp_path, line(), line()), images).sha != first.sha
    assert first.lines == 1
    with pytest.raises(BadData, match="No such file"):
        PairStream(tmp_path / "nothing.jsonl", images)
