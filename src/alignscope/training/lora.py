"""Low-rank adapters in the attention of a dual encoder (Hu et al. 2021, section 4.1), by `peft`.

A projection W of the trained towers becomes W + (alpha / rank) B A, where B begins at zero. A and B move, and with
the text tower the scale and bias of the score, as in every fine-tuning here. The modules stay where they were, so
that maps, gradients and traits are found as before. All four projections get adapters; the paper's experiments give
them to query and value.
"""

from __future__ import annotations

import copy
import re
from typing import Any, Literal

import torch
from torch import nn
from transformers import PreTrainedModel

from alignscope.errors import BadInput, MissingExtra, Unsupported
from alignscope.models.dual.encoder import TransformersDualEncoder
from alignscope.models.dual.families import family
from alignscope.training.settings import LoraPlan

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "out_proj")
TOWERS = {"both": ("text_model", "vision_model"), "text": ("text_model",), "image": ("vision_model",)}
ADAPTERS = "lora_"
"""What the names of peft's own parameters begin with."""


def with_adapters(
    encoder: TransformersDualEncoder,
    plan: LoraPlan,
    *,
    trains: Literal["both", "text", "image"] = "both",
    seed: int = 0,
) -> list[nn.Parameter]:
    """Put adapters into the encoder's own model and freeze the rest; returns the parameters that move.

    The scores are the same until the first step. `seed` draws A. A model that has adapters is refused.
    """
    peft = _peft()
    if plan.rank < 1 or plan.alpha <= 0 or not 0 <= plan.dropout < 1:
        raise BadInput(
            f"{plan}: wanted a rank of 1 or more, an alpha above 0 and a dropout from 0 to below 1"
        )
    model = encoder.model
    if any(ADAPTERS in name for name, _ in model.named_parameters()):
        raise BadInput(f"{encoder.name} has adapters already: fold them in first (`merged`)")
    config = peft.LoraConfig(
        r=plan.rank,
        lora_alpha=plan.alpha,
        lora_dropout=plan.dropout,
        target_modules=_projections(encoder, trains),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        peft.inject_adapter_in_model(config, model)
    kind = family(model.config.model_type)
    score = () if trains == "image" else (kind.scale, kind.bias)  # which move with the text side
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(ADAPTERS in name or name in score)
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def merged(encoder: TransformersDualEncoder) -> TransformersDualEncoder:
    """A copy with the adapters folded into its weights: a plain model with the keys it had before.

    The encoder itself stays as it is, so that a training run can save a model and go on.
    """
    layer_of = _peft().tuners.lora.LoraLayer
    model: PreTrainedModel = copy.deepcopy(encoder.model)
    adapted = [(name, module) for name, module in model.named_modules() if isinstance(module, layer_of)]
    if not adapted:
        raise BadInput(f"{encoder.name} has no adapters to fold in: save it as it is")
    for name, module in adapted:
        module.merge()
        model.set_submodule(name, module.get_base_layer())
    del model.peft_config
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    return TransformersDualEncoder(model, encoder.tokenizer, encoder.image_processor, name=encoder.name)


def _projections(encoder: TransformersDualEncoder, trains: str) -> list[str]:
    """Paths of the attention projections in every layer of the trained towers."""
    known = re.compile(rf"(.+)\.layers\.\d+\.self_attn\.({'|'.join(PROJECTIONS)})")
    found: dict[str, list[str]] = {tower: [] for tower in TOWERS[trains]}
    for name, _ in encoder.model.named_modules():
        tower = name.partition(".")[0]
        if tower in found and known.fullmatch(name):
            found[tower].append(name)
    if absent := [tower for tower, names in found.items() if not names]:
        raise Unsupported(
            f"{encoder.name} has no {', '.join(PROJECTIONS)} in the layers of its {' and '.join(absent)}: adapters are "
            "known for towers like CLIP's and SigLIP's; train it without [lora]"
        )
    return [name for names in found.values() for name in names]


def _peft() -> Any:
    try:
        import peft
        import peft.tuners.lora
    except ImportError as error:
        raise MissingExtra("low-rank adapters", "pip install 'alignscope[lora]'") from error
    return peft
