"""Scores of pairs whatever the model: the one place where attribution asks for them.

A dual encoder's images are given as embeddings, one row per pair, so that an image is computed once for
all its texts; other models see the pictures themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

import torch
from einops import reduce
from jaxtyping import Float
from torch import Tensor

from alignscope.errors import BadInput, LengthMismatch, NoRoom
from alignscope.models.protocols import DualEncoder, PairScorer, Picture

ImageSide = Float[Tensor, "item dim"] | Sequence[Picture]


def pair_scores(model: PairScorer, images: ImageSide, texts: Sequence[str]) -> Float[Tensor, " pair"]:
    """The score of every text with the image of its place, float32, on the CPU and without a graph.

    A dual encoder computes every distinct text once. Pairs are summed one by one, so equal texts tie.
    """
    if len(images) != len(texts):
        raise LengthMismatch(f"{len(texts)} texts for {len(images)} images: repeat what comes several times")
    if not isinstance(images, Tensor):
        return model.score(images, texts)
    dual = as_dual(model)
    place = {text: at for at, text in enumerate(dict.fromkeys(texts))}
    vectors = dual.encode_texts(list(place))[[place[text] for text in texts]]
    products = reduce(images.to(vectors) * vectors, "pair dim -> pair", "sum")
    return model.traits.scale * products + model.traits.bias


class Possible(NamedTuple):
    """Scores of pairs, NaN where `reasons` says by the pair's place why there is none."""

    scores: Float[Tensor, " pair"]
    reasons: Mapping[int, str]


def possible_scores(model: PairScorer, images: ImageSide, texts: Sequence[str]) -> Possible:
    """As `pair_scores`, where a text may be too long for a model that cuts none."""
    try:
        return Possible(pair_scores(model, images, texts), {})
    except NoRoom as error:
        return Possible(torch.tensor(error.scores), error.reasons)


def as_dual(model: PairScorer) -> DualEncoder:
    """The model as one whose images have embeddings; refused where its traits say otherwise."""
    if model.traits.family != "dual":
        raise BadInput(
            f"got embeddings of images, {model.name} reads images and texts together: give pictures"
        )
    return cast(DualEncoder, model)


def check_images(images: ImageSide, wanted: int, *, of: str) -> None:
    """Refuse images that are not one for each of what is attributed."""
    if len(images) != wanted:
        what = "image embeddings" if isinstance(images, Tensor) else "pictures"
        raise LengthMismatch(
            f"{len(images)} {what} for {wanted} {of}: wanted one for each; repeat those of images that have several"
        )


def rows_of(images: ImageSide, rows: Sequence[int]) -> Float[Tensor, "row dim"] | Sequence[Picture]:
    """The images of some rows, which may come several times; pictures are opened once each."""
    if isinstance(images, Tensor):
        return images[list(rows)]
    opened = {row: images[row] for row in dict.fromkeys(rows)}
    return [opened[row] for row in rows]
