"""Vocabularies: what is kept, what is clipped, and files of ours and of self-critical.pytorch."""

import json
from collections import Counter
from pathlib import Path

import pytest
import torch

from alignscope.errors import BadData, BadInput
from alignscope.models.captioners.vocabulary import Vocabulary, build, words_of

KARPATHY = Path(__file__).parents[2].parent / "shared" / "data" / "coco_karpathy" / "coco_test_1.json"
CAPTIONS = [["a", "cat"]] * 3 + [["a", "dog", "barks"]] * 2 + [["the", "dog"]]


def test_words_are_kept_that_occur_more_often_than_the_threshold():
    assert build(CAPTIONS, threshold=2).words == ("a", "cat", "dog", "UNK")
    assert build(CAPTIONS, threshold=3).words == ("a", "UNK")
    assert build([["seen"] * 5, ["kept"] * 6]).words == ("kept", "UNK")  # the default is more than five


def test_index_0_is_the_end_and_rare_words_are_unk():
    words = build(CAPTIONS, threshold=2)
    ids = words.ids(["A cat, a zebra.", ""])
    assert ids.tolist() == [[1, 2, 1, 4, 0], [0, 0, 0, 0, 0]]
    assert words.texts(ids) == ("a cat a UNK", "")
    assert len(words) == 5
    assert words.end == 0
    assert words.unknown == 4


def test_texts_stop_at_the_first_end_and_take_captions_without_one():
    words = build(CAPTIONS, threshold=2)
    assert words.texts(torch.tensor([[1, 0, 2, 3], [1, 2, 3, 3]])) == ("a", "a cat dog dog")


def test_training_reads_the_first_words_and_then_the_end():
    words = Vocabulary(["w", "UNK"])
    long = " ".join(["w"] * 30)
    assert words.ids([long, "w"], max_length=16).shape == (2, 17)
    assert words.ids([long], max_length=16)[0].tolist() == [1] * 16 + [0]
    assert words.ids([long]).shape == (1, 31)


def test_a_file_comes_back_as_it_was_written(tmp_path):
    words = build(CAPTIONS, threshold=2)
    words.save(tmp_path / "vocabulary.json")
    assert Vocabulary.read(tmp_path / "vocabulary.json") == words


@pytest.mark.parametrize("field", ["ix_to_word", "vocab"])
def test_files_of_self_critical_count_words_from_1_in_any_order(tmp_path, field):
    path = tmp_path / "infos.json"
    path.write_text(json.dumps({"images": [], field: {"3": "UNK", "1": "a", "2": "cat"}}))
    assert Vocabulary.read(path).words == ("a", "cat", "UNK")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "no readable JSON"),
        ('{"images": []}', "got images, wanted"),
        ('["a"]', "no named fields"),
        ('{"ix_to_word": {"1": "a", "3": "UNK"}}', "none with the index 2"),
        ('{"ix_to_word": {"0": "a", "1": "UNK"}}', "none with the index 2"),
    ],
)
def test_a_wrong_file_says_what_it_is(tmp_path, content, said):
    path = tmp_path / "vocabulary.json"
    path.write_text(content)
    with pytest.raises(BadData, match=said):
        Vocabulary.read(path)


@pytest.mark.parametrize(
    ("words", "said"),
    [(["a", "a", "UNK"], "'a' twice"), (["a"], "no UNK"), (["a b", "UNK"], "'a b'"), (["", "UNK"], "''")],
)
def test_words_stand_once_and_without_spaces(words, said):
    with pytest.raises(BadInput, match=said):
        Vocabulary(words)


@pytest.mark.skipif(not KARPATHY.is_file(), reason=f"no {KARPATHY}")
def test_real_captions_come_back_with_rare_words_as_unk():
    captions = [text for row in json.loads(KARPATHY.read_text()) for text in row["caption"]]
    assert len(captions) == 25010
    split = [words_of(text) for text in captions]
    words = build(split)
    counts = Counter(word for caption in split for word in caption)
    common = {word for word, count in counts.items() if count >= 6}
    assert set(words.words) == common | {"UNK"}
    some = captions[:500]
    want = [" ".join(w if w in common else "UNK" for w in words_of(text)[:16]) for text in some]
    assert list(words.texts(words.ids(some, max_length=16))) == want


def test_no_texts_are_no_rows():
    words = build(CAPTIONS, threshold=2)
    assert words.ids([]).shape == (0, 0)
    assert words.texts(words.ids([])) == ()
