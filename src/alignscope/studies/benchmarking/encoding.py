"""Each image and text of a plan to its embedding, in batches that are the same however the work is shared."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import NamedTuple, TypeVar

import torch
from jaxtyping import Float
from PIL.Image import Image
from torch import Tensor

from alignscope.errors import BadImage
from alignscope.models.protocols import DualEncoder
from alignscope.processes import Processes
from alignscope.records import Shown
from alignscope.studies.benchmarking.plan import Images, Plan
from alignscope.studies.store import EmbeddingStore, batches

Thing = TypeVar("Thing")
Tell = Callable[[int], None]

SHARD = 8  # batches kept at a time


class Encoded(NamedTuple):
    """Vectors by key with remarks on them."""

    keys: Sequence[bytes]
    vectors: Float[Tensor, "key dim"]
    notes: Sequence[Sequence[str]]


def encode_images(
    model: DualEncoder,
    plan: Plan,
    images: Images,
    store: EmbeddingStore,
    group: Processes,
    *,
    batch_size: int,
    tell: Tell,
) -> None:
    """Embeddings of the plan's images that the store lacks; those that do not open stay away."""

    def encode(batch: Sequence[tuple[bytes, Shown]]) -> Encoded:
        there: list[tuple[bytes, str, Image]] = []
        for key, shown in batch:
            try:
                there.append((key, shown.key, opened_image(images, shown)))
            except BadImage:  # `settle` says which, and why
                continue
        notes = images.notes
        vectors = model.encode_images([image for *_, image in there], batch_size=batch_size)
        return Encoded([key for key, *_ in there], vectors, [notes.get(name, ()) for _, name, _ in there])

    _in_shards(batches(plan.unique_images(), batch_size), encode, store, group, tell)


def encode_texts(
    model: DualEncoder, plan: Plan, store: EmbeddingStore, group: Processes, *, batch_size: int, tell: Tell
) -> None:
    """Embeddings of the plan's texts that the store lacks; the model puts texts of like many tokens together.

    It gets `SHARD` batches at a time for that. As many texts in a batch as images: on processors 64 take two thirds
    of the time of 256 (ViT-B/32's text tower).
    """

    def encode(batch: Sequence[tuple[bytes, str]]) -> Encoded:
        vectors = model.encode_texts([text for _, text in batch], batch_size=batch_size)
        return Encoded([key for key, _ in batch], vectors, [()] * len(batch))

    work = batches(plan.unique_texts(batch_size), SHARD * batch_size)
    _in_shards(work, encode, store, group, tell, kept_at_a_time=1)


def opened_image(images: Images, shown: Shown) -> Image:
    """An image as an item shows it, cropped in its own pixels; a `BadImage` where that cannot be."""
    image = images.image(shown.key)
    if shown.crop is None:
        return image
    box = shown.crop
    if any(note.startswith("reduced") for note in images.notes.get(shown.key, ())):
        raise BadImage(f"{shown.key}: too large to be cropped in its own pixels; make the file smaller")
    if round(box.x1) >= round(box.x2) or round(box.y1) >= round(box.y2):
        raise BadImage(f"{shown.key}: got the crop {box}, which holds no pixel; correct the annotations")
    return image.crop((round(box.x1), round(box.y1), round(box.x2), round(box.y2)))


def settle(plan: Plan, images: Images | None, pictures: EmbeddingStore, texts: EmbeddingStore) -> None:
    """Note in the plan what has no embedding after all was encoded, and why."""
    if images is not None:
        for some in batches(plan.unique_images(), SHARD * 64):
            held = pictures.held([key for key, _ in some])
            plan.fail("image", {key: _why(images, shown) for key, shown in some if key not in held})
    for told in batches(plan.unique_texts(1), SHARD * 64):
        held = texts.held([key for key, _ in told])
        plan.fail("text", {key: "its embedding is not finite" for key, _ in told if key not in held})


def _why(images: Images, shown: Shown) -> str:
    """Why an image was not embedded: what happens when it is opened, or after."""
    try:
        opened_image(images, shown)
    except BadImage as error:
        return str(error)
    return "its embedding is not finite"


def _in_shards(
    work: Iterable[Sequence[tuple[bytes, Thing]]],
    encode: Callable[[Sequence[tuple[bytes, Thing]]], Encoded],
    store: EmbeddingStore,
    group: Processes,
    tell: Tell,
    *,
    kept_at_a_time: int = SHARD,
) -> None:
    """This process's batches, without what is held, kept so many at a time.

    A batch is held as a whole or not at all, so a run that goes on makes the batches it would have made.
    """
    made: list[Encoded] = []
    for number, batch in enumerate(work):
        if group.is_mine(number):
            held = store.held([key for key, _ in batch])
            lacking = [(key, thing) for key, thing in batch if key not in held]
            if lacking:
                made.append(encode(lacking))
            if len(made) == kept_at_a_time:
                _keep(made, store)
                made = []
        tell(number + 1)
    _keep(made, store)


def _keep(made: Sequence[Encoded], store: EmbeddingStore) -> None:
    """The finite ones of some embeddings as one shard."""
    keys = list(chain.from_iterable(each.keys for each in made))
    if not keys:
        return
    vectors = torch.cat([each.vectors for each in made])
    notes = list(chain.from_iterable(each.notes for each in made))
    finite = vectors.isfinite().all(dim=-1).nonzero().flatten().tolist()
    if finite:
        store.add([keys[place] for place in finite], vectors[finite], [notes[place] for place in finite])
