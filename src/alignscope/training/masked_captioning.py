"""Masked-caption training of Oscar and VinVL (Li et al. 2020, section 4; VinVL's recipe; sheet C.2).

Some tokens of a caption are hidden and predicted from the tokens before them, the labels and the regions of its
image; the end is a token like others, so that where captions end is learnt too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, final

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from alignscope.errors import BadInput
from alignscope.models.captioners.autoregressive import AutoregressiveCaptioner
from alignscope.models.captioners.decoding import mask_of
from alignscope.models.captioners.oscar_speller import OscarSpeller
from alignscope.training.captioning_material import Opened, Part
from alignscope.training.captioning_steps import DROPOUT, WORDS, Place, Stepped, images_of
from alignscope.training.parameters import groups
from alignscope.training.recipe import MaskedCaption

MASK, ANY = 0.8, 0.1  # of hidden places: shown as the mask, as any token of all; the others as they are


class Hidden(NamedTuple):
    """Captions as they are shown, and where tokens are to be predicted."""

    ids: Int[Tensor, "caption token"]
    places: Bool[Tensor, "caption token"]


def hide(
    ids: Int[Tensor, "caption token"],
    present: Bool[Tensor, "caption token"],
    *,
    share: float,
    most: int,
    mask: int,
    tokens: int,
    random: np.random.Generator,
) -> Hidden:
    """Hide a share of each caption's tokens, one at least and `most` at most, never the first.

    The share is of all tokens that are `present`, start and end included, rounded half to even. `tokens` is how
    many there are to draw from in place of one.
    """
    shown, places = ids.clone(), torch.zeros_like(present)
    for row, length in enumerate(present.sum(dim=-1).tolist()):
        count = min(max(round(share * length), 1), most)
        for place in (1 + random.permutation(length - 1)[:count]).tolist():
            places[row, place] = True
            drawn = random.random()
            if drawn < MASK:
                shown[row, place] = mask
            elif drawn < MASK + ANY:
                shown[row, place] = int(random.integers(tokens))
    return Hidden(shown, places)


def smoothed_losses(
    logits: Float[Tensor, "place word"], targets: Int[Tensor, " place"], smoothing: float
) -> Float[Tensor, " place"]:
    """The divergence of predictions from targets whose share `smoothing` goes to all other words alike.

    Differs from PyTorch's label smoothing as the authors' loss does: the target has no part of that share, and
    the entropy of the smoothed targets is taken off, so that nothing is lost at best.
    """
    others = smoothing / (logits.shape[-1] - 1)
    wanted = torch.full_like(logits, others).scatter(-1, targets[:, None], 1 - smoothing)
    return F.kl_div(logits.log_softmax(dim=-1), wanted, reduction="none").sum(dim=-1)


def without_worst(losses: Float[Tensor, " place"], share: float) -> Float[Tensor, " kept"]:
    """Losses without the highest share of them, one at least.

    >>> without_worst(torch.tensor([3.0, 1.0, 9.0, 2.0, 5.0]), 0.2)
    tensor([1., 2., 3., 5.])
    """
    kept = max(int(len(losses) * (1 - share)), 1)
    return losses.sort().values[:kept]


def each_caption(part: Part) -> Part:
    """A split with an entry for every caption, so that a pass goes through all of them."""
    of_caption = [image for image, texts in enumerate(part.captions) for _ in texts]
    return Part(
        [part.keys[image] for image in of_caption],
        [[text] for texts in part.captions for text in texts],
        Opened(of_caption, lambda image: part.sights[image]),
    )


def speller_of(captioner: AutoregressiveCaptioner) -> OscarSpeller:
    """The only one that reads captions with hidden tokens."""
    if not isinstance(captioner.speller, OscarSpeller):
        raise BadInput(
            f"got a {type(captioner.model).__name__} for masked-caption training, wanted an Oscar or VinVL: take "
            "a stage 'cross-entropy', or another captioner"
        )
    return captioner.speller


def adamw(captioner: AutoregressiveCaptioner, stage: MaskedCaption) -> torch.optim.AdamW:
    """AdamW over what moves, without decay of biases and norms; the table of words may stay as it is."""
    model = speller_of(captioner).model
    model.get_input_embeddings().weight.requires_grad_(not stage.freezes_embeddings)
    moving = {name: each for name, each in model.named_parameters() if each.requires_grad}
    return torch.optim.AdamW(
        groups(moving, weight_decay=stage.weight_decay), lr=stage.learning_rate, eps=1e-8
    )


@final
@dataclass(frozen=True)
class MaskedSteps:
    """The loss of hidden tokens on the mean over those that count; `part` has one caption for each entry."""

    captioner: AutoregressiveCaptioner
    part: Part
    stage: MaskedCaption
    words_read: int

    def __call__(self, place: Place) -> Stepped:
        stage, captioner, speller = self.stage, self.captioner, speller_of(self.captioner)
        entries = images_of(place, stage.images, len(self.part))
        texts = [self.part.captions[entry][0] for entry in entries]
        words = captioner.vocabulary.ids(texts, max_length=self.words_read)
        ids = torch.cat([torch.full_like(words[:, :1], speller.start), words], dim=1)
        present = torch.cat(
            [torch.ones_like(words[:, :1], dtype=torch.bool), mask_of(words, speller.end)], dim=1
        )
        hidden = hide(
            ids,
            present,
            share=stage.masked,
            most=stage.most_masked,
            mask=int(speller.tokenizer.mask_token_id),
            tokens=len(captioner.vocabulary),
            random=np.random.default_rng(place.drawn(WORDS)),
        )
        torch.manual_seed(place.drawn(DROPOUT))
        speller.model.train()
        device = speller.model.device
        features = captioner.features([self.part.sights[entry] for entry in entries])
        logits = speller.model(hidden.ids.to(device), present.to(device), features)
        predicted = logits[hidden.places.to(device)]
        losses = smoothed_losses(predicted, ids[hidden.places].to(device), stage.label_smoothing)
        if place.step >= stage.drop_worst_after:
            losses = without_worst(losses, stage.drop_worst)

        def numbers() -> dict[str, Any]:
            return {"hidden": int(hidden.places.sum()), "counted": len(losses)}

        return Stepped(losses.mean(), len(losses), numbers)
