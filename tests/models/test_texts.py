"""Tokens: offsets into the strings as given, and where the text embedding is read."""

import unicodedata
from pathlib import Path

import pytest
import torch
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from alignscope.errors import BadData, CheckpointMismatch
from alignscope.models.dual.encoder import TransformersDualEncoder
from alignscope.models.dual.loading import load

UNUSUAL = [
    "The CAFÉ's cat",
    "cafe\u0301 NAI\u0308VE \u1eacb",  # decomposed: NFC makes them shorter
    "İSTANBUL'da ﬁre",  # lower() makes the first letter longer
    "two\u00a0 spotted\t\ncats ",
    "日本 red 😀 dog",
    "Straße ẞ Ω",
]


@pytest.fixture(scope="module")
def clip(tiny_clip_dir: Path) -> TransformersDualEncoder:
    return load(tiny_clip_dir)


@pytest.mark.parametrize("text", UNUSUAL)
@pytest.mark.parametrize("kind", ["clip", "chinese_clip", "altclip", "metaclip"])
def test_offsets_point_into_the_original(kind: str, text: str, request: pytest.FixtureRequest) -> None:
    """Any word cut out by its offsets is tokenised to the same ids as inside the text.

    Byte pairs, word pieces that drop accents, and sentence pieces whose "▁" shares its word's first letter.
    """
    model = load(request.getfixturevalue(f"tiny_{kind}_dir"))
    tokens = model.tokens([text])
    spans = [span for span in tokens.offsets[0] if span != (0, 0)]
    assert spans == sorted(spans)
    assert tokens.unheard == (0,)
    covered = {at for start, end in spans for at in range(start, end)}
    spelt = {at for at, c in enumerate(text) if not c.isspace() and not unicodedata.combining(c)}
    assert spelt <= covered, "every letter has a token"
    for word in text.split():
        start = text.index(word)
        inside = [
            token
            for token, (a, b) in zip(tokens.ids[0].tolist(), tokens.offsets[0], strict=True)
            if a < start + len(word) and b > start
        ]
        assert inside == model.tokenizer(word, add_special_tokens=False)["input_ids"]


def test_specials_and_padding_have_no_offsets(clip: TransformersDualEncoder) -> None:
    tokens = clip.tokens(["a red cat", "cat"])
    assert tokens.offsets[1][0] == (0, 0)
    assert tokens.offsets[1][2:] == ((0, 0),) * 3
    assert tokens.mask.tolist() == [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]
    assert tokens.readout.tolist() == [4, 2]


def test_a_text_cut_at_the_context_still_ends(clip: TransformersDualEncoder) -> None:
    tokens = clip.tokens(["cat " * 40])
    assert tokens.ids.shape == (1, 24)
    assert tokens.ids[0, -1] == clip.tokenizer.eos_token_id
    assert tokens.readout.tolist() == [23]
    assert tokens.lengths == (42,)


def test_texts_are_read_once_unless_one_is_cut(
    clip: TransformersDualEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A text that is cut changes nothing of the others, which a second reading would show."""
    texts, asked = ["a red cat", "cat"], []
    kind = type(clip.tokenizer)
    read = kind.__call__
    monkeypatch.setattr(kind, "__call__", lambda *given, **how: (asked.append(how), read(*given, **how))[1])
    alone, beside = clip.tokens(texts), clip.tokens([*texts, "cat " * 40])
    assert [how["truncation"] for how in asked] == [False, False, True]
    assert torch.equal(beside.ids[:2, :5], alone.ids)
    assert beside.mask.sum(dim=-1).tolist() == [5, 3, 24]
    assert (beside.ids[:2, 5:] == clip.tokenizer.pad_token_id).all()
    assert [spans[:5] for spans in beside.offsets[:2]] == list(alone.offsets)
    assert beside.lengths == (*alone.lengths, 42)


def test_texts_of_like_many_tokens_are_encoded_together(
    clip: TransformersDualEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long they are written: four rare letters are more tokens than three known words."""
    texts = ["zqxj", "red cat cat", "qzjx", "cat red cat"]
    counts = [len(clip.tokenizer(text)["input_ids"]) for text in texts]
    assert counts[0] == counts[2] > counts[1] == counts[3]
    seen, embed = [], TransformersDualEncoder.embed_tokens
    monkeypatch.setattr(
        TransformersDualEncoder,
        "embed_tokens",
        lambda model, tokens: (seen.append(tuple(tokens.ids.shape)), embed(model, tokens))[1],
    )
    rows = clip.encode_texts(texts, batch_size=2)
    assert seen == [(2, counts[1]), (2, counts[0])]
    alone = torch.cat([clip.encode_texts([text]) for text in texts])
    torch.testing.assert_close(rows, alone, rtol=0, atol=1e-6)


def test_metaclip_ends_at_token_2_which_is_no_legacy(tiny_metaclip_dir: Path) -> None:
    model = load(tiny_metaclip_dir)
    assert model.model.config.text_config.eos_token_id == model.tokenizer.eos_token_id == 2
    tokens = model.tokens(["cat", "a red cat"])
    assert tokens.ids[0].tolist() == [0, tokens.ids[1, 3], 2, 1, 1]
    assert tokens.readout.tolist() == [2, 4]


@pytest.mark.parametrize("kind", ["altclip", "roberta_pair"])
def test_positions_that_start_after_padding_leave_two_unused(
    kind: str, request: pytest.FixtureRequest
) -> None:
    model = load(request.getfixturevalue(f"tiny_{kind}_dir"))
    assert model.model.config.text_config.max_position_embeddings == 26
    assert model.traits.context_length == 24
    tokens = model.tokens(["cat " * 40])
    assert tokens.ids.shape == (1, 24)
    assert tokens.ids[0, -1] == model.tokenizer.eos_token_id
    positions: list[torch.Tensor] = []
    (table,) = [m for n, m in model.model.text_model.named_modules() if n.endswith("position_embeddings")]
    hook = table.register_forward_pre_hook(lambda module, inputs: positions.append(inputs[0]))
    model.encode_texts(["cat " * 40, "cat"])
    hook.remove()
    assert max(int(batch.max()) for batch in positions) == 25, "the last row of the table is reached"


def test_legacy_models_read_at_the_highest_id() -> None:
    """The published CLIP files: eos_token_id 2 in the configuration, the end token last in the vocabulary."""
    words = ["a</w>", "cat</w>", "dog</w>", "<|startoftext|>", "<|endoftext|>"]
    tokenizer = CLIPTokenizer(vocab={word: row for row, word in enumerate(words)}, merges=[])
    tower = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {**tower, "vocab_size": 5, "max_position_embeddings": 6, "eos_token_id": 2}
    config = CLIPConfig(text_config=text, vision_config={**tower, "image_size": 8, "patch_size": 8})
    model = TransformersDualEncoder(CLIPModel(config).eval(), tokenizer, None, name="legacy")
    tokens = model.tokens(["a", "a a"])
    assert tokens.ids.tolist() == [[3, 0, 4, 4], [3, 0, 0, 4]]
    assert tokens.readout.tolist() == [2, 3]
    with torch.no_grad():
        longer = torch.tensor([[3, 0, 4, 4, 4, 4]])  # what follows the end token is not heard
        mask = torch.ones_like(longer)
        features = model.model.get_text_features(input_ids=longer, attention_mask=mask).pooler_output
        wanted = torch.nn.functional.normalize(features, dim=-1)
        torch.testing.assert_close(model.embed_tokens(tokens)[:1], wanted)


def test_a_vocabulary_without_a_byte_ends_the_text_early_and_says_so() -> None:
    tokenizer = CLIPTokenizer().train_new_from_iterator(["a red dog"], vocab_size=300)
    tower = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {**tower, "vocab_size": len(tokenizer), "max_position_embeddings": 16, "eos_token_id": 1}
    config = CLIPConfig(text_config=text, vision_config={**tower, "image_size": 8, "patch_size": 8})
    model = TransformersDualEncoder(CLIPModel(config).eval(), tokenizer, None, name="small vocabulary")
    tokens = model.tokens(["a red! dog", "a red dog"])
    assert tokens.readout.tolist() == [3, 4]
    assert tokens.unheard == (2, 0)  # "dog" and the end token


def test_a_tokenizer_larger_than_the_tower(clip: TransformersDualEncoder) -> None:
    bigger = CLIPTokenizer(vocab={str(row): row for row in range(10**4)}, merges=[])
    with pytest.raises(CheckpointMismatch, match="they are of different models"):
        TransformersDualEncoder(clip.model, bigger, None, name="mixed")


def test_what_is_no_text_is_named_by_position(clip: TransformersDualEncoder) -> None:
    with pytest.raises(BadData, match="text 1 holds half a character at 2"):
        clip.tokens(["a", "a \ud800 cat"])
    with pytest.raises(BadData, match="text 0 holds half a character at 0"):
        clip.encode_texts(["\ud800"])


def test_no_texts(clip: TransformersDualEncoder) -> None:
    assert clip.encode_texts([]).shape == (0, 16)
    assert clip.tokens([]).lengths == ()
