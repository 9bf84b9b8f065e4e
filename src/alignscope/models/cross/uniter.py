"""UNITER (Chen et al. 2020): one BERT over the tokens of a text and the regions of a detector.

The image side is LN(LN(W feature) + LN(W position) + type 1). Differs from the authors' code: regions
follow the padded text instead of the last token, with the padding masked; positions are embedded before
that, so that the scores are the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel

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
from alignscope.models.protocols import PairInputs, Tokens
from alignscope.records import Regions

POSITION = 7
OPTIONAL = ("cls.", "feat_regress.", "region_classifier.", "uniter.img_embeddings.mask_embedding.")
"""Keys that begin so are of pre-training tasks: no score needs them, and a file may lack them."""
TIED = {
    "cls.predictions.decoder.weight": "uniter.embeddings.word_embeddings.weight",
    "feat_regress.weight": "uniter.img_embeddings.img_linear.weight",
}
"""Tensors that are another one, which a file may therefore lack."""


class UniterConfig(BertSizes):
    """Sizes of UNITER-base; the vocabulary is that of the cased BERT."""

    model_type = "uniter"

    vocab_size: int = 28996
    num_region_classes: int = 1601


class ImageEmbeddings(nn.Module):
    """Regions as states; `mask_embedding` hides regions in pre-training and has no part in a score."""

    def __init__(self, config: UniterConfig) -> None:
        super().__init__()
        hidden, eps = config.hidden_size, config.layer_norm_eps
        self.img_linear = nn.Linear(config.visual_feat_dim, hidden)
        self.img_layer_norm = nn.LayerNorm(hidden, eps=eps)
        self.pos_layer_norm = nn.LayerNorm(hidden, eps=eps)
        self.pos_linear = nn.Linear(POSITION, hidden)
        self.mask_embedding = nn.Embedding(2, config.visual_feat_dim, padding_idx=0)
        self.LayerNorm = nn.LayerNorm(hidden, eps=eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(
        self,
        features: Float[Tensor, "pair region width"],
        positions: Float[Tensor, "pair region 7"],
        of_images: Float[Tensor, " hidden"],
    ) -> Float[Tensor, "pair region hidden"]:
        seen = self.img_layer_norm(self.img_linear(features))
        placed = self.pos_layer_norm(self.pos_linear(positions))
        return self.dropout(self.LayerNorm(seen + placed + of_images))


class Uniter(nn.Module):
    """Text and regions through one encoder."""

    def __init__(self, config: UniterConfig) -> None:
        super().__init__()
        hidden = config.hidden_size
        self.embeddings = TextEmbeddings(config)
        self.img_embeddings = ImageEmbeddings(config)
        self.encoder = nn.ModuleDict({"layer": encoder_layers(config)})
        self.pooler = nn.ModuleDict({"dense": nn.Linear(hidden, hidden)})

    def forward(
        self,
        ids: Int[Tensor, "pair token"],
        mask: Bool[Tensor, "pair token"],
        features: Float[Tensor, "pair region width"],
        positions: Float[Tensor, "pair region 7"],
        present: Bool[Tensor, "pair region"],
    ) -> Float[Tensor, "pair position hidden"]:
        """Last states of the tokens, then of the regions."""
        of_images = self.embeddings.token_type_embeddings.weight[1]
        image = self.img_embeddings(features, positions, of_images)
        states = torch.cat([self.embeddings(ids), image], dim=1)
        seen = torch.cat([mask, present], dim=1)
        for layer in self.encoder["layer"]:
            states = layer(states, seen)
        return states

    def pooled(self, states: Float[Tensor, "pair position hidden"]) -> Float[Tensor, "pair hidden"]:
        """What the matching heads read, made of the first token's state."""
        return self.pooler["dense"](states[:, 0]).tanh()


class FeatureHead(nn.Module):
    """Features of masked regions; the weight is that of `img_linear`, used the other way round."""

    def __init__(self, config: UniterConfig) -> None:
        super().__init__()
        self.net = head_net(config)
        self.weight = nn.Parameter(torch.empty(config.hidden_size, config.visual_feat_dim))
        self.bias = nn.Parameter(torch.zeros(config.visual_feat_dim))

    def forward(self, states: Float[Tensor, "*any hidden"]) -> Float[Tensor, "*any width"]:
        return F.linear(self.net(states), self.weight.mT, self.bias)


class _UniterModel(PreTrainedModel):
    """What the two models share: the encoder and the matching head."""

    config_class = UniterConfig

    def __init__(self, config: UniterConfig) -> None:
        super().__init__(config)
        self.uniter = Uniter(config)
        self.itm_output = nn.Linear(config.hidden_size, 2)

    def get_input_embeddings(self) -> nn.Module:
        return self.uniter.embeddings.word_embeddings


class UniterForPretraining(_UniterModel):
    """With the heads of pre-training; the forward gives the matching head's logits (no match, match)."""

    _tied_weights_keys = TIED

    def __init__(self, config: UniterConfig) -> None:
        super().__init__(config)
        self.cls = nn.ModuleDict({"predictions": WordHead(config)})
        self.feat_regress = FeatureHead(config)
        classes = nn.Linear(config.hidden_size, config.num_region_classes)
        self.region_classifier = nn.ModuleDict({"net": head_net(config).append(classes)})
        self.post_init()

    def _adjust_bias(self, output_embeddings: nn.Module, input_embeddings: Tensor) -> None:
        """Nothing: transformers would cut the bias of `feat_regress` to the rows of its transposed weight."""

    def forward(self, *batch: Tensor) -> Float[Tensor, "pair 2"]:
        return self.itm_output(self.uniter.pooled(self.uniter(*batch)))


class UniterForImageTextRetrieval(_UniterModel):
    """Fine-tuned to rank: the forward gives one logit per pair."""

    def __init__(self, config: UniterConfig) -> None:
        super().__init__(config)
        self.rank_output = nn.Linear(config.hidden_size, 1)
        self.post_init()

    def forward(self, *batch: Tensor) -> Float[Tensor, " pair"]:
        return self.rank_output(self.uniter.pooled(self.uniter(*batch))).squeeze(-1)


def head_net(config: UniterConfig) -> nn.Sequential:
    """What comes before the last weights of the heads over regions."""
    hidden = config.hidden_size
    return nn.Sequential(
        nn.Linear(hidden, hidden), nn.GELU(), nn.LayerNorm(hidden, eps=config.layer_norm_eps)
    )


def config_from(state: Mapping[str, Tensor]) -> UniterConfig:
    """The configuration of an official state dict (without `module.`), by the shapes of its tensors."""
    hidden = size_of(state, "uniter.embeddings.word_embeddings.weight", 1)
    classes = state.get("region_classifier.net.3.bias")
    ranks = "rank_output.weight" in state
    return UniterConfig(
        architectures=["UniterForImageTextRetrieval" if ranks else "UniterForPretraining"],
        vocab_size=size_of(state, "uniter.embeddings.word_embeddings.weight"),
        hidden_size=hidden,
        num_hidden_layers=layers_of(state, "uniter.encoder.layer."),
        num_attention_heads=heads_of(hidden),
        intermediate_size=size_of(state, "uniter.encoder.layer.0.intermediate.dense.weight"),
        max_position_embeddings=size_of(state, "uniter.embeddings.position_embeddings.weight"),
        type_vocab_size=size_of(state, "uniter.embeddings.token_type_embeddings.weight"),
        visual_feat_dim=size_of(state, "uniter.img_embeddings.img_linear.weight", 1),
        **({} if classes is None else {"num_region_classes": len(classes)}),
    )


def seven(regions: Regions) -> Float[Tensor, "region 7"]:
    """x1/W, y1/H, x2/W, y2/H, width/W, height/H and the product of the last two."""
    corners = shares(regions)
    sides = corners[:, 2:] - corners[:, :2]
    return torch.cat([corners, sides, sides.prod(dim=-1, keepdim=True)], dim=-1)


def inputs(
    model: PreTrainedModel, image_processor: None, images: Sequence[Regions], tokens: Tokens
) -> PairInputs:
    """Every position of the image stream is a region, with a position vector of seven numbers."""
    return region_inputs(images, tokens, seven, width=model.config.visual_feat_dim)


def match(model: PreTrainedModel, inputs: PairInputs) -> Float[Tensor, "pair 2"] | Float[Tensor, " pair"]:
    """Logits (no match, match); of the head that ranks, trained with a margin on its sigmoid, its one logit."""
    return model(*padded(model, inputs))


_SHARED: dict[str, Any] = {
    "unit": "region",
    "sites": one_stream("uniter.encoder.layer.{i}.attention.self.dropout"),
    "inputs": inputs,
    "match": match,
    "feature_width": lambda config: config.visual_feat_dim,
}
UNITER = Family("alignscope.models.cross.uniter:UniterForPretraining", **_SHARED)
UNITER_RETRIEVAL = Family(
    "alignscope.models.cross.uniter:UniterForImageTextRetrieval", match_index=None, **_SHARED
)
