"""What a captioner is paid for: how well a scorer, or references, find that a caption fits its image.

Paper A rewards a captioner with the matching probability of a model, or CLIP's cosine (sheet A.3). Each distinct
pair is scored once, and what can be computed of the images alone is computed once for the whole run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, final, runtime_checkable

import torch
from jaxtyping import Float
from PIL.Image import Image
from torch import Tensor

from alignscope.attribution.scores import ImageSide, pair_scores, rows_of
from alignscope.errors import BadInput, LengthMismatch, Unsupported
from alignscope.models.protocols import DualEncoder, PairScorer, Picture, Progress, is_dual

Space = Literal["paper", "probability", "score", "cosine"]
SPACES: dict[str, Space] = {"cosine": "cosine", "match": "probability", "yes": "probability"}
"""What paper A takes as reward, by what a model's score is; a language model's score is taken as it is."""

OPEN = 256
"""Images that are open at once."""


@runtime_checkable
class Reward(Protocol):
    """Pays captions of images that are known by their places."""

    @property
    def name(self) -> str: ...
    def __call__(self, images: Sequence[int], texts: Sequence[str]) -> Float[Tensor, " caption"]: ...


@final
class ScorerReward:
    """The score of a model, in a space of its own: the probability of a match or "yes", the cosine, or the score.

    A saturated probability gives samples nothing to differ in; `score` (log-odds) does.
    """

    def __init__(
        self,
        model: PairScorer,
        pictures: Sequence[Picture],
        *,
        space: Space = "paper",
        scale: float = 1.0,
        progress: Progress | None = None,
    ) -> None:
        usual = SPACES.get(model.traits.score, "score")
        self.space: Space = usual if space == "paper" else space
        if self.space != "score" and self.space != usual:
            raise Unsupported(
                f"the score of {model.name} is no {self.space}: wanted {usual} or score as the reward's space"
            )
        if scale <= 0:
            raise BadInput(f"got a reward scale of {scale}, wanted a number above 0")
        self.name = f"{model.name} ({self.space} x {scale:g})"
        self._model, self._scale = model, scale
        self._images: ImageSide = _embedded(model, pictures, progress) if is_dual(model) else pictures

    def __call__(self, images: Sequence[int], texts: Sequence[str]) -> Float[Tensor, " caption"]:
        if len(images) != len(texts):
            raise LengthMismatch(
                f"{len(texts)} captions for {len(images)} images: give each its image's place"
            )
        pairs = list(zip(images, texts, strict=True))
        distinct = sorted(set(pairs))
        place = {pair: at for at, pair in enumerate(distinct)}
        rows = [image for image, _ in distinct]
        scores = self._in_space(
            pair_scores(self._model, rows_of(self._images, rows), [t for _, t in distinct])
        )
        return self._scale * scores[[place[pair] for pair in pairs]]

    def _in_space(self, scores: Float[Tensor, " pair"]) -> Float[Tensor, " pair"]:
        if self.space == "probability":
            return scores.sigmoid()
        if self.space == "cosine":
            traits = self._model.traits
            return (scores - traits.bias) / traits.scale
        return scores


@final
@dataclass(frozen=True)
class Mixed:
    """A weighted sum of rewards."""

    parts: tuple[tuple[float, Reward], ...]

    @property
    def name(self) -> str:
        return " + ".join(f"{weight:g} {reward.name}" for weight, reward in self.parts)

    def __call__(self, images: Sequence[int], texts: Sequence[str]) -> Float[Tensor, " caption"]:
        paid = [weight * reward(images, texts) for weight, reward in self.parts]
        return torch.stack(paid).sum(dim=0)


@final
@dataclass(frozen=True)
class Measured:
    """A reward by a function of images and captions, such as CIDEr-D against references."""

    name: str
    measure: Callable[[Sequence[int], Sequence[str]], Sequence[float]]

    def __call__(self, images: Sequence[int], texts: Sequence[str]) -> Float[Tensor, " caption"]:
        return torch.tensor(list(self.measure(images, texts)), dtype=torch.float32)


def _embedded(
    model: DualEncoder, pictures: Sequence[Picture], progress: Progress | None
) -> Float[Tensor, "image dim"]:
    """Embeddings of pictures that are opened some hundred at a time: all of COCO's would fill any memory."""
    parts = []
    for first in range(0, len(pictures), OPEN):
        opened = [_pixels(pictures[at]) for at in range(first, min(first + OPEN, len(pictures)))]
        parts.append(model.encode_images(opened))
        if progress:
            progress(first + len(opened), len(pictures))
    return torch.cat(parts) if parts else model.encode_images([])


def _pixels(picture: Picture) -> Image:
    if not isinstance(picture, Image):
        raise BadInput("got regions for a model that takes pixels: give images")
    return picture
