"""LXMERT (Tan and Bansal 2019): a language, a region and a cross-modal encoder over features of a detector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel

from alignscope.models.cross.encoder import Calls, Family, Site
from alignscope.models.cross.regions import region_inputs, shares
from alignscope.models.protocols import PairInputs, Tokens
from alignscope.records import Regions

CROSS = "lxmert.encoder.x_layers.{i}.{part}.dropout"


def sites(config: Any) -> list[Site]:
    """Where probabilities pass; the cross-attention module is shared and called for either direction in turn."""
    text: Calls = (("text", "text"),)
    image: Calls = (("image", "image"),)
    found = [Site(f"lxmert.encoder.layer.{i}.attention.self.dropout", text) for i in range(config.l_layers)]
    found += [
        Site(f"lxmert.encoder.r_layers.{i}.attention.self.dropout", image) for i in range(config.r_layers)
    ]
    for i in range(config.x_layers):
        found += [
            Site(CROSS.format(i=i, part="visual_attention.att"), (("text", "image"), ("image", "text"))),
            Site(CROSS.format(i=i, part="lang_self_att.self"), text),
            Site(CROSS.format(i=i, part="visn_self_att.self"), image),
        ]
    return found


def inputs(
    model: PreTrainedModel, image_processor: None, images: Sequence[Regions], tokens: Tokens
) -> PairInputs:
    """Corners as shares of the image's width and height; every position of the image stream is a region."""
    return region_inputs(images, tokens, shares, width=model.config.visual_feat_dim)


def match(model: PreTrainedModel, inputs: PairInputs) -> Float[Tensor, " pair"]:
    """The logit of "the text fits the image", the second of the matching head."""
    kind = {"device": model.device, "dtype": model.dtype}
    output = model(
        input_ids=inputs.tokens.ids.to(model.device),
        attention_mask=inputs.tokens.mask.to(model.device),
        visual_feats=pad_sequence(list(inputs.images), batch_first=True).to(**kind),
        visual_pos=pad_sequence(list(inputs.positions), batch_first=True).to(**kind),
        visual_attention_mask=(inputs.units >= 0).to(model.device),
    )
    scores = output.cross_relationship_score
    return scores[:, 1] - scores[:, 0]


LXMERT = Family(
    "transformers:LxmertForPreTraining",
    "region",
    text_config=lambda config: config,
    grid=lambda config: None,
    sites=sites,
    inputs=inputs,
    match=match,
    feature_width=lambda config: config.visual_feat_dim,
)
