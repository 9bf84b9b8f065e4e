"""Samples by place: images with all that is said of them, of which each epoch draws one caption."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import final

from PIL.Image import Image

from alignscope.records import WORD_CLASSES, Caption, Problem, Word
from alignscope.training.samples import Sample


@final
@dataclass(frozen=True, slots=True)
class Place:
    """An image with its captions; `words` and `foils` are empty or have one entry per text.

    Words are packed: as records those of COCO's captions would fill gigabytes, in every process.
    """

    image: str
    texts: tuple[str, ...]
    foils: tuple[tuple[str, ...], ...] = ()
    similar: tuple[int, ...] = ()  # places of similar images; its own may be among them
    words: tuple[bytes, ...] = ()

    def caption(self, number: int) -> Caption:
        """One of the captions, with words where they are known."""
        text = self.texts[number]
        return Caption(text, unpacked(text, self.words[number]) if self.words else ())


@final
@dataclass(frozen=True)
class PlacedSamples:
    """The map-style `Samples`: one per place, its caption drawn by (seed, epoch, place)."""

    name: str
    sha: str
    places: tuple[Place, ...]
    opener: Callable[[str], Image]
    seed: int
    problems: tuple[Problem, ...] = ()

    def __len__(self) -> int:
        return len(self.places)

    def draw(self, place: int, epoch: int) -> Sample:
        """One caption of the place's image with its own foils, and the places of all similar images."""
        here = self.places[place]
        number = int(Random(f"{self.seed}/{epoch}/{place}").random() * len(here.texts))
        return Sample(
            here.image,
            here.caption(number),
            here.foils[number] if here.foils else (),
            tuple(other for other in here.similar if other != place),
        )

    def image(self, key: str) -> Image:
        """The image of a key; BadImage where it cannot be read."""
        return self.opener(key)

    def captions(self) -> Iterator[Caption]:
        """All captions of all places, in order; no image is opened."""
        for place in self.places:
            yield from (place.caption(number) for number in range(len(place.texts)))


def packed(caption: Caption) -> bytes:
    """Spans and classes of a caption's words.

    >>> cat = Word("cat", 2, 5, "object")
    >>> unpacked("a cat", packed(Caption("a cat", (cat,)))) == (cat,)
    True
    """
    return array(
        "I",
        [
            number
            for word in caption.words
            for number in (word.start, word.end, WORD_CLASSES.index(word.word_class))
        ],
    ).tobytes()


def unpacked(text: str, words: bytes) -> tuple[Word, ...]:
    """The words of a text from what `packed` made of them."""
    numbers = iter(array("I", words))
    return tuple(
        Word(text[start:end], start, end, WORD_CLASSES[kind])
        for start, end, kind in zip(numbers, numbers, numbers, strict=True)
    )
