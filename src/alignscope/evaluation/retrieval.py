"""Retrieval both ways among images with several captions each, by cosine or by any scores of pairs.

The best right answer counts for an image with several captions (Karpathy and Fei-Fei 2015, section
4.1); a tie with a wrong answer counts against the model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from alignscope.errors import BadData, LengthMismatch
from alignscope.evaluation.intervals import clustered_average, clustered_bootstrap, measured, sample_of
from alignscope.records import DRAWS, Measurement, Rank, Signature

IMAGE_TO_TEXT, TEXT_TO_IMAGE = "image to text", "text to image"


@torch.no_grad()
def ranks(
    images: Float[Tensor, "image dim"],
    texts: Float[Tensor, "text dim"],
    image_of_text: Sequence[int],
    image_keys: Sequence[str],
    *,
    text_keys: Sequence[str] | None = None,
    block: int = 512,
) -> list[Rank]:
    """Rank of each image's best caption among all texts, and of each text's image among all images.

    Embeddings need not be normalised. A text with the same words as a right one but listed for
    another image is still another candidate: its embedding is the same, so it ties, counts against
    the model and shows in `ties`. Equal embeddings are scored once, hence ties between them are exact.
    Without `text_keys` the texts of an image are called `key#0`, `key#1`, ....
    """
    _check(images.shape[:1] + texts.shape[:1], image_of_text, image_keys, text_keys)
    image_rows, image_place = torch.unique(_unit(images, "image"), dim=0, return_inverse=True)
    text_rows, text_place = torch.unique(_unit(texts, "text"), dim=0, return_inverse=True)

    def from_images(some: slice) -> Float[Tensor, "image text"]:
        return (image_rows[image_place[some]] @ text_rows.mT)[:, text_place]

    def from_texts(some: slice) -> Float[Tensor, "text image"]:
        return (text_rows[text_place[some]] @ image_rows.mT)[:, image_place]

    owner = torch.as_tensor(list(image_of_text), device=images.device)
    return _both_ways(from_images, from_texts, owner, image_keys, text_keys, block)


@torch.no_grad()
def ranks_of_scores(
    scores: Float[Tensor, "image text"],
    image_of_text: Sequence[int],
    image_keys: Sequence[str],
    *,
    text_keys: Sequence[str] | None = None,
    block: int = 512,
) -> list[Rank]:
    """As `ranks`, of a score for every image with every text."""
    _check(scores.shape, image_of_text, image_keys, text_keys)
    broken = int((~scores.isfinite()).sum())
    if broken:
        raise BadData(
            f"{broken} scores are not finite: leave their queries out and pass their number to `recall` as missing"
        )
    owner = torch.as_tensor(list(image_of_text), device=scores.device)
    from_texts = scores.mT
    return _both_ways(scores.__getitem__, from_texts.__getitem__, owner, image_keys, text_keys, block)


def _both_ways(
    from_images: Callable[[slice], Float[Tensor, "image text"]],
    from_texts: Callable[[slice], Float[Tensor, "text image"]],
    owner: Int[Tensor, " text"],
    image_keys: Sequence[str],
    text_keys: Sequence[str] | None,
    block: int,
) -> list[Rank]:
    """Ranks of some queries at a time: of images among texts, then of texts among images."""
    owners = [image_keys[index] for index in owner.tolist()]
    texts = numbered(owners) if text_keys is None else text_keys
    everyone = torch.arange(len(image_keys), device=owner.device)
    found: list[Rank] = []
    for start in range(0, len(image_keys), block):
        some = slice(start, start + block)
        is_right = owner[None, :] == everyone[some, None]
        keys = image_keys[some]
        found += _block_ranks(from_images(some), is_right, keys, keys, IMAGE_TO_TEXT)
    for start in range(0, len(owner), block):
        some = slice(start, start + block)
        is_right = owner[some, None] == everyone[None, :]
        found += _block_ranks(from_texts(some), is_right, texts[some], owners[some], TEXT_TO_IMAGE)
    return found


def recall(
    ranks: Sequence[Rank],
    *,
    signature: Signature,
    ks: Sequence[int] = (1, 5, 10),
    missing: Mapping[str, int] | None = None,
    draws: int = DRAWS,
    seed: int = 0,
    level: float = 0.95,
) -> list[Measurement]:
    """Share of queries whose best right answer is among the first k, per direction.

    `ties` counts the queries that only a tie keeps out of the first k; `missing` says, per direction,
    how many queries could not be ranked. Where k takes in every candidate there is nothing to measure.
    """
    signature = replace(signature, ties="worst", seed=seed)
    lost = dict(missing or {})
    known = [IMAGE_TO_TEXT, TEXT_TO_IMAGE]
    others = sorted({rank.direction for rank in ranks} - set(known))
    numbers = []
    for direction in [*known, *others]:
        mine = [rank for rank in ranks if rank.direction == direction]
        candidates = min((rank.candidates for rank in mine), default=0)
        for k in ks:
            reason = f"{k} takes in all of {candidates} candidates" if mine and k >= candidates else ""
            used = [] if reason else mine
            sample = sample_of([(float(rank.rank <= k), rank.image) for rank in used])
            numbers.append(
                measured(
                    clustered_bootstrap(sample.values, sample.clusters, draws=draws, seed=seed, level=level),
                    [sample],
                    measure=f"recall@{k}",
                    group=direction,
                    signature=signature,
                    ties=sum(rank.rank > k >= rank.rank - rank.ties for rank in used),
                    missing=lost.get(direction, 0) + len(mine) - len(used),
                    level=level,
                    reason=reason,
                )
            )
    return numbers


def mean_recall(
    ranks: Sequence[Rank],
    *,
    signature: Signature,
    ks: Sequence[int] = (1, 5, 10),
    missing: Mapping[str, int] | None = None,
    draws: int = DRAWS,
    seed: int = 0,
    level: float = 0.95,
) -> list[Measurement]:
    """The mean of the recalls at all `ks`, per direction and of both (BLIP's txt_r_mean, img_r_mean, r_mean).

    A direction with no more candidates than the largest k has none: a recall in it would be nothing measured.
    """
    signature = replace(signature, ties="worst", seed=seed)
    lost = dict(missing or {})
    samples = {}
    for direction in (IMAGE_TO_TEXT, TEXT_TO_IMAGE):
        own = [r for r in ranks if r.direction == direction]
        is_measured = all(r.candidates > max(ks) for r in own)
        samples[direction] = sample_of(
            [(sum(r.rank <= k for k in ks) / len(ks), r.image) for r in own if is_measured]
        )
    rows = [(direction, [sample], lost.get(direction, 0)) for direction, sample in samples.items()]
    rows.append(("both directions", list(samples.values()), sum(lost.values())))
    return [
        measured(
            clustered_average(used, draws=draws, seed=seed, level=level),
            used,
            measure="mean recall",
            group=group,
            signature=signature,
            missing=gone,
            level=level,
            reason=f"of recall@{', @'.join(map(str, ks))}" if all(len(s.values) for s in used) else "",
        )
        for group, used, gone in rows
    ]


def _block_ranks(
    scores: Float[Tensor, "query candidate"],
    is_right: Bool[Tensor, "query candidate"],
    queries: Sequence[str],
    images: Sequence[str],
    direction: str,
) -> list[Rank]:
    best = scores.masked_fill(~is_right, -torch.inf).amax(dim=1, keepdim=True)
    ties = ((scores == best) & ~is_right).sum(dim=1).tolist()
    above = ((scores > best) & ~is_right).sum(dim=1).tolist()
    return [
        Rank(query, image, direction, 1 + higher + tied, tied, scores.shape[1])
        for query, image, higher, tied in zip(queries, images, above, ties, strict=True)
    ]


def _unit(embeddings: Float[Tensor, "row dim"], what: str) -> Float[Tensor, "row dim"]:
    """Rows of length one in float32; a row without a direction is an error."""
    lengths = embeddings.float().norm(dim=-1)
    broken = (~torch.isfinite(lengths) | (lengths == 0)).nonzero().flatten().tolist()
    if broken:
        raise BadData(
            f"{len(broken)} {what} embeddings are zero or not finite (first: {broken[0]}): "
            "leave them out and pass their number to `recall` as missing"
        )
    return normalize(embeddings.float(), dim=-1)


def _check(
    counts: Sequence[int],
    image_of_text: Sequence[int],
    image_keys: Sequence[str],
    text_keys: Sequence[str] | None,
) -> None:
    images, texts = counts
    if len(image_keys) != images or len(image_of_text) != texts:
        raise LengthMismatch(
            f"{len(image_keys)} keys for {images} images, {len(image_of_text)} owners for "
            f"{texts} texts: give one key per image and one image per text"
        )
    if text_keys is not None and len(text_keys) != texts:
        raise LengthMismatch(f"{len(text_keys)} keys for {texts} texts: give one key per text")
    strays = [index for index in image_of_text if not 0 <= index < images]
    if strays:
        raise BadData(
            f"text of image {strays[0]}, but images are 0 to {images - 1}: "
            "`image_of_text` holds positions in `images`"
        )
    bare = sorted(set(range(images)) - set(image_of_text))
    if bare:
        raise BadData(
            f"{len(bare)} images have no caption (first: {image_keys[bare[0]]!r}): "
            "leave them out and pass their number to `recall` as missing"
        )


def numbered(keys: Sequence[str]) -> list[str]:
    """Keys with the number of times each came before.

    >>> numbered(["a", "b", "a"])
    ['a#0', 'b#0', 'a#1']
    """
    seen: Counter[str] = Counter()
    names = []
    for key in keys:
        names.append(f"{key}#{seen[key]}")
        seen[key] += 1
    return names
