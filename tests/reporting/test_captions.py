"""Shading and comparing captions, by hand."""

from __future__ import annotations

from dataclasses import replace

from alignscope.records import WordClass, WordHeat
from alignscope.reporting.captions import differences, in_numbers, shaded_caption, telling, under_methods


def word(text: str, start: int, word_class: WordClass, heat: float, item: str = "a") -> WordHeat:
    return WordHeat(item, "image", start, text, start, start + len(text), word_class, heat)


def test_pieces_join_to_the_caption_and_shade_by_its_hottest_word() -> None:
    text = "A red ball, rolling."
    words = [
        word("ball", 6, "object", 0.4),
        word("red", 2, "attribute", 0.1),
        word("rolling", 12, "relation", -0.2),
    ]
    caption = shaded_caption(words, text)
    assert "".join(piece.text for piece in caption.pieces) == text
    assert [(p.text, p.shade) for p in caption.pieces if p.word_class] == [
        ("red", 0.25),
        ("ball", 1.0),
        ("rolling", 0.0),  # less than nothing is not shaded
    ]


def test_numbers_are_those_of_the_shades_word_by_word() -> None:
    """The same word twice stays two; what a method leaves out is None there, not zero."""
    text = "ball on a ball"
    whole = [word("ball", 0, "object", 0.4), word("on", 5, "relation", 0.0), word("ball", 10, "object", -0.1)]
    partly = [word("ball", 10, "object", 7.0), word("a", 8, "other", 2.0)]
    rows = (("gradcam", shaded_caption(whole, text)), ("gradient", shaded_caption(partly, text)))
    assert [(one.word, one.word_class, one.heats) for one in in_numbers(rows)] == [
        ("ball", "object", (0.4, None)),
        ("on", "relation", (0.0, None)),
        ("a", "other", (None, 2.0)),
        ("ball", "object", (-0.1, 7.0)),
    ]
    assert in_numbers(()) == ()


def test_a_text_that_does_not_fit_the_offsets_is_not_used() -> None:
    caption = shaded_caption(
        [word("red", 2, "attribute", 1.0), word("ball", 6, "object", 0.5)], "some other caption"
    )
    assert caption.text == "  red ball"


def test_no_heat_at_all_shades_nothing() -> None:
    assert [p.shade for p in shaded_caption([word("red", 0, "attribute", 0.0)], "red").pieces] == [0.0]


def test_examples_come_first_then_captions_with_relations() -> None:
    heats = [word("ball", 0, "object", 1.0, item=f"plain-{n}") for n in range(5)]
    for n in range(4):
        heats += [
            word("ball", 0, "object", 1.0, item=f"full-{n}"),
            word("on", 5, "relation", 1.0, item=f"full-{n}"),
        ]
    assert telling(heats, ["plain-3", "unknown"], limit=3) == ["plain-3", "full-0", "full-2"]


def test_a_caption_is_whole_under_every_method() -> None:
    red, ball = word("red", 2, "attribute", 1.0), word("ball", 6, "object", 0.5)
    heats = [replace(red, method="gradient"), ball, red, replace(ball, item="b")]
    found = under_methods(heats, {}, ["a", "unknown"])
    assert {item: [method for method, _ in rows] for item, rows in found.items()} == {
        "a": ["gradcam", "gradient"],
        "unknown": [],
    }
    assert [caption.text for _, caption in found["a"]] == ["  red ball"] * 2
    assert [[p.text for p in caption.pieces] for _, caption in found["a"]] == [
        ["  ", "red", " ", "ball"],
        ["  ", "red", " ball"],
    ]
    assert under_methods(heats, {"a": "A red ball"}, ["a"])["a"][0][1].text == "A red ball"


def marked(caption: str, foil: str) -> tuple[list[str], list[str]]:
    ours, theirs = differences(caption, foil)
    assert "".join(p.text for p in ours) == caption
    assert "".join(p.text for p in theirs) == foil
    return [p.text for p in ours if p.differs], [p.text for p in theirs if p.differs]


def test_differing_words_are_marked() -> None:
    assert marked("A cup left of a lamp.", "a cup right of a lamp.") == (["left"], ["right"])
    assert marked("a ball touching a cup", "a cup touching a ball") == (["ball", "cup"], ["cup", "ball"])
    assert marked("a dog", "a big brown dog") == ([], ["big brown"])
    assert marked("", "x") == ([], ["x"])
    assert marked("same", "same") == ([], [])
