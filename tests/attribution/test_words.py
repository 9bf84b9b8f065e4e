"""Token heats to word heats: sums over pieces, shares, and what is left unscored."""

import dataclasses
from pathlib import Path

import pytest
import torch

from alignscope.attribution.gradcam import token_heats
from alignscope.attribution.words import attribute, pieces, word_heats
from alignscope.errors import LengthMismatch
from alignscope.models.protocols import DualEncoder, Tokens
from alignscope.models.zoo import open_model
from alignscope.records import Caption, Item, Word


def tagged(identity: str, text: str) -> Item:
    """Every blank-separated word is an object."""
    words, start = [], 0
    for word in text.split():
        start = text.index(word, start)
        words.append(Word(word, start, start + len(word), "object"))
        start += len(word)
    return Item(identity, f"{identity}.png", Caption(text, tuple(words)))


@pytest.fixture(scope="module")
def clip(tiny_clip_dir: Path) -> DualEncoder:
    return open_model(tiny_clip_dir)


def image_rows(count: int) -> torch.Tensor:
    rows = torch.randn(count, 16, generator=torch.Generator().manual_seed(5))
    return torch.nn.functional.normalize(rows, dim=-1)


def by_hand(*spans: tuple[int, int]) -> Tokens:
    """A start token, the spans given, an end token."""
    row = ((0, 0), *spans, (0, 0))
    ids = torch.ones(1, len(row), dtype=torch.long)
    return Tokens(ids, ids, torch.tensor([len(row) - 1]), (row,), (len(row),))


def test_pieces_are_added_and_shares_add_up_to_one(clip: DualEncoder) -> None:
    item = tagged("1", "redish dog.")  # pieces: red|ish, dog|.
    item = dataclasses.replace(
        item, caption=Caption(item.caption.text, (item.caption.words[0], Word("dog", 7, 10, "relation")))
    )
    tokens = by_hand((0, 3), (3, 6), (7, 10), (10, 11))
    heats = torch.tensor([[0.0, 1.0, 2.0, 1.0, 5.0, 0.0]])
    raw = word_heats(clip, tokens, heats, [item], normalize=None)
    assert [(w.word, w.heat, w.word_class) for w in raw.attributions[0].words] == [
        ("redish", 3.0, "object"),
        ("dog", 1.0, "relation"),
    ]
    shares = word_heats(clip, tokens, heats, [item])
    assert [w.heat for w in shares.attributions[0].words] == [0.75, 0.25]
    assert not shares.problems


def test_a_combining_accent_belongs_to_its_word(clip: DualEncoder) -> None:
    text = "cafe\u0301 İstanbul ﬁre dog"
    item = tagged("1", text)
    tokens = clip.tokens([text])
    owners = pieces(tokens.offsets[0][: int(tokens.readout[0])], item.caption.words)
    spelt = [clip.tokenizer.convert_ids_to_tokens(tokens.ids[0][own].tolist()) for own in owners]
    assert len(spelt) == 4
    assert spelt[0][0].startswith("c")
    assert spelt[3] == ["dog</w>"]
    assert "b" in "".join(spelt[1])
    assert "r" in "".join(spelt[2])
    assert sum(map(len, owners)) == int(tokens.readout[0]) - 1, "every piece has an owner"


def test_words_beyond_the_context_are_reported_not_zero(clip: DualEncoder) -> None:
    item = tagged("long", "a red dog to the left of a small cat " * 3)
    (found,) = attribute(clip, [item], image_rows(1))
    heard = found.attributions[0].words
    assert 0 < len(heard) < len(item.caption.words)
    assert len(heard) + len(found.problems) == len(item.caption.words)
    assert {p.action for p in found.problems} == {"unscored"}
    assert "beyond the 24 tokens of context" in found.problems[0].what
    assert sum(w.heat for w in heard) == pytest.approx(1)


def test_words_after_a_causal_readout_are_reported(clip: DualEncoder) -> None:
    text = "a dog <|endoftext|> red cat"
    (found,) = attribute(clip, [tagged("1", text)], image_rows(1))
    assert [w.word for w in found.attributions[0].words] == ["a", "dog"]
    assert [p.subject for p in found.problems][-2:] == ["red", "cat"]


def test_untagged_and_heatless_captions_are_unscored(clip: DualEncoder) -> None:
    bare = Item("bare", "i.png", Caption("a dog"))
    cold = tagged("cold", "a dog")
    tokens = clip.tokens(["a dog", "a dog"])
    found = word_heats(clip, tokens, torch.zeros(tokens.ids.shape), [bare, cold])
    assert not found.attributions
    assert [(p.item, p.what) for p in found.problems] == [
        ("bare", "no tagged words to attribute to"),
        ("cold", "gradcam: every word has heat 0"),
    ]


def test_batches_come_in_order_and_change_nothing(clip: DualEncoder) -> None:
    texts = [
        "a red dog",
        "two spotted cats in the kitchen",
        "a cat",
        "the left of a small cat",
        "a blue ball",
    ]
    items, rows = [tagged(str(i), text) for i, text in enumerate(texts)], image_rows(5)
    told: list[tuple[int, int]] = []
    small = list(
        attribute(clip, items, rows, batch_size=2, progress=lambda done, of: told.append((done, of)))
    )
    assert told == [(2, 5), (4, 5), (5, 5)]
    assert [len(part.attributions) for part in small] == [2, 2, 1]
    (whole,) = attribute(clip, items, rows, batch_size=5)
    flat = [a for part in small for a in part.attributions]
    for one, other in zip(flat, whole.attributions, strict=True):
        assert (one.item, one.image, one.text) == (other.item, other.image, other.text)
        assert [w.heat for w in one.words] == pytest.approx([w.heat for w in other.words], rel=1e-4)


def test_shares_are_the_raw_heats_divided_by_their_sum(clip: DualEncoder) -> None:
    item, row = tagged("1", "two spotted cats in the kitchen"), image_rows(1)
    tokens = clip.tokens([item.caption.text])
    raw = token_heats(clip, tokens, row)[0]
    (found,) = attribute(clip, [item], row)
    (absolute,) = attribute(clip, [item], row, normalize=None)
    total = raw[1 : int(tokens.readout[0])].sum().item()
    assert sum(w.heat for w in absolute.attributions[0].words) == pytest.approx(total, rel=1e-5)
    for share, heat in zip(found.attributions[0].words, absolute.attributions[0].words, strict=True):
        assert share.heat == pytest.approx(heat.heat / total, rel=1e-5)


def test_one_image_row_per_item(clip: DualEncoder) -> None:
    with pytest.raises(LengthMismatch, match="3 image embeddings for 1 items"):
        next(attribute(clip, [tagged("1", "a dog")], image_rows(3)))
