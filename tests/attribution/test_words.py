"""Token heats to word heats: sums over pieces, found by offsets, and what is not heard."""

import random
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from alignscope.attribution.words import Unheard, merged, owners
from alignscope.errors import LengthMismatch
from alignscope.models.protocols import DualEncoder, Tokens
from alignscope.models.zoo import open_model
from alignscope.records import Caption, Word


def tagged(text: str) -> Caption:
    """Every blank-separated word is an object."""
    words, start = [], 0
    for word in text.split():
        start = text.index(word, start)
        words.append(Word(word, start, start + len(word), "object"))
        start += len(word)
    return Caption(text, tuple(words))


@pytest.fixture(scope="module", params=["clip", "siglip", "pair"])
def model(request: pytest.FixtureRequest) -> DualEncoder:
    return open_model(request.getfixturevalue(f"tiny_{request.param}_dir"))


@pytest.fixture(scope="module")
def clip(tiny_clip_dir: Path) -> DualEncoder:
    return open_model(tiny_clip_dir)


def by_hand(*spans: tuple[int, int]) -> Tokens:
    """A start token, the spans given, an end token."""
    row = ((0, 0), *spans, (0, 0))
    ids = torch.ones(1, len(row), dtype=torch.long)
    return Tokens(ids, ids, torch.tensor([len(row) - 1]), (row,), (len(row),))


def slow_owner(span: tuple[int, int], words: Sequence[Word]) -> int:
    """Character by character: which word shares most of them, the first of equals; from 1, 0 for none."""
    shared = [len(set(range(*span)) & set(range(word.start, word.end))) for word in words]
    return 1 + shared.index(max(shared)) if shared and max(shared) > 0 else 0


def test_owners_equal_a_slow_count_of_characters(model: DualEncoder) -> None:
    texts = ["two spotted cats in the kitchen", "The café's BLUE ball", "a  red-dog,", "İstanbul ﬁre dog", ""]
    captions, draw = [tagged(text) for text in texts], random.Random(0)
    for text in texts[:3]:  # words cut anywhere, some nested, some overlapping
        starts = [draw.randrange(len(text) - 4) for _ in range(6)]
        ends = [start + draw.randint(1, 4) for start in starts]
        words = (Word(text[a:b], a, b, "other") for a, b in zip(starts, ends, strict=True))
        captions.append(Caption(text, tuple(words)))
    tokens = model.tokens([caption.text for caption in captions])
    found, checked = owners(model, tokens, captions), 0
    for row, caption in enumerate(captions):
        last = int(tokens.readout[row]) if model.traits.is_causal else len(tokens.offsets[row])
        wanted = [slow_owner(span, caption.words) for span in tokens.offsets[row][:last]]
        assert found[row].tolist() == wanted + [0] * (len(tokens.offsets[row]) - last)
        checked += sum(owner > 0 for owner in wanted)
    assert checked > 20, "too little to compare"


def test_pieces_are_added(clip: DualEncoder) -> None:
    text = "redish dog."  # pieces: red|ish, dog|.
    caption = Caption(text, (Word("redish", 0, 6, "object"), Word("dog", 7, 10, "relation")))
    tokens = by_hand((0, 3), (3, 6), (7, 10), (10, 11))
    found = merged(clip, tokens, torch.tensor([[9.0, 1.0, 2.0, 1.0, 5.0, 9.0]]), [caption])
    assert found.values.tolist() == [[3.0, 1.0]]
    assert found.heard.tolist() == [[True, True]]
    assert found.unheard == ()


def test_a_token_across_two_words_is_the_longer_shares(clip: DualEncoder) -> None:
    caption = Caption("ab cdef", (Word("ab", 0, 2, "object"), Word("cdef", 3, 7, "object")))
    found = merged(clip, by_hand((1, 7)), torch.tensor([[0.0, 4.0, 0.0]]), [caption])
    assert found.values.tolist() == [[0.0, 4.0]]
    assert found.heard.tolist() == [[False, True]]
    assert [(one.caption, one.word) for one in found.unheard] == [(0, 0)]


def test_gradients_pass_to_the_pieces(clip: DualEncoder) -> None:
    caption = Caption("redish dog.", (Word("redish", 0, 6, "object"),))
    heats = torch.zeros(1, 6, requires_grad=True)
    merged(clip, by_hand((0, 3), (3, 6), (7, 10), (10, 11)), heats, [caption]).values.sum().backward()
    assert heats.grad is not None
    assert heats.grad.tolist() == [[0.0, 1.0, 1.0, 0.0, 0.0, 0.0]]


def test_a_combining_accent_belongs_to_its_word(clip: DualEncoder) -> None:
    caption = tagged("cafe\u0301 İstanbul ﬁre dog")
    tokens = clip.tokens([caption.text])
    owner = owners(clip, tokens, [caption])[0].tolist()
    spelt = [
        clip.tokenizer.convert_ids_to_tokens(
            [int(i) for i, o in zip(tokens.ids[0], owner, strict=True) if o == n]
        )
        for n in (1, 2, 3, 4)
    ]
    assert spelt[0][0].startswith("c")
    assert spelt[3] == ["dog</w>"]
    assert "b" in "".join(spelt[1])
    assert "r" in "".join(spelt[2])
    assert sum(map(len, spelt)) == int(tokens.readout[0]) - 1, "every piece has an owner"


def test_words_beyond_the_context_are_reported_not_zero(model: DualEncoder) -> None:
    short, long = tagged("a cat"), tagged("a red dog to the left of a small cat " * 3)
    tokens = model.tokens([short.text, long.text])
    found = merged(model, tokens, torch.ones(tokens.ids.shape), [short, long])
    limit = model.traits.context_length
    why = f"not heard: beyond the {limit} tokens of context or the text's end"
    heard = int(found.heard[1].sum())
    assert 5 < heard < limit
    assert found.heard.tolist() == [
        [place < 2 for place in range(30)],
        [place < heard for place in range(30)],
    ]
    assert found.unheard == tuple(Unheard(1, place, why) for place in range(heard, 30))
    assert (found.values[~found.heard] == 0).all()
    assert (found.values[found.heard] > 0).all()


def test_words_after_a_causal_readout_are_not_heard(clip: DualEncoder) -> None:
    caption = tagged("a dog <|endoftext|> red cat")
    tokens = clip.tokens([caption.text])
    found = merged(clip, tokens, torch.ones(tokens.ids.shape), [caption])
    assert found.heard.tolist() == [[True, True, False, False, False]]
    assert [one.word for one in found.unheard] == [2, 3, 4]


def test_captions_without_words_and_no_captions(clip: DualEncoder) -> None:
    tokens = clip.tokens(["a dog", "a cat"])
    found = merged(clip, tokens, torch.ones(tokens.ids.shape), [Caption("a dog"), tagged("a cat")])
    assert found.heard.tolist() == [[False, False], [True, True]]
    assert found.unheard == ()
    bare = merged(clip, tokens, torch.ones(tokens.ids.shape), [Caption("a dog"), Caption("a cat")])
    assert bare.values.shape == (2, 0)
    nothing = merged(clip, clip.tokens([]), torch.zeros(0, 0), [])
    assert nothing.values.shape == (0, 0)


def test_one_caption_per_text(clip: DualEncoder) -> None:
    tokens = clip.tokens(["a dog"])
    with pytest.raises(LengthMismatch, match="2 captions for 1 texts"):
        merged(clip, tokens, torch.zeros(tokens.ids.shape), [tagged("a dog")] * 2)
