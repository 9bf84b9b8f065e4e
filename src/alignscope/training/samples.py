"""What a training loop is given: samples of a data source, and batches of them ready for the towers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from PIL.Image import Image
from torch import Tensor

from alignscope.records import Caption, Problem


@dataclass(frozen=True)
class Sample:
    """An image by its key and one caption, with what the data say is wrong with it and similar to it."""

    image: str
    caption: Caption  # its words carry classes where the run needs them
    foils: tuple[str, ...] = ()  # the data's own wrong captions
    neighbours: tuple[int, ...] = ()  # places of samples with similar images


@runtime_checkable
class Samples(Protocol):
    """A data source that knows its samples by place."""

    @property
    def name(self) -> str: ...
    @property
    def sha(self) -> str: ...  # hash of everything that decides what is trained on
    @property
    def problems(self) -> tuple[Problem, ...]: ...
    def __len__(self) -> int: ...
    def draw(self, place: int, epoch: int) -> Sample:
        """The sample at a place; which of several captions depends on the epoch and the data's seed."""
        ...

    def image(self, key: str) -> Image:
        """The image of a key; BadImage where it cannot be read."""
        ...


@dataclass(frozen=True)
class StreamedSample:
    """A sample with its image's bytes, as they lie in a shard."""

    sample: Sample
    content: bytes


@runtime_checkable
class SampleStream(Protocol):
    """A data source that is read in its own order, shuffled within a buffer."""

    @property
    def name(self) -> str: ...
    @property
    def sha(self) -> str: ...  # of file names and sizes: nothing is read through for it
    def read(self, epoch: int) -> Iterator[StreamedSample | Problem]:
        """All samples of an epoch, in an order drawn by epoch and seed, the same each time."""
        ...


@dataclass(frozen=True)
class Batch:
    """A process's share of one step's batch. Row i of `pixels` is the image of caption i."""

    pixels: Float[Tensor, "pair channel height width"]
    images: tuple[str, ...]  # their keys
    captions: tuple[Caption, ...]
    foils: tuple[str, ...] = ()  # wrong captions of all pairs together, any number
    neighbours: Batch | None = None  # similar images with captions and foils (full NegCLIP)
    problems: tuple[Problem, ...] = ()  # images that could not be read; another pair is in their place
    tried: int = 0  # images opened for it
    foil_rows: tuple[int, ...] = ()  # the pair that each foil is a wrong caption of, in rising order
