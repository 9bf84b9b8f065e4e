"""Embeddings of a data set, kept chunk by chunk so that a stopped audit goes on where it was."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float
from PIL.Image import Image
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from alignscope.errors import BadData
from alignscope.models.protocols import DualEncoder
from alignscope.records import Item, ItemSource, Problem
from alignscope.studies.streams import Chunk

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Embedded:
    """Rows of `vectors` by key; a key that could not be embedded is absent and has a problem."""

    vectors: Float[Tensor, "row dim"]
    row: Mapping[str, int]
    problems: tuple[Problem, ...]

    def __getitem__(self, keys: Sequence[str]) -> Float[Tensor, "key dim"]:
        return self.vectors[[self.row[key] for key in keys]]


def embed_images(
    model: DualEncoder, source: ItemSource, work: Path, *, batch_size: int, progress: Progress
) -> Embedded:
    """Every image of the items once; images that do not open become problems of their items."""
    users = _users(source.items)

    def encode(part: Sequence[str]) -> Embedded:
        return _opened(model, source, {key: users[key] for key in part}, batch_size)

    return _in_chunks("images", list(users), encode, work, chunk=batch_size, progress=progress)


def images_of(model: DualEncoder, chunk: Chunk, *, batch_size: int) -> Embedded:
    """As `embed_images`, of a chunk that is kept as a whole or not at all."""
    return _opened(model, chunk, _users(chunk.items), batch_size)


def _users(items: Sequence[Item]) -> dict[str, list[str]]:
    """Items by their image."""
    users: dict[str, list[str]] = {}
    for item in items:
        users.setdefault(item.image, []).append(item.id)
    return users


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
    model: DualEncoder, texts: Sequence[str], work: Path, *, batch_size: int, name: str, progress: Progress
) -> Embedded:
    """Every distinct text once; texts with the same tokens share a row, so that they tie exactly."""
    distinct = list(dict.fromkeys(texts))
    first: dict[tuple[int, ...], str] = {}
    same_as = {
        text: first.setdefault(tuple(ids), text)
        for text, ids in zip(distinct, model.tokens(distinct).ids.tolist() if distinct else [], strict=True)
    }

    def encode(part: Sequence[str]) -> Embedded:
        vectors = model.encode_texts(part, batch_size=batch_size)
        return Embedded(vectors, {text: i for i, text in enumerate(part)}, ())

    found = _in_chunks(name, list(first.values()), encode, work, chunk=8 * batch_size, progress=progress)
    return replace(found, row={text: found.row[same_as[text]] for text in distinct})


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
