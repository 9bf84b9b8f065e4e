"""Attention and states of Oscar over one image, kept as they enter each layer's dropout."""

from __future__ import annotations

from contextlib import ExitStack

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from alignscope.models import taps
from alignscope.models.captioners.inside import Inside, Kind
from alignscope.models.captioners.oscar import OscarFeatures, OscarForCaptioning


def inside(model: OscarForCaptioning, features: OscarFeatures, ids: Int[Tensor, "1 token"] | None) -> Inside:
    """One image: a caption's tokens where they are given, its labels with their end, its regions.

    No caption has a part in what labels and regions attend to, so none is needed. Ablated places are "padding",
    a unit of none. Attention is NaN where the mask lets nothing pass: to what is ablated or comes later in the
    caption, from labels and regions to a caption.
    """
    modules = [layer.attention.self.dropout for layer in model.bert.encoder["layer"]]
    with ExitStack() as stack:
        entered = [stack.enter_context(taps.entering(module)) for module in modules]
        seen, passed = model.looked(features)
        states = passed.states[0]
        if ids is not None:
            ids = ids.to(model.device)
            words = model.caption(ids, torch.ones_like(ids, dtype=torch.bool), seen, passed.kept)
            states = torch.cat([words[0], states])
    length = 0 if ids is None else ids.shape[1]
    maps = torch.stack([_joined([each[0] for each in calls], length) for calls in entered])
    kinds, units = _named(features, length)
    passes = _passes(seen[0], length).to(maps.device)
    attention = maps.float().masked_fill(~passes, torch.nan)
    return Inside(kinds, units, attention.cpu(), states.float().cpu())


def _joined(maps: list[Float[Tensor, "head _ _"]], length: int) -> Float[Tensor, "head position position"]:
    """One map of a layer: labels and regions, and where there is a caption its rows, whose columns the network
    has after those of labels and regions, before them."""
    if length == 0:
        return maps[0]
    context, caption = maps
    size = context.shape[-1]
    above = torch.cat([caption[..., size:], caption[..., :size]], dim=-1)
    below = torch.cat([context.new_zeros(*context.shape[:-1], length), context], dim=-1)
    return torch.cat([above, below], dim=-2)


def _passes(seen: Bool[Tensor, " context"], length: int) -> Bool[Tensor, "position position"]:
    """Who may look at whom."""
    size = length + len(seen)
    found = torch.zeros(size, size, dtype=torch.bool)
    found[:length, :length] = torch.ones(length, length, dtype=torch.bool).tril()
    there = seen.cpu()
    found[:length, length:] = there
    found[length:, length:] = there[:, None] & there
    return found


def _named(features: OscarFeatures, length: int) -> tuple[tuple[Kind, ...], tuple[int, ...]]:
    """What each position is, and of which label, region or caption token."""
    found: list[tuple[Kind, int]] = [("caption", place - 1) for place in range(length)]
    if length:
        found[0] = found[-1] = ("special", -1)
    assert features.present is not None  # OscarFeatures always have it
    for unit, is_there in zip(features.units[0], features.named[0].tolist(), strict=True):
        if not is_there:
            found.append(("padding", -1))
        else:
            found.append(("special", -1) if unit < 0 else ("label", unit))
    for unit, is_there in enumerate(features.present[0].tolist()):
        found.append(("region", unit) if is_there else ("padding", -1))
    kinds, units = zip(*found, strict=True)
    return kinds, units
