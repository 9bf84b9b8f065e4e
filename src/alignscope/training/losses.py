"""Losses as pure functions of tensors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class EmbeddedPairs:
    """Normalised embeddings of images, their captions and any number of wrong captions."""

    images: Float[Tensor, "pair dim"]
    texts: Float[Tensor, "pair dim"]
    foils: Float[Tensor, "foil dim"]


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


def hard_negative_loss(
    pairs: EmbeddedPairs, scale: Float[Tensor, ""], neighbours: EmbeddedPairs | None = None
) -> Float[Tensor, ""]:
    """InfoNCE with hard negatives (NegCLIP, Yuksekgonul et al. 2023, section 4; sheet B.6).

    Text-only without `neighbours`: the foils are wrong texts for every image. With them the full form:
    images similar to the pairs' own join the batch with their captions and foils, so that with a foil each
    2N images choose among 4N texts and 2N texts among 2N images. As with the authors, an image or caption
    that is in the batch twice is its own negative.
    """
    if neighbours is None:
        return contrastive_loss(pairs.images, pairs.texts, scale, pairs.foils)
    return contrastive_loss(
        torch.cat([pairs.images, neighbours.images]),
        torch.cat([pairs.texts, neighbours.texts]),
        scale,
        torch.cat([pairs.foils, neighbours.foils]),
    )


def sigmoid_loss(
    images: Float[Tensor, "pair dim"],
    texts: Float[Tensor, "pair dim"],
    scale: Float[Tensor, ""],
    bias: Float[Tensor, ""],
    foils: Float[Tensor, "foil dim"] | None = None,
) -> Float[Tensor, ""]:
    """Every image and text as a yes or no of its own, summed over texts, mean over images (SigLIP, Zhai et
    al. 2023, section 3.2).

    Foils, when given, are further texts to which every image says no.
    """
    offered = texts if foils is None else torch.cat([texts, foils])
    logits = scale * images @ offered.mT + bias  # (image, text + foil)
    answer = 2 * torch.eye(*logits.shape, dtype=logits.dtype, device=logits.device) - 1
    return -F.logsigmoid(answer * logits).sum(dim=1).mean()
