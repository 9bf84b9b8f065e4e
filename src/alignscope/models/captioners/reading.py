"""Texts as a generator reads them: tokenised with what stands around them, found again by characters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedTokenizerBase

from alignscope.errors import BadInput, Unsupported
from alignscope.models.protocols import Tokens


@dataclass(frozen=True)
class Reading:
    """A text in its place: what comes before it, and the tokens from its first one on.

    Tokens that are not the text's (its end, the rest of a question) have the offsets (0, 0). `prefix` are
    the tokens of `before`, an image being one placeholder; `ids` are those of `rest`.
    """

    text: str
    before: str
    rest: str
    prefix: tuple[int, ...]
    ids: tuple[int, ...]
    offsets: tuple[tuple[int, int], ...]


def read(
    tokenizer: PreTrainedTokenizerBase, text: str, *, before: str, after: str, adds_specials: bool
) -> Reading:
    """The text between two strings, tokenised with them as one, as in training.

    A token belongs to the text when it covers any of its characters. Specials that the tokenizer adds at
    the end are left out, those at the start belong to the prefix.
    """
    check_plain(tokenizer, text)
    whole, start, stop = before + text + after, len(before), len(before) + len(text)
    found = tokenizer(
        whole,
        add_special_tokens=adds_specials,
        truncation=False,
        return_attention_mask=False,
        return_offsets_mapping=True,
        return_special_tokens_mask=True,
        verbose=False,
    )
    ids, spans = found["input_ids"], found["offset_mapping"]
    is_added = [
        bool(special) and left == right
        for special, (left, right) in zip(found["special_tokens_mask"], spans, strict=True)
    ]
    kept = len(ids)
    while kept and is_added[kept - 1]:
        kept -= 1
    if not kept:  # nothing but specials: those that stand before a word are the prefix
        return _nothing(tokenizer, text, adds_specials)
    first = next((i for i in range(kept) if not is_added[i] and spans[i][1] > start), kept)
    cut = max((right for _, right in spans[:first]), default=0)
    offsets = [
        (max(left - start, 0), min(right, stop) - start) if left < stop and right > start else (0, 0)
        for left, right in spans[first:kept]
    ]
    return Reading(text, whole[:cut], whole[cut:], tuple(ids[:first]), tuple(ids[first:kept]), tuple(offsets))


def _nothing(tokenizer: PreTrainedTokenizerBase, text: str, adds_specials: bool) -> Reading:
    """A text of no tokens with nothing around it."""
    word = read(tokenizer, "a", before="", after="", adds_specials=adds_specials)
    return Reading(text, "", text, word.prefix, (), ())


def check_tokenizer(tokenizer: PreTrainedTokenizerBase) -> None:
    """Character offsets are known only to fast tokenizers."""
    if not tokenizer.is_fast:
        raise Unsupported(
            f"{type(tokenizer).__name__} knows no character offsets: save a `tokenizer.json` beside the model "
            "(a fast tokenizer)"
        )


def check_plain(tokenizer: PreTrainedTokenizerBase, text: str) -> None:
    """Refuse a text that writes a special token, which would end it or stand for an image."""
    for token in tokenizer.added_tokens_decoder.values():
        if token.special and token.content in text and token.content != tokenizer.unk_token:
            raise BadInput(
                f"the text {text[:60]!r} holds {token.content!r}, which this model reads as a special token: "
                "take it out"
            )


def padded(readings: Sequence[Reading]) -> tuple[Int[Tensor, "text token"], Bool[Tensor, "text token"]]:
    """The tokens of texts in one batch, padded on the right with 0, and which of them are real.

    Nothing masks the padding: models that look to the left alone never see it from a real token.
    """
    rows = [torch.tensor(reading.ids, dtype=torch.long) for reading in readings]
    real = [torch.ones(len(row), dtype=torch.bool) for row in rows]
    return pad_sequence(rows, batch_first=True), pad_sequence(real, batch_first=True)


def as_tokens(readings: Sequence[Reading]) -> Tokens:
    """Readings as the protocols know them; a text is read at its last token."""
    if not readings:
        nothing = torch.zeros(0, 0, dtype=torch.long)
        return Tokens(nothing, nothing, nothing.sum(dim=-1), (), ())
    ids, is_real = padded(readings)
    lengths = tuple(len(reading.ids) for reading in readings)
    offsets = tuple((*reading.offsets, *[(0, 0)] * (ids.shape[1] - len(reading.ids))) for reading in readings)
    return Tokens(ids, is_real.long(), torch.tensor(lengths) - 1, offsets, lengths)
