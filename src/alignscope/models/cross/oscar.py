"""Oscar and VinVL (Li et al. 2020, Zhang et al. 2021): one BERT over a text, the labels of an image and its regions.

A region is LN(W [feature, place]) with neither position nor segment; VinVL has that LN, Oscar none. Labels are
text of segment 1. The scorers here are the head of pre-training (three classes) and that of retrieval (two);
the captioner is captioners/oscar.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from alignscope.models.cross.bert import (
    BertSizes,
    TextEmbeddings,
    WordHead,
    encoder_layers,
    heads_of,
    layers_of,
    size_of,
)
from alignscope.models.cross.encoder import Family, one_stream
from alignscope.models.cross.regions import padded, region_inputs, shares
from alignscope.models.dual.encoder import wide
from alignscope.models.dual.texts import check_texts
from alignscope.models.protocols import PairInputs, Tokens
from alignscope.records import Regions

POSITION = 6
SEGMENT = 1
"""Segment of the labels; that of texts is 0."""
PAD = 0
OPTIONAL = ("cls.predictions.",)
"""Keys that begin so are of pre-training: no score needs them, and a file may lack them."""
WORDS = "bert.embeddings.word_embeddings.weight"
TIED = {"cls.predictions.decoder.weight": WORDS}
"""The decoder of masked words is the table of word embeddings; a file may lack it."""
IMAGE_NORM = "bert.LayerNorm.weight"
"""Who has it normalises regions (VinVL), who lacks it does not (Oscar), whatever a configuration says."""


class OscarConfig(BertSizes):
    """Sizes of VinVL-base. `text_length` is the room of a text and its labels, `caption_length` that of a
    caption, after which its labels' positions begin; `max_regions` are read of an image."""

    model_type = "oscar"

    has_image_norm: bool = True
    image_norm_eps: float = 1e-12
    text_length: int = 70
    caption_length: int = 40
    max_regions: int = 50
    contrast_classes: int = 3


class Oscar(nn.Module):
    """The encoder; `embed` and `see` are its two ways in."""

    def __init__(self, config: OscarConfig) -> None:
        super().__init__()
        hidden = config.hidden_size
        self.embeddings = TextEmbeddings(config)
        self.encoder = nn.ModuleDict({"layer": encoder_layers(config)})
        self.pooler = nn.ModuleDict({"dense": nn.Linear(hidden, hidden)})
        self.img_embedding = nn.Linear(config.visual_feat_dim + POSITION, hidden)
        self.LayerNorm = nn.LayerNorm(hidden, eps=config.image_norm_eps) if config.has_image_norm else None
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def embed(
        self, ids: Int[Tensor, "row token"], places: Int[Tensor, "row_or_one token"], *, segment: int
    ) -> Float[Tensor, "row token hidden"]:
        """LN(word + position + segment), at any positions."""
        parts = self.embeddings
        words = F.embedding(ids, parts.word_embeddings.weight)
        placed = words + parts.position_embeddings(places) + parts.token_type_embeddings.weight[segment]
        return parts.dropout(parts.LayerNorm(placed))

    def see(self, regions: Float[Tensor, "row region width"]) -> Float[Tensor, "row region hidden"]:
        """Features of regions, with their six places, as states."""
        states = self.img_embedding(regions)
        return self.dropout(states if self.LayerNorm is None else self.LayerNorm(states))

    def pooled(self, states: Float[Tensor, "pair position hidden"]) -> Float[Tensor, "pair hidden"]:
        """What the matching heads read, made of the first token's state."""
        return self.pooler["dense"](states[:, 0]).tanh()


class OscarModel(PreTrainedModel):
    """What all models of Oscar share."""

    config_class = OscarConfig

    def __init__(self, config: OscarConfig) -> None:
        super().__init__(config)
        self.bert = Oscar(config)

    def get_input_embeddings(self) -> nn.Module:
        return self.bert.embeddings.word_embeddings


class _Matching(OscarModel):
    """A text, the labels right after it, and the regions: all look at all."""

    def first(
        self,
        ids: Int[Tensor, "pair token"],
        mask: Bool[Tensor, "pair token"],
        labels: Int[Tensor, "pair label"],
        named: Bool[Tensor, "pair label"],
        regions: Float[Tensor, "pair region width"],
        present: Bool[Tensor, "pair region"],
    ) -> Float[Tensor, "pair hidden"]:
        """What the pooler makes of [CLS]."""
        bert = self.bert
        after = rearrange(mask.sum(dim=-1), "pair -> pair 1") + torch.arange(
            labels.shape[1], device=ids.device
        )
        places = after.clamp(max=self.config.max_position_embeddings - 1)  # of padding alone, beyond
        states = torch.cat(
            [bert.embeddings(ids), bert.embed(labels, places, segment=SEGMENT), bert.see(regions)], dim=1
        )
        seen = torch.cat([mask, named, present], dim=1)
        for layer in bert.encoder["layer"]:
            states = layer(states, seen)
        return bert.pooled(states)


class OscarForPretraining(_Matching):
    """With the heads of pre-training; the forward gives logits (match, wrong labels, wrong text)."""

    _tied_weights_keys = TIED

    def __init__(self, config: OscarConfig) -> None:
        super().__init__(config)
        self.cls = nn.ModuleDict(
            {
                "predictions": WordHead(config),
                "seq_relationship": nn.Linear(config.hidden_size, config.contrast_classes),
            }
        )
        self.post_init()

    def forward(self, *batch: Tensor) -> Float[Tensor, "pair class"]:
        return self.cls["seq_relationship"](self.first(*batch))


class OscarForImageTextRetrieval(_Matching):
    """Fine-tuned for retrieval; the forward gives logits (no match, match)."""

    def __init__(self, config: OscarConfig) -> None:
        super().__init__(config)
        self.classifier = nn.Linear(config.hidden_size, 2)
        self.post_init()

    def forward(self, *batch: Tensor) -> Float[Tensor, "pair 2"]:
        return self.classifier(self.first(*batch))


def config_from(state: Mapping[str, Tensor]) -> OscarConfig:
    """The configuration of an official state dict, by its keys and the shapes of its tensors."""
    hidden = size_of(state, WORDS, 1)
    classes = state.get("cls.seq_relationship.bias")
    kind = "OscarForImageTextRetrieval" if "classifier.weight" in state else "OscarForPretraining"
    return OscarConfig(
        architectures=[kind],
        vocab_size=size_of(state, WORDS),
        hidden_size=hidden,
        num_hidden_layers=layers_of(state, "bert.encoder.layer."),
        num_attention_heads=heads_of(hidden),
        intermediate_size=size_of(state, "bert.encoder.layer.0.intermediate.dense.weight"),
        max_position_embeddings=size_of(state, "bert.embeddings.position_embeddings.weight"),
        type_vocab_size=size_of(state, "bert.embeddings.token_type_embeddings.weight"),
        visual_feat_dim=size_of(state, "bert.img_embedding.weight", 1) - POSITION,
        has_image_norm=IMAGE_NORM in state,
        **({} if classes is None else {"contrast_classes": len(classes)}),
    )


def text_room(config: OscarConfig) -> int:
    """Tokens that a text and its labels may have together."""
    return min(config.text_length, config.max_position_embeddings)


def six(regions: Regions) -> Float[Tensor, "region 6"]:
    """x1/W, y1/H, x2/W, y2/H, width/W, height/H."""
    corners = shares(regions)
    return torch.cat([corners, corners[:, 2:] - corners[:, :2]], dim=-1)


def pieces(tokenizer: PreTrainedTokenizerBase, names: Sequence[str]) -> list[list[int]]:
    """The word pieces of each label: those of all labels joined by blanks, in order."""
    check_texts(names)
    if not names:
        return []
    return tokenizer(
        list(names), add_special_tokens=False, return_attention_mask=False, return_token_type_ids=False
    )["input_ids"]


def label_ids(
    tokenizer: PreTrainedTokenizerBase, images: Sequence[Regions]
) -> tuple[Int[Tensor, " piece"], ...]:
    """The pieces of each image's labels with the end of their text; none where an image has no labels."""
    found = [list(chain.from_iterable(pieces(tokenizer, image.tags))) for image in images]
    return tuple(
        torch.tensor([*row, tokenizer.sep_token_id] if row else row, dtype=torch.long) for row in found
    )


def inputs(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, images: Sequence[Regions], tokens: Tokens
) -> PairInputs:
    """The image stream is the labels, which are no units, and then the regions.

    Labels are cut to the room that the text leaves them, their end kept, and regions beyond `max_regions` are
    left out, as in the authors' code.
    """
    config, most = model.config, model.config.max_regions
    found = region_inputs(images, tokens, six, width=config.visual_feat_dim)
    whole, rooms = label_ids(tokenizer, images), text_room(config) - tokens.mask.sum(dim=-1)
    labels = tuple(_cut(ids, int(room)) for ids, room in zip(whole, rooms, strict=True))
    rows = zip(images, whole, labels, found.counts, strict=True)
    return replace(
        found,
        images=tuple(each[:most] for each in found.images),
        positions=tuple(each[:most] for each in found.positions),
        units=F.pad(found.units[:, :most], (max(map(len, labels), default=0), 0), value=-1),
        counts=tuple(min(count, most) for count in found.counts),
        labels=labels,
        cuts=tuple(
            told_cuts(image.image, pieces=(len(ids), len(kept)), regions=(count, min(count, most)))
            for image, ids, kept, count in rows
        ),
    )


def _cut(ids: Int[Tensor, " piece"], room: int) -> Int[Tensor, " _"]:
    """The first pieces with the end, or none where there is room for the end alone."""
    if len(ids) <= room:
        return ids
    return torch.cat([ids[: room - 1], ids[-1:]]) if room > 1 else ids[:0]


def told_cuts(image: str, *, pieces: tuple[int, int], regions: tuple[int, int]) -> str:
    """What an image loses where the first of two numbers were given and the second were kept, "" if nothing.

    >>> told_cuts("a.jpg", pieces=(30, 29), regions=(50, 50))
    'a.jpg: no room for 1 of 30 pieces of labels'
    """
    counts = {"pieces of labels": pieces, "regions": regions}
    lost = [f"{given - kept} of {given} {what}" for what, (given, kept) in counts.items() if given > kept]
    return f"{image}: no room for {' and '.join(lost)}" if lost else ""


def match(model: PreTrainedModel, inputs: PairInputs) -> Float[Tensor, "pair 2"]:
    """Two logits: of a head with more classes, those of a match and of all the others together."""
    width = max(map(len, inputs.labels), default=0)
    of_regions = replace(inputs, units=inputs.units[:, width:])
    ids, mask, features, positions, present = padded(model, of_regions)
    labels = pad_sequence(list(inputs.labels), batch_first=True, padding_value=-1).to(ids.device)
    regions = torch.cat([features, positions], dim=-1)
    logits = wide(model(ids, mask, labels.clamp(min=PAD), labels >= 0, regions, present))
    if logits.shape[-1] == 2:
        return logits
    return torch.stack([logits[:, 0], logits[:, 1:].logsumexp(dim=-1)], dim=-1)


def _text_side(config: OscarConfig) -> OscarConfig:
    """A text has the room that its labels have with it."""
    return OscarConfig(
        vocab_size=config.vocab_size, hidden_act=config.hidden_act, max_position_embeddings=text_room(config)
    )


_SHARED: dict[str, Any] = {
    "unit": "region",
    "text_config": _text_side,
    "sites": one_stream("bert.encoder.layer.{i}.attention.self.dropout"),
    "inputs": inputs,
    "match": match,
    "feature_width": lambda config: config.visual_feat_dim,
    "reads_labels": True,
}
OSCAR = Family("alignscope.models.cross.oscar:OscarForPretraining", match_index=0, **_SHARED)
OSCAR_RETRIEVAL = Family("alignscope.models.cross.oscar:OscarForImageTextRetrieval", **_SHARED)
