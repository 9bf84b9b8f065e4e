"""VisualBERT (Li et al. 2019): words and region features in one stream of BERT; boxes do not enter."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from alignscope.models.cross.encoder import Family, one_stream
from alignscope.models.cross.regions import padded, region_inputs
from alignscope.models.protocols import PairInputs, Tokens
from alignscope.records import Regions


def nowhere(regions: Regions) -> Float[Tensor, "region 0"]:
    """The model is not told where a region lies."""
    return torch.zeros(len(regions), 0)


def inputs(
    model: PreTrainedModel, image_processor: None, images: Sequence[Regions], tokens: Tokens
) -> PairInputs:
    """Features alone; every position of the image stream is a region."""
    return region_inputs(images, tokens, nowhere, width=model.config.visual_embedding_dim)


def match(model: PreTrainedModel, inputs: PairInputs) -> Float[Tensor, "pair 2"]:
    """The matching head's logits, the first of which transformers documents as "the text fits the image"."""
    ids, mask, features, _, present = padded(model, inputs)
    output = model(
        input_ids=ids,
        attention_mask=mask,
        visual_embeds=features,
        visual_attention_mask=present,
        visual_token_type_ids=torch.ones_like(present, dtype=torch.long),
    )
    return output.seq_relationship_logits


VISUALBERT = Family(
    "transformers:VisualBertForPreTraining",
    "region",
    sites=one_stream("visual_bert.encoder.layer.{i}.attention.self.dropout"),
    inputs=inputs,
    match=match,
    match_index=0,
    feature_width=lambda config: config.visual_embedding_dim,
)
"""Which logit says "match" is disputed: transformers documents the first (0 = a matching pair), an answer of
the authors (uclanlp/visualbert, issue 26) suggests the second. The calibration check tells for a checkpoint."""
