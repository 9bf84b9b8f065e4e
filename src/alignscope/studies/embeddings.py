"""Images and texts of a data set as a model takes them, and scores of pairs, kept so that a stopped audit goes on.

A dual encoder computes each image and each text once; of other models nothing can be kept but the scores.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from PIL.Image import Image
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from alignscope.attribution.scores import ImageSide, possible_scores
from alignscope.data.regionfiles.digests import digest, sha_of_digests
from alignscope.errors import BadData, UnknownName
from alignscope.files import read_jsonl, write_jsonl
from alignscope.models.protocols import DualEncoder, PairScorer, Picture, is_dual
from alignscope.records import Item, ItemSource, Problem, Regions
from alignscope.studies.clock import Progress
from alignscope.studies.pictures import Pictures, RegionsOf
from alignscope.studies.streams import Chunk

PAIRS = 512  # scored and kept at a time


def pair_scores(
    first: Float[Tensor, "pair dim"], second: Float[Tensor, "pair dim"], *, scale: float, bias: float
) -> list[float]:
    """scale * cosine + bias in float32, pair by pair: equal embeddings get equal scores, which a matrix
    product does not promise."""
    return ((first * second).sum(dim=-1) * scale + bias).tolist()


@runtime_checkable
class ImageRows(Protocol):
    """The images of some items as a model takes them; a key that cannot be used is absent from `row`."""

    @property
    def row(self) -> Mapping[str, int]: ...
    @property
    def problems(self) -> tuple[Problem, ...]: ...
    @property
    def sha(self) -> str: ...  # of regions that come from a file of their own, else ""
    @property
    def makers(self) -> tuple[str, ...]: ...  # of regions: see `Regions.made_by`
    def __getitem__(self, keys: Sequence[str]) -> ImageSide: ...


@dataclass(frozen=True)
class Embedded:
    """Rows of `vectors` by key; a key that could not be embedded is absent and has a problem."""

    vectors: Float[Tensor, "row dim"]
    row: Mapping[str, int]
    problems: tuple[Problem, ...]
    sha: str = ""
    makers: tuple[str, ...] = ()

    def __getitem__(self, keys: Sequence[str]) -> Float[Tensor, "key dim"]:
        return self.vectors[[self.row[key] for key in keys]]


@dataclass(frozen=True)
class Seen:
    """Images that a model sees anew with every text; they are opened as they are asked for."""

    row: Mapping[str, int]
    problems: tuple[Problem, ...]
    opened: Callable[[str], Picture]
    sha: str = ""
    makers: tuple[str, ...] = ()

    def __getitem__(self, keys: Sequence[str]) -> Pictures:
        return Pictures(keys, self.opened)


@dataclass(frozen=True)
class Said:
    """Texts that a model reads anew with every image; those with the same tokens are one, so that they tie."""

    same_as: Mapping[str, str]


def embed_images(
    model: PairScorer,
    source: ItemSource,
    work: Path,
    *,
    regions: RegionsOf | None = None,
    batch_size: int,
    progress: Progress,
) -> Embedded | Seen:
    """Every image of the items once; images that do not open become problems of their items."""
    users = _users(source.items)
    if not is_dual(model):
        return _seen(source, users, regions)

    def encode(part: Sequence[str]) -> Embedded:
        return _opened(model, source, {key: users[key] for key in part}, batch_size)

    return _in_chunks("images", list(users), encode, work, chunk=batch_size, progress=progress)


def images_of(
    model: PairScorer, chunk: Chunk, *, regions: RegionsOf | None = None, batch_size: int
) -> Embedded | Seen:
    """As `embed_images`, of a chunk that is kept as a whole or not at all."""
    if not is_dual(model):
        return _seen(chunk, _users(chunk.items), regions)
    return _opened(model, chunk, _users(chunk.items), batch_size)


def _users(items: Sequence[Item]) -> dict[str, list[str]]:
    """Items by their image."""
    users: dict[str, list[str]] = {}
    for item in items:
        users.setdefault(item.image, []).append(item.id)
    return users


def _seen(source: Chunk, users: Mapping[str, Sequence[str]], regions: RegionsOf | None) -> Seen:
    """Every image opened once, to know that it can be; `regions` are hashed, they are no part of the source."""
    opened: Callable[[str], Picture] = regions or source.image
    problems: list[Problem] = []
    row: dict[str, int] = {}
    digests: list[bytes] = []
    makers: set[str] = set()
    before = len(source.problems)
    for key, items in users.items():
        try:
            picture = opened(key)
        except (BadData, UnknownName) as error:
            problems += [Problem(item, key, f"image: {error}", "unscored") for item in items]
        else:
            row[key] = len(row)
            if isinstance(picture, Regions):
                digests.append(digest(picture))
                makers.add(picture.made_by)
    told = (*problems, *source.problems[before:])
    sha = sha_of_digests(digests) if digests else ""
    return Seen(row, told, opened, sha, tuple(sorted(makers)))


def _opened(
    model: DualEncoder, source: Chunk, users: Mapping[str, Sequence[str]], batch_size: int
) -> Embedded:
    """Embeddings of some images, opened a batch at a time."""
    keys, vectors, problems = list(users), [], []
    row: dict[str, int] = {}
    before = len(source.problems)
    for start in range(0, len(keys), batch_size):
        images: list[Image] = []
        for key in keys[start : start + batch_size]:
            try:
                images.append(source.image(key))
            except BadData as error:
                problems += [Problem(item, key, f"image: {error}", "unscored") for item in users[key]]
            else:
                row[key] = len(row)
        if images:
            vectors.append(model.encode_images(images, batch_size=batch_size))
    told = (*problems, *source.problems[before:])
    return Embedded(torch.cat(vectors) if vectors else torch.empty(0, 0), row, told)


def embed_texts(
    model: PairScorer, texts: Sequence[str], work: Path, *, batch_size: int, name: str, progress: Progress
) -> Embedded | Said:
    """Every distinct text once; texts with the same tokens share a row, so that they tie exactly."""
    distinct = list(dict.fromkeys(texts))
    first: dict[tuple[int, ...], str] = {}
    same_as = {
        text: first.setdefault(tuple(ids), text)
        for text, ids in zip(distinct, model.tokens(distinct).ids.tolist() if distinct else [], strict=True)
    }
    if not is_dual(model):
        return Said(same_as)

    def encode(part: Sequence[str]) -> Embedded:
        vectors = model.encode_texts(part, batch_size=batch_size)
        return Embedded(vectors, {text: i for i, text in enumerate(part)}, ())

    found = _in_chunks(name, list(first.values()), encode, work, chunk=8 * batch_size, progress=progress)
    return replace(found, row={text: found.row[same_as[text]] for text in distinct})


class PairScores(NamedTuple):
    """Scores in the order of their pairs, NaN where `reasons` says by the pair why there is none."""

    scores: list[float]
    reasons: Mapping[tuple[str, str], str]


def scores_of(
    model: PairScorer,
    pairs: Sequence[tuple[str, str]],
    images: Embedded | Seen,
    texts: Embedded | Said,
    work: Path,
    *,
    name: str,
    progress: Progress,
) -> PairScores:
    """The score of every (image key, text); where it takes a forward of the pair, each is made and kept once."""
    if isinstance(images, Embedded) and isinstance(texts, Embedded):
        own, said = images[[key for key, _ in pairs]], texts[[text for _, text in pairs]]
        return PairScores(pair_scores(own, said, scale=model.traits.scale, bias=model.traits.bias), {})
    assert isinstance(images, Seen)
    assert isinstance(texts, Said)
    same = [(key, texts.same_as[text]) for key, text in pairs]
    distinct = sorted(set(same), key=lambda pair: (images.row[pair[0]], pair[1]))
    found: dict[tuple[str, str], float] = {}
    reasons: dict[tuple[str, str], str] = {}
    for start in range(0, len(distinct), PAIRS):
        part, path = distinct[start : start + PAIRS], work / f"{name}-{start:08d}.jsonl"
        if not path.exists():
            scores, why = possible_scores(model, images[[key for key, _ in part]], [text for _, text in part])
            rows = [
                {"score": score if math.isfinite(score) else None, "reason": why.get(place, "")}
                for place, score in enumerate(scores.tolist())
            ]
            write_jsonl(path, rows)
        for pair, kept in zip(part, read_jsonl(path), strict=True):
            found[pair] = math.nan if kept["score"] is None else kept["score"]
            if kept["score"] is None:
                reasons[pair] = kept["reason"] or "its score with the image is not finite"
        progress(name, min(start + PAIRS, len(distinct)), len(distinct))
    lost = {pair: reasons[own] for pair, own in zip(pairs, same, strict=True) if own in reasons}
    return PairScores([found[pair] for pair in same], lost)


def _in_chunks(
    name: str,
    keys: Sequence[str],
    encode: Callable[[Sequence[str]], Embedded],
    work: Path,
    *,
    chunk: int,
    progress: Progress,
) -> Embedded:
    parts: list[Tensor] = []
    row: dict[str, int] = {}
    problems: list[Problem] = []
    for start in range(0, len(keys), chunk):
        path = work / f"{name}-{start:08d}.safetensors"
        if not path.exists():
            _save(path, encode(keys[start : start + chunk]))
        part = _load(path)
        row |= {key: len(row) + i for i, key in enumerate(part.row)}
        problems += part.problems
        if len(part.row):
            parts.append(part.vectors)
        progress(name, min(start + chunk, len(keys)), len(keys))
    return Embedded(torch.cat(parts) if parts else torch.empty(0, 0), row, tuple(problems))


def _save(path: Path, part: Embedded) -> None:
    half = path.with_name(path.name + ".part")
    facts = {"keys": json.dumps(list(part.row)), "problems": json.dumps([asdict(p) for p in part.problems])}
    save_file({"vectors": part.vectors.contiguous()}, half, metadata=facts)
    os.replace(half, path)


def _load(path: Path) -> Embedded:
    with safe_open(path, framework="pt") as file:
        facts, vectors = file.metadata(), file.get_tensor("vectors")
    keys = json.loads(facts["keys"])
    problems = tuple(Problem(**p) for p in json.loads(facts["problems"]))
    return Embedded(vectors, {key: i for i, key in enumerate(keys)}, problems)
