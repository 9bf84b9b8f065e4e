"""Draws of captions by (seed, epoch, place), and words that survive their packing."""

import pickle
from collections import Counter
from dataclasses import replace

import pytest

from alignscope.records import WORD_CLASSES, Caption, Word
from alignscope.training.places import Place, PlacedSamples, packed, unpacked
from alignscope.training.samples import Samples

SAMPLES = PlacedSamples(
    "three",
    "0",
    (
        Place("a", ("a1", "a2", "a3"), (("not a1",), (), ("not a3", "nor this")), (0, 2)),
        Place("b", ("b1",)),
        Place("c", ("c1", "c2"), similar=(0, 2)),
    ),
    str,  # type: ignore[arg-type]
    seed=7,
)


def test_it_is_what_a_loop_wants():
    assert isinstance(SAMPLES, Samples)
    assert len(SAMPLES) == 3
    assert [caption.text for caption in SAMPLES.captions()] == ["a1", "a2", "a3", "b1", "c1", "c2"]


def test_a_caption_goes_with_its_own_foils_and_others_images():
    wanted = {"a1": ("not a1",), "a2": (), "a3": ("not a3", "nor this")}
    drawn = [SAMPLES.draw(0, epoch) for epoch in range(30)]
    assert {sample.caption.text: sample.foils for sample in drawn} == wanted
    assert {sample.neighbours for sample in drawn} == {(2,)}  # never itself
    assert SAMPLES.draw(1, 0).neighbours == SAMPLES.draw(1, 0).foils == ()
    assert SAMPLES.draw(2, 0).neighbours == (0,)


def test_a_draw_depends_on_seed_epoch_and_place_alone():
    again = pickle.loads(pickle.dumps(SAMPLES))  # as a worker process has it
    calls = [(place, epoch) for epoch in range(40) for place in range(3)]
    first = [SAMPLES.draw(*call) for call in calls]
    assert [again.draw(*call) for call in reversed(calls)] == first[::-1]
    other = replace(SAMPLES, seed=8)
    assert [other.draw(*call) for call in calls] != first


def test_captions_are_drawn_evenly():
    counts = Counter(SAMPLES.draw(0, epoch).caption.text for epoch in range(3000))
    assert len(counts) == 3
    assert all(abs(count - 1000) < 130 for count in counts.values())  # 5 standard deviations


def test_words_survive_packing():
    text = "ein Maßkrug 🍺, red  dog " + "x" * 70_000 + " end"
    spans = [(0, 3), (4, 11), (12, 13), (15, 18), (20, 23)]
    words = tuple(
        Word(text[start:end], start, end, kind)
        for (start, end), kind in zip(spans, WORD_CLASSES, strict=True)
    )
    words += (Word("end", len(text) - 3, len(text), "object"),)
    assert unpacked(text, packed(Caption(text, words))) == words
    assert unpacked("...", packed(Caption("..."))) == ()
    with pytest.raises(ValueError, match="shorter"):
        unpacked("a dog", packed(Caption("a dog", words[:1]))[:-4])
