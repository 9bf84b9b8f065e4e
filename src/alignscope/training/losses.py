"""Losses as pure functions of tensors."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def contrastive_loss(
    images: Float[Tensor, "pair dim"],
    texts: Float[Tensor, "pair dim"],
    scale: Float[Tensor, ""],
    foils: Float[Tensor, "foil dim"] | None = None,
) -> Float[Tensor, ""]:
    """Symmetric InfoNCE over a batch of normalised embeddings (Radford et al. 2021, figure 3).

    Foils, when given, are further wrong texts for every image (NegCLIP, Yuksekgonul et al. 2023, text
    side only); they have no image of their own, so the text-to-image half leaves them out.
    """
    target = torch.arange(len(images), device=images.device)
    to_text = scale * images @ texts.mT  # (image, text)
    to_image = to_text.mT
    if foils is not None:
        to_text = torch.cat([to_text, scale * images @ foils.mT], dim=1)  # (image, text + foil)
    return (F.cross_entropy(to_text, target) + F.cross_entropy(to_image, target)) / 2
