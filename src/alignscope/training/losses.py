"""Losses as pure functions of tensors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
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


def own_foil_loss(
    pairs: EmbeddedPairs, rows: Int[Tensor, " foil"], scale: Float[Tensor, ""]
) -> Float[Tensor, ""]:
    """-log softmax of each caption against its own foils alone, for its image; the sum over pairs with foils.

    `rows` says which pair a foil is a wrong caption of. Ours. Among all texts of a batch (NegCLIP) a foil
    that is nearly right shares the softmax with captions of other scenes, and with other pairs' foils,
    which differ in nouns; here the changed words are all there is to tell.

    >>> one = torch.eye(2)[:1]
    >>> found = own_foil_loss(EmbeddedPairs(one, one, torch.eye(2)), torch.tensor([0, 0]), torch.tensor(1.0))
    >>> round(found.item(), 3)  # log(1 + 1 + 1/e)
    0.862
    """
    chosen = scale * (pairs.images * pairs.texts).sum(dim=-1)
    others = scale * (pairs.images[rows] * pairs.foils).sum(dim=-1)
    count = torch.bincount(rows, minlength=len(chosen))
    most = int(count.max()) if len(rows) else 0
    place = torch.arange(len(rows), device=rows.device) - (count.cumsum(0) - count)[rows]
    table = chosen.new_full((len(chosen), most), -torch.inf).index_put((rows, place), others)
    logits = torch.cat([chosen[:, None], table], dim=1)  # (pair, caption and its foils)
    return (torch.logsumexp(logits, dim=1) - chosen)[count > 0].sum()


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
