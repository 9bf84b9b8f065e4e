"""Attention without a preference, for comparison: what rankings by attention owe to how often an object comes."""

from __future__ import annotations

from dataclasses import replace

import torch

from alignscope.models.captioners.inside import Inside


def even(inside: Inside) -> Inside:
    """The same, were each position that looks at others to look at all that it may alike."""
    may = ~inside.attention.isnan() & (inside.attention.nan_to_num(0).sum(dim=-1, keepdim=True) > 0)
    share = may / may.sum(dim=-1, keepdim=True).clamp(min=1)
    return replace(inside, attention=torch.where(inside.attention.isnan(), torch.nan, share))
