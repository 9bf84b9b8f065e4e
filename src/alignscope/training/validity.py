"""Which captions an attribution loss counts, known from their words alone, before any pass of a tower."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool

from alignscope.attribution.options import Method
from alignscope.attribution.words import merged, owners
from alignscope.language.replacements import Candidates, left_out, replaced
from alignscope.models.protocols import DualEncoder, Tokens
from alignscope.records import Caption
from alignscope.training.cae import Objective, drawn, sides_of_tokens, sides_of_words


def valid_captions(
    model: DualEncoder,
    captions: Sequence[Caption],
    tokens: Tokens,
    objective: Objective,
    candidates: Candidates | None = None,
) -> Mapping[Method, int]:
    """How many captions `cae.attribution_losses` will count under each method.

    The mean over the captions of all parts and processes needs it before the first part goes backward.
    """
    owner = owners(model, tokens, captions)
    inside = merged(model, tokens, torch.zeros(tokens.ids.shape), captions).heard
    found: dict[Method, int] = {}
    for method in objective.methods:
        heard = inside
        if method == "perturbation":
            heard = inside & _perturbed(captions, inside, objective, candidates)
        if objective.unit == "word":
            sides = sides_of_words(captions) * heard
        else:
            sides = sides_of_tokens(captions, owner, tokens)
            sides = sides * F.pad(heard, (1, 0)).gather(1, owner)
        has_both = (sides == 1).any(dim=-1) & (sides == 2).any(dim=-1)
        found[method] = int(has_both.sum())
    return found


def _perturbed(
    captions: Sequence[Caption],
    inside: Bool[torch.Tensor, "caption word"],
    objective: Objective,
    candidates: Candidates | None,
) -> Bool[torch.Tensor, "caption word"]:
    """The words whose perturbation the loss asks for."""
    asked = torch.zeros_like(inside)
    options = objective.heats
    for row, caption in enumerate(captions):
        if options.variant == "replace" and candidates is not None:
            changes = replaced(caption, candidates, draws=options.draws, seed=options.seed)[0]
        else:
            changes = left_out(caption)
        places = dict.fromkeys(change.word for change in changes if inside[row, change.word])
        for place in drawn(caption, list(places), objective):
            asked[row, place] = True
    return asked
