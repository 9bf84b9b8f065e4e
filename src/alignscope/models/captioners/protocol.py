"""What training loops and studies may ask of a captioner, and what they give it.

Captions are rows of token ids: the words, the captioner's `end` once, and `end` again as padding. So the
ids alone tell which places count: the words and one end (none where a caption was cut at the longest length).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from PIL.Image import Image
from torch import Tensor
from transformers import PreTrainedModel

from alignscope.records import Labelled, Regions

Sight = Image | Regions | Labelled | np.ndarray
"""What a captioner sees of an image: the image, its regions, these with labels, or an array (width) or (region, width)."""
How = Literal["greedy", "beam", "sample"]


@dataclass(frozen=True, eq=False)
class Features:
    """A batch of images as a captioner's model takes them: a vector each, padded regions, or pixels."""

    values: Float[Tensor, "image ..."]
    present: Bool[Tensor, "image region"] | None = None  # which regions are no padding

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True, eq=False)
class Generated:
    """Captions, those of one image after another; `logprobs` are the model's own, whatever the temperature.

    They are 0 where `mask` is False, and have a graph when gradients are on.
    """

    ids: Int[Tensor, "caption token"]
    logprobs: Float[Tensor, "caption token"]
    mask: Bool[Tensor, "caption token"]
    texts: tuple[str, ...]


def ended(rows: Sequence[Sequence[int]], end: int) -> Int[Tensor, "caption token"]:
    """Rows of words as one tensor, each with its end, which is the padding too.

    >>> ended([[3, 4], []], 0)
    tensor([[3, 4, 0],
            [0, 0, 0]])
    """
    longest = max(map(len, rows), default=-1)
    padded = [[*row, *[end] * (longest + 1 - len(row))] for row in rows]
    return torch.tensor(padded, dtype=torch.long).reshape(len(rows), longest + 1)


def words_before(ids: Int[Tensor, "caption token"], end: int) -> list[list[int]]:
    """The words of each row up to its end, or all where it has none.

    >>> words_before(torch.tensor([[3, 0, 4], [3, 4, 5]]), 0)
    [[3], [3, 4, 5]]
    """
    return [row[: row.index(end)] if end in row else row for row in ids.tolist()]


@runtime_checkable
class Words(Protocol):
    """Texts to token ids and back."""

    @property
    def end(self) -> int: ...
    def __len__(self) -> int:
        """How many ids there are: a captioner's logits have one place for each."""
        ...

    def ids(self, texts: Sequence[str], *, max_length: int | None = None) -> Int[Tensor, "caption token"]:
        """Rows of ids with their end; words (or their pieces) after the first `max_length` are left out."""
        ...

    def texts(self, ids: Int[Tensor, "caption token"]) -> tuple[str, ...]: ...


@runtime_checkable
class Captioner(Protocol):
    """A model that writes captions, can tell how likely it finds one, and can be trained by that.

    Neither method turns gradients or dropout on or off: within `torch.no_grad()` there is no graph, within
    `evaluating()` no dropout. Random words come from `generator` (on the model's device), and the global one
    is left alone except by dropout.
    """

    @property
    def name(self) -> str: ...
    @property
    def model(self) -> PreTrainedModel: ...
    @property
    def vocabulary(self) -> Words: ...
    @property
    def fingerprint(self) -> str:
        """Hash of weights, configuration and vocabulary."""
        ...

    def features(self, images: Sequence[Sight]) -> Features:
        """A batch on the model's device; what the model cannot see is an error."""
        ...

    def generate(
        self,
        features: Features,
        *,
        how: How = "greedy",
        beams: int = 5,
        is_length_normalised: bool = False,
        count: int = 1,
        temperature: float = 1.0,
        max_length: int = 20,
        generator: torch.Generator | None = None,
    ) -> Generated:
        """One caption per image, or `count` samples of each; a sample needs a generator."""
        ...

    def logprob(
        self,
        features: Features,
        ids: Int[Tensor, "caption token"],
        *,
        images: Int[Tensor, " caption"] | None = None,
        scheduled_sampling: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "caption token"]:
        """log P(token | image, tokens before it), 0 at padding; differentiable.

        `images` says which image each caption is of; without it every image has as many, one image after
        another. With `scheduled_sampling` the model reads, in place of each word but the first token, with that
        probability a word drawn from what it predicted there (Bengio et al. 2015).
        """
        ...

    def evaluating(self) -> AbstractContextManager[None]:
        """Within the `with` there is no dropout; every module is as it was afterwards."""
        ...
