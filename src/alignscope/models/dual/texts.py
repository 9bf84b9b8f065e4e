"""Texts to padded token batches with character offsets, and where a text embedding is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from jaxtyping import Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from alignscope.errors import BadData, CheckpointMismatch, Unsupported
from alignscope.models.protocols import Tokens


@dataclass(frozen=True)
class TextSide:
    """Facts about the text tower of one `model_type`: where attention runs and where it is read.

    `attention` is the path of layer i's attention module inside the tower.
    """

    attention: str
    readout: Literal["end", "last", "first"]
    is_causal: bool
    reads_padding: bool = False  # padding is attended to as in training: always pad to the full context
    has_legacy_end: bool = False  # `eos_token_id = 2` does not mean 2 but the highest id
    starts_after_padding: bool = False  # positions count from pad_token_id + 1, as RoBERTa's


CLIP_LIKE = TextSide("encoder.layers.{i}.self_attn", "end", is_causal=True)
BERT_LIKE = TextSide("encoder.layer.{i}.attention.self", "first", is_causal=False)
ROBERTA_LIKE = replace(BERT_LIKE, starts_after_padding=True)
SIGLIP_LIKE = TextSide(CLIP_LIKE.attention, "last", is_causal=False, reads_padding=True)
TEXT_SIDES = {
    "clip_text_model": replace(CLIP_LIKE, has_legacy_end=True),
    "metaclip_2_text_model": CLIP_LIKE,
    "siglip_text_model": SIGLIP_LIKE,
    "siglip2_text_model": SIGLIP_LIKE,
    "bert": BERT_LIKE,
    "align_text_model": BERT_LIKE,
    "chinese_clip_text_model": BERT_LIKE,
    "roberta": ROBERTA_LIKE,
    "xlm-roberta": ROBERTA_LIKE,
    "altclip_text_model": replace(ROBERTA_LIKE, attention="roberta.encoder.layers.{i}.attention.self"),
}


@dataclass(frozen=True)
class TokenRules:
    """What turns strings into the ids a text tower was trained on."""

    side: TextSide
    context_length: int
    pad_id: int
    end_id: int | None  # None: the legacy CLIP rule, the highest id ends the text
    vocabulary: int | None = None  # embeddings that the tower has; None: one for every token


def token_rules(side: TextSide, config: Any, tokenizer: PreTrainedTokenizerBase) -> TokenRules:
    """The rules for this text tower; a tokenizer that does not fit it is an error, not a silent readout at 0.

    CLIP configurations written before transformers' pull request 24773 say `eos_token_id = 2`; the
    tower then reads at the highest id, later ones at the first end token (as MetaCLIP 2 does, whose
    end token is number 2).
    """
    if not tokenizer.is_fast:
        raise Unsupported(
            f"{type(tokenizer).__name__} knows no character offsets: save a `tokenizer.json` beside the model "
            "(a fast tokenizer)"
        )
    if len(tokenizer) - len(placeholders(tokenizer, config.vocab_size)) > config.vocab_size:
        raise CheckpointMismatch(
            f"the tokenizer has {len(tokenizer)} tokens, the text tower {config.vocab_size} embeddings: "
            "they are of different models"
        )
    end_id = None
    if side.readout == "end":
        legacy = side.has_legacy_end and config.eos_token_id == 2
        wanted = max(tokenizer.get_vocab().values()) if legacy else config.eos_token_id
        if tokenizer.eos_token_id != wanted:
            raise CheckpointMismatch(
                f"the text embedding is read at token {wanted} (config.json: text_config.eos_token_id = "
                f"{config.eos_token_id}), the tokenizer ends texts with {tokenizer.eos_token_id}: "
                "give the model's own tokenizer, or set eos_token_id in config.json to the tokenizer's"
            )
        end_id = None if legacy else config.eos_token_id
    positions = config.max_position_embeddings
    if side.starts_after_padding:
        positions -= config.pad_token_id + 1
    context_length = min(positions, tokenizer.model_max_length)
    pad_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    return TokenRules(side, context_length, pad_id, end_id, config.vocab_size)


def placeholders(tokenizer: PreTrainedTokenizerBase, rows: int) -> list[int]:
    """Tokens beyond so many embeddings that a processor adds for itself (BLIP-2's <image>): no text has them."""
    names = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
    own = {getattr(tokenizer, f"{name}_token_id") for name in names}
    added = tokenizer.added_tokens_decoder.items()
    return [row for row, token in added if token.special and row >= rows and row not in own]


def tokenise(texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, rules: TokenRules) -> Tokens:
    """Token ids padded on the right to the longest text, or to the context where padding is read.

    Offsets count characters of the strings as given, not of what the tokenizer makes of them
    (CLIP lowercases and composes accents first). A letter that becomes several tokens has its span
    in each; a combining accent may lie outside its letter's span, so words are found by overlap.
    CLIP's unknown token is its end token: where the vocabulary lacks a byte, the text ends there for
    the model, and `Tokens.unheard` counts what follows.
    """
    check_texts(texts)
    if not texts:
        nothing = torch.zeros(0, 0, dtype=torch.long)
        return Tokens(nothing, nothing, nothing.sum(dim=-1), (), ())
    wanted: dict[str, Any] = {
        "return_attention_mask": False,
        "return_offsets_mapping": True,
        "return_special_tokens_mask": True,
        "verbose": False,
    }
    kept = tokenizer(list(texts), truncation=False, **wanted)
    lengths = tuple(map(len, kept["input_ids"]))
    if max(lengths) > rules.context_length:
        kept = tokenizer(list(texts), truncation=True, max_length=rules.context_length, **wanted)
    width = rules.context_length if rules.side.reads_padding else max(map(len, kept["input_ids"]))
    padded, offsets = [], []
    for row, spans, specials in zip(
        kept["input_ids"], kept["offset_mapping"], kept["special_tokens_mask"], strict=True
    ):
        room = width - len(row)
        padded.append([*row, *[rules.pad_id] * room])
        known = [(0, 0) if special else span for span, special in zip(spans, specials, strict=True)]
        offsets.append(tuple([*known, *[(0, 0)] * room]))
    ids = torch.tensor(padded, dtype=torch.long)
    ends = torch.tensor([[len(row)] for row in kept["input_ids"]])
    mask = (torch.arange(width) < ends).long()
    if rules.vocabulary is not None and (ids >= rules.vocabulary).any():
        row, place = (ids >= rules.vocabulary).nonzero()[0].tolist()
        token = tokenizer.convert_ids_to_tokens(int(ids[row, place]))
        raise BadData(f"text {row} holds {token!r}, which this model has no embedding for: take it out")
    readout = readout_positions(ids, rules)
    after = mask.sum(dim=-1) - 1 - readout if rules.side.is_causal else torch.zeros_like(readout)
    return Tokens(ids, mask, readout, tuple(offsets), lengths, tuple(after.tolist()))


def readout_positions(ids: Int[Tensor, "text token"], rules: TokenRules) -> Int[Tensor, " text"]:
    """Where the tower reads each text's embedding.

    >>> rules = TokenRules(TEXT_SIDES["clip_text_model"], context_length=5, pad_id=9, end_id=9)
    >>> readout_positions(torch.tensor([[8, 1, 9, 9, 9], [8, 1, 2, 3, 9]]), rules).tolist()
    [2, 4]
    """
    if rules.side.readout == "first":
        return torch.zeros(len(ids), dtype=torch.long)
    if rules.side.readout == "last":
        return torch.full((len(ids),), ids.shape[1] - 1)
    ends = ids if rules.end_id is None else (ids == rules.end_id).int()
    return ends.argmax(dim=-1)


def check_texts(texts: Sequence[str]) -> None:
    """Refuse what no tokenizer takes, by its position."""
    if isinstance(texts, str):
        raise BadData(f"got one string, wanted a sequence of them: pass [{texts[:40]!r}]")
    for position, text in enumerate(texts):
        if not isinstance(text, str):
            raise BadData(f"text {position} is {type(text).__name__}, not a string: {text!r:.60}")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise BadData(
                f"text {position} holds half a character at {error.start} (a lone surrogate): {text!r:.60}"
            ) from None
