"""Retrieval both ways among images with several captions each, by cosine.

The best right answer counts for an image with several captions (Karpathy and Fei-Fei 2015, section
4.1); a tie with a wrong answer counts against the model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import normalize

from alignscope.errors import BadData, LengthMismatch
from alignscope.evaluation.intervals import clustered_average, clustered_bootstrap, measured, sample_of
from alignscope.records import Measurement, Rank, Signature

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
    _check(images, texts, image_of_text, image_keys, text_keys)
    if text_keys is None:
        text_keys = _numbered([image_keys[index] for index in image_of_text])
    owner = torch.as_tensor(list(image_of_text), device=images.device)
    image_rows, image_place = torch.unique(_unit(images, "image"), dim=0, return_inverse=True)
    text_rows, text_place = torch.unique(_unit(texts, "text"), dim=0, return_inverse=True)
    found: list[Rank] = []
    for start in range(0, len(images), block):
        queries = torch.arange(start, min(start + block, len(images)), device=images.device)
        scores = (image_rows[image_place[queries]] @ text_rows.mT)[:, text_place]  # (image, text)
        is_right = owner[None, :] == queries[:, None]
        keys = [image_keys[int(query)] for query in queries]
        found += _block_ranks(scores, is_right, keys, keys, IMAGE_TO_TEXT)
    everyone = torch.arange(len(images), device=images.device)
    for start in range(0, len(texts), block):
        stop = min(start + block, len(texts))
        scores = (text_rows[text_place[start:stop]] @ image_rows.mT)[:, image_place]  # (text, image)
        is_right = owner[start:stop, None] == everyone[None, :]
        keys = [image_keys[index] for index in image_of_text[start:stop]]
        found += _block_ranks(scores, is_right, text_keys[start:stop], keys, TEXT_TO_IMAGE)
    return found


def recall(
    ranks: Sequence[Rank],
    *,
    signature: Signature,
    ks: Sequence[int] = (1, 5, 10),
    missing: Mapping[str, int] | None = None,
    draws: int = 2000,
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
    draws: int = 2000,
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
    images: Tensor,
    texts: Tensor,
    image_of_text: Sequence[int],
    image_keys: Sequence[str],
    text_keys: Sequence[str] | None,
) -> None:
    if len(image_keys) != len(images) or len(image_of_text) != len(texts):
        raise LengthMismatch(
            f"{len(image_keys)} keys for {len(images)} images, {len(image_of_text)} owners for "
            f"{len(texts)} texts: give one key per image and one image per text"
        )
    if text_keys is not None and len(text_keys) != len(texts):
        raise LengthMismatch(f"{len(text_keys)} keys for {len(texts)} texts: give one key per text")
    strays = [index for index in image_of_text if not 0 <= index < len(images)]
    if strays:
        raise BadData(
            f"text of image {strays[0]}, but images are 0 to {len(images) - 1}: "
            "`image_of_text` holds positions in `images`"
        )
    bare = sorted(set(range(len(images))) - set(image_of_text))
    if bare:
        raise BadData(
            f"{len(bare)} images have no caption (first: {image_keys[bare[0]]!r}): "
            "leave them out and pass their number to `recall` as missing"
        )


def _numbered(keys: Sequence[str]) -> list[str]:
    seen: Counter[str] = Counter()
    names = []
    for key in keys:
        names.append(f"{key}#{seen[key]}")
        seen[key] += 1
    return names
