"""What analyses of paper C ask of a captioner: attention and states of what it sees, and captions it is sure of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from alignscope.models.captioners.protocol import Sight

Kind = Literal["label", "region", "patch", "special", "padding", "caption"]


@dataclass(frozen=True, eq=False)
class Inside:
    """One forward pass over one image; float32, on the CPU.

    `kinds` says what each position is and `units` which label, region, patch (row by row) or caption token it
    belongs to, -1 where none: a label of three word pieces has three positions. Attention is softmax
    probabilities, row attends to column; it is NaN between positions that no attention of the model joins.
    """

    kinds: tuple[Kind, ...]
    units: tuple[int, ...]
    attention: Float[Tensor, "layer head position position"]
    states: Float[Tensor, "position width"]  # of the last layer


@dataclass(frozen=True)
class Written:
    """A caption and the captioner's confidence: exp of the mean log-probability of its tokens, end included."""

    text: str
    confidence: float


@runtime_checkable
class Open(Protocol):
    """A speller that can tell what is inside its model."""

    def inside(self, images: Sequence[Sight], rows: Sequence[Sequence[int]] | None) -> list[Inside]:
        """As `SeenInside`, of captions as token ids with their end."""
        ...


@runtime_checkable
class SeenInside(Protocol):
    """A captioner whose attention and states over what it sees can be read."""

    @property
    def name(self) -> str: ...
    @property
    def fingerprint(self) -> str: ...
    def inside(self, images: Sequence[Sight], *, texts: Sequence[str] | None = None) -> list[Inside]:
        """One pass over each image, with the tokens of its text where there are texts; neither the batch nor
        padding changes it."""
        ...

    def write(self, images: Sequence[Sight], *, beams: int = 1, max_length: int = 20) -> list[Written]:
        """Greedy captions, or the best of a beam, with the confidence that the official script prints."""
        ...
