"""Oscar and VinVL as a captioner (Li et al. 2020, section 4; Zhang et al. 2021): masked words of a caption are
predicted from the words before them, the labels of the image and its regions.

The sequence is [caption | labels | regions]. Labels and regions look at each other and never at the caption; a
place of the caption looks at itself, at the places before it, at labels and regions. So what labels and regions
are is computed once per image, and their keys and values serve every caption of it. Differs from the authors'
code: what is not looked at gets exactly no weight, and padding is left out where it can be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import torch
from einops import rearrange, repeat
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from alignscope.errors import BadInput, CheckpointMismatch
from alignscope.models.captioners.protocol import Features
from alignscope.models.cross.bert import Layer, WordHead, attend
from alignscope.models.cross.oscar import (
    SEGMENT,
    TIED,
    OscarConfig,
    OscarModel,
    config_from,
    text_room,
)

WANTED = ("cls.predictions.transform.dense.weight", "cls.predictions.bias")
OPTIONAL = ("cls.seq_relationship.",)
"""Keys that begin so are of pre-training: a file may have them, a captioner does not."""
TOLD = {
    **{name: name for name in ("num_attention_heads", "hidden_act", "layer_norm_eps", "initializer_range")},
    **{name: name for name in ("hidden_dropout_prob", "attention_probs_dropout_prob")},
    "img_layer_norm_eps": "image_norm_eps",
}
"""Entries of the authors' config.json that no tensor tells, and ours; all others are read off the tensors."""
Kept = Sequence[tuple[Tensor, Tensor]]
"""Keys and values of what came before, layer by layer."""


@final
@dataclass(frozen=True, eq=False, kw_only=True)
class OscarFeatures(Features):
    """A batch as the network takes it: `values` are regions, the feature with six places; `present` are those to
    look at. Ablated labels and regions keep their place: as [PAD] and as zeros that are not looked at.

    `units` says of each image's positions, without the padding of the batch, which label they are a piece of (-1:
    the end of the labels); `regions` counts those of each image; `cuts` says what had no room, "" where all had.
    """

    labels: Int[Tensor, "image piece"]
    named: Bool[Tensor, "image piece"]  # pieces to look at
    units: tuple[tuple[int, ...], ...]
    regions: tuple[int, ...]
    cuts: tuple[str, ...]


class Passed(NamedTuple):
    """States of the last layer, and keys and values of every layer, those from before included."""

    states: Float[Tensor, "row position hidden"]
    kept: list[tuple[Float[Tensor, "row key hidden"], Float[Tensor, "row key hidden"]]]


@final
class OscarForCaptioning(OscarModel):
    """209 tensors at published size; `forward` is for masked-caption training, `spoken` for words one by one."""

    _tied_weights_keys = TIED

    def __init__(self, config: OscarConfig) -> None:
        super().__init__(config)
        if not 1 < config.caption_length < text_room(config):
            raise BadInput(
                f"got a caption_length of {config.caption_length}, wanted 2 to {text_room(config) - 1}: labels come after "
                "the caption, within text_length and max_position_embeddings"
            )
        self.cls = nn.ModuleDict({"predictions": WordHead(config)})
        self.post_init()

    def forward(
        self,
        ids: Int[Tensor, "caption token"],
        mask: Bool[Tensor, "caption token"],
        features: OscarFeatures,
        images: Int[Tensor, " caption"] | None = None,
    ) -> Float[Tensor, "caption token word"]:
        """Logits at every place of the caption slot: what `ids` has there, [CLS] w1 … [SEP] with some places
        masked, is the input, and `mask` is False at padding, where logits mean nothing. Place t looks at the
        places up to t and at all labels and regions. `images` says which image each caption is of; without it
        they are one to one."""
        seen, kept = self.context(features)
        if images is not None:
            seen, kept = seen[images], [(key[images], value[images]) for key, value in kept]
        return self.cls["predictions"](self.caption(ids, mask, seen, kept))

    def context(
        self, features: OscarFeatures
    ) -> tuple[
        Bool[Tensor, "image position"],
        list[tuple[Float[Tensor, "image position hidden"], Float[Tensor, "image position hidden"]]],
    ]:
        """Which labels and regions are there to look at, and their keys and values in every layer."""
        seen, passed = self.looked(features)
        return seen, passed.kept

    def looked(self, features: OscarFeatures) -> tuple[Bool[Tensor, "image position"], Passed]:
        """Labels and regions through all layers; no caption has a part in them."""
        assert features.present is not None  # OscarFeatures always have it
        labels = features.labels
        first = self.config.caption_length
        places = torch.arange(first, first + labels.shape[1], device=labels.device)
        states = torch.cat(
            [
                self.bert.embed(labels, rearrange(places, "piece -> 1 piece"), segment=SEGMENT),
                self.bert.see(features.values),
            ],
            dim=1,
        )
        seen = torch.cat([features.named, features.present], dim=1)
        whole = repeat(seen, "image key -> image query key", query=seen.shape[1])
        return seen, self._through(states, whole, None)

    def caption(
        self,
        ids: Int[Tensor, "caption token"],
        mask: Bool[Tensor, "caption token"],
        seen: Bool[Tensor, "caption position"],
        kept: Kept,
    ) -> Float[Tensor, "caption token hidden"]:
        """Last states of a caption slot over the labels and regions of its image."""
        length = ids.shape[1]
        if length > self.config.caption_length:
            raise BadInput(
                f"got captions of {length} tokens with [CLS] and [SEP], the labels begin at position "
                f"{self.config.caption_length}: cut them there"
            )
        places = torch.arange(length, device=ids.device)
        states = self.bert.embed(ids, rearrange(places, "token -> 1 token"), segment=0)
        before = torch.ones(length, length, dtype=torch.bool, device=ids.device).tril()
        words = before & rearrange(mask, "caption key -> caption 1 key")
        context = repeat(seen, "caption key -> caption query key", query=length)
        return self._through(states, torch.cat([context, words], dim=-1), kept).states

    def spoken(
        self,
        words: Int[Tensor, "row token"],
        masked: int,
        seen: Bool[Tensor, "row position"],
        kept: Kept,
        place: int,
    ) -> tuple[Float[Tensor, "row token word"], Kept]:
        """Reads words that follow `place` others: logits of what comes after each, and keys and values with theirs.

        After each word stands the mask `masked` in the next place; it looks at the words up to there and at
        itself, and nothing looks at it. So reading all words at once is the same as reading them one by one.
        """
        count, device = words.shape[1], words.device
        places = torch.arange(place, place + count + 1, device=device)
        both = torch.cat([words, torch.full_like(words, masked)], dim=1)
        at = rearrange(torch.cat([places[:-1], places[1:]]), "position -> 1 position")
        states = self.bert.embed(both, at, segment=0)
        before = torch.ones(count, count, dtype=torch.bool, device=device).tril()
        own = torch.eye(count, dtype=torch.bool, device=device)
        told = torch.cat([torch.cat([before, torch.zeros_like(own)], dim=1), torch.cat([before, own], dim=1)])
        earlier = torch.ones(2 * count, place, dtype=torch.bool, device=device)
        among = repeat(torch.cat([earlier, told], dim=1), "query key -> row query key", row=len(words))
        context = repeat(seen, "row key -> row query key", query=2 * count)
        passed = self._through(states, torch.cat([context, among], dim=-1), kept)
        logits = self.cls["predictions"](passed.states[:, count:])
        return logits, [(key[:, :-count], value[:, :-count]) for key, value in passed.kept]

    def _through(
        self,
        states: Float[Tensor, "row position hidden"],
        seen: Bool[Tensor, "row position key"],
        kept: Kept | None,
    ) -> Passed:
        """All layers; the keys are what was kept, then these positions themselves."""
        none = states[:, :0]
        found = []
        for number, layer in enumerate(self.bert.encoder["layer"]):
            states, key, value = _layer(layer, states, seen, kept[number] if kept else (none, none))
            found.append((key, value))
        return Passed(states, found)


def _layer(
    layer: Layer,
    states: Float[Tensor, "row position hidden"],
    seen: Bool[Tensor, "row position key"],
    before: tuple[Tensor, Tensor],
) -> tuple[Tensor, Tensor, Tensor]:
    """New states, and the keys and values that they looked at."""
    own = layer.attention.self
    key = torch.cat([before[0], own.key(states)], dim=1)
    value = torch.cat([before[1], own.value(states)], dim=1)
    found = attend(own.query(states), key, value, seen, heads=own.heads, dropout=own.dropout)
    states = layer.attention.output(found, states)
    return layer.output(layer.intermediate(states), states), key, value


def captioning_config(state: Mapping[str, Tensor], facts: Mapping[str, Any]) -> OscarConfig:
    """The configuration of an official captioner: sizes by its tensors, the rest by its config.json."""
    if missing := [key for key in WANTED if key not in state]:
        raise CheckpointMismatch(
            f"got no {missing[0]!r} among {len(state)} tensors, wanted the head that predicts words: give a captioning "
            "or pre-training checkpoint (one of retrieval writes nothing)"
        )
    config = config_from(state)
    config.architectures = ["OscarForCaptioning"]
    for theirs, ours in TOLD.items():
        if theirs in facts:
            setattr(config, ours, facts[theirs])
    return config
