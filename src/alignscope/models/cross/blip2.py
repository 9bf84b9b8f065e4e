"""BLIP-2's image-text matching (Li et al. 2023): learned queries that read the text, then the patches.

No `attention` and no `gradcam`: text and image meet in the queries, a third stream that is neither, and
the score is a mean over all of them, so that no position of the text is where it is read.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from alignscope.models.catalogue import NO_MAPS
from alignscope.models.cross.blip import grid, inputs
from alignscope.models.cross.encoder import Family
from alignscope.models.protocols import PairInputs


def match(model: PreTrainedModel, inputs: PairInputs) -> Float[Tensor, "pair 2"]:
    """Logits (no match, match), which transformers averages over the queries.

    Where the configuration names an image token, the class expects one per query before the text and cuts
    as many ids away; their mask stays.
    """
    ids, mask = inputs.tokens.ids.to(model.device), inputs.tokens.mask.to(model.device)
    image_token = model.config.image_token_index
    if image_token is not None:
        queries = ids.new_full((len(ids), model.config.num_query_tokens), image_token)
        ids = torch.cat([queries, ids], dim=1)
        mask = torch.cat([torch.ones_like(queries), mask], dim=1)
    output = model(
        pixel_values=torch.stack(inputs.images).to(model.device, model.dtype),
        input_ids=ids,
        attention_mask=mask,
        use_image_text_matching_head=True,
    )
    return output.logits_per_image


BLIP2 = Family(
    "transformers:Blip2ForImageTextRetrieval",
    "patch",
    text_config=lambda config: config.qformer_config,
    grid=grid,
    sites=lambda config: [],
    inputs=inputs,
    match=match,
    attributions=NO_MAPS,
)
